//! The laws of approvals, reckoned from what was asked and said alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use portcullis_domain::call::{Capability, Place};
use portcullis_domain::event::{CallAdmitted, Event, Outcome};
use portcullis_domain::ids::{Actor, CallId, RoleName, SessionId};
use portcullis_domain::journal::Entry;
use portcullis_domain::policy::Version;
use portcullis_domain::policy::event::{
    ApprovalAnswered, ApprovalEscalated, ApprovalExpired, ApprovalRequested, ApprovalUsed, ApprovalWithdrawn,
};
use portcullis_domain::refusal::Code;
use portcullis_domain::session::Status;
use portcullis_domain::session::state::MINTED_PREFIX;
use portcullis_domain::time::Timestamp;

use super::reckoned::{Reckoned, Yes};
use super::{Fate, Laws};

impl Laws {
    pub(super) fn approval_requested(&mut self, session: &SessionId, event: &ApprovalRequested, entry: &Entry<Event>) {
        let call = event.call;
        self.has_body(entry, None);
        self.must(event.expires_at > entry.at, || format!("approval {call} is over before it begins"));
        self.must(!event.asks.is_empty(), || format!("approval {call} asks nobody"));
        let is_in_force = self.world.policy.version == Some(event.policy_version);
        self.must(is_in_force, || format!("approval {call} was asked for by policies that were not in force"));
        let is_own = entry.actor == event.authority.actor(&session.owner);
        self.must(is_own, || format!("approval {call} is blamed on another one"));
        let is_parked = match (self.calls.get(&call), event.place) {
            (Some(Fate::Refused { code, .. }), Place::Request) => *code == Code::ApprovalRequired,
            (None, Place::ModelAnswer) => true,
            (Some(_) | None, _) => false,
        };
        self.must(is_parked, || format!("approval {call} is for a call that was not parked"));
        let reckoned = Reckoned {
            session: session.clone(),
            authority: event.authority.clone(),
            capability: event.capability.clone(),
            version: event.policy_version,
            expires_at: event.expires_at,
            asks: event.asks.clone(),
            escalated: BTreeSet::new(),
            yes: BTreeMap::new(),
            is_over: false,
            used_by: None,
        };
        let before = self.approvals.insert(call, reckoned);
        self.must(before.is_none(), || format!("approval {call} was asked for before"));
    }

    pub(super) fn approval_answered(&mut self, session: &SessionId, event: &ApprovalAnswered, entry: &Entry<Event>) {
        let call = event.call;
        let is_void = self.is_void(call);
        let by = match &entry.actor {
            Actor::Principal(by) => by.clone(),
            Actor::Gateway | Actor::Through { .. } => {
                return self.problems.push(format!("approval {call} was answered by nobody, or through an agent"));
            }
        };
        let Some(known) = self.approvals.get_mut(&call) else {
            return self.problems.push(format!("approval {call} was answered, and never asked for"));
        };
        let mut problems = Vec::new();
        if known.session != *session || !known.is_pending() || is_void || entry.at >= known.expires_at {
            problems.push(format!("approval {call} was answered, and was over"));
        }
        let is_on_chain = known.authority.chain(&session.owner).principals().any(|on_chain| *on_chain == by);
        if is_on_chain && !event.is_by_client {
            problems.push(format!("approval {call} was answered by `{by}`, who has a part in it"));
        }
        if event.is_by_client && (session.owner != by || !known.authority.through.is_empty() || event.is_by_link) {
            problems.push(format!("approval {call} was answered in the client of another one than `{by}`"));
        }
        let is_asked = |role: &RoleName| match event.is_by_client {
            true => known.asks.iter().any(|ask| ask.by_client && ask.role == *role),
            false => known.escalated.contains(role) || known.asks.iter().any(|ask| ask.role == *role),
        };
        if event.roles.is_empty() || !event.roles.iter().all(is_asked) {
            problems.push(format!("approval {call} was answered by `{by}`, who was not asked"));
        }
        if event.is_yes {
            known.yes.insert(by, Yes { roles: event.roles.clone(), is_by_client: event.is_by_client });
        } else {
            known.is_over = true;
        }
        self.problems.append(&mut problems);
    }

