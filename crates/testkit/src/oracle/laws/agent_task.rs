//! The laws of tasks that outlast their calls: only what was left is over once, and only what nobody may act for any more is cancelled.

use portcullis_domain::authority::Credential;
use portcullis_domain::call::Capability;
use portcullis_domain::ids::SessionId;
use portcullis_domain::session::event::{TaskCancelling, TaskLeft};

use super::Laws;

impl Laws {
    pub(super) fn task_left(&mut self, session: &SessionId, event: &TaskLeft) {
        let name = (session.clone(), event.agent.clone(), event.task.clone());
        let callee = event.callee.clone();
        let is_disabled = self.world.disabled.check(event.authority.chain(&session.owner)).is_err()
            || callee.as_ref().is_some_and(|callee| self.world.disabled.since(callee).is_some());
        let is_revoked = matches!(&event.authority.credential, Credential::Key(key)
            if self.world.identity.find(key).is_none_or(|key| key.revoked_at.is_some()));
        if is_disabled || is_revoked {
            self.agent_tasks.halted.insert(name.clone());
        }
        let before = self.agent_tasks.open.insert(name, (event.authority.clone(), callee));
        self.must(before.is_none(), || format!("task `{}` was left before", event.task));
    }

    pub(super) fn task_cancelling(&mut self, session: &SessionId, event: &TaskCancelling) {
        let name = (session.clone(), event.agent.clone(), event.task.clone());
        let is_due = self.agent_tasks.open.contains_key(&name) && self.agent_tasks.halted.contains(&name);
        self.must(is_due, || format!("task `{}` is cancelled, and was over or may go on", event.task));
    }

    pub(super) fn task_ended(&mut self, session: &SessionId, agent: &Capability, task: &str) {
        let name = (session.clone(), agent.clone(), task.to_owned());
        self.agent_tasks.halted.remove(&name);
        let was_open = self.agent_tasks.open.remove(&name).is_some();
        self.must(was_open, || format!("task `{task}` has ended, and was never left or was over"));
    }
}
