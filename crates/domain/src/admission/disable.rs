//! Disabling a principal and letting it act again.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::identity::event::{PrincipalDisabled, PrincipalEnabled};
use crate::ids::{Actor, PrincipalName};
use crate::journal::{Draft, StreamId};
use crate::refusal::Refusal;
use crate::time::Timestamp;
use crate::world::World;

/// Disables a principal or lets it act again; doing so again changes nothing. One that nobody knows yet can be disabled too.
#[derive(Debug, Clone)]
pub struct Disable {
    /// Who says so: an administrator, which the shell has checked.
    pub by: Actor,
    /// Whom.
    pub principal: PrincipalName,
    /// Why; none to let it act again.
    pub reason: Option<String>,
}

impl Command for Disable {
    /// Whether this changed it.
    type Answer = Result<bool, Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        let principal = self.principal.clone();
        let event = match (world.disabled.since(&principal), &self.reason) {
            (None, Some(reason)) => Event::PrincipalDisabled(PrincipalDisabled { principal, reason: reason.clone() }),
            (Some(_), None) => Event::PrincipalEnabled(PrincipalEnabled { principal }),
            (Some(_), Some(_)) | (None, None) => return Verdict::unchanged(Ok(false)),
        };
        let draft = Draft { stream: StreamId::Control, actor: self.by.clone(), event, bodies: Vec::new() };
        Verdict { answer: Ok(true), drafts: vec![draft] }
    }
}
