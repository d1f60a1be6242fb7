//! No more news are wanted at a place.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, SessionId};
use crate::journal::{Draft, StreamId};
use crate::session::event::PushClosed;
use crate::session::push::PushName;
use crate::time::Timestamp;
use crate::world::World;

/// Closes a place for news; one that there is not, or no more, changes nothing. Who sends news has taken the place, whatever else is known of the call that asked for it.
#[derive(Debug, Clone)]
pub struct ClosePush {
    /// The session.
    pub session: SessionId,
    /// The place.
    pub push: PushName,
    /// Whether it stays open where the agent has taken it.
    pub unless_bound: bool,
}

impl Command for ClosePush {
    type Answer = ();

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<()> {
        let push = world.pushes.find(&self.session, &self.push);
        if push.is_none_or(|push| self.unless_bound && push.is_bound) {
            return Verdict::unchanged(());
        }
        let draft = Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: Actor::Gateway,
            event: Event::PushClosed(PushClosed { push: self.push.clone() }),
            bodies: Vec::new(),
        };
        Verdict { answer: (), drafts: vec![draft] }
    }
}
