//! Opening a session, by itself or on the way to a call.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, SessionId};
use crate::journal::{Draft, StreamId};
use crate::money::Nanodollars;
use crate::refusal::Refusal;
use crate::session::Origin;
use crate::session::event::Opened;
use crate::time::Timestamp;
use crate::world::World;

/// Opens the session, if it is not open yet.
#[derive(Debug, Clone)]
pub struct OpenSession {
    /// The session; its owner is who asks.
    pub session: SessionId,
    /// Whether the owner named it.
    pub origin: Origin,
    /// What may be spent in it in all.
    pub budget: Option<Nanodollars>,
}

impl Command for OpenSession {
    /// Whether it was opened by this.
    type Answer = Result<bool, Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        match world.session.enter(&self.session, self.origin) {
            Ok(found) => Verdict { answer: Ok(found.is_none()), drafts: opening(world, &self.session, self.budget) },
            Err(refusal) => Verdict::unchanged(Err(refusal)),
        }
    }
}

/// The entry that opens the session; none when it was opened before.
pub(super) fn opening(world: &World, session: &SessionId, budget: Option<Nanodollars>) -> Vec<Draft<Event>> {
    if world.session.find(session).is_some() {
        return Vec::new();
    }
    vec![Draft {
        stream: StreamId::Session(session.clone()),
        actor: Actor::Principal(session.owner.clone()),
        event: Event::SessionOpened(Opened { budget }),
        bodies: Vec::new(),
    }]
}
