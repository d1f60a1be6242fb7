//! Noting what an issuer says of a principal, before anything is done for it.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::identity::event::PrincipalSeen;
use crate::ids::Actor;
use crate::journal::{Draft, StreamId};
use crate::time::Timestamp;
use crate::world::World;

/// Notes a profile that the door has read from a token it has verified. One that is known changes nothing.
#[derive(Debug, Clone)]
pub struct SeePrincipal {
    /// What was seen.
    pub seen: PrincipalSeen,
}

impl Command for SeePrincipal {
    type Answer = ();

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<()> {
        let PrincipalSeen { issuer, principal, profile } = &self.seen;
        let is_known =
            profile.credential(issuer, principal).is_ok_and(|credential| world.identity.vouched(&credential).is_some());
        // Whoever is disabled gets nowhere, and fills no journal on the way.
        if is_known || world.disabled.since(principal).is_some() {
            return Verdict::unchanged(());
        }
        let event = Event::PrincipalSeen(self.seen.clone());
        let draft =
            Draft { stream: StreamId::Control, actor: Actor::Principal(principal.clone()), event, bodies: Vec::new() };
        Verdict { answer: (), drafts: vec![draft] }
    }
}
