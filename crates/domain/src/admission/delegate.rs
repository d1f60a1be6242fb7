//! Handing a task on: to the next agent, for less, for a shorter time, or with a budget of its own.

use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::is_held;
use crate::authority::Authority;
use crate::event::{Delegated, Event, TaskGrant};
use crate::grant::Grant;
use crate::ids::{CallId, PrincipalName, SessionId, TaskId};
use crate::journal::{Draft, StreamId};
use crate::ledger::Payer;
use crate::money::Nanodollars;
use crate::refusal::{Code, Refusal};
use crate::scope::Scope;
use crate::session::Origin;
use crate::session::state::not_found;
use crate::time::Timestamp;
use crate::world::World;

/// The parameter that a scope is refused by.
pub const SCOPE: &str = "scope";

/// Hands a task on. Whatever is asked for, what comes of it is within what was there.
#[derive(Debug, Clone)]
pub struct Delegate {
    /// On whose authority it is asked.
    pub authority: Authority,
    /// The session that the task belongs to.
    pub session: SessionId,
    /// The number of the token that will say so.
    pub token: CallId,
    /// Who acts next; none where the same agent goes on.
    pub to: Option<PrincipalName>,
    /// What it may be used for.
    pub scope: Option<Scope>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The end that was asked for, which holds for all that comes of the task, and for what is done later. Later than `expires_at` where a token can't last so long.
    pub until: Option<Timestamp>,
    /// What it may spend in all, on the account of that name.
    pub budget: Option<(TaskId, Nanodollars)>,
    /// What it may do, within what the task may do that it comes from.
    pub within: Option<Grant>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The authority of who acts next.
    pub authority: Authority,
    /// What it may spend in all, where that was asked for.
    pub budget: Option<Nanodollars>,
}

impl Command for Delegate {
    type Answer = Result<Delegation, Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        match self.narrowed(world, at) {
            Ok(delegation) => Verdict { drafts: vec![self.draft(&delegation)], answer: Ok(delegation) },
            Err(refusal) => Verdict::unchanged(Err(refusal)),
        }
    }
}

impl Delegate {
    fn narrowed(&self, world: &World, at: Timestamp) -> Result<Delegation, Refusal> {
        is_held(world, &self.authority, &self.session, at)?;
        world.session.enter(&self.session, Origin::Named)?.ok_or_else(|| not_found(&self.session.name))?;
        let mut authority = match &self.to {
            Some(agent) => self.authority.through(agent.clone())?,
            None => self.authority.clone(),
        };
        world.disabled.check(authority.chain(&self.session.owner))?;
        authority.scope = self.narrowed_scope()?;
        authority.expires_at =
            Some(self.authority.expires_at.map_or(self.expires_at, |expiry| expiry.min(self.expires_at)));
        authority.until = self.authority.until.into_iter().chain(self.until).min();
        let budget = match &self.budget {
            None => None,
            Some((task, wanted)) => {
                let payer = Payer { session: &self.session, task: self.authority.task.as_ref() };
                world.ledger.can_carve(payer).map_err(|problem| Refusal::new(Code::TooMany, problem))?;
                // Carved out of what there is, so that no task ever pays for itself.
                if payer.task.is_some_and(|parent| world.ledger.session_of(parent) != Some(payer.session)) {
                    return Err(Refusal::new(Code::NotFound, "there is no such task in this session"));
                }
                if world.ledger.session_of(task).is_some() {
                    return Err(Refusal::new(Code::Conflict, format!("there is a task `{task}` already")));
                }
                authority.task = Some(task.clone());
                Some((*wanted).min(world.ledger.available(payer)))
            }
        };
        // Those of the task that it comes from stay in force beside it, so that it can only be narrower.
        world.grants.layers(&self.session, self.authority.under)?;
        if self.within.is_some() {
            world.grants.check_tasks(&self.session)?;
            authority.under = Some(self.token);
        }
        Ok(Delegation { authority, budget })
    }

    fn narrowed_scope(&self) -> Result<Option<Scope>, Refusal> {
        match (&self.authority.scope, &self.scope) {
            (Some(present), Some(wanted)) => {
                let nothing = || Refusal::new(Code::Denied, "nothing of that scope is within the task's").about(SCOPE);
                present.within(wanted).map(Some).ok_or_else(nothing)
            }
            (present, wanted) => Ok(wanted.clone().or_else(|| present.clone())),
        }
    }

    fn draft(&self, delegation: &Delegation) -> Draft<Event> {
        let grant = |amount| {
            let task = delegation.authority.task.clone()?;
            Some(TaskGrant { task, parent: self.authority.task.clone(), amount })
        };
        let event = Delegated {
            token: self.token,
            authority: self.authority.clone(),
            to: self.to.clone(),
            scope: delegation.authority.scope.clone(),
            expires_at: delegation.authority.expires_at.unwrap_or(self.expires_at),
            until: delegation.authority.until,
            grant: delegation.budget.and_then(grant),
            within: self.within.clone(),
        };
        Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: self.authority.actor(&self.session.owner),
            event: Event::Delegated(event),
            bodies: Vec::new(),
        }
    }
}
