//! The keys that stand in the configuration are those that count of their kind.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::identity::Keys;
use crate::identity::event::{KeyCreated, KeyRestored, KeyWithdrawn};
use crate::identity::key::DECLARED_PREFIX;
use crate::ids::{Actor, KeyId};
use crate::journal::{Draft, StreamId};
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;
use crate::world::World;

/// Takes in the keys of a configuration, all at once: those that are new count, those that are gone do not, and those that are there again do. What a person has taken back stays so.
#[derive(Debug, Clone)]
pub struct DeclareKeys {
    /// All of them. Their ids begin with [`DECLARED_PREFIX`].
    pub keys: Vec<KeyCreated>,
}

impl Command for DeclareKeys {
    /// Those that a person has taken back.
    type Answer = Result<Vec<KeyId>, Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        let keys = &world.identity;
        if let Some(other) = self.others(keys).next() {
            let message =
                format!("key `{other}` was another one, for something else, or to end at another time, before");
            return Verdict::unchanged(Err(Refusal::new(Code::Conflict, message)));
        }
        let (mut drafts, mut dead) = (Vec::new(), Vec::new());
        for wanted in &self.keys {
            match keys.find(&wanted.key) {
                None => drafts.push(control(Event::KeyCreated(wanted.clone()))),
                Some(key) if key.is_withdrawn => {
                    drafts.push(control(Event::KeyRestored(KeyRestored { key: wanted.key.clone() })));
                }
                Some(key) if key.revoked_at.is_some() => dead.push(wanted.key.clone()),
                Some(_) => {}
            }
        }
        let is_declared = |id: &KeyId| self.keys.iter().any(|wanted| wanted.key == *id);
        let counting =
            keys.all().filter(|(id, key)| id.as_str().starts_with(DECLARED_PREFIX) && key.revoked_at.is_none());
        let gone = counting.filter(|(id, _)| !is_declared(id));
        drafts.extend(gone.map(|(id, _)| control(Event::KeyWithdrawn(KeyWithdrawn { key: id.clone() }))));
        Verdict { answer: Ok(dead), drafts }
    }
}

impl DeclareKeys {
    /// Those whose name another key had before, or the same one for something else or with another end.
    pub fn others(&self, keys: &Keys) -> impl Iterator<Item = &KeyId> {
        let is_other = |wanted: &&KeyCreated| keys.find(&wanted.key).is_some_and(|key| !key.is_as_declared(wanted));
        self.keys.iter().filter(is_other).map(|wanted| &wanted.key)
    }
}

fn control(event: Event) -> Draft<Event> {
    Draft { stream: StreamId::Control, actor: Actor::Gateway, event, bodies: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::identity::Scope;
    use crate::identity::event::{KeyLimited, KeyRevoked};

    fn key(name: &str, principal: &str, secret: u8) -> KeyCreated {
        KeyCreated {
            key: name.parse().unwrap(),
            principal: principal.parse().unwrap(),
            secret: Digest([secret; 32]),
            expires_at: None,
            scope: Scope::default(),
        }
    }

    #[test]
    fn what_stands_there_counts_and_what_a_person_has_taken_back_does_not() {
        let (a, b, issued) = (key("file-a", "bot", 1), key("file-b", "bot", 2), key("0123456789ab", "bot", 3));
        let mut world = World::default();
        world.identity.created(&issued, Timestamp(1));
        let mut at = 1;
        let mut declare = |world: &mut World, keys: &[&KeyCreated]| {
            at += 1;
            let command = DeclareKeys { keys: keys.iter().map(|key| (*key).clone()).collect() };
            let Verdict { answer, drafts } = command.decide(world, Timestamp(at));
            for draft in &drafts {
                if let Event::KeyCreated(event) = &draft.event {
                    world.identity.created(event, Timestamp(at));
                } else if let Event::KeyWithdrawn(event) = &draft.event {
                    world.identity.withdrawn(event, Timestamp(at));
                } else if let Event::KeyRestored(event) = &draft.event {
                    world.identity.restored(event);
                }
            }
            let is_live =
                |key: &KeyCreated| world.identity.find(&key.key).is_some_and(|key| key.is_live(Timestamp(at)));
            (answer, drafts.len(), [&a, &b, &issued].map(is_live))
        };
        assert_eq!(declare(&mut world, &[&a, &b]), (Ok(vec![]), 2, [true, true, true]));
        assert_eq!(declare(&mut world, &[&a, &b]), (Ok(vec![]), 0, [true, true, true]));
        assert_eq!(declare(&mut world, &[&a]), (Ok(vec![]), 1, [true, false, true]));
        assert_eq!(declare(&mut world, &[&b]), (Ok(vec![]), 2, [false, true, true]), "it is there again");
        for other in [key("file-b", "bot", 9), key("file-b", "eve", 2)] {
            assert!(declare(&mut world, &[&other]).0.is_err(), "{other:?}");
        }
        // No line gives a key another end, be it later or earlier.
        for end in [1_000, 100_000] {
            let other = KeyCreated { expires_at: Some(Timestamp(end)), ..b.clone() };
            assert!(declare(&mut world, &[&other]).0.is_err(), "{end}");
        }
        // One that was replaced ends earlier, and is the same one.
        world.identity.limited(&KeyLimited { key: b.key.clone(), expires_at: Timestamp(1_000) });
        assert_eq!(declare(&mut world, &[&b]), (Ok(vec![]), 0, [false, true, true]));
        let ends = |end| KeyCreated { expires_at: Some(Timestamp(end)), ..b.clone() };
        assert!(declare(&mut world, &[&ends(1_000)]).0.is_ok(), "the line may say so");
        assert!(declare(&mut world, &[&ends(2_000)]).0.is_err(), "it does not end later again");
        world.identity.revoked(&KeyRevoked { key: b.key.clone() }, Timestamp(50));
        assert_eq!(declare(&mut world, &[&b]), (Ok(vec![b.key.clone()]), 0, [false, false, true]));
        assert_eq!(declare(&mut world, &[]), (Ok(vec![]), 0, [false, false, true]));
        // Whatever was withdrawn can be taken back for good.
        world.identity.revoked(&KeyRevoked { key: a.key.clone() }, Timestamp(60));
        assert_eq!(declare(&mut world, &[&a]), (Ok(vec![a.key.clone()]), 0, [false, false, true]));
    }
}
