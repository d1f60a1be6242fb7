//! The gateways that share a journal, and which of them have died.
//!
//! Every gateway renews its lease with every batch and every second. All times are the database's, so that the machines' clocks need not agree. A lease that has
//! run out is not enough to call a gateway dead: after the database was away all leases have. It must not have been renewed for as long as it is valid while
//! somebody was connected and looked. Times without a connection are left out of that and do not begin it anew: where connections are lost again and again,
//! the dead must still be found.

use std::collections::HashMap;
use std::time::Duration;

use portcullis_domain::ids::GatewayId;

/// A gateway as the database has it.
#[derive(Debug, Clone)]
pub struct Member {
    /// The gateway.
    pub id: GatewayId,
    /// Until when it is believed to live.
    pub lease_until_us: i64,
    /// What the database's clock says.
    pub now_us: i64,
    /// Whether it has ended or was found dead.
    pub has_ended: bool,
    /// The last entry of the last batch that it has committed.
    pub written_to: u64,
}

/// What one gateway has seen of the others.
pub struct Members {
    me: GatewayId,
    lease: Duration,
    /// Which lease a gateway has, and for how long it has been watched with it, in microseconds.
    seen: HashMap<GatewayId, (i64, i64)>,
    /// When the last look was, unless the connection was lost since.
    looked_at_us: Option<i64>,
}

/// What a look at all members comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether this gateway itself was found dead by another.
    pub is_fenced: bool,
    /// How far this gateway has written.
    pub written_to: u64,
    /// Whether others live.
    pub is_heard: bool,
    /// Those who are dead and were not found so yet.
    pub lost: Vec<GatewayId>,
}

impl Members {
    /// Nobody was seen yet.
    #[must_use]
    pub fn new(me: GatewayId, lease: Duration) -> Self {
        Self { me, lease, seen: HashMap::new(), looked_at_us: None }
    }

    /// After a time without a connection: nobody has watched anybody meanwhile.
    pub fn look_away(&mut self) {
        self.looked_at_us = None;
    }

    /// Takes in what the database says now.
    pub fn look(&mut self, members: &[Member]) -> Seen {
        let me = members.iter().find(|member| member.id == self.me);
        let mut seen = Seen {
            is_fenced: me.is_none_or(|me| me.has_ended),
            written_to: me.map_or(0, |me| me.written_to),
            ..Seen::default()
        };
        let now = members.first().map(|member| member.now_us);
        let watched = now.zip(self.looked_at_us).map_or(0, |(now, before)| now.saturating_sub(before).max(0));
        self.looked_at_us = now;
        let me = self.me.clone();
        for member in members.iter().filter(|member| member.id != me && !member.has_ended) {
            if self.is_dead(member, watched) {
                seen.lost.push(member.id.clone());
            } else {
                seen.is_heard = true;
            }
        }
        self.seen.retain(|id, _| members.iter().any(|member| member.id == *id));
        seen
    }

    fn is_dead(&mut self, member: &Member, watched_us: i64) -> bool {
        let known = self.seen.get(&member.id).filter(|(lease, _)| *lease == member.lease_until_us);
        let watched = known.map_or(0, |(_, watched)| watched.saturating_add(watched_us));
        self.seen.insert(member.id.clone(), (member.lease_until_us, watched));
        let enough = i64::try_from(self.lease.as_micros()).unwrap_or(i64::MAX);
        member.now_us > member.lease_until_us && watched >= enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> GatewayId {
        name.parse().unwrap()
    }

    fn member(name: &str, lease_until_s: i64, now_s: i64) -> Member {
        let (lease_until_us, now_us) = (lease_until_s * 1_000_000, now_s * 1_000_000);
        Member { id: id(name), lease_until_us, now_us, has_ended: false, written_to: 7 }
    }

    fn members() -> Members {
        Members::new(id("a"), Duration::from_secs(10))
    }

    #[test]
    fn a_gateway_is_dead_when_its_lease_ran_out_under_somebodys_eyes() {
        let mut members = members();
        for (now, lease, is_dead) in
            [(0, 10, false), (9, 10, false), (10, 12, false), (13, 12, false), (19, 12, false), (20, 12, true)]
        {
            let seen = members.look(&[member("a", now + 10, now), member("b", lease, now)]);
            assert_eq!((seen.lost.len(), seen.is_heard), (usize::from(is_dead), !is_dead), "at {now} s");
            assert!(!seen.is_fenced);
        }
    }

    #[test]
    fn leases_that_ran_out_while_nobody_could_look_are_looked_at_anew() {
        let mut members = members();
        members.look(&[member("a", 10, 0), member("b", 10, 0)]);
        members.look_away();
        for (now, is_dead) in [(60, false), (69, false), (70, true)] {
            let seen = members.look(&[member("a", now + 10, now), member("b", 10, now)]);
            assert_eq!(seen.lost, if is_dead { vec![id("b")] } else { Vec::new() }, "at {now} s");
        }
    }

    #[test]
    fn a_gateway_is_dead_also_where_connections_are_lost_again_and_again() {
        let mut members = members();
        let mut found = None;
        for now in 0..60 {
            // Every other second nobody is connected.
            if now % 2 == 0 {
                members.look_away();
            }
            if found.is_none() && !members.look(&[member("a", now + 10, now), member("b", 10, now)]).lost.is_empty() {
                found = Some(now);
            }
        }
        assert_eq!(found, Some(19), "ten seconds were watched");
    }

    #[test]
    fn a_gateway_that_was_found_dead_or_is_not_there_is_fenced() {
        let dead = Member { has_ended: true, ..member("a", 10, 0) };
        assert!(members().look(&[dead]).is_fenced);
        assert!(members().look(&[member("b", 10, 0)]).is_fenced);
        assert_eq!(members().look(&[member("a", 10, 0)]), Seen { written_to: 7, ..Seen::default() });
    }
}
