//! The conversation of a session, rebuilt from its calls: every message once, in order, as a client would send it again.
//!
//! A client sends the whole conversation with each call, so most of every request repeats what is known. What the gateway itself added when it asked a model again stands in the
//! history too, but the client never saw it: it is skipped when the next request is compared.

use std::collections::HashMap;

use bytes::Bytes;
use portcullis_domain::call::{Capability, Kind};
use portcullis_domain::digest::Digest;
use portcullis_domain::event::{CallAdmitted, CallSettled, Event, Outcome};
use portcullis_domain::ids::{CallId, SessionId};
use portcullis_domain::journal::StreamId;
use portcullis_domain::policy::Effect;
use portcullis_domain::session::history::repeated;
use portcullis_interop::frame::http::read_request;
use serde_json::{Value, json};

use crate::journal::{Journal, StoreFault};

/// How many entries are read at a time.
const PAGE_LIMIT: usize = 1_000;

/// The messages of a session, as OpenAI chat messages.
///
/// # Errors
///
/// When the store can't be read.
pub async fn messages(journal: &Journal, session: SessionId) -> Result<Vec<Value>, StoreFault> {
    Ok(read(journal, session, History::default()).await?.messages)
}

async fn read(journal: &Journal, session: SessionId, mut history: History) -> Result<History, StoreFault> {
    let stream = StreamId::Session(session);
    let mut after = 0;
    loop {
        let page = journal.entries(&stream, after, PAGE_LIMIT).await?;
        let Some(last) = page.last() else { return Ok(history) };
        after = last.entry.seq;
        for placed in &page {
            history.take(journal, &stream, placed.position, &placed.entry.event).await?;
        }
    }
}

/// What was said with an agent in a session before the turn of that payload, which may begin with a part of it.
///
/// # Errors
///
/// When the store can't be read.
pub async fn before(
    journal: &Journal,
    session: SessionId,
    agent: &Capability,
    payload: &Bytes,
) -> Result<Vec<Value>, StoreFault> {
    let history = History { agent: Some(agent.clone()), ..History::default() };
    let History { mut messages, all, .. } = read(journal, session, history).await?;
    let own: Vec<Digest> = messages_of(payload).iter().map(digest).collect();
    messages.truncate(messages.len().saturating_sub(repeated(&all, &own)));
    Ok(messages)
}

#[derive(Default)]
struct History {
    /// The agent whose calls are taken; those of models without one.
    agent: Option<Capability>,
    messages: Vec<Value>,
    /// The digests of all messages.
    all: Vec<Digest>,
    /// The digests of those that the client saw: not of what the gateway added.
    seen: Vec<Digest>,
    /// What the client sent last, and whether it got an answer to it.
    last: Vec<Digest>,
    is_answered: bool,
    /// Requests that are not settled yet.
    open: HashMap<CallId, Request>,
}

struct Request {
    messages: Vec<Value>,
    /// It is a round that the gateway added to the call before.
    is_round: bool,
}

impl History {
    async fn take(
        &mut self,
        journal: &Journal,
        stream: &StreamId,
        position: u64,
        event: &Event,
    ) -> Result<(), StoreFault> {
        if let Event::CallAdmitted(CallAdmitted { call, parent, capability, .. }) = event
            && self.takes(capability)
        {
            let body = journal.body(stream, position, 0).await?;
            let request = Request {
                messages: body.map(|body| messages_of(&body)).unwrap_or_default(),
                is_round: parent.is_some(),
            };
            self.open.insert(*call, request);
        } else if let Event::CallSettled(settled) = event
            && let Some(request) = self.open.remove(&settled.call)
        {
            let body = journal.body(stream, position, 0).await?;
            self.add(request, settled, body);
        }
        Ok(())
    }

    fn takes(&self, capability: &Capability) -> bool {
        self.agent.as_ref().map_or(capability.kind == Kind::Model, |agent| agent == capability)
    }

