//! Which request of the OpenAI API it is.

use std::sync::Arc;

use http::Method;
use portcullis_domain::call::Door;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::llm::chat::ChatRequest;

use crate::asking::Asking;
use crate::doors::answer::{self, Answer, SESSION};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::session_or_minted;
use crate::doors::openai::{models, plain, stream};

/// Answers a request to `/v1/…`.
///
/// # Errors
///
/// Why it can't be answered.
pub async fn enter(doors: &Arc<Doors>, arrived: Arrived) -> Result<Answer, Refusal> {
    match (&arrived.method, arrived.path.as_str()) {
        (&Method::POST, "/v1/chat/completions") => complete(doors, arrived).await,
        (&Method::GET, "/v1/models") => Ok(models::list(&doors.gate, &arrived.caller)),
        (&Method::GET, path) if path.starts_with("/v1/models/") => models::one(&doors.gate, &arrived.caller, path),
        (method, path) => Err(Refusal::new(Code::NotFound, format!("{method} {path} is not served here"))),
    }
}

async fn complete(doors: &Arc<Doors>, arrived: Arrived) -> Result<Answer, Refusal> {
    let (session, origin) = session_or_minted(&arrived.caller, arrived.session)?;
    let name = session.name.clone();
    let asking = Asking { key: arrived.caller.key, session, origin, door: Door::Openai };
    let request = ChatRequest::read(arrived.body)?;
    let completed = if request.is_stream() {
        stream::answer(doors.gate.clone(), asking, request).await
    } else {
        plain::answer(doors.gate.clone(), asking, request).await
    };
    Ok(answer::with_header(completed?, SESSION, name.as_str()))
}
