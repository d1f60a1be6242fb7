//! Lifting a label of a session.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, LabelName, SessionId};
use crate::journal::{Draft, StreamId};
use crate::refusal::{Code, Refusal};
use crate::session::event::LabelLifted;
use crate::session::state::not_found;
use crate::time::Timestamp;
use crate::world::World;

/// Lifts a label: somebody has looked at what came into the session, and vouches for it.
#[derive(Debug, Clone)]
pub struct LiftLabel {
    /// The session.
    pub session: SessionId,
    /// Who says so: an administrator, which the shell has checked.
    pub by: Actor,
    /// The label.
    pub label: LabelName,
    /// Why.
    pub reason: String,
}

impl Command for LiftLabel {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        let Some(session) = world.session.find(&self.session) else {
            return Verdict::unchanged(Err(not_found(&self.session.name)));
        };
        if !session.labels.contains(&self.label) {
            let message = format!("session `{}` has no label `{}`", self.session.name, self.label);
            return Verdict::unchanged(Err(Refusal::new(Code::NotFound, message)));
        }
        let event = Event::LabelLifted(LabelLifted { label: self.label.clone(), reason: self.reason.clone() });
        let stream = StreamId::Session(self.session.clone());
        Verdict { answer: Ok(()), drafts: vec![Draft { stream, actor: self.by.clone(), event, bodies: Vec::new() }] }
    }
}
