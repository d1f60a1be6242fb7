//! Issuing keys and taking them back.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::identity::event::{KeyCreated, KeyRevoked};
use crate::ids::{Actor, KeyId};
use crate::journal::{Draft, StreamId};
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;
use crate::world::World;

/// Issues a key. Whether its principal exists, the shell has checked: principals come from configuration.
#[derive(Debug, Clone)]
pub struct CreateKey {
    /// Who issues it.
    pub by: Actor,
    /// The key, without its secret.
    pub key: KeyCreated,
}

impl Command for CreateKey {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        if world.identity.find(&self.key.key).is_some() {
            let refusal = Refusal::new(Code::Conflict, format!("there is a key `{}` already", self.key.key));
            return Verdict::unchanged(Err(refusal));
        }
        Verdict { answer: Ok(()), drafts: vec![control(&self.by, Event::KeyCreated(self.key.clone()))] }
    }
}

/// Takes a key back; doing so again changes nothing.
#[derive(Debug, Clone)]
pub struct RevokeKey {
    /// Who takes it back.
    pub by: Actor,
    /// The key.
    pub key: KeyId,
}

impl Command for RevokeKey {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        let Some(key) = world.identity.find(&self.key) else {
            return Verdict::unchanged(Err(Refusal::new(Code::NotFound, format!("there is no key `{}`", self.key))));
        };
        if key.revoked_at.is_some() {
            return Verdict::unchanged(Ok(()));
        }
        Verdict {
            answer: Ok(()),
            drafts: vec![control(&self.by, Event::KeyRevoked(KeyRevoked { key: self.key.clone() }))],
        }
    }
}

fn control(by: &Actor, event: Event) -> Draft<Event> {
    Draft { stream: StreamId::Control, actor: by.clone(), event, bodies: Vec::new() }
}
