//! Narrowing and widening what may be done in a session.

use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::is_held_by;
use crate::authority::Authority;
use crate::event::Event;
use crate::grant::{Grant, GrantVersion};
use crate::ids::{PrincipalName, SessionId};
use crate::journal::{Draft, StreamId};
use crate::policy::event::{GrantChange, GrantSet};
use crate::policy::grants::version;
use crate::refusal::{Code, Refusal};
use crate::session::Origin;
use crate::session::state::not_found;
use crate::time::Timestamp;
use crate::world::World;

/// Puts a grant on those of a session, or in their place. Through an agent nobody does either.
#[derive(Debug, Clone)]
pub struct SetGrant {
    /// On whose authority it is asked.
    pub authority: Authority,
    /// Who asks.
    pub by: PrincipalName,
    /// The session.
    pub session: SessionId,
    /// The grant.
    pub grant: Grant,
    /// Whether it takes the place of those that there are. Otherwise a call must be within all of them.
    pub is_wider: bool,
    /// The number that the session's grants must have.
    pub expected: Option<u64>,
}

impl Command for SetGrant {
    /// What is in force then.
    type Answer = Result<GrantVersion, Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        let change = match self.change(world, at) {
            Ok(change) => change,
            Err(refusal) => return Verdict::unchanged(Err(refusal)),
        };
        let event = GrantSet {
            number: world.grants.number(&self.session).saturating_add(1),
            change,
            grant: self.grant.clone(),
        };
        let mut grants = world.grants.clone_of(&self.session);
        grants.set(&self.session, &event);
        let layers = grants.layers(&self.session, None).unwrap_or_default();
        let draft = Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: self.authority.actor(&self.by),
            bodies: Vec::new(),
            event: Event::GrantSet(event.clone()),
        };
        Verdict { answer: Ok(version(event.number, &layers)), drafts: vec![draft] }
    }
}

impl SetGrant {
    fn change(&self, world: &World, at: Timestamp) -> Result<GrantChange, Refusal> {
        is_held_by(world, &self.authority, &self.by, at)?;
        if !self.authority.through.is_empty() {
            return Err(Refusal::new(
                Code::Forbidden,
                "the grant of a session is changed by a person, and not through an agent",
            ));
        }
        world.session.enter(&self.session, Origin::Named)?.ok_or_else(|| not_found(&self.session.name))?;
        let number = world.grants.number(&self.session);
        if let Some(expected) = self.expected.filter(|expected| *expected != number) {
            let message = format!("the grants of the session have number {number}, and not {expected}");
            return Err(Refusal::new(Code::Conflict, message));
        }
        match (world.grants.stack(&self.session).is_empty(), self.is_wider) {
            (true, _) => Ok(GrantChange::Given),
            (false, true) => Ok(GrantChange::Widened),
            (false, false) => world.grants.check_stack(&self.session).map(|()| GrantChange::Narrowed),
        }
    }
}
