//! What a replica is told of a session that it has not served before.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use portcullis_domain::admission::{Command, Verdict};
use portcullis_domain::call::Capability;
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::StreamId;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::registry::Placement;
use portcullis_domain::session::scratchpad::Located;
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::conversation;
use crate::journal::Journal;

/// For how many sessions it is remembered that their replica knows them; beyond that they are forgotten, and replicas are told once more.
const SESSIONS_LIMIT: usize = 16_384;

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
    /// The task token, where it goes with a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a str>,
}

impl<'a> Identity<'a> {
    fn of(session: &'a SessionId, agent: &'a str, placement: &Placement, task: Option<&'a str>) -> Self {
        Self { session: session.name.as_str(), owner: session.owner.as_str(), agent, fence: placement.fence, task }
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
pub fn identity(session: &SessionId, agent: &str, placement: &Placement, task: Option<&str>) -> Result<Bytes, Refusal> {
    written(&Identity::of(session, agent, placement, task))
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
    task: Option<&str>,
) -> Result<Bytes, Refusal> {
    let memory = Memory {
        identity: Identity::of(session, agent, placement, task),
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
    let located = journal.execute(Look { session: session.clone() });
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

/// The values that are there at the writer's time.
struct Look {
    session: SessionId,
}

impl Command for Look {
    type Answer = Vec<(String, Located)>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        let scratchpad = world.session.find(&self.session).map(|session| &session.scratchpad);
        let values = scratchpad.into_iter().flat_map(|scratchpad| scratchpad.all(at));
        Verdict::unchanged(values.map(|(key, located)| (key.to_string(), *located)).collect())
    }
}

/// Which placements of agents that are told with messages know what their session remembers. What is forgotten here, as at a restart, is told again with the next message; an agent knows by
/// the placement's number that it is nothing new.
#[derive(Debug, Default)]
pub struct Told {
    placements: Mutex<HashMap<(SessionId, Capability), u64>>,
}

impl Told {
    /// Whether the session's replica knows what the session remembers.
    #[must_use]
    pub fn is_told(&self, session: &SessionId, agent: &Capability, placement: &Placement) -> bool {
        self.lock().get(&(session.clone(), agent.clone())) == Some(&placement.fence)
    }

    /// It does now.
    pub fn told(&self, session: &SessionId, agent: &Capability, placement: &Placement) {
        let key = (session.clone(), agent.clone());
        let mut placements = self.lock();
        if placements.len() >= SESSIONS_LIMIT && !placements.contains_key(&key) {
            placements.clear();
        }
        placements.insert(key, placement.fence);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(SessionId, Capability), u64>> {
        // Nobody panics while holding it; if so, what is in it is still whole.
        self.placements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
