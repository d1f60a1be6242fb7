//! Freezing a session and letting it go on.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, SessionId};
use crate::journal::{Draft, StreamId};
use crate::refusal::{Code, Refusal};
use crate::session::event::{Frozen, Unfrozen};
use crate::session::state::{Status, not_found};
use crate::time::Timestamp;
use crate::world::World;

/// Freezes a session or lets it go on; doing so again changes nothing.
#[derive(Debug, Clone)]
pub struct Freeze {
    /// The session.
    pub session: SessionId,
    /// Who says so: its owner or an administrator, which the shell has checked.
    pub by: Actor,
    /// Why it is frozen; none to let it go on.
    pub reason: Option<String>,
}

impl Command for Freeze {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        let event = match (world.session.find(&self.session).map(|session| session.status), &self.reason) {
            (None, _) => return Verdict::unchanged(Err(not_found(&self.session.name))),
            (Some(Status::Closed), _) => {
                let message = format!("session `{}` is closed", self.session.name);
                return Verdict::unchanged(Err(Refusal::new(Code::SessionClosed, message)));
            }
            (Some(Status::Active), Some(reason)) => Event::SessionFrozen(Frozen { reason: reason.clone() }),
            (Some(Status::Frozen), None) => Event::SessionUnfrozen(Unfrozen {}),
            (Some(Status::Frozen), Some(_)) | (Some(Status::Active), None) => return Verdict::unchanged(Ok(())),
        };
        let stream = StreamId::Session(self.session.clone());
        Verdict { answer: Ok(()), drafts: vec![Draft { stream, actor: self.by.clone(), event, bodies: Vec::new() }] }
    }
}
