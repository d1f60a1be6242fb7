//! Tasks that were handed on, and what they may spend.

use std::collections::HashMap;

use portcullis_domain::authority::DEPTH_LIMIT;
use portcullis_domain::event::{Delegated, Event};
use portcullis_domain::ids::{SessionId, TaskId};
use portcullis_domain::journal::{Entry, StreamId};
use portcullis_domain::ledger::Account;
use portcullis_domain::session::Status;

use super::{Fate, Laws, room, shown};

/// The tasks that have a budget, reckoned by themselves.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    tasks: HashMap<TaskId, Task>,
}

#[derive(Debug)]
struct Task {
    session: SessionId,
    parent: Option<TaskId>,
    held: u64,
    spent: u64,
}

impl Tasks {
    /// The accounts that bear a call.
    pub(super) fn path(&self, session: &SessionId, task: Option<&TaskId>) -> Vec<Account> {
        let mut path = Account::path(session).to_vec();
        let tasks: Vec<&TaskId> = self.of(task).collect();
        path.extend(tasks.into_iter().rev().cloned().map(Account::Task));
        path
    }

    /// The task and those that it was carved out of. A parent is always the older one, so that there is an end.
    fn of<'a>(&'a self, task: Option<&'a TaskId>) -> impl Iterator<Item = &'a TaskId> {
        std::iter::successors(task, |task| self.tasks.get(*task)?.parent.as_ref())
    }

    pub(super) fn held(&mut self, session: &SessionId, task: Option<&TaskId>, hold: u64) {
        self.each(session, task, |task| task.held += hold);
    }

    pub(super) fn settled(&mut self, session: &SessionId, task: Option<&TaskId>, hold: u64, charged: u64) {
        self.each(session, task, |task| {
            task.held = task.held.saturating_sub(hold);
            task.spent += charged;
        });
    }

    fn each(&mut self, session: &SessionId, task: Option<&TaskId>, change: impl Fn(&mut Task)) {
        let of: Vec<TaskId> = self.of(task).cloned().collect();
        for task in of {
            if let Some(task) = self.tasks.get_mut(&task).filter(|task| task.session == *session) {
                change(task);
            }
        }
    }

    /// What every task has held and spent.
    pub(super) fn used(&self) -> impl Iterator<Item = (Account, u64, u64)> {
        self.tasks.iter().map(|(id, task)| (Account::Task(id.clone()), task.held, task.spent))
    }
}

impl Laws {
    /// A task is handed on within what it was: no further, for no longer, and for no more money.
    pub(super) fn delegated(&mut self, session: &SessionId, event: &Delegated, entry: &Entry<Event>) {
        let Delegated { token, authority, to, scope, expires_at, grant } = event;
        self.is_now(session, Status::Active);
        self.must(entry.actor == authority.actor(&session.owner), || format!("token {token} is blamed on another one"));
        self.must(self.world.disabled.check(authority.chain(&session.owner)).is_ok(), || {
            format!("token {token} is for a chain with somebody on it who is disabled")
        });
        let depth = authority.through.len() + to.iter().len();
        self.must(depth <= DEPTH_LIMIT, || format!("token {token} is for a chain of {depth}"));
        let is_in_time = authority.expires_at.is_none_or(|expiry| *expires_at <= expiry && entry.at < expiry);
        self.must(is_in_time, || format!("token {token} outlives the one that it comes from"));
        let is_narrower = match (&authority.scope, scope) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(present), Some(scope)) => present.within(scope).as_ref() == Some(scope),
        };
        self.must(is_narrower, || format!("token {token} is for more than the one that it comes from"));
        let Some(grant) = grant else { return };
        self.must(grant.parent == authority.task, || format!("`{}` is carved out of another budget", grant.task));
        for account in self.tasks.path(session, grant.parent.as_ref()) {
            let left = room(&self.world.ledger.balance(&account));
            self.must(grant.amount.nanos() <= left, || {
                format!("`{}` gets {}, and `{account}` has {} left", grant.task, grant.amount, shown(left))
            });
        }
        let is_here = grant
            .parent
            .as_ref()
            .is_none_or(|parent| self.tasks.tasks.get(parent).is_some_and(|task| task.session == *session));
        self.must(is_here, || format!("`{}` is carved out of what is not of this session", grant.task));
        let task = Task { session: session.clone(), parent: grant.parent.clone(), held: 0, spent: 0 };
        let is_new = self.tasks.tasks.insert(grant.task.clone(), task).is_none();
        self.must(is_new, || format!("there was a task `{}` before", grant.task));
    }

    /// The accounts whose balances the entry changes.
    pub(super) fn accounts(&self, entry: &Entry<Event>) -> Vec<Account> {
        let StreamId::Session(session) = &entry.stream else {
            return if let Event::Granted(event) = &entry.event { vec![event.account.clone()] } else { Vec::new() };
        };
        if let Event::Granted(event) = &entry.event {
            vec![event.account.clone()]
        } else if let Event::CallAdmitted(event) = &entry.event {
            self.tasks.path(session, event.authority.task.as_ref())
        } else if let Event::CallSettled(event) = &entry.event {
            let open = self.calls.get(&event.call);
            let task = open.and_then(|fate| if let Fate::Open { task, .. } = fate { task.as_ref() } else { None });
            self.tasks.path(session, task)
        } else {
            Vec::new()
        }
    }
}
