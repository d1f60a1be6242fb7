//! Tasks of agents that wait for their client: as long as one needs input or authorization, its session waits for that. The wait ends with the client's next message
//! to the task, or when the task says that it goes on or is over.
//!
//! Nothing new is kept for it: it is a wait like any other, whose name begins with what tells the task apart. Whatever was missed, as by a crash, is mended by the next
//! thing that is heard of the task.

use portcullis_domain::admission::{EndWait, NoteTask, NoteTaskOver, OpenWait};
use portcullis_domain::authority::Authority;
use portcullis_domain::call::Capability;
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::{Actor, CallId, SessionId};
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::agent_tasks::AgentTask;
use portcullis_domain::session::wait::{End, WaitName};
use portcullis_domain::time::Timestamp;
use portcullis_interop::a2a::TaskState;

use crate::entropy::new_call;
use crate::life::Gate;

/// How long a task may wait for its client, in microseconds: 400 days, as long as any wait.
const PATIENCE_US: u64 = 400 * 86_400 * 1_000_000;

/// A task of a session, by the agent's id for it.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The session.
    pub session: &'a SessionId,
    /// The agent.
    pub agent: &'a Capability,
    /// The agent's id for it.
    pub id: &'a str,
}

impl Task<'_> {
    /// What the names of its waits begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        let digest = Digest::of_parts(&[self.agent.to_string().as_bytes(), b"\n", self.id.as_bytes()]).to_string();
        format!("task_{}_", digest.chars().take(16).collect::<String>())
    }
}

impl Gate {
    /// Takes in what was heard of a task. That nobody can be told that it waits is no reason to keep back what it says.
    pub async fn heard_of(&self, task: Task<'_>, authority: &Authority, state: TaskState, now: Timestamp) {
        let noted = if state.is_interrupted() {
            self.task_waits(task, authority, state, now).await
        } else {
            self.task_goes_on(task.session, &task.prefix(), None).await
        };
        if let Err(refusal) = noted {
            tracing::warn!(session = %task.session, %refusal, "the wait of a task was not noted");
        }
        if state.is_terminal()
            && let Err(refusal) = self.task_is_over(task).await
        {
            tracing::warn!(session = %task.session, %refusal, "that a task is over was not noted");
        }
    }

    async fn task_is_over(&self, task: Task<'_>) -> Result<(), Refusal> {
        let (session, agent, task) = (task.session.clone(), task.agent.clone(), task.id.to_owned());
        let over = NoteTaskOver { session, agent, task };
        let (asked, left) = (over.clone(), task_named(&over));
        let found = self.journal.read(move |world| {
            let places = world.pushes.of_task(&asked.session, &asked.agent, &asked.task);
            (places.iter().any(|(_, push)| !push.is_over), world.agent_tasks.find(&left).is_some())
        });
        let (has_places, was_left) = found.await?;
        if was_left {
            self.journal.execute(NoteTask { task: task_named(&over), left: None }).await?;
        }
        if has_places {
            self.journal.execute(over).await?;
        }
        Ok(())
    }

    /// Notes that a call has ended and its task goes on, so that it can be stopped when nobody may act for it any more.
    pub async fn task_is_left(&self, task: Task<'_>, authority: &Authority) {
        let (session, agent, id) = (task.session.clone(), task.agent.clone(), task.id.to_owned());
        let task = AgentTask { session, agent, id };
        let asked = task.clone();
        let is_known = self.journal.read(move |world| world.agent_tasks.find(&asked).is_some()).await;
        if matches!(is_known, Ok(true)) {
            return;
        }
        let callee = self.snapshot.load().callee(&task.agent).cloned();
        if let Err(fault) = self.journal.execute(NoteTask { task, left: Some((authority.clone(), callee)) }).await {
            tracing::warn!(%fault, "that a task goes on was not noted");
        }
    }

    async fn task_waits(
        &self,
        task: Task<'_>,
        authority: &Authority,
        state: TaskState,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let prefix = task.prefix();
        if !self.open_waits(task.session, &prefix).await?.is_empty() {
            return Ok(());
        }
        let what = if state == TaskState::AuthRequired { "authorization" } else { "input" };
        let unnamed = |problem: String| Refusal::new(Code::StoreUnavailable, problem);
        let open = OpenWait {
            session: task.session.clone(),
            authority: authority.clone(),
            session_budget: None,
            name: format!("{prefix}{}", new_call()?).parse().map_err(unnamed)?,
            what: format!("{what} for a task of `{}`", task.agent.name),
            until: Timestamp(now.0.saturating_add(PATIENCE_US)),
            deliver: None,
        };
        self.journal.execute(open).await?
    }

    /// Ends the waits of a task: because the client has answered with that call, or because the task says so.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub async fn task_goes_on(&self, session: &SessionId, prefix: &str, answer: Option<CallId>) -> Result<(), Refusal> {
        for name in self.open_waits(session, prefix).await? {
            let (by, end, event) = match answer {
                None => (Actor::Gateway, End::Cancelled, None),
                Some(call) => {
                    let event = Body::new(format!("{{\"call\":\"{call}\"}}").into());
                    let by = Actor::Principal(session.owner.clone());
                    (by, End::Event(format!("message/{call}")), Some((Some("application/json".to_owned()), event)))
                }
            };
            let end = EndWait { session: session.clone(), name, by, end, event };
            // One that has ended meanwhile says so, and is no fault.
            drop(self.journal.execute(end).await?);
        }
        Ok(())
    }

    async fn open_waits(&self, session: &SessionId, prefix: &str) -> Result<Vec<WaitName>, Refusal> {
        let (session, prefix) = (session.clone(), prefix.to_owned());
        let names = self.journal.read(move |world| {
            let open = world.waits.of(&session).filter(|(_, wait)| wait.end.is_none());
            let of_task = open.filter(|(name, _)| name.as_str().starts_with(&prefix));
            of_task.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        });
        Ok(names.await?)
    }
}

fn task_named(over: &NoteTaskOver) -> AgentTask {
    AgentTask { session: over.session.clone(), agent: over.agent.clone(), id: over.task.clone() }
}
