//! What sessions and tasks are granted, and what was used of it.

use std::collections::HashMap;

use portcullis_domain::event::Event;
use portcullis_domain::event::{CallAdmitted, Outcome};
use portcullis_domain::grant::{Entry, Grant};
use portcullis_domain::ids::{Actor, CallId, SessionId};
use portcullis_domain::journal::Entry as Written;
use portcullis_domain::policy::event::{GrantChange, GrantSet, Use};

use super::Laws;

/// What was used under a name, of the grants of a session or of one of its tasks.
type Name = (SessionId, Option<CallId>, String);

/// The grants, reckoned by themselves.
#[derive(Debug, Default)]
pub(super) struct Granted {
    stacks: HashMap<SessionId, Vec<Grant>>,
    tasks: HashMap<(SessionId, CallId), (Option<CallId>, Grant)>,
    calls: HashMap<Name, i128>,
    sums: HashMap<(Name, String), i128>,
    open: HashMap<CallId, (SessionId, Vec<Use>)>,
}

impl Granted {
    pub(super) fn handed_on(&mut self, session: &SessionId, token: CallId, parent: Option<CallId>, grant: &Grant) {
        self.tasks.insert((session.clone(), token), (parent, grant.clone()));
    }

    /// What certainly had no effect is given back.
    pub(super) fn ended(&mut self, call: CallId, outcome: Outcome) {
        match outcome {
            Outcome::Failed => {
                if let Some((session, uses)) = self.open.remove(&call) {
                    uses.iter().for_each(|one| self.add(&session, one, -1));
                }
            }
            Outcome::Completed => drop(self.open.remove(&call)),
            Outcome::Aborted | Outcome::Unknown => {}
        }
    }

    fn add(&mut self, session: &SessionId, one: &Use, sign: i128) {
        let name = (session.clone(), one.task, one.entry.clone());
        *self.calls.entry(name.clone()).or_default() += sign;
        for (argument, number) in &one.sums {
            *self.sums.entry((name.clone(), argument.clone())).or_default() += sign * i128::from(number.0);
        }
    }

    /// The grants that apply, each with the task that it is of.
    fn layers(&self, session: &SessionId, task: Option<CallId>) -> Option<Vec<(Option<CallId>, Grant)>> {
        let stack = self.stacks.get(session).into_iter().flatten();
        let mut layers: Vec<_> = stack.map(|grant| (None, grant.clone())).collect();
        let mut next = task;
        while let Some(id) = next {
            let (parent, grant) = self.tasks.get(&(session.clone(), id))?;
            layers.push((Some(id), grant.clone()));
            next = *parent;
        }
        Some(layers)
    }

    /// What is wrong with the use, once it was counted, by one entry that it names.
    fn excess(&self, session: &SessionId, one: &Use, entry: &Entry) -> Option<String> {
        let name = (session.clone(), one.task, one.entry.clone());
        let calls = self.calls.get(&name).copied().unwrap_or_default();
        if entry.calls.is_some_and(|limit| calls > i128::from(limit)) {
            return Some(format!("{calls} calls of `{}`, which are more than were granted", one.entry));
        }
        entry.in_all.iter().find_map(|(argument, limit)| {
            let Some(number) = one.sums.get(argument).filter(|number| number.0 >= 0) else {
                return Some(format!("`{argument}` of `{}` was not counted", one.entry));
            };
            let sum = self.sums.get(&(name.clone(), argument.clone())).copied().unwrap_or_default();
            let is_over = sum > i128::from(limit.0);
            is_over.then(|| format!("{number} more for `{argument}` of `{}` than the {limit} in all allow", one.entry))
        })
    }
}

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
