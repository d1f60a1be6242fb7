//! Tasks of agents that go on: that calls have left them, that they are over, and that they are cancelled once nobody may act for them any more.

use crate::admission::command::{Command, Verdict};
use crate::authority::Authority;
use crate::event::Event;
use crate::ids::{Actor, PrincipalName};
use crate::journal::{Draft, StreamId};
use crate::refusal::{Code, Refusal};
use crate::registry::Placement;
use crate::session::Status;
use crate::session::agent_tasks::{ATTEMPTS_LIMIT, AgentTask, ID_LIMIT_BYTES};
use crate::session::event::{CancelEnd, TaskCancelled, TaskCancelling, TaskLeft, TaskOver};
use crate::time::Timestamp;
use crate::world::World;

/// Notes that a call leaves a task behind that goes on, or that a task which was left is over. What is noted already changes nothing.
#[derive(Debug, Clone)]
pub struct NoteTask {
    /// The task.
    pub task: AgentTask,
    /// On whose authority it was begun, and the principal that does it, as far as it is known who that is; none when it is over.
    pub left: Option<(Authority, Option<PrincipalName>)>,
}

impl Command for NoteTask {
    type Answer = ();

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<()> {
        let AgentTask { agent, id, session } = self.task.clone();
        let is_known = world.agent_tasks.find(&self.task).is_some();
        let is_open = world.session.find(&session).is_some_and(|session| session.status != Status::Closed);
        let event = match &self.left {
            Some((authority, callee)) if !is_known && is_open && id.len() <= ID_LIMIT_BYTES => {
                let (authority, callee) = (authority.lasting(), callee.clone());
                Event::TaskLeft(TaskLeft { agent, task: id, authority, callee })
            }
            None if is_known => Event::TaskOver(TaskOver { agent, task: id }),
            Some(_) | None => return Verdict::unchanged(()),
        };
        Verdict { answer: (), drafts: vec![draft(&self.task, event)] }
    }
}

/// Begins to cancel a task that nobody may act for any more. The agent hears of it behind the entry that says so.
#[derive(Debug, Clone)]
pub struct CancelTask {
    /// The task.
    pub task: AgentTask,
}

/// An attempt to cancel a task. Only [`CancelTask::decide`] makes one, and it is the only thing besides an admitted call that an agent is asked by.
#[derive(Debug)]
pub struct Cancellation {
    task: AgentTask,
    placement: Placement,
}

impl Cancellation {
    /// The task.
    #[must_use]
    pub fn task(&self) -> &AgentTask {
        &self.task
    }

    /// Where its session is served.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }
}

impl Command for CancelTask {
    type Answer = Result<Cancellation, Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        match self.placement(world) {
            Ok(placement) => {
                let AgentTask { agent, id, .. } = self.task.clone();
                let event = Event::TaskCancelling(TaskCancelling { agent, task: id });
                let answer = Ok(Cancellation { task: self.task.clone(), placement });
                Verdict { answer, drafts: vec![draft(&self.task, event)] }
            }
            Err(refusal) => Verdict::unchanged(Err(refusal)),
        }
    }
}

impl CancelTask {
    fn placement(&self, world: &World) -> Result<Placement, Refusal> {
        let open = world.agent_tasks.find(&self.task).filter(|open| open.is_halted);
        let open = open.ok_or_else(|| Refusal::new(Code::NotFound, "there is no such task to cancel"))?;
        if open.attempts >= ATTEMPTS_LIMIT {
            return Err(Refusal::new(Code::TooMany, format!("it was tried {ATTEMPTS_LIMIT} times")));
        }
        let placement = world.placements.find(&self.task.session, &self.task.agent).cloned();
        placement.ok_or_else(|| Refusal::new(Code::Conflict, "its session is served nowhere"))
    }
}

/// Notes what came of cancelling a task; nothing more is done about it.
#[derive(Debug, Clone)]
pub struct EndCancel {
    /// The task.
    pub task: AgentTask,
    /// What came of it.
    pub end: CancelEnd,
}

impl Command for EndCancel {
    type Answer = ();

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<()> {
        if world.agent_tasks.find(&self.task).is_none() {
            return Verdict::unchanged(());
        }
        let AgentTask { agent, id, .. } = self.task.clone();
        let event = Event::TaskCancelled(TaskCancelled { agent, task: id, end: self.end });
        Verdict { answer: (), drafts: vec![draft(&self.task, event)] }
    }
}

fn draft(task: &AgentTask, event: Event) -> Draft<Event> {
    Draft { stream: StreamId::Session(task.session.clone()), actor: Actor::Gateway, event, bodies: Vec::new() }
}
