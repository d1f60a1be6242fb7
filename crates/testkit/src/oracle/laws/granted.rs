//! What was used of the grants of sessions and tasks.

use std::collections::HashMap;

use portcullis_domain::event::Outcome;
use portcullis_domain::grant::{Entry, Grant};
use portcullis_domain::ids::{CallId, SessionId};
use portcullis_domain::policy::event::Use;

/// What was used under a name, of the grants of a session or of one of its tasks.
type Name = (SessionId, Option<CallId>, String);

/// The grants, reckoned by themselves.
#[derive(Debug, Default)]
pub(super) struct Granted {
    pub(super) stacks: HashMap<SessionId, Vec<Grant>>,
    tasks: HashMap<(SessionId, CallId), (Option<CallId>, Grant)>,
    calls: HashMap<Name, i128>,
    sums: HashMap<(Name, String), i128>,
    pub(super) open: HashMap<CallId, (SessionId, Vec<Use>)>,
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

    pub(super) fn add(&mut self, session: &SessionId, one: &Use, sign: i128) {
        let name = (session.clone(), one.task, one.entry.clone());
        *self.calls.entry(name.clone()).or_default() += sign;
        for (argument, number) in &one.sums {
            *self.sums.entry((name.clone(), argument.clone())).or_default() += sign * i128::from(number.0);
        }
    }

    /// The grants that apply, each with the task that it is of.
    pub(super) fn layers(&self, session: &SessionId, task: Option<CallId>) -> Option<Vec<(Option<CallId>, Grant)>> {
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
    pub(super) fn excess(&self, session: &SessionId, one: &Use, entry: &Entry) -> Option<String> {
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
