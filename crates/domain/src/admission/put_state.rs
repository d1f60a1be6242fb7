//! Writing a value of a session's scratchpad.

use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::{is_held, opening};
use crate::authority::Authority;
use crate::event::Event;
use crate::ids::SessionId;
use crate::journal::{Body, Draft, StreamId};
use crate::money::Nanodollars;
use crate::refusal::Refusal;
use crate::session::event::StatePut;
use crate::session::scratchpad::Scratchpad;
use crate::session::{Expected, Origin, StateKey};
use crate::time::Timestamp;
use crate::world::World;

/// Writes a value where what is there is what the writer expects; opens the session if there is none yet.
#[derive(Debug, Clone)]
pub struct PutState {
    /// On whose authority it is asked.
    pub authority: Authority,
    /// The session; its owner is who writes.
    pub session: SessionId,
    /// What may be spent in the session in all, if it is opened by this.
    pub session_budget: Option<Nanodollars>,
    /// The name of the value.
    pub key: StateKey,
    /// What the writer expects to be there.
    pub expected: Expected,
    /// How long the value is there, in microseconds from now on; none is for good.
    pub ttl_us: Option<u64>,
    /// The value.
    pub value: Body,
}

/// A value that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// Its version.
    pub version: u64,
    /// Whether there was nothing before.
    pub is_new: bool,
}

impl Command for PutState {
    type Answer = Result<Put, Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        let bytes = u64::try_from(self.value.bytes().len()).unwrap_or(u64::MAX);
        let (version, is_new) = match self.ask(world, bytes, at) {
            Ok(put) => put,
            Err(refusal) => return Verdict::unchanged(Err(refusal)),
        };
        let expires_at = self.ttl_us.map(|ttl| Timestamp(at.0.saturating_add(ttl)));
        let mut drafts = opening(world, &self.authority, &self.session, self.session_budget);
        drafts.push(Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: self.authority.actor(&self.session.owner),
            event: Event::StatePut(StatePut { key: self.key.clone(), version, bytes, expires_at }),
            bodies: vec![self.value.clone()],
        });
        Verdict { answer: Ok(Put { version, is_new }), drafts }
    }
}

impl PutState {
    fn ask(&self, world: &World, bytes: u64, at: Timestamp) -> Result<(u64, bool), Refusal> {
        is_held(world, &self.authority, &self.session, at)?;
        let session = world.session.enter(&self.session, Origin::Named)?;
        let empty = Scratchpad::default();
        let scratchpad = session.map_or(&empty, |session| &session.scratchpad);
        scratchpad.put(&self.key, self.expected, bytes, at)
    }
}
