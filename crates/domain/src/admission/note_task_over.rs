//! A task of an agent is over.

use crate::admission::command::{Command, Verdict};
use crate::call::Capability;
use crate::event::Event;
use crate::ids::{Actor, SessionId};
use crate::journal::{Draft, StreamId};
use crate::session::event::PushBound;
use crate::time::Timestamp;
use crate::world::World;

/// Notes that a task is over, however that was heard: its places for news are done once everything is told. What is noted already changes nothing.
#[derive(Debug, Clone)]
pub struct NoteTaskOver {
    /// The session.
    pub session: SessionId,
    /// The agent.
    pub agent: Capability,
    /// The task, as the agent calls it.
    pub task: String,
}

impl Command for NoteTaskOver {
    type Answer = ();

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<()> {
        let all = world.pushes.of_task(&self.session, &self.agent, &self.task).into_iter();
        let draft = |event| Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: Actor::Gateway,
            event,
            bodies: Vec::new(),
        };
        let over = all.filter(|(_, push)| !push.is_over).map(|(name, _)| {
            draft(Event::PushBound(PushBound { push: name.clone(), task: self.task.clone(), is_over: true }))
        });
        Verdict { answer: (), drafts: over.collect() }
    }
}
