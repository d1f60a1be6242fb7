//! An agent has taken a place for news.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, SessionId};
use crate::journal::{Draft, StreamId};
use crate::session::event::{PushBound, PushClosed};
use crate::session::push::PushName;
use crate::time::Timestamp;
use crate::world::World;

/// Notes for which task an agent has taken a place; the client's earlier place of the same id for that task is replaced. What is noted already changes nothing. An
/// agent that names another task than its news did is not believed: the place is closed.
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
    type Answer = ();

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<()> {
        let Some(push) = world.pushes.find(&self.session, &self.push) else { return Verdict::unchanged(()) };
        if push.task.as_ref().is_some_and(|task| *task != self.task) {
            return Verdict { answer: (), drafts: vec![self.closed(&self.push)] };
        }
        let all = world.pushes.of_task(&self.session, &push.agent, &self.task);
        let replaced = all.iter().filter(|(name, other)| **name != self.push && other.id == push.id);
        let mut drafts: Vec<Draft<Event>> = replaced.map(|(name, _)| self.closed(name)).collect();
        if !push.is_bound {
            drafts.push(self.draft(Event::PushBound(PushBound { push: self.push.clone(), task: self.task.clone() })));
        }
        Verdict { answer: (), drafts }
    }
}

impl BindPush {
    fn closed(&self, push: &PushName) -> Draft<Event> {
        self.draft(Event::PushClosed(PushClosed { push: push.clone() }))
    }

    fn draft(&self, event: Event) -> Draft<Event> {
        Draft { stream: StreamId::Session(self.session.clone()), actor: Actor::Gateway, event, bodies: Vec::new() }
    }
}
