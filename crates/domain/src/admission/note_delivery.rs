//! An agent has accepted the end of a wait, or is told no more.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, SessionId};
use crate::journal::{Draft, StreamId};
use crate::session::event::WaitDelivered;
use crate::session::wait::WaitName;
use crate::time::Timestamp;
use crate::world::World;

/// Notes that nobody needs to be told any more; what is noted already, or not to be told, changes nothing. Without the agent's word only what comes too late is given up.
#[derive(Debug, Clone)]
pub struct NoteDelivery {
    /// The session.
    pub session: SessionId,
    /// The wait.
    pub name: WaitName,
    /// Whether the agent has not accepted it.
    pub is_given_up: bool,
}

impl Command for NoteDelivery {
    type Answer = ();

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<()> {
        let wait = world.waits.find(&self.session, &self.name);
        let wait = wait.filter(|wait| wait.end.is_some() && !wait.is_done);
        if !wait.is_some_and(|wait| !self.is_given_up || wait.is_too_late(at)) {
            return Verdict::unchanged(());
        }
        let draft = Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: Actor::Gateway,
            event: Event::WaitDelivered(WaitDelivered { name: self.name.clone(), is_given_up: self.is_given_up }),
            bodies: Vec::new(),
        };
        Verdict { answer: (), drafts: vec![draft] }
    }
}
