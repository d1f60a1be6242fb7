//! Opening a session, by itself or on the way to a call.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, KeyId, SessionId};
use crate::journal::{Draft, StreamId};
use crate::money::Nanodollars;
use crate::refusal::{Code, Refusal};
use crate::session::Origin;
use crate::session::event::Opened;
use crate::time::Timestamp;
use crate::world::World;

/// Opens the session, if it is not open yet.
#[derive(Debug, Clone)]
pub struct OpenSession {
    /// The key that was presented, by which the owner was recognised.
    pub presented: KeyId,
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

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        let entered = is_held(world, &self.presented, &self.session, at)
            .and_then(|()| world.session.enter(&self.session, self.origin));
        match entered {
            Ok(found) => Verdict { answer: Ok(found.is_none()), drafts: opening(world, &self.session, self.budget) },
            Err(refusal) => Verdict::unchanged(Err(refusal)),
        }
    }
}

/// The door has recognised the key already, from a copy that may be older than its revocation; here is the truth.
pub(super) fn is_held(world: &World, presented: &KeyId, session: &SessionId, at: Timestamp) -> Result<(), Refusal> {
    let key = world.identity.find(presented).filter(|key| key.is_live(at) && key.principal == session.owner);
    key.map(|_| ()).ok_or_else(|| Refusal::new(Code::Unauthenticated, "the key is not valid any more"))
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
