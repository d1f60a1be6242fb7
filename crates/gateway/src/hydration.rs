//! What a replica is told of a session that it has not served before.

use bytes::Bytes;
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::StreamId;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::registry::Placement;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::conversation;
use crate::journal::Journal;

/// The body of a hydration: everything that the session remembers for its agents.
#[derive(Serialize)]
struct Memory<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    state: Vec<Remembered>,
    /// The conversation with models, as OpenAI chat messages.
    messages: Vec<Value>,
}

#[derive(Serialize)]
struct Identity<'a> {
    session: &'a str,
    owner: &'a str,
    agent: &'a str,
    /// The number of the placement.
    fence: u64,
}

impl<'a> Identity<'a> {
    fn of(session: &'a SessionId, agent: &'a str, placement: &Placement) -> Self {
        Self { session: session.name.as_str(), owner: session.owner.as_str(), agent, fence: placement.fence }
    }
}

#[derive(Serialize)]
struct Remembered {
    key: String,
    version: u64,
    value: Box<RawValue>,
}

/// Which session it is, as JSON: what [`memory`] begins with.
///
/// # Errors
///
/// Never; the library's error is passed on rather than ignored.
pub fn identity(session: &SessionId, agent: &str, placement: &Placement) -> Result<Bytes, Refusal> {
    written(&Identity::of(session, agent, placement))
}

/// What the session remembers, as JSON.
///
/// # Errors
///
/// When the store can't be read.
pub async fn memory(
    journal: &Journal,
    session: &SessionId,
    agent: &str,
    placement: &Placement,
) -> Result<Bytes, Refusal> {
    let memory = Memory {
        identity: Identity::of(session, agent, placement),
        state: state(journal, session).await?,
        messages: conversation::messages(journal, session.clone()).await?,
    };
    written(&memory)
}

fn written(memory: &impl Serialize) -> Result<Bytes, Refusal> {
    serde_json::to_vec(memory).map(Bytes::from).map_err(|error| {
        Refusal::new(Code::StoreUnavailable, "the session's memory can't be written").because(error.to_string())
    })
}

async fn state(journal: &Journal, session: &SessionId) -> Result<Vec<Remembered>, Refusal> {
    let wanted = session.clone();
    let located = journal.read(move |world| {
        let scratchpad = world.session.find(&wanted).map(|session| session.scratchpad.clone()).unwrap_or_default();
        scratchpad.all().map(|(key, located)| (key.to_string(), *located)).collect::<Vec<_>>()
    });
    let stream = StreamId::Session(session.clone());
    let mut state = Vec::new();
    for (key, located) in located.await? {
        let Some(entry) = journal.entries(&stream, located.seq - 1, 1).await?.pop() else { continue };
        let Some(body) = journal.body(&stream, entry.position, 0).await? else { continue };
        if let Ok(value) = serde_json::from_slice(&body) {
            state.push(Remembered { key, version: located.version, value });
        }
    }
    Ok(state)
}
