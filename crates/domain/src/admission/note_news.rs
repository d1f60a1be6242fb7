//! A client has accepted news.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, SessionId};
use crate::journal::{Draft, StreamId};
use crate::session::event::NewsDelivered;
use crate::session::push::PushName;
use crate::time::Timestamp;
use crate::world::World;

/// Notes that these news need not be told any more; what is noted already changes nothing.
#[derive(Debug, Clone)]
pub struct NoteNews {
    /// The session.
    pub session: SessionId,
    /// The place.
    pub push: PushName,
    /// The entry with which the news came.
    pub seq: u64,
}

impl Command for NoteNews {
    type Answer = ();

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<()> {
        let push = world.pushes.find(&self.session, &self.push);
        if !push.is_some_and(|push| push.waiting.contains(&self.seq)) {
            return Verdict::unchanged(());
        }
        let draft = Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: Actor::Gateway,
            event: Event::NewsDelivered(NewsDelivered { push: self.push.clone(), seq: self.seq }),
            bodies: Vec::new(),
        };
        Verdict { answer: (), drafts: vec![draft] }
    }
}