    pub(super) fn approval_escalated(&mut self, event: &ApprovalEscalated) {
        let is_void = self.is_void(event.call);
        let known = self.approvals.get_mut(&event.call);
        let is_new = known.is_some_and(|known| known.is_pending() && known.escalated.insert(event.role.clone()));
        self.must(is_new && !is_void, || format!("approval {} was over, or escalated before", event.call));
    }

    pub(super) fn approval_expired(&mut self, event: &ApprovalExpired, entry: &Entry<Event>) {
        let is_void = self.is_void(event.call);
        let calls = &self.calls;
        let is_due = self.approvals.get_mut(&event.call).is_some_and(|known| {
            let was_open = !std::mem::replace(&mut known.is_over, true);
            was_open && known.is_unused(|call| has_failed(calls, call)) && known.expires_at <= entry.at
        });
        self.must(is_due && !is_void, || format!("approval {} expired, and was over or not due", event.call));
    }

    pub(super) fn approval_withdrawn(&mut self, session: &SessionId, event: &ApprovalWithdrawn) {
        let is_void = self.is_void(event.call);
        let calls = &self.calls;
        let was_open = self.approvals.get_mut(&event.call).is_some_and(|known| {
            let is_here = known.session == *session;
            let was_open = !std::mem::replace(&mut known.is_over, true);
            is_here && was_open && known.is_unused(|call| has_failed(calls, call))
        });
        self.must(was_open && !is_void, || {
            format!("approval {} was taken back, and was over or another's", event.call)
        });
    }

    pub(super) fn approval_used(&mut self, session: &SessionId, event: &ApprovalUsed, entry: &Entry<Event>) {
        let by = entry.actor.clone();
        self.approval_is_good(session, event.call, event.by, None, entry.at);
        let is_own = self.approvals.get(&event.call).is_some_and(|known| known.authority.actor(&session.owner) == by);
        self.must(is_own, || format!("approval {} was used by another chain", event.call));
    }

    /// A call that names an approval may use it; what policy decided, its entry does not tell.
    pub(super) fn call_is_approved(&mut self, session: &SessionId, event: &CallAdmitted, at: Timestamp) {
        let Some(approval) = event.approval else { return };
        self.approval_is_good(session, approval, event.call, Some((&event.capability, event.policy_version)), at);
        let known = self.approvals.get(&approval);
        let is_own = known.is_some_and(|known| known.authority.through == event.authority.through);
        self.must(is_own, || format!("approval {approval} was used by another chain"));
    }

    fn approval_is_good(
        &mut self,
        session: &SessionId,
        approval: CallId,
        by: CallId,
        of: Option<(&Capability, Version)>,
        at: Timestamp,
    ) {
        let is_void = self.is_void(approval);
        let Some(known) = self.approvals.get_mut(&approval) else {
            return self.problems.push(format!("call {by} uses approval {approval}, which was never asked for"));
        };
        let is_unused = known.is_unused(|call| has_failed(&self.calls, call));
        let is_here = known.session == *session
            || (known.session.owner == session.owner && known.session.name.as_str().starts_with(MINTED_PREFIX));
        let is_it = of.is_none_or(|(capability, version)| known.capability == *capability && known.version == version);
        let is_good = known.is_given() && !known.is_over && is_unused && is_here && is_it && at < known.expires_at;
        known.used_by = Some(by);
        self.must(is_good && !is_void, || {
            format!("call {by} uses approval {approval}, which was not given for it, or used before")
        });
    }

    /// Whether other policies have come, or the session has gone.
    fn is_void(&self, call: CallId) -> bool {
        self.approvals.get(&call).is_some_and(|known| {
            let status = self.world.session.find(&known.session).map(|session| session.status);
            self.world.policy.version != Some(known.version) || status == Some(Status::Closed)
        })
    }

    /// Other policies: what was asked under those before never counts again.
    pub(super) fn approvals_end(&mut self, version: Version) {
        self.approvals.values_mut().filter(|known| known.version != version).for_each(|known| known.is_over = true);
    }
}

fn has_failed(calls: &HashMap<CallId, Fate>, call: CallId) -> bool {
    matches!(calls.get(&call), Some(Fate::Settled { outcome: Outcome::Failed, .. }))
}
