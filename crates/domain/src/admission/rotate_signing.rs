//! Another key to sign with.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::identity::event::SigningRotated;
use crate::ids::Actor;
use crate::journal::{Draft, StreamId};
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;
use crate::world::World;

/// From here on the gateways of this journal sign with the next key.
#[derive(Debug, Clone)]
pub struct RotateSigning {
    /// Who wants it.
    pub by: Actor,
}

impl Command for RotateSigning {
    /// The number of the new key.
    type Answer = Result<u32, Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        let Some(generation) = world.identity.signing().generation.checked_add(1) else {
            return Verdict::unchanged(Err(Refusal::new(Code::TooMany, "there are no more keys to sign with")));
        };
        let event = Event::SigningRotated(SigningRotated { generation });
        let draft = Draft { stream: StreamId::Control, actor: self.by.clone(), event, bodies: Vec::new() };
        Verdict { answer: Ok(generation), drafts: vec![draft] }
    }
}
