//! Which replica of a capability serves a session.
//!
//! A session stays with the replica that it was given, for that one holds its working memory. A new one is chosen by rendezvous hashing (Thaler and Ravishankar 1998),
//! so that losing one replica of N moves the sessions of that one only, bounded as in "Consistent Hashing with Bounded Loads" (Mirrokni, Thorup, Zadimoghaddam 2018), so
//! that no replica gets many more sessions than the others. Every placement has a number that grows with each move: a replica that
//! is asked with a higher one than it knows must not trust what it remembers.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::call::{Capability, Kind};
use crate::digest::Digest;
use crate::ids::{PrincipalName, SessionId};

/// What stands between the server's name and the tool's.
const SEPARATOR: &str = "__";
/// A replica may have so many times its share of sessions, in percent.
pub const LOAD_LIMIT_PERCENT: u64 = 125;

/// One running instance of an agent or of a model's deployment, by the address that it is reached at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Replica(Arc<str>);

impl Replica {
    /// The replica at that address.
    #[must_use]
    pub fn at(address: &str) -> Self {
        Self(address.into())
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Replica {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The replica that a session has for a capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The replica.
    pub replica: Replica,
    /// The number of the placement, from 1: it fences off the replicas of earlier ones.
    pub fence: u64,
}

/// How many open sessions every replica serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Loads {
    sessions: BTreeMap<Replica, u64>,
}

impl Loads {
    /// How many sessions the replica serves.
    #[must_use]
    pub fn of(&self, replica: &Replica) -> u64 {
        self.sessions.get(replica).copied().unwrap_or(0)
    }

    /// Takes in that a session was given to the replica.
    pub fn placed(&mut self, replica: &Replica) {
        *self.sessions.entry(replica.clone()).or_default() += 1;
    }

    /// Takes in that a session has left the replica.
    pub fn left(&mut self, replica: &Replica) {
        if let Some(sessions) = self.sessions.get_mut(replica) {
            *sessions = sessions.saturating_sub(1);
            if *sessions == 0 {
                self.sessions.remove(replica);
            }
        }
    }

    /// Where the session is served from now on: where it is, if that replica is among the `candidates`; else at the one of the highest weight that has room. None without candidates.
    #[must_use]
    pub fn choose(
        &self,
        session: &SessionId,
        capability: &Capability,
        current: Option<&Placement>,
        candidates: &[Replica],
    ) -> Option<Placement> {
        if let Some(current) = current.filter(|current| candidates.contains(&current.replica)) {
            return Some(current.clone());
        }
        let mut ranked: Vec<(u64, &Replica)> =
            candidates.iter().map(|replica| (weight(session, capability, replica), replica)).collect();
        ranked.sort_by(|one, other| other.cmp(one));
        let total: u64 = candidates.iter().map(|replica| self.of(replica)).sum();
        let share = (total + 1).saturating_mul(LOAD_LIMIT_PERCENT);
        let limit = share.div_ceil(100 * u64::try_from(candidates.len().max(1)).unwrap_or(u64::MAX));
        let with_room = ranked.iter().find(|(_, replica)| self.of(replica) < limit);
        let (_, replica) = with_room.or_else(|| ranked.first())?;
        Some(Placement { replica: (*replica).clone(), fence: current.map_or(0, |current| current.fence) + 1 })
    }
}

/// Which replica serves which session, for every capability that has several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placements {
    sessions: BTreeMap<SessionId, BTreeMap<Capability, Placement>>,
    /// Those whose replica has completed a call of the session since it was placed there, so that it knows the session.
    known: BTreeSet<(SessionId, Capability)>,
    loads: BTreeMap<Capability, Loads>,
}

impl Placements {
    /// Where the session is served.
    #[must_use]
    pub fn find(&self, session: &SessionId, capability: &Capability) -> Option<&Placement> {
        self.sessions.get(session)?.get(&*keeper(capability))
    }

    /// The sessions of a principal that the capability serves, in order of their names.
    pub fn served<'a>(
        &'a self,
        owner: &'a PrincipalName,
        capability: &'a Capability,
    ) -> impl Iterator<Item = &'a SessionId> {
        let own = self.sessions.iter().filter(move |(session, _)| session.owner == *owner);
        own.filter(move |(_, of_session)| of_session.contains_key(&*keeper(capability))).map(|(session, _)| session)
    }

    /// Whether the session is served by that placement, and its replica has completed a call of it. One that was chosen and never reached knows nothing.
    #[must_use]
    pub fn is_known(&self, session: &SessionId, capability: &Capability, placement: &Placement) -> bool {
        let keeper = keeper(capability);
        self.find(session, &keeper) == Some(placement) && self.known.contains(&(session.clone(), keeper.into_owned()))
    }

    /// Where the session is served from now on; none without candidates.
    #[must_use]
    pub fn choose(&self, session: &SessionId, capability: &Capability, candidates: &[Replica]) -> Option<Placement> {
        let (unloaded, keeper) = (Loads::default(), keeper(capability));
        let loads = self.loads.get(&*keeper).unwrap_or(&unloaded);
        loads.choose(session, &keeper, self.find(session, &keeper), candidates)
    }

    /// Takes in where a session is served.
    pub fn placed(&mut self, session: &SessionId, capability: &Capability, placement: &Placement) {
        let keeper = keeper(capability).into_owned();
        let of_session = self.sessions.entry(session.clone()).or_default();
        let before = of_session.insert(keeper.clone(), placement.clone());
        if before.as_ref() != Some(placement) {
            self.known.remove(&(session.clone(), keeper.clone()));
            let loads = self.loads.entry(keeper).or_default();
            before.iter().for_each(|before| loads.left(&before.replica));
            loads.placed(&placement.replica);
        }
    }

    /// Takes in that a call of the session was completed by the replica of the placement of that number.
    pub fn completed(&mut self, session: &SessionId, capability: &Capability, fence: u64) {
        if self.find(session, capability).is_some_and(|placement| placement.fence == fence) {
            self.known.insert((session.clone(), keeper(capability).into_owned()));
        }
    }

    /// Takes in that a session is over.
    pub fn ended(&mut self, session: &SessionId) {
        for (capability, placement) in self.sessions.remove(session).unwrap_or_default() {
            if let Some(loads) = self.loads.get_mut(&capability) {
                loads.left(&placement.replica);
            }
            self.known.remove(&(session.clone(), capability));
        }
    }
}

