//! Deleting a value of a session's scratchpad.

use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::is_held;
use crate::authority::Authority;
use crate::event::Event;
use crate::ids::SessionId;
use crate::journal::{Draft, StreamId};
use crate::refusal::Refusal;
use crate::session::event::StateDeleted;
use crate::session::state::not_found;
use crate::session::{Expected, Origin, StateKey};
use crate::time::Timestamp;
use crate::world::World;

/// Deletes a value where what is there is what the writer expects. The record of it stays.
#[derive(Debug, Clone)]
pub struct DeleteState {
    /// On whose authority it is asked.
    pub authority: Authority,
    /// The session; its owner is who deletes.
    pub session: SessionId,
    /// The name of the value.
    pub key: StateKey,
    /// What the writer expects to be there.
    pub expected: Expected,
}

impl Command for DeleteState {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        let version = match self.ask(world, at) {
            Ok(version) => version,
            Err(refusal) => return Verdict::unchanged(Err(refusal)),
        };
        let draft = Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: self.authority.actor(&self.session.owner),
            event: Event::StateDeleted(StateDeleted { key: self.key.clone(), version }),
            bodies: Vec::new(),
        };
        Verdict { answer: Ok(()), drafts: vec![draft] }
    }
}

impl DeleteState {
    /// The version that ends.
    fn ask(&self, world: &World, at: Timestamp) -> Result<u64, Refusal> {
        is_held(world, &self.authority, &self.session, at)?;
        let session = world.session.enter(&self.session, Origin::Named)?;
        let session = session.ok_or_else(|| not_found(&self.session.name))?;
        session.scratchpad.delete(&self.key, self.expected, at)
    }
}
