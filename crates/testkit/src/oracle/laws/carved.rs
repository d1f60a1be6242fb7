//! What tasks with a budget have held and spent.

use std::collections::HashMap;

use portcullis_domain::ids::{SessionId, TaskId};
use portcullis_domain::ledger::Account;

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
    /// Takes in a task; whether there was none of that name.
    pub(super) fn carved(&mut self, session: &SessionId, task: &TaskId, parent: Option<&TaskId>) -> bool {
        let carved = Task { session: session.clone(), parent: parent.cloned(), held: 0, spent: 0 };
        self.tasks.insert(task.clone(), carved).is_none()
    }

    /// Whether it is a task of that session.
    pub(super) fn is_of(&self, task: &TaskId, session: &SessionId) -> bool {
        self.tasks.get(task).is_some_and(|task| task.session == *session)
    }

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
