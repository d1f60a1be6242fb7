//! What every command has in common.

use crate::event::Event;
use crate::journal::Draft;
use crate::time::Timestamp;
use crate::world::World;

/// Something that may change the world.
pub trait Command: Send + 'static {
    /// What the caller gets once the entries are durable.
    type Answer: Send + 'static;

    /// Decides. The same world, command and time give the same verdict.
    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer>;
}

/// An answer, and the entries that must be durable before it is given.
#[derive(Debug)]
pub struct Verdict<A> {
    /// The answer.
    pub answer: A,
    /// The entries, in order.
    pub drafts: Vec<Draft<Event>>,
}

impl<A> Verdict<A> {
    /// An answer that changes nothing.
    pub fn unchanged(answer: A) -> Self {
        Self { answer, drafts: Vec::new() }
    }
}
