//! An agent has taken a place for news.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, SessionId};
use crate::journal::{Draft, StreamId};
use crate::refusal::{Code, Refusal};
use crate::session::event::{PushBound, PushClosed};
use crate::session::push::{PushName, TASK_LIMIT_BYTES};
use crate::time::Timestamp;
use crate::world::World;

/// Notes for which task an agent has taken a place; the client's earlier place of the same id for that task is replaced, and what waits there waits
/// here. What is noted already changes nothing. An
/// agent that names another task than its news did is not believed: the place is closed. So is it for one whose name for the task can't be kept.
#[derive(Debug, Clone)]
pub struct BindPush {
    /// The session.
    pub session: SessionId,
    /// The place.
    pub push: PushName,
    /// The task, as the agent calls it.
    pub task: String,
}

impl Command for BindPush {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        let Some(push) = world.pushes.find(&self.session, &self.push) else { return Verdict::unchanged(Ok(())) };
        let closed = || self.draft(Event::PushClosed(PushClosed { push: self.push.clone() }));
        if self.task.is_empty() || self.task.len() > TASK_LIMIT_BYTES {
            let message = format!("the agent gives its task an id that does not have 1 to {TASK_LIMIT_BYTES} bytes");
            return Verdict { answer: Err(Refusal::new(Code::UpstreamFailed, message)), drafts: vec![closed()] };
        }
        if push.task.as_ref().is_some_and(|task| *task != self.task) {
            return Verdict { answer: Ok(()), drafts: vec![closed()] };
        }
        if push.is_bound && world.pushes.replaced_by(&self.session, &self.push, &self.task).is_empty() {
            return Verdict::unchanged(Ok(()));
        }
        let bound = PushBound { push: self.push.clone(), task: self.task.clone(), is_over: false };
        Verdict { answer: Ok(()), drafts: vec![self.draft(Event::PushBound(bound))] }
    }
}

impl BindPush {
    fn draft(&self, event: Event) -> Draft<Event> {
        Draft { stream: StreamId::Session(self.session.clone()), actor: Actor::Gateway, event, bodies: Vec::new() }
    }
}
