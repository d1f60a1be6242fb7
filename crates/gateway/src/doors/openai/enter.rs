//! Which request of the OpenAI API it is.

use std::sync::Arc;

use http::Method;
use portcullis_domain::call::Door;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::llm::chat::ChatRequest;

use crate::doors::answer::{self, Answer, SESSION};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::{header_idempotency_key, session_of_key};
use crate::doors::openai::complete::{complete, is_harmless};
use crate::doors::openai::keyed::Key;
use crate::doors::openai::{keyed, models, responses};

/// Answers a request to `/v1/…`.
///
/// # Errors
///
/// Why it can't be answered.
pub async fn enter(doors: &Arc<Doors>, arrived: Arrived) -> Result<Answer, Refusal> {
    match (&arrived.method, arrived.path.as_str()) {
        (&Method::POST, "/v1/chat/completions") => chat(doors, arrived).await,
        (&Method::GET, "/v1/models") => Ok(models::list(&doors.gate, &arrived.caller)),
        (&Method::GET, path) if path.starts_with("/v1/models/") => models::one(&doors.gate, &arrived.caller, path),
        (_, path) if is_of_responses(path) => responses::enter(doors, arrived).await,
        (method, path) => Err(Refusal::new(Code::NotFound, format!("{method} {path} is not served here"))),
    }
}

/// Whether it is about responses or conversations.
fn is_of_responses(path: &str) -> bool {
    let noun = path.strip_prefix("/v1/").and_then(|rest| rest.split('/').next());
    matches!(noun, Some("responses" | "conversations"))
}

async fn chat(doors: &Arc<Doors>, arrived: Arrived) -> Result<Answer, Refusal> {
    let key = header_idempotency_key(&arrived.headers)?;
    let (session, origin) = session_of_key(&arrived.caller, arrived.session.clone(), key.as_deref())?;
    let name = session.name.clone();
    let asking = arrived.asking(session, origin, Door::Openai);
    let request = ChatRequest::read(arrived.body.clone())?;
    let gate = doors.gate.clone();
    let is_harmless = is_harmless(&gate, request.model());
    let reply = complete(gate.clone(), asking.clone(), request);
    let answer = match key {
        None => reply.await?.into_answer(),
        Some(key) => {
            let key = Key { key, content: arrived.content(), is_harmless, place: arrived.place };
            keyed::answer(gate, asking, key, reply).await?
        }
    };
    Ok(answer::with_header(answer, SESSION, name.as_str()))
}
