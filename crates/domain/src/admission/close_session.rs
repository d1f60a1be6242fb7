//! Closing a session: it takes no more calls, and its record stays.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, PrincipalName, SessionId};
use crate::journal::{Draft, StreamId};
use crate::refusal::Refusal;
use crate::session::event::Closed;
use crate::session::state::{Status, not_found};
use crate::time::Timestamp;
use crate::world::World;

/// Closes the session; closing it again changes nothing.
#[derive(Debug, Clone)]
pub struct CloseSession {
    /// The session.
    pub session: SessionId,
    /// Who closes it: the owner or an administrator, which the shell has checked.
    pub by: PrincipalName,
}

impl Command for CloseSession {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        let drafts = match world.session.find(&self.session).map(|session| session.status) {
            None => return Verdict::unchanged(Err(not_found(&self.session.name))),
            Some(Status::Closed) => Vec::new(),
            Some(Status::Active | Status::Frozen) => vec![Draft {
                stream: StreamId::Session(self.session.clone()),
                actor: Actor::Principal(self.by.clone()),
                event: Event::SessionClosed(Closed {}),
                bodies: Vec::new(),
            }],
        };
        Verdict { answer: Ok(()), drafts }
    }
}
