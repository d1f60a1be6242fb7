//! Taking in what a tool server declares.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, ServerName};
use crate::journal::{Body, Draft, StreamId};
use crate::registry::event::ToolsObserved;
use crate::time::Timestamp;
use crate::world::World;

/// Journals the list of tools, if it is not the one that is known.
#[derive(Debug, Clone)]
pub struct ObserveTools {
    /// The server.
    pub server: ServerName,
    /// How many tools there are.
    pub tools: u32,
    /// The list, as the server sent it.
    pub list: Body,
}

impl Command for ObserveTools {
    /// Whether it is another list than before.
    type Answer = bool;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<bool> {
        let digest = self.list.digest();
        if world.registry.find(&self.server).is_some_and(|declared| declared.digest == digest) {
            return Verdict::unchanged(false);
        }
        let event = ToolsObserved { server: self.server.clone(), digest, tools: self.tools };
        let draft = Draft {
            stream: StreamId::Control,
            actor: Actor::Gateway,
            event: Event::ToolsObserved(event),
            bodies: vec![self.list.clone()],
        };
        Verdict { answer: true, drafts: vec![draft] }
    }
}
