//! `POST /v1/responses`.

use std::sync::Arc;

use portcullis_domain::call::Door;
use portcullis_domain::ids::SessionId;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::llm::chat::ChatRequest;
use portcullis_interop::llm::responses::{Frame, ResponsesRequest, input, output};

use crate::doors::answer::{self, Answer, SESSION, whole_json};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::{header_idempotency_key, session_of_key};
use crate::doors::once;
use crate::doors::openai::complete::{complete, is_harmless};
use crate::doors::openai::keyed::{self, Key};
use crate::doors::openai::reply::Reply;
use crate::doors::openai::responses::context::{self, Context};
use crate::doors::openai::responses::making::Making;
use crate::doors::openai::responses::{kept, translate};
use crate::life::Gate;

/// Answers a request for a response.
pub(super) async fn create(doors: &Arc<Doors>, arrived: &Arrived) -> Result<Answer, Refusal> {
    let request = ResponsesRequest::read(&arrived.body)?;
    let key = header_idempotency_key(&arrived.headers)?;
    let gate = doors.gate.clone();
    let before = match context::of(&gate, &arrived.caller, &request).await {
        Ok(before) => before,
        Err(refusal) => return again(&gate, arrived, &request).await?.ok_or(refusal),
    };
    let named = one_session(arrived.session.clone(), before.session.clone())?;
    let (session, origin) = session_of_key(&arrived.caller, named, key.as_deref())?;
    let name = session.name.clone();
    let asking = arrived.asking(session, origin, Door::Openai);
    let chat = chat(&gate, &request, &before)?;
    // What is said in a conversation would be in it twice.
    let is_harmless = before.conversation.is_none() && is_harmless(&gate, request.model());
    let id = kept::minted("resp")?;
    let making = Making {
        frame: Frame::new(&request, id.as_str(), doors.clock.now().0 / 1_000_000),
        input: input::kept(request.input(), id.as_str()),
        is_stored: request.is_stored(),
        conversation: before.conversation,
        gate: gate.clone(),
        asking: asking.clone(),
        id,
    };
    let reply = reply(making, chat);
    let answer = match key {
        None => reply.await?.into_answer(),
        Some(key) => {
            let key = Key { key, content: arrived.content(), is_harmless, place: arrived.place.clone() };
            keyed::answer(gate, asking, key, reply).await?
        }
    };
    Ok(answer::with_header(answer, SESSION, name.as_str()))
}

/// What a request was answered before that goes on from something that can't be read any more, where its session is known nevertheless.
async fn again(gate: &Gate, arrived: &Arrived, request: &ResponsesRequest) -> Result<Option<Answer>, Refusal> {
    let session = match &arrived.session {
        Some(session) => Some(session.clone()),
        None => context::session(gate, &arrived.caller, request).await,
    };
    let Some(session) = session else { return Ok(None) };
    let answer = once::again(gate, arrived, Some(&session)).await?;
    Ok(answer.map(|answer| answer::with_header(answer, SESSION, session.name.as_str())))
}

/// A request is made in one session: the one that is named, and the one that it goes on in.
fn one_session(named: Option<SessionId>, before: Option<SessionId>) -> Result<Option<SessionId>, Refusal> {
    match (named, before) {
        (Some(named), Some(before)) if named != before => {
            let message = format!("session `{}` is named, and what came before is in `{}`", named.name, before.name);
            Err(Refusal::new(Code::InvalidRequest, message).about("Portcullis-Session"))
        }
        (named, before) => Ok(named.or(before)),
    }
}

/// The chat request, which with all that came before is at most as large as one may be.
fn chat(gate: &Gate, request: &ResponsesRequest, before: &Context) -> Result<ChatRequest, Refusal> {
    let body = request.chat(&before.items)?;
    let limit = gate.snapshot.load().config.server.body_limit_bytes;
    if body.len() > limit {
        let message = format!("with what came before, the request is larger than {limit} bytes");
        return Err(Refusal::new(Code::TooLarge, message).about("input"));
    }
    ChatRequest::read(body.into())
}

async fn reply(making: Making, chat: ChatRequest) -> Result<Reply, Refusal> {
    match complete(making.gate.clone(), making.asking.clone(), chat).await? {
        Reply::Stream(call, pieces) => Ok(Reply::Stream(call, translate::events(making, pieces))),
        Reply::Whole(response) if response.status().is_success() => {
            let (head, body) = response.into_parts();
            let answered = output::answered(&making.frame, &body)?;
            making.keep(&answered.response, &answered.output).await?;
            let mut response = whole_json(200, answered.response.to_string());
            response.headers_mut().extend(
                head.headers
                    .into_iter()
                    .filter(|(name, _)| name.as_ref().is_some_and(|name| name.as_str().starts_with("portcullis-"))),
            );
            Ok(Reply::Whole(response))
        }
        // The model's own error, for the client as it is.
        Reply::Whole(error) => Ok(Reply::Whole(error)),
    }
}
