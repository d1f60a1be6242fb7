//! A person has found out what became of a call.

use crate::admission::command::{Command, Verdict};
use crate::event::{CallResolved, Event, Outcome};
use crate::ids::{Actor, CallId, PrincipalName, SessionId};
use crate::journal::{Body, Draft, StreamId};
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;
use crate::world::World;

/// Says of a call whose outcome is unknown that it took effect or that it did not.
#[derive(Debug, Clone)]
pub struct ResolveCall {
    /// The session of the call.
    pub session: SessionId,
    /// The call.
    pub call: CallId,
    /// Who says so.
    pub by: PrincipalName,
    /// What the tool would have answered; none when the call took no effect.
    pub result: Option<Body>,
}

impl Command for ResolveCall {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        let session = world.session.find(&self.session);
        if session.and_then(|session| session.once.unknown(self.call)).is_none() {
            let message = format!("there is no call {} of this session whose outcome is unknown", self.call);
            return Verdict::unchanged(Err(Refusal::new(Code::NotFound, message)));
        }
        let outcome = if self.result.is_some() { Outcome::Completed } else { Outcome::Failed };
        let draft = Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: Actor::Principal(self.by.clone()),
            event: Event::CallResolved(CallResolved { call: self.call, outcome }),
            bodies: self.result.iter().cloned().collect(),
        };
        Verdict { answer: Ok(()), drafts: vec![draft] }
    }
}
