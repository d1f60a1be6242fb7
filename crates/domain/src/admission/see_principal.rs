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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::OpenSession;
    use crate::authority::Authority;
    use crate::digest::Digest;
    use crate::ids::TenantName;
    use crate::journal::Entry;
    use crate::profile::Profile;
    use crate::refusal::Code;
    use crate::session::Origin;

    fn seen(principal: &str) -> SeePrincipal {
        let (issuer, principal) = ("corp".parse().unwrap(), principal.parse().unwrap());
        SeePrincipal { seen: PrincipalSeen { issuer, principal, profile: Profile::default() } }
    }

    fn opens(world: &World, credential: &SeePrincipal, session: &str, at: u64) -> Result<bool, Code> {
        let PrincipalSeen { issuer, principal, profile } = &credential.seen;
        let authority = Authority {
            expires_at: Some(Timestamp(100)),
            ..Authority::of(profile.credential(issuer, principal).unwrap())
        };
        let command = OpenSession {
            authority,
            session: session.parse().unwrap(),
            origin: Origin::Named,
            budget: None,
            grant: None,
        };
        command.decide(world, Timestamp(at)).answer.map_err(|refusal| refusal.code)
    }

    fn apply(world: &mut World, verdict: Verdict<()>, seq: u64) {
        for Draft { stream, actor, event, .. } in verdict.drafts {
            let tenant: TenantName = "default".parse().unwrap();
            let (at, bodies, prev) = (Timestamp(seq), Vec::new(), Digest::ZERO);
            world.apply(&Entry { v: 1, stream, seq, at, tenant, actor, event, bodies, prev });
        }
    }

    #[test]
    fn only_who_was_noted_may_act_and_only_as_themselves_and_in_time() {
        let (mut world, ann, bob) = (World::default(), seen("corp.ann"), seen("corp.bob"));
        assert_eq!(opens(&world, &ann, "corp.ann:s", 50), Err(Code::Unauthenticated));
        let verdict = ann.decide(&world, Timestamp(1));
        assert_eq!(verdict.drafts.len(), 1);
        apply(&mut world, verdict, 1);
        assert!(ann.decide(&world, Timestamp(2)).drafts.is_empty(), "it is noted once");
        assert_eq!(opens(&world, &ann, "corp.ann:s", 50), Ok(true));
        assert_eq!(opens(&world, &ann, "corp.ann:s", 100), Err(Code::Unauthenticated));
        assert_eq!(opens(&world, &ann, "corp.bob:s", 50), Err(Code::Unauthenticated));
        assert_eq!(opens(&world, &bob, "corp.bob:s", 50), Err(Code::Unauthenticated));
        world.disabled.disabled(&bob.seen.principal, Timestamp(3));
        assert!(bob.decide(&world, Timestamp(4)).drafts.is_empty(), "who is disabled fills no journal");
    }
}
