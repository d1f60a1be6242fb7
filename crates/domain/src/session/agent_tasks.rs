//! Tasks that calls of agents have left behind and that go on: whose they are, so that they can be stopped when nobody may act for them any more.
//!
//! A task is noted when the call that has made it ends before the task does, and is forgotten once it is heard that the task is over. Whose chain ends while a task goes on, as by the
//! kill switch, has it *halted*, and so has the agent that does it: it is to be cancelled, whoever may act again later.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::call::Capability;
use crate::ids::{PrincipalName, SessionId};
use crate::session::event::TaskLeft;

/// The most tasks of one principal that are known. Of more the oldest are forgotten, and are not stopped.
pub const OPEN_LIMIT: usize = 1_024;
/// How often it is tried to cancel one.
pub const ATTEMPTS_LIMIT: u8 = 10;
/// The longest id of a task that is noted, in bytes.
pub const ID_LIMIT_BYTES: usize = 1_024;

/// Which task it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AgentTask {
    /// The session that it belongs to.
    pub session: SessionId,
    /// The agent.
    pub agent: Capability,
    /// What the agent calls it.
    pub id: String,
}

/// A task that goes on, as far as anybody has heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTask {
    /// Which.
    pub task: AgentTask,
    /// On whose authority it was begun.
    pub authority: Authority,
    /// The principal that does it, where that was noted.
    pub callee: Option<PrincipalName>,
    /// Whether it is to be cancelled.
    pub is_halted: bool,
    /// How often that was tried.
    pub attempts: u8,
}

/// The tasks of all principals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentTasks {
    /// By owner, in the order in which they were left.
    owners: BTreeMap<PrincipalName, Vec<OpenTask>>,
    /// Those that are to be cancelled.
    halted: BTreeSet<AgentTask>,
}

impl OpenTask {
    /// Whether it is begun by this principal, through it, or done by it.
    #[must_use]
    pub fn concerns(&self, principal: &PrincipalName) -> bool {
        let chain = self.authority.chain(&self.task.session.owner);
        chain.principals().chain(&self.callee).any(|part| part == principal)
    }
}

impl AgentTasks {
    /// A task that goes on.
    #[must_use]
    pub fn find(&self, task: &AgentTask) -> Option<&OpenTask> {
        self.owners.get(&task.session.owner)?.iter().find(|open| open.task == *task)
    }

    /// Those that are to be cancelled.
    pub fn halted(&self) -> impl Iterator<Item = &AgentTask> {
        self.halted.iter()
    }

    /// Takes in that a call has left a task behind; `is_halted` if nobody may act for it already.
    pub fn left(&mut self, session: &SessionId, event: &TaskLeft, is_halted: bool) {
        let task = AgentTask { session: session.clone(), agent: event.agent.clone(), id: event.task.clone() };
        if self.find(&task).is_some() {
            return;
        }
        if is_halted {
            self.halted.insert(task.clone());
        }
        let of_owner = self.owners.entry(session.owner.clone()).or_default();
        of_owner.push(OpenTask {
            task,
            authority: event.authority.clone(),
            callee: event.callee.clone(),
            is_halted,
            attempts: 0,
        });
        if of_owner.len() > OPEN_LIMIT {
            let oldest = of_owner.remove(0);
            self.halted.remove(&oldest.task);
        }
    }

    /// Takes in that such ones may not go on any more.
    pub fn halt(&mut self, is_halted: impl Fn(&OpenTask) -> bool) {
        for open in self.owners.values_mut().flatten() {
            if is_halted(open) {
                open.is_halted = true;
                self.halted.insert(open.task.clone());
            }
        }
    }

    /// Takes in that it is tried to cancel a task.
    pub fn tried(&mut self, task: &AgentTask) {
        let open =
            self.owners.get_mut(&task.session.owner).and_then(|all| all.iter_mut().find(|open| open.task == *task));
        if let Some(open) = open {
            open.attempts = open.attempts.saturating_add(1);
        }
    }

    /// Takes in that a task is over, or that nothing more is done about it.
    pub fn over(&mut self, task: &AgentTask) {
        self.halted.remove(task);
        self.forget(&task.session.owner, |open| open.task == *task);
    }

    /// Takes in that a session is closed: nothing more is known of its tasks.
    pub fn session_closed(&mut self, session: &SessionId) {
        self.halted.retain(|task| task.session != *session);
        self.forget(&session.owner, |open| open.task.session == *session);
    }

    fn forget(&mut self, owner: &PrincipalName, is_over: impl Fn(&OpenTask) -> bool) {
        let Some(all) = self.owners.get_mut(owner) else { return };
        all.retain(|open| !is_over(open));
        if all.is_empty() {
            self.owners.remove(owner);
        }
    }
}
