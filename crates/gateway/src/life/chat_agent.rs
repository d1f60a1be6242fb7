//! A turn with an agent that is served as a chat completions endpoint: asked like a model, placed like an agent.
//!
//! The turn goes to the session's replica, in its order. What comes back is judged like a model's answer. An agent has no price here, and is not asked again when all of its calls
//! were denied: it may have done something already.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode};
use portcullis_domain::admission::Admitted;
use portcullis_domain::call::Door;
use portcullis_domain::digest::Digest;
use portcullis_domain::event::Outcome;
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::frame::http::write_request;
use portcullis_interop::llm::chat::ChatRequest;
use tokio::sync::oneshot;

use crate::asking::Asking;
use crate::conversation;
use crate::life::agent::{Parks, Replied, Reply, Wish};
use crate::life::guarding::Prompt;
use crate::life::{Asked, Gate, Terms, of_fault};
use crate::registry::Agent;
use crate::registry::table::AgentHistory;
use crate::repetition::{Gone, Patience};
use crate::reply::{AnswerStream, ModelAnswer, UpstreamFault};
use crate::snapshot::Setting;
use crate::snapshot::{Snapshot, no_model};
use crate::upstreams::client::ANSWER_LIMIT_BYTES;

/// How long a turn waits for those before it.
const TURN_WAIT: Duration = Duration::from_secs(60);
/// Where an agent's chat completions are, below the URL of a replica.
const TARGET: &str = "/chat/completions";

impl Gate {
    /// The agent that is called by that name as if it were a model, as far as the caller may know.
    pub(super) fn chat_agent(&self, snapshot: &Snapshot, asking: &Asking, name: &str) -> Option<Arc<Agent>> {
        snapshot.agent_for(asking.chain(), name, Door::Openai).ok()
    }

    /// Asks an agent. Whoever gets the answer settles it.
    pub(super) async fn ask_agent(
        &self,
        asking: &Asking,
        agent: &Arc<Agent>,
        prompt: &Prompt,
        gone: &mut Gone,
    ) -> Result<Asked, Refusal> {
        let (request, snapshot) = (&prompt.request, self.snapshot.load_full());
        if let Some(tool) = request.provider_tools().first() {
            // Whoever runs it behind the agent would do so where no policy sees it.
            let message = format!("a tool of type `{tool}` can't be handed to an agent");
            return Err(self
                .refuse_agent(asking, agent, Refusal::new(Code::InvalidRequest, message).about("tools"))
                .await);
        }
        let (stays, leaves) = oneshot::channel();
        // A request with an idempotency key is known as a whole, before it comes here.
        let patience = Patience { key: None, stays: Weak::new(), listens: Weak::new(), gone: leaves };
        let payload = Body::new(message(request)?);
        let content = Digest::of(payload.bytes());
        let wish = Wish {
            payload,
            content,
            trace: HeaderMap::new(),
            patience,
            turn: Some(TURN_WAIT),
            answers: None,
            push: None,
            guarding: prompt.guarding.clone(),
            parks: Parks::default(),
        };
        let mut calling = std::pin::pin!(self.call_agent(asking, agent, wish));
        let replied = tokio::select! {
            replied = &mut calling => replied?,
            _ = &mut *gone => {
                drop(stays);
                calling.await?
            }
        };
        let Replied::Fresh(reply) = replied else {
            return Err(Refusal::new(Code::UpstreamFailed, "the agent can't be asked that"));
        };
        let Reply { call, answer, held, .. } = *reply;
        let read = read(answer.status, answer.headers, answer.body, request.is_stream());
        let read = tokio::select! {
            read = read => read,
            () = left(gone) => Err(UpstreamFault::Broken("the caller has left".to_owned())),
        };
        if is_undone(&read) {
            asking.effect.undo();
        }
        match read {
            Ok(answer) => {
                let capability = agent.capability.clone();
                Ok(Asked { call, snapshot, capability, price: None, rounds_limit: 0, answer, held: Some(held) })
            }
            Err(fault) => {
                self.settle(of_fault(call, &fault)).await?;
                Err(fault.refusal(&agent.capability.name))
            }
        }
    }

