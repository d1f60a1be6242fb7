//! Writing a value of a session's scratchpad.

use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::opening;
use crate::event::Event;
use crate::ids::{Actor, SessionId};
use crate::journal::{Body, Draft, StreamId};
use crate::money::Nanodollars;
use crate::refusal::Refusal;
use crate::session::event::StatePut;
use crate::session::{Expected, Origin, StateKey};
use crate::time::Timestamp;
use crate::world::World;

/// Writes a value where what is there is what the writer expects; opens the session if there is none yet.
#[derive(Debug, Clone)]
pub struct PutState {
    /// The session; its owner is who writes.
    pub session: SessionId,
    /// What may be spent in the session in all, if it is opened by this.
    pub session_budget: Option<Nanodollars>,
    /// The name of the value.
    pub key: StateKey,
    /// What the writer expects to be there.
    pub expected: Expected,
    /// The value.
    pub value: Body,
}

impl Command for PutState {
    /// The value's version.
    type Answer = Result<u64, Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        let version = world.session.enter(&self.session, Origin::Named).and_then(|session| {
            let empty = crate::session::scratchpad::Scratchpad::default();
            let scratchpad = session.map_or(&empty, |session| &session.scratchpad);
            scratchpad.put(&self.key, self.expected, self.value.bytes().len())
        });
        let version = match version {
            Ok(version) => version,
            Err(refusal) => return Verdict::unchanged(Err(refusal)),
        };
        let mut drafts = opening(world, &self.session, self.session_budget);
        drafts.push(Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: Actor::Principal(self.session.owner.clone()),
            event: Event::StatePut(StatePut { key: self.key.clone(), version }),
            bodies: vec![self.value.clone()],
        });
        Verdict { answer: Ok(version), drafts }
    }
}
