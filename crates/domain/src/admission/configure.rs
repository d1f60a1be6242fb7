//! Taking in what the configuration says: which policies are in force and what principals may spend.

use std::collections::BTreeMap;

use crate::admission::command::{Command, Verdict};
use crate::digest::Digest;
use crate::event::Event;
use crate::ids::{Actor, PrincipalName};
use crate::journal::{Body, Draft, StreamId};
use crate::ledger::Account;
use crate::ledger::event::Granted;
use crate::money::Nanodollars;
use crate::policy::Version;
use crate::policy::event::{Activated, RolledForward};
use crate::time::Timestamp;
use crate::world::World;

/// Policies that are to be in force.
#[derive(Debug, Clone)]
pub struct Activation {
    /// What the journal says of them.
    pub event: Activated,
    /// The rules as text.
    pub text: Body,
    /// All that the version is the digest of, so that the same can be asked of the same rules later.
    pub made_of: Option<Body>,
}

impl Activation {
    /// One rule of that version and text, that is applied.
    #[must_use]
    pub fn of(version: Version, text: Body) -> Self {
        Self { event: Activated { version, policies: 1, is_audit: false, rules: None }, text, made_of: None }
    }

    /// The entry, where others are in force.
    pub(super) fn draft(&self, world: &World, by: &Actor) -> Option<Draft<Event>> {
        let is_other = world.policy.version != Some(self.event.version);
        let bodies = || std::iter::once(&self.text).chain(&self.made_of).cloned().collect();
        is_other.then(|| control(by, Event::PolicyActivated(self.event.clone()), bodies()))
    }
}

/// Journals the differences between what is in force and what should be. Without differences it changes nothing.
#[derive(Debug, Clone)]
pub struct Configure {
    /// The policies, whether from the files or put back.
    pub policies: Activation,
    /// The digest of the rules that stand in the files; none where nobody rolls anything back.
    pub written: Option<Digest>,
    /// What each principal may spend in all; those that are not named have no limit.
    pub budgets: BTreeMap<PrincipalName, Nanodollars>,
}

impl Command for Configure {
    /// Whether it was done. It is not where somebody has put rules back, or has taken that back, since these policies were made: they must be made anew.
    type Answer = bool;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<bool> {
        let by = &Actor::Gateway;
        let mut drafts = Vec::new();
        if let Some(written) = self.written {
            if self.policies.event.rules != Some(world.policy.counting(written)) {
                return Verdict::unchanged(false);
            }
            // What was put back counts until the files say something else.
            let has_ended = world.policy.put_back.as_ref().is_some_and(|put_back| put_back.instead_of != written);
            let forward = || RolledForward { rules: written, replaced: world.policy.version, reason: String::new() };
            drafts.extend(has_ended.then(|| control(by, Event::PolicyRolledForward(forward()), Vec::new())));
        }
        drafts.extend(self.policies.draft(world, by));
        drafts.extend(self.grants(world).into_iter().map(|granted| control(by, Event::Granted(granted), Vec::new())));
        Verdict { answer: true, drafts }
    }
}

impl Configure {
    fn grants(&self, world: &World) -> Vec<Granted> {
        let wanted = |name: &PrincipalName| self.budgets.get(name).copied();
        let mut principals: Vec<PrincipalName> = self.budgets.keys().cloned().collect();
        for (account, balance) in world.ledger.balances() {
            if let Account::Principal(name) = account
                && balance.granted.is_some()
                && !self.budgets.contains_key(name)
            {
                principals.push(name.clone());
            }
        }
        let granted = |name: PrincipalName| Granted { amount: wanted(&name), account: Account::Principal(name) };
        let differs = |event: &Granted| world.ledger.balance(&event.account).granted != event.amount;
        principals.into_iter().map(granted).filter(differs).collect()
    }
}

pub(super) fn control(by: &Actor, event: Event, bodies: Vec<Body>) -> Draft<Event> {
    Draft { stream: StreamId::Control, actor: by.clone(), event, bodies }
}