    fn add(&mut self, request: Request, settled: &CallSettled, answer: Option<Bytes>) {
        let digests: Vec<Digest> = request.messages.iter().map(digest).collect();
        let known = if request.is_round {
            // A round is the request before it with what the gateway added behind it, of which only the last message is new.
            digests.len().saturating_sub(1)
        } else {
            let continued = self.continued(&request.messages, &digests);
            (self.last, self.is_answered) = (digests.clone(), false);
            repeated(&self.all, &digests).max(repeated(&self.seen, &digests)).max(continued)
        };
        for (value, digest) in request.messages.into_iter().zip(digests).skip(known) {
            self.push(value, digest, request.is_round);
        }
        let is_denied = |settled: &CallSettled| settled.judged.iter().any(|judged| judged.effect == Effect::Deny);
        let Some(value) =
            answer.filter(|_| settled.outcome == Outcome::Completed).and_then(|answer| message_of(&answer, settled))
        else {
            return;
        };
        // An answer all of whose calls were denied is followed by another round, or given without them; without text there is nothing of it to show.
        if is_denied(settled)
            && value.get("tool_calls").is_none()
            && value.get("content").and_then(Value::as_str).is_none_or(str::is_empty)
        {
            return;
        }
        let digest = digest(&value);
        self.push(value, digest, false);
        self.is_answered = true;
    }

    /// Adds a message; the client never saw one that the gateway added.
    fn push(&mut self, value: Value, digest: Digest, is_added: bool) {
        self.messages.push(value);
        self.all.push(digest);
        if !is_added {
            self.seen.push(digest);
        }
    }

    /// How much of a request is known because it begins with the request before it and the answer to that. The client has the answer in words of its own: of
    /// what came in several rounds it has the last, or all in one message, and a note where a call was taken out.
    fn continued(&self, messages: &[Value], digests: &[Digest]) -> usize {
        let own = self.last.len();
        let is_answer = |message: &Value| message.get("role").and_then(Value::as_str) == Some("assistant");
        let has_answer = self.is_answered && messages.get(own).is_some_and(is_answer);
        if own > 0 && has_answer && digests.starts_with(&self.last) { own + 1 } else { 0 }
    }
}

/// The messages of a chat request, by itself or as `message/http`.
fn messages_of(body: &Bytes) -> Vec<Value> {
    let inner = read_request(body).map(http::Request::into_body);
    let request: Value = serde_json::from_slice(inner.as_ref().unwrap_or(body)).unwrap_or_default();
    request.get("messages").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// The first choice's message of an answer, without the calls that were denied.
fn message_of(body: &Bytes, settled: &CallSettled) -> Option<Value> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let mut message = answer.pointer("/choices/0/message").cloned()?;
    let object = message.as_object_mut()?;
    let is_denied = |call: &Value| {
        let arguments = call.pointer("/function/arguments").and_then(Value::as_str).unwrap_or_default();
        settled.judged.iter().any(|judged| judged.effect == Effect::Deny && judged.arguments == arguments)
    };
    if let Some(calls) = object.get_mut("tool_calls").and_then(Value::as_array_mut) {
        calls.retain(|call| !is_denied(call));
    }
    if object.get("tool_calls").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        object.remove("tool_calls");
    }
    Some(message)
}

/// What makes two messages the same, however a client writes them: role, text, calls, and the call that a result belongs to.
fn digest(message: &Value) -> Digest {
    let text = match message.get("content") {
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string().replace("null", ""),
        None => String::new(),
    };
    let call =
        |call: &Value| json!([call.get("id"), call.pointer("/function/name"), call.pointer("/function/arguments")]);
    let calls: Vec<Value> =
        message.get("tool_calls").and_then(Value::as_array).into_iter().flatten().map(call).collect();
    let parts = json!([message.get("role"), text, calls, message.get("tool_call_id")]);
    Digest::of(parts.to_string().as_bytes())
}
