//! Putting rules of before back in force, and taking that back.

use crate::admission::command::{Command, Verdict};
use crate::admission::configure::{Activation, control};
use crate::digest::Digest;
use crate::event::Event;
use crate::ids::Actor;
use crate::policy::Version;
use crate::policy::event::{RolledBack, RolledForward};
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;
use crate::world::World;

/// Puts rules of before in force instead of those that stand in the files.
#[derive(Debug, Clone)]
pub struct RollBack {
    /// Who wants it: an administrator, which the shell has checked.
    pub by: Actor,
    /// What the journal says of it.
    pub event: RolledBack,
    /// The rules with the principals and tools of today.
    pub policies: Activation,
}

impl Command for RollBack {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        let put_back = world.policy.put_back.as_ref();
        let is_as_known = put_back.is_none_or(|put_back| put_back.instead_of == self.event.instead_of);
        if world.policy.version != Some(self.event.replaced) || !is_as_known {
            return Verdict::unchanged(Err(overtaken()));
        }
        let back = control(&self.by, Event::PolicyRolledBack(self.event.clone()), Vec::new());
        let drafts = std::iter::once(back).chain(self.policies.draft(world, &self.by)).collect();
        Verdict { answer: Ok(()), drafts }
    }
}

/// Puts the rules in force again that stand in the files.
#[derive(Debug, Clone)]
pub struct RollForward {
    /// Who wants it: an administrator, which the shell has checked.
    pub by: Actor,
    /// Why, for the record.
    pub reason: String,
    /// What is in force, as far as whoever wants it knows.
    pub replaced: Version,
    /// The digest of what the files say.
    pub written: Digest,
    /// What they say.
    pub policies: Activation,
}

impl Command for RollForward {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        if world.policy.put_back.is_none() || world.policy.version != Some(self.replaced) {
            return Verdict::unchanged(Err(overtaken()));
        }
        let (rules, reason) = (self.written, self.reason.clone());
        let event = RolledForward { rules, replaced: Some(self.replaced), reason };
        let forward = control(&self.by, Event::PolicyRolledForward(event), Vec::new());
        let drafts = std::iter::once(forward).chain(self.policies.draft(world, &self.by)).collect();
        Verdict { answer: Ok(()), drafts }
    }
}

fn overtaken() -> Refusal {
    let message = "the policies have changed meanwhile; look which are in force and try again if it is still needed";
    Refusal::new(Code::Conflict, message)
}
