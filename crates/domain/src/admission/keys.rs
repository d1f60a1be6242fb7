//! Issuing keys, replacing them, and taking them back.

use crate::admission::command::{Command, Verdict};
use crate::digest::Digest;
use crate::event::Event;
use crate::identity::event::{KeyCreated, KeyLimited, KeyRevoked};
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

/// Issues a key in the place of another one, which ends by itself after a while: whoever has it can be given the new one in the meantime.
#[derive(Debug, Clone)]
pub struct RotateKey {
    /// Who does it.
    pub by: Actor,
    /// The key that ends.
    pub old: KeyId,
    /// When it ends, if it does not end before.
    pub ends_at: Timestamp,
    /// The public part of the new one.
    pub new: KeyId,
    /// The digest of the new one.
    pub secret: Digest,
}

impl Command for RotateKey {
    /// The new key: of the same principal and for the same as the old one, with a life as long.
    type Answer = Result<KeyCreated, Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        let Self { by, old, ends_at, new, secret } = self;
        let refused = |code, message: String| Verdict::unchanged(Err(Refusal::new(code, message)));
        let Some(key) = world.identity.find(old) else {
            return refused(Code::NotFound, format!("there is no key `{old}`"));
        };
        if !key.is_live(at) {
            return refused(Code::Conflict, format!("key `{old}` opens nothing any more: create a new one"));
        }
        if world.identity.find(new).is_some() {
            return refused(Code::Conflict, format!("there is a key `{new}` already"));
        }
        let life = key.expires_at.map(|expiry| expiry.0.saturating_sub(key.created_at.0));
        let created = KeyCreated {
            key: new.clone(),
            principal: key.principal.clone(),
            secret: *secret,
            expires_at: life.map(|life| Timestamp(at.0.saturating_add(life))),
            scope: key.scope.clone(),
        };
        let mut drafts = vec![control(by, Event::KeyCreated(created.clone()))];
        if key.expires_at.is_none_or(|expiry| *ends_at < expiry) {
            drafts.push(control(by, Event::KeyLimited(KeyLimited { key: old.clone(), expires_at: *ends_at })));
        }
        Verdict { answer: Ok(created), drafts }
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
        // One that only does not stand in the configuration any more could come back.
        if key.revoked_at.is_some() && !key.is_withdrawn {
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
