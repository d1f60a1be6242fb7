//! An approval, reckoned from what was asked and said alone.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_domain::authority::Authority;
use portcullis_domain::call::Capability;
use portcullis_domain::ids::{CallId, PrincipalName, RoleName, SessionId};
use portcullis_domain::policy::{Ask, Version};
use portcullis_domain::time::Timestamp;

/// One approval, as the entries tell it.
#[derive(Debug)]
pub(super) struct Reckoned {
    pub(super) session: SessionId,
    pub(super) authority: Authority,
    pub(super) capability: Capability,
    pub(super) version: Version,
    pub(super) expires_at: Timestamp,
    pub(super) asks: Vec<Ask>,
    pub(super) escalated: BTreeSet<RoleName>,
    pub(super) yes: BTreeMap<PrincipalName, Yes>,
    pub(super) is_over: bool,
    pub(super) used_by: Option<CallId>,
}

/// What somebody has said yes for.
#[derive(Debug)]
pub(super) struct Yes {
    pub(super) roles: Vec<RoleName>,
    /// Whether it is the answer of the one whose call it is.
    pub(super) is_by_client: bool,
}

impl Reckoned {
    pub(super) fn is_given(&self) -> bool {
        let counts = |ask: &Ask| {
            let has = |yes: &&Yes| match yes.is_by_client {
                true => ask.by_client && yes.roles.contains(&ask.role),
                false => yes.roles.iter().any(|role| *role == ask.role || self.escalated.contains(role)),
            };
            self.yes.values().filter(has).count() >= usize::from(ask.approvals)
        };
        self.asks.iter().all(counts)
    }

    /// A use that came to nothing is none.
    pub(super) fn is_unused(&self, has_failed: impl Fn(CallId) -> bool) -> bool {
        self.used_by.is_none_or(has_failed)
    }

    pub(super) fn is_pending(&self) -> bool {
        !self.is_over && self.used_by.is_none() && !self.is_given()
    }
}
