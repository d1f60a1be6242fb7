//! Taking in what the configuration says: which policies are in force and what principals may spend.

use std::collections::BTreeMap;

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, PrincipalName};
use crate::journal::{Body, Draft, StreamId};
use crate::ledger::Account;
use crate::ledger::event::Granted;
use crate::money::Nanodollars;
use crate::policy::Version;
use crate::policy::event::Activated;
use crate::time::Timestamp;
use crate::world::World;

/// Journals the differences between what is in force and what should be. Without differences it changes nothing.
#[derive(Debug, Clone)]
pub struct Configure {
    /// The version of rules, schema and principals.
    pub policy_version: Version,
    /// How many rules there are.
    pub policies: u32,
    /// Whether they are all on trial.
    pub is_audit: bool,
    /// The rules as text.
    pub policy_text: Body,
    /// All that the version is the digest of, so that the same can be asked of the same rules later.
    pub made_of: Option<Body>,
    /// What each principal may spend in all; those that are not named have no limit.
    pub budgets: BTreeMap<PrincipalName, Nanodollars>,
}

impl Command for Configure {
    type Answer = ();

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<()> {
        let mut drafts = Vec::new();
        if world.policy.version != Some(self.policy_version) {
            let event = Activated { version: self.policy_version, policies: self.policies, is_audit: self.is_audit };
            drafts.push(control(
                Event::PolicyActivated(event),
                std::iter::once(&self.policy_text).chain(&self.made_of).cloned().collect(),
            ));
        }
        drafts.extend(self.grants(world).into_iter().map(|granted| control(Event::Granted(granted), Vec::new())));
        Verdict { answer: (), drafts }
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

fn control(event: Event, bodies: Vec<Body>) -> Draft<Event> {
    Draft { stream: StreamId::Control, actor: Actor::Gateway, event, bodies }
}
