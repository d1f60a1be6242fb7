//! What sessions and tasks are granted: by whom, and that no call goes beyond it.

use portcullis_domain::event::{CallAdmitted, Event};
use portcullis_domain::grant::Entry;
use portcullis_domain::ids::{Actor, SessionId};
use portcullis_domain::journal::Entry as Written;
use portcullis_domain::policy::event::{GrantChange, GrantSet, Use};

use super::Laws;

impl Laws {
    /// Grants are numbered, and changed by no agent.
    pub(super) fn grant_set(&mut self, session: &SessionId, event: &GrantSet, entry: &Written<Event>) {
        self.must(!matches!(entry.actor, Actor::Through { .. } | Actor::Gateway), || {
            "a grant was changed by another than a person".to_owned()
        });
        let stack = self.grants.stacks.entry(session.clone()).or_default();
        let is_first = stack.is_empty();
        if event.change != GrantChange::Narrowed {
            stack.clear();
        }
        stack.push(event.grant.clone());
        let before = self.world.grants.number(session);
        self.must(event.number == before + 1, || format!("grant {} after {before}", event.number));
        self.must(is_first == (event.change == GrantChange::Given), || {
            format!("the grant was {:?}, and is the first one: {is_first}", event.change)
        });
    }

    /// A call is within every grant of its task, and what it uses of each is there.
    pub(super) fn call_is_granted(&mut self, session: &SessionId, event: &CallAdmitted) {
        let call = event.call;
        let Some(layers) = self.grants.layers(session, event.authority.under) else {
            return self.problems.push(format!("call {call} is of a task that was never handed on"));
        };
        let Some(counted) = &event.grant else {
            return self.must(layers.is_empty(), || format!("call {call} was not held against the grant of its task"));
        };
        let number = self.world.grants.number(session);
        self.must(counted.version.number == number, || {
            format!("call {call} was judged by grant {}, and {number} was in force", counted.version.number)
        });
        counted.uses.iter().for_each(|one| self.grants.add(session, one, 1));
        self.grants.open.insert(call, (session.clone(), counted.uses.clone()));
        let written = event.capability.to_string();
        for (task, grant) in &layers {
            let fits = |one: &Use, entry: &Entry| {
                one.task == *task && entry.counted_as() == one.entry && entry.capability.covers(&written)
            };
            let fitting = counted.uses.iter().flat_map(|one| grant.entries().iter().map(move |entry| (one, entry)));
            let mut excesses = fitting
                .filter(|(one, entry)| fits(one, entry))
                .map(|(one, entry)| self.grants.excess(session, one, entry));
            let first = excesses.next();
            let is_within = first == Some(None) || excesses.any(|excess| excess.is_none());
            drop(excesses);
            self.must(is_within, || match first.flatten() {
                Some(excess) => format!("call {call} is {excess}"),
                None => format!("call {call} is not within a grant of its task"),
            });
        }
    }
}
