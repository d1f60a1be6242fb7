//! Principals that issuers vouch for, as they were seen.
//!
//! Kept are the profiles of tokens, never tokens. Whoever acts on a credential later, an agent of a task or the gateway itself, is judged by the profile that it stands for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::authority::Credential;
use crate::identity::event::PrincipalSeen;
use crate::ids::{IssuerName, KeyId, PrincipalName};
use crate::profile::Profile;
use crate::time::Timestamp;

/// How many profiles of one principal are kept; a further one takes the place of the oldest.
pub const PROFILES_LIMIT: usize = 8;
/// How many are kept in each of the 256 parts.
pub const PART_LIMIT: usize = 512;

/// A principal as an issuer has described it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Who vouches.
    pub issuer: IssuerName,
    /// Whose profile it is.
    pub principal: PrincipalName,
    /// What the issuer says.
    pub profile: Profile,
    /// When it was first seen so.
    pub at: Timestamp,
    /// Its number among all that were ever seen.
    number: u64,
}

/// All that are kept.
///
/// They lie in parts, by the first two digits of their ids, and a part is copied when it changes: what is handed to the doors is a copy of the whole, which so costs little.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    parts: BTreeMap<String, Arc<BTreeMap<KeyId, Arc<Seen>>>>,
    count: u64,
}

impl Vouched {
    /// Whether nobody was ever seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What is known of whoever comes with this credential.
    #[must_use]
    pub fn find(&self, credential: &Credential) -> Option<&Arc<Seen>> {
        let Credential::Vouched { issuer, id } = credential else { return None };
        let seen = self.parts.get(part(id))?.get(id)?;
        (seen.issuer == *issuer).then_some(seen)
    }

    /// Takes in that a principal was seen.
    pub fn seen(&mut self, event: &PrincipalSeen, at: Timestamp) {
        let PrincipalSeen { issuer, principal, profile } = event.clone();
        let Ok(Credential::Vouched { id, .. }) = profile.credential(&issuer, &principal) else { return };
        self.count = self.count.saturating_add(1);
        let seen = Seen { issuer, principal, profile, at, number: self.count };
        let kept = Arc::make_mut(self.parts.entry(part(&id).to_owned()).or_default());
        kept.insert(id, Arc::new(seen));
        let own = |seen: &Seen| seen.principal == event.principal;
        let oldest = |kept: &BTreeMap<KeyId, Arc<Seen>>, is_meant: &dyn Fn(&Seen) -> bool| {
            let meant = kept.iter().filter(|(_, seen)| is_meant(seen));
            meant.min_by_key(|(_, seen)| seen.number).map(|(id, _)| id.clone())
        };
        if kept.values().filter(|seen| own(seen)).count() > PROFILES_LIMIT
            && let Some(id) = oldest(kept, &own)
        {
            kept.remove(&id);
        }
        if kept.len() > PART_LIMIT
            && let Some(id) = oldest(kept, &|_| true)
        {
            kept.remove(&id);
        }
    }
}

fn part(id: &KeyId) -> &str {
    id.as_str().get(..2).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(principal: &str, role: &str) -> PrincipalSeen {
        let profile = Profile { roles: [role.parse().unwrap()].into(), ..Profile::default() };
        PrincipalSeen { issuer: "corp".parse().unwrap(), principal: principal.parse().unwrap(), profile }
    }

    fn credential(event: &PrincipalSeen) -> Credential {
        event.profile.credential(&event.issuer, &event.principal).unwrap()
    }

    #[test]
    fn the_oldest_profiles_make_room_and_those_of_others_stay() {
        let mut vouched = Vouched::default();
        let other = event("corp.bob", "junior");
        vouched.seen(&other, Timestamp(1));
        let all: Vec<PrincipalSeen> =
            (0..=PROFILES_LIMIT).map(|number| event("corp.ann", &format!("r{number}"))).collect();
        all.iter().for_each(|event| vouched.seen(event, Timestamp(2)));
        let found: Vec<bool> = all.iter().map(|event| vouched.find(&credential(event)).is_some()).collect();
        assert_eq!((found.first(), found.iter().filter(|is_there| **is_there).count()), (Some(&false), PROFILES_LIMIT));
        assert_eq!(vouched.find(&credential(&other)).map(|seen| &seen.principal), Some(&other.principal));
    }

    #[test]
    fn there_are_never_more_than_the_limit() {
        let mut vouched = Vouched::default();
        for number in 0..2_000 {
            vouched.seen(&event(&format!("corp.p{number}"), "junior"), Timestamp(number));
        }
        // As if all had the same first digits.
        let mut part: Vec<PrincipalSeen> = Vec::new();
        let first = event("corp.p0", "junior");
        let Credential::Vouched { id, .. } = credential(&first) else { panic!() };
        for number in 0..150_000 {
            let event = event(&format!("corp.q{number}"), "junior");
            let Credential::Vouched { id: other, .. } = credential(&event) else { panic!() };
            if super::part(&other) == super::part(&id) {
                vouched.seen(&event, Timestamp(number));
                part.push(event);
            }
        }
        assert!(part.len() > PART_LIMIT, "{}", part.len());
        assert_eq!(vouched.parts[super::part(&id)].len(), PART_LIMIT);
        assert!(
            vouched.find(&credential(&first)).is_none() && vouched.find(&credential(&part[part.len() - 1])).is_some()
        );
    }

    #[test]
    fn another_issuer_s_word_is_not_taken() {
        let mut vouched = Vouched::default();
        let event = event("corp.ann", "junior");
        vouched.seen(&event, Timestamp(1));
        let Credential::Vouched { id, .. } = credential(&event) else { panic!() };
        let other = Credential::Vouched { issuer: "other".parse().unwrap(), id: id.clone() };
        assert!(vouched.find(&other).is_none() && vouched.find(&Credential::Key(id)).is_none());
    }
}
