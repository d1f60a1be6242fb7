//! An agent has accepted the end of a wait.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, SessionId};
use crate::journal::{Draft, StreamId};
use crate::session::event::WaitDelivered;
use crate::session::wait::WaitName;
use crate::time::Timestamp;
use crate::world::World;

/// Notes that nobody needs to be told any more; what is noted already, or not to be told, changes nothing.
#[derive(Debug, Clone)]
pub struct NoteDelivery {
    /// The session.
    pub session: SessionId,
    /// The wait.
    pub name: WaitName,
}

impl Command for NoteDelivery {
    type Answer = ();

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<()> {
        let wait = world.waits.find(&self.session, &self.name);
        if !wait.is_some_and(|wait| wait.end.is_some() && !wait.is_done) {
            return Verdict::unchanged(());
        }
        let draft = Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: Actor::Gateway,
            event: Event::WaitDelivered(WaitDelivered { name: self.name.clone() }),
            bodies: Vec::new(),
        };
        Verdict { answer: (), drafts: vec![draft] }
    }
}
