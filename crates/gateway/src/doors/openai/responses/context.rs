//! What came before: the responses that a request goes on from, or the items of its conversation.

use portcullis_domain::ids::{RecordId, SessionId};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::llm::responses::ResponsesRequest;
use serde_json::Value;

use crate::doors::caller::Caller;
use crate::doors::openai::responses::kept::{Found, find};
use crate::life::Gate;

/// How many responses a request may go on from, one after the other.
const CHAIN_LIMIT: usize = 1_024;

/// What came before.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// The session that it lies in.
    pub(super) session: Option<SessionId>,
    /// Its items, in order.
    pub(super) items: Vec<Value>,
    /// The conversation, where it is one.
    pub(super) conversation: Option<RecordId>,
}

/// Reads what came before the request of that caller. It is at most as large as a request may be.
pub(super) async fn of(gate: &Gate, caller: &Caller, request: &ResponsesRequest) -> Result<Context, Refusal> {
    if let Some(id) = request.previous() {
        let about = |refusal: Refusal| refusal.about("previous_response_id");
        let found = find(gate, caller, "resp", id).await.map_err(about)?;
        return chain(gate, caller, found).await.map_err(about);
    }
    let Some(id) = request.conversation()? else { return Ok(Context::default()) };
    let about = |refusal: Refusal| refusal.about("conversation");
    let found = find(gate, caller, "conv", id).await.map_err(about)?;
    let (mut items, mut room) = (Vec::new(), Room::of(gate));
    for part in &found.record.parts {
        let (more, bytes) = found.items(gate, part).await?;
        room.take(bytes).map_err(about)?;
        items.extend(more);
    }
    Ok(Context { session: Some(found.session), items, conversation: Some(found.id) })
}

/// The session in which the request goes on, as far as what it goes on from is there.
pub(super) async fn session(gate: &Gate, caller: &Caller, request: &ResponsesRequest) -> Option<SessionId> {
    let found = match (request.previous(), request.conversation()) {
        (Some(id), _) => find(gate, caller, "resp", id).await,
        (None, Ok(Some(id))) => find(gate, caller, "conv", id).await,
        (None, _) => return None,
    };
    found.ok().map(|found| found.session)
}

/// The input and output of a response and of all that it goes on from.
async fn chain(gate: &Gate, caller: &Caller, last: Found) -> Result<Context, Refusal> {
    let session = last.session.clone();
    let (mut turns, mut room, mut at) = (Vec::new(), Room::of(gate), last);
    loop {
        let (mut head, bytes) = at.head(gate).await?;
        room.take(bytes)?;
        let list = |value: Option<&mut Value>| match value.map(Value::take) {
            Some(Value::Array(items)) => items,
            Some(_) | None => Vec::new(),
        };
        let conversation = head.pointer("/response/conversation").filter(|conversation| !conversation.is_null());
        if conversation.is_some() {
            let message = format!("`{}` is part of a conversation: go on with `conversation`", at.id);
            return Err(Refusal::new(Code::InvalidRequest, message));
        }
        let previous = head.pointer("/response/previous_response_id").and_then(Value::as_str).map(str::to_owned);
        let input = list(head.pointer_mut("/input"));
        turns.push((input, list(head.pointer_mut("/response/output"))));
        let Some(previous) = previous else { break };
        if turns.len() >= CHAIN_LIMIT {
            return Err(Refusal::new(Code::TooLarge, format!("it goes on from more than {CHAIN_LIMIT} responses")));
        }
        at = find(gate, caller, "resp", &previous).await?;
    }
    let items = turns.into_iter().rev().flat_map(|(input, output)| input.into_iter().chain(output)).collect();
    Ok(Context { session: Some(session), items, conversation: None })
}

/// How much may still be read.
pub(super) struct Room(usize);

impl Room {
    pub(super) fn of(gate: &Gate) -> Self {
        Self(gate.snapshot.load().config.server.body_limit_bytes)
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        let too_large = || Refusal::new(Code::TooLarge, "what came before is larger than a request may be");
        self.0 = self.0.checked_sub(bytes).ok_or_else(too_large)?;
        Ok(())
    }
}