/// Who keeps what a session's calls of the capability leave behind. The tools of a server have one memory: they are placed together, as the server.
fn keeper(capability: &Capability) -> Cow<'_, Capability> {
    match (capability.kind, capability.name.split_once(SEPARATOR)) {
        (Kind::Tool, Some((server, _))) => Cow::Owned(Capability::new(Kind::Tool, server)),
        (Kind::Model | Kind::Tool | Kind::Agent | Kind::Function, _) => Cow::Borrowed(capability),
    }
}

fn weight(session: &SessionId, capability: &Capability, replica: &Replica) -> u64 {
    let name = format!("{session}\n{capability}\n{replica}");
    let [a, b, c, d, e, f, g, h, ..] = Digest::of(name.as_bytes()).0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicas(count: usize) -> Vec<Replica> {
        (0..count).map(|number| Replica::at(&format!("http://10.0.0.{number}:9000"))).collect()
    }

    fn session(number: usize) -> SessionId {
        format!("ann:claim-{number}").parse().unwrap()
    }

    fn agent() -> Capability {
        Capability::new(Kind::Agent, "adjuster")
    }

    /// Where so many sessions are, one after the other, on so many replicas.
    fn place(sessions: usize, candidates: &[Replica]) -> (Loads, Vec<Placement>) {
        let mut loads = Loads::default();
        let placements = (0..sessions).map(|number| {
            let placement = loads.choose(&session(number), &agent(), None, candidates).unwrap();
            loads.placed(&placement.replica);
            placement
        });
        let placements = placements.collect();
        (loads, placements)
    }

    #[test]
    fn no_replica_gets_many_more_sessions_than_the_others() {
        for count in [1, 2, 3, 7] {
            let candidates = replicas(count);
            let (loads, placements) = place(1_000, &candidates);
            assert!(placements.iter().all(|placement| placement.fence == 1));
            for replica in &candidates {
                let share = 1_000 / u64::try_from(count).unwrap();
                assert!(loads.of(replica) <= share * LOAD_LIMIT_PERCENT / 100 + 1, "{replica}: {}", loads.of(replica));
                assert!(loads.of(replica) >= share / 3, "{replica}: {}", loads.of(replica));
            }
        }
    }

    #[test]
    fn losing_one_replica_moves_its_sessions_and_adding_one_moves_none() {
        let candidates = replicas(4);
        let (loads, placements) = place(1_000, &candidates);
        let left = &candidates[1..];
        let mut moved = 0;
        for (number, placement) in placements.iter().enumerate() {
            let now = loads.choose(&session(number), &agent(), Some(placement), left).unwrap();
            if placement.replica == candidates[0] {
                assert!(now.replica != candidates[0] && now.fence == 2);
                moved += 1;
            } else {
                assert_eq!(now, *placement);
            }
            let more = replicas(5);
            assert_eq!(loads.choose(&session(number), &agent(), Some(placement), &more).as_ref(), Some(placement));
        }
        assert_eq!(moved, loads.of(&candidates[0]));
    }

    #[test]
    fn the_tools_of_a_server_are_placed_together() {
        let mut placements = Placements::default();
        let tool = |name: &str| Capability::new(Kind::Tool, name);
        let candidates = replicas(3);
        let placement = placements.choose(&session(1), &tool("shell__run"), &candidates).unwrap();
        placements.placed(&session(1), &tool("shell__run"), &placement);
        assert_eq!(placements.find(&session(1), &tool("shell__cd__up")), Some(&placement));
        assert_eq!(placements.choose(&session(1), &tool("shell__ls"), &candidates).as_ref(), Some(&placement));
        assert_eq!(placements.find(&session(1), &tool("shelf__ls")), None);
        placements.completed(&session(1), &tool("shell__ls"), 1);
        assert!(placements.is_known(&session(1), &tool("shell__run"), &placement));
        placements.ended(&session(1));
        assert_eq!(placements, Placements { loads: placements.loads.clone(), ..Placements::default() });
    }

    #[test]
    fn without_candidates_there_is_no_placement_and_all_being_full_is_no_reason_for_none() {
        assert_eq!(Loads::default().choose(&session(1), &agent(), None, &[]), None);
        let candidates = replicas(2);
        let (mut loads, _) = place(10, &candidates);
        loads.left(&candidates[0]);
        for _ in 0..20 {
            loads.left(&candidates[1]);
        }
        assert_eq!(loads.of(&candidates[1]), 0);
        assert!(loads.choose(&session(99), &agent(), None, &candidates[..1]).is_some());
    }
}
