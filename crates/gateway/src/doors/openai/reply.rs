//! What a request comes to before it becomes an answer: others may read it on its way, to keep it or to say it in another dialect.

use bytes::Bytes;
use http::{HeaderValue, Response};
use portcullis_domain::ids::CallId;
use tokio::sync::mpsc;

use crate::doors::answer::{self, Answer, CALL};

/// What a request comes to.
#[derive(Debug)]
pub enum Reply {
    /// All of it, with status and headers.
    Whole(Response<Bytes>),
    /// A stream of server-sent events, of that call.
    Stream(CallId, mpsc::Receiver<Bytes>),
}

impl Reply {
    /// The answer that it is.
    #[must_use]
    pub fn into_answer(self) -> Answer {
        match self {
            Self::Whole(response) => answer::of(response),
            Self::Stream(call, receiver) => answer::with_header(answer::events(receiver), CALL, &call.to_string()),
        }
    }
}

/// The same, with the number of the call that it is of.
pub(super) fn of_call(mut response: Response<Bytes>, call: CallId) -> Response<Bytes> {
    if let Ok(value) = HeaderValue::from_str(&call.to_string()) {
        response.headers_mut().insert(CALL, value);
    }
    response
}