    /// What the session's conversation with the agent was, for a replica that does not know it and a client that sends only its new turn.
    pub(super) async fn history(&self, admitted: &Admitted, agent: &Agent) -> Result<Vec<serde_json::Value>, Refusal> {
        if agent.history == AgentHistory::Client || admitted.knows_session() {
            return Ok(Vec::new());
        }
        let session = admitted.session().clone();
        Ok(conversation::before(&self.journal, session, &agent.capability, admitted.payload()).await?)
    }

    async fn refuse_agent(&self, asking: &Asking, agent: &Arc<Agent>, refusal: Refusal) -> Refusal {
        let know = |snapshot: &Snapshot, setting: &Setting| {
            let known = snapshot.know_agent(asking, setting, portcullis_domain::call::Place::Request, agent);
            crate::snapshot::Known { obstacle: Some(refusal.clone()), ..known }
        };
        let refused = self.admit(asking, None, &Body::new(Bytes::new()), Terms::default(), know).await;
        refused.err().unwrap_or_else(|| no_model(&agent.capability.name))
    }
}

/// Whether the agent has certainly done nothing: what it came with, or the moment, did not suit it. What fails in the middle may have been done.
fn is_undone(read: &Result<ModelAnswer, UpstreamFault>) -> bool {
    match read {
        Ok(ModelAnswer::Error { status, .. }) => status.is_client_error() || *status == StatusCode::SERVICE_UNAVAILABLE,
        Ok(ModelAnswer::Whole(_) | ModelAnswer::Stream(_)) => false,
        Err(fault) => fault.outcome() == Outcome::Failed,
    }
}

/// Resolves when the caller has left, also where that was heard before: the turn that was answered nevertheless is settled too.
async fn left(gone: &mut Gone) {
    if !gone.is_terminated() {
        let _ = gone.await;
    }
}

fn message(request: &ChatRequest) -> Result<Bytes, Refusal> {
    let accepted = if request.is_stream() { "text/event-stream" } else { "application/json" };
    let built = Request::post(TARGET)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(ACCEPT, HeaderValue::from_static(accepted))
        .body(request.forward(request.model()));
    let built = built.map_err(|error| Refusal::new(Code::InvalidRequest, error.to_string()))?;
    Ok(write_request(&built))
}

async fn read(
    status: StatusCode,
    headers: HeaderMap,
    body: AnswerStream,
    is_stream: bool,
) -> Result<ModelAnswer, UpstreamFault> {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_events = media.trim_start().to_ascii_lowercase().starts_with("text/event-stream");
    match status {
        StatusCode::OK if is_stream && is_events => Ok(ModelAnswer::Stream(body)),
        StatusCode::OK => Ok(ModelAnswer::Whole(whole(body).await?)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(UpstreamFault::Credential(status)),
        status if status.is_client_error() || status.is_server_error() => {
            let kept = headers.iter().filter(|(name, _)| **name == RETRY_AFTER || **name == CONTENT_TYPE);
            let headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
            Ok(ModelAnswer::Error { status, headers, body: whole(body).await? })
        }
        status => Err(UpstreamFault::Garbled(format!("HTTP status {status}"))),
    }
}

async fn whole(mut body: AnswerStream) -> Result<Bytes, UpstreamFault> {
    let mut whole = BytesMut::new();
    while let Some(piece) = body.next().await? {
        if whole.len() + piece.len() > ANSWER_LIMIT_BYTES {
            return Err(UpstreamFault::Garbled(format!("its answer is larger than {ANSWER_LIMIT_BYTES} bytes")));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_caller_who_was_heard_to_leave_has_left() {
        let (stays, mut gone) = oneshot::channel();
        drop(stays);
        left(&mut gone).await;
        left(&mut gone).await;
    }
}
