//! The bodies of answers.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use portcullis_domain::refusal::Refusal;
use tokio::sync::mpsc;

use crate::doors::framed::Framed;
use crate::doors::place::{CallPlace, Kept};

/// An answer on its way out.
pub type Answer = Response<AnswerBody>;

/// The header that tells which session a call was made in.
pub const SESSION: HeaderName = HeaderName::from_static("portcullis-session");
/// The header that tells the id of the call in the journal.
pub const CALL: HeaderName = HeaderName::from_static("portcullis-call");

/// The header that tells that the answer is the one of an earlier request for the same call.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How many pieces of a stream may wait for a slow reader before the upstream waits too.
pub const PIECES_LIMIT: usize = 32;

/// A body that is whole, or that comes in pieces.
#[derive(Debug)]
pub enum AnswerBody {
    /// All of it at once.
    Whole(Option<Bytes>),
    /// As the sender has it; it ends when the sender is dropped.
    Pieces(Pieces),
    /// The same, of somebody who may break off: then the connection does too, so that nobody takes it for the end.
    Relayed(Relayed),
    /// Messages by gRPC, with trailers behind them.
    Framed(Framed),
}

/// What comes in pieces from somebody else.
#[derive(Debug)]
pub struct Relayed {
    receiver: mpsc::Receiver<Result<Bytes, BrokenOff>>,
    kept: Option<Kept>,
}

/// The upstream broke off in the middle of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off: {0}")]
pub struct BrokenOff(pub String);

/// What comes in pieces.
#[derive(Debug)]
pub struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    /// The call is under way as long as pieces come.
    kept: Option<Kept>,
}

impl AnswerBody {
    /// Why a call whose answer comes in pieces may not go on, as soon as that is so. Messages by gRPC see to it themselves, since their end has a form.
    fn poll_halted(&mut self, context: &mut Context<'_>) -> Option<Refusal> {
        match self {
            Self::Relayed(Relayed { kept, .. }) | Self::Pieces(Pieces { kept, .. }) => {
                kept.as_mut().and_then(|kept| kept.poll_halted(context))
            }
            Self::Whole(_) | Self::Framed(_) => None,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let Some(refusal) = self.poll_halted(context) {
            // With it goes the receiver, which is how the upstream call is cancelled.
            *self = Self::Whole(None);
            return Poll::Ready(Some(Err(BrokenOff(refusal.to_string()))));
        }
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(Relayed { receiver, .. }) => {
                receiver.poll_recv(context).map(|piece| piece.map(|bytes| bytes.map(Frame::data)))
            }
            Self::Pieces(Pieces { receiver, .. }) => {
                receiver.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Framed(framed) => framed.poll_next(context).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Framed(framed) => framed.is_over(),
            Self::Pieces(_) | Self::Relayed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
            }
            Self::Pieces(_) | Self::Relayed(_) | Self::Framed(_) => SizeHint::default(),
        }
    }
}

/// An answer of that status with a body of that media type.
#[must_use]
pub fn whole(status: u16, media: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(Some(body.into())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    answer
}

/// An answer that is there as a whole.
#[must_use]
pub fn of(response: Response<Bytes>) -> Answer {
    response.map(|body| AnswerBody::Whole(Some(body).filter(|body| !body.is_empty())))
}

/// An answer of that status in JSON, which is there as a whole.
#[must_use]
pub fn whole_json(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer of that status in JSON.
#[must_use]
pub fn json(status: u16, body: impl Into<Bytes>) -> Answer {
    whole(status, "application/json", body)
}

/// An answer of that status without a body.
#[must_use]
pub fn empty(status: u16) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(None));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

/// A stream of server-sent events from what the receiver gets.
#[must_use]
pub fn events(pieces: mpsc::Receiver<Bytes>) -> Answer {
    let mut answer = Response::new(AnswerBody::Pieces(Pieces { receiver: pieces, kept: None }));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    answer
}

/// An answer of that status from what the receiver gets.
#[must_use]
pub fn relayed(status: u16, receiver: mpsc::Receiver<Result<Bytes, BrokenOff>>) -> Answer {
    let mut answer = Response::new(AnswerBody::Relayed(Relayed { receiver, kept: None }));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    answer
}

/// An answer of messages by gRPC.
#[must_use]
pub fn framed(framed: Framed) -> Answer {
    let mut answer = Response::new(AnswerBody::Framed(framed));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(portcullis_interop::frame::grpc::MEDIA_TYPE));
    answer
}

/// An answer by gRPC without any message: its headers say how the call has ended.
#[must_use]
pub fn ended(headers: HeaderMap) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(None));
    *answer.headers_mut() = headers;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(portcullis_interop::frame::grpc::MEDIA_TYPE));
    answer
}

/// The answer with a header added; a value that no header can have is left out.
#[must_use]
pub fn with_header(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// The answer, which keeps its place among the calls under way until it is over: at once where it is whole, with its last piece where it comes in pieces.
#[must_use]
pub fn keeping(mut answer: Answer, place: CallPlace) -> Answer {
    match answer.body_mut() {
        AnswerBody::Pieces(pieces) => pieces.kept = Some(Kept::new(place)),
        AnswerBody::Relayed(relayed) => relayed.kept = Some(Kept::new(place)),
        AnswerBody::Framed(framed) => framed.keep(Kept::new(place)),
        AnswerBody::Whole(_) => {}
    }
    answer
}
