//! Everything that the journal says, as state. It can be thrown away and rebuilt: [`World::apply`] over all entries gives it again, byte for byte.
//!
//! `apply` cannot fail and has no effects. Whatever may be refused was refused before, in [`crate::admission`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::authority::Credential;
use crate::call::Capability;
use crate::digest::Digest;
use crate::event::{
    CallAdmitted, CallRefused, CallResolved, CallSettled, Delegated, Event, Outcome, RequestAnswered, RequestTaken,
    TaskGrant,
};
use crate::identity::{Disabled, Keys, Uses};
use crate::ids::{CallId, GatewayId, KeyId, PrincipalName, SessionId};
use crate::journal::{Entry, StreamId};
use crate::ledger::{Book, Payer};
use crate::policy::{Active, Approvals, Effect, Grants};
use crate::registry::{Observed, Placements};
use crate::session::agent_tasks::AgentTask;
use crate::session::event::{NewsCame, TaskLeft};
use crate::session::requests::OpenRequest;
use crate::session::{AgentTasks, Pushes, Records, Requests, Sessions, Waits};
use crate::time::Timestamp;

/// A call that was admitted and not yet settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCall {
    /// The session that it is made in.
    pub session: SessionId,
    /// What it is aimed at.
    pub capability: Capability,
    /// What tells it apart, for calls that take effect at most once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<Digest>,
    /// The number of the placement that it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
    /// The approval that it has used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<CallId>,
    /// The gateway that forwards it, where several share the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayId>,
}

/// The state of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    /// The keys that were issued.
    pub identity: Keys,
    /// Who may not act.
    #[serde(default)]
    pub disabled: Disabled,
    /// When keys were used.
    #[serde(default, skip_serializing_if = "Uses::is_empty")]
    pub uses: Uses,
    /// The sessions.
    pub session: Sessions,
    /// What tool servers declared.
    pub registry: Observed,
    /// The policies in force.
    pub policy: Active,
    /// What persons are asked.
    #[serde(default)]
    pub approvals: Approvals,
    /// The tasks of agents that go on.
    #[serde(default)]
    pub agent_tasks: AgentTasks,
    /// What tasks are granted.
    #[serde(default)]
    pub grants: Grants,
    /// The accounts.
    pub ledger: Book,
    /// What sessions wait for.
    #[serde(default)]
    pub waits: Waits,
    /// Where clients want news of tasks.
    #[serde(default)]
    pub pushes: Pushes,
    /// What sessions keep for clients.
    #[serde(default)]
    pub records: Records,
    /// The requests that have an idempotency key.
    #[serde(default)]
    pub requests: Requests,
    /// Which replica serves which session.
    #[serde(default)]
    pub placements: Placements,
    /// The calls in flight.
    pub open_calls: BTreeMap<CallId, OpenCall>,
}

impl World {
    /// Takes in one entry. Entries must come in the order in which they were written.
    pub fn apply(&mut self, entry: &Entry<Event>) {
        match &entry.stream {
            StreamId::Session(session) => self.apply_to_session(session, entry),
            StreamId::Control => self.apply_to_control(entry),
        }
    }

    fn apply_to_control(&mut self, entry: &Entry<Event>) {
        match &entry.event {
            Event::KeyCreated(event) => self.identity.created(event, entry.at),
            Event::KeyLimited(event) => self.identity.limited(event),
            Event::KeyRevoked(event) => {
                self.identity.revoked(event, entry.at);
                self.key_ended(&event.key);
            }
            Event::KeyWithdrawn(event) => {
                self.identity.withdrawn(event, entry.at);
                self.key_ended(&event.key);
            }
            Event::KeyRestored(event) => self.identity.restored(event),
            Event::PrincipalSeen(event) => self.identity.seen(event, entry.at),
            Event::PrincipalDisabled(event) => self.principal_disabled(&event.principal, entry.at),
            Event::PrincipalEnabled(event) => self.disabled.enabled(&event.principal),
            Event::SigningRotated(event) => self.identity.signing_rotated(event, entry.at),
            Event::PolicyActivated(event) => {
                self.policy.activated(event);
                self.approvals.policies_changed(event.version);
            }
            Event::PolicyRolledBack(event) => self.policy.rolled_back(event),
            Event::PolicyRolledForward(_) => self.policy.rolled_forward(),
            Event::ToolsObserved(event) => self.registry.tools_observed(event, entry.seq),
            Event::Granted(event) => self.ledger.granted(event),
            Event::RequestAnswered(event) => self.request_answered(event, entry),
            // A refusal outside any session changes nothing; the rest is written to sessions only.
            Event::CallRefused(_)
            | Event::SessionOpened(_)
            | Event::SessionClosed(_)
            | Event::SessionFrozen(_)
            | Event::SessionUnfrozen(_)
            | Event::LabelLifted(_)
            | Event::UserSaid(_)
            | Event::StatePut(_)
            | Event::StateDeleted(_)
            | Event::CallAdmitted(_)
            | Event::Delegated(_)
            | Event::GrantSet(_)
            | Event::ApprovalRequested(_)
            | Event::ApprovalAnswered(_)
            | Event::ApprovalEscalated(_)
            | Event::ApprovalUsed(_)
            | Event::ApprovalExpired(_)
            | Event::ApprovalWithdrawn(_)
            | Event::WaitOpened(_)
            | Event::WaitEnded(_)
            | Event::WaitDelivered(_)
            | Event::PushOpened(_)
            | Event::PushBound(_)
            | Event::PushClosed(_)
            | Event::NewsCame(_)
            | Event::NewsDelivered(_)
            | Event::TaskLeft(_)
            | Event::TaskOver(_)
            | Event::TaskCancelling(_)
            | Event::TaskCancelled(_)
            | Event::RecordPut(_)
            | Event::RecordExtended(_)
            | Event::RecordDropped(_)
            | Event::RequestTaken(_)
            | Event::CallSettled(_)
            | Event::CallResolved(_) => {}
        }
    }

    fn apply_to_session(&mut self, session: &SessionId, entry: &Entry<Event>) {
        match &entry.event {
            Event::SessionOpened(event) => {
                self.session.opened(session, entry.at);
                self.ledger.session_opened(session, event.budget);
            }
            Event::SessionClosed(_) => self.session_closed(session),
            Event::SessionFrozen(_) => self.session.frozen(session),
            Event::SessionUnfrozen(_) => self.session.unfrozen(session),
            // What was said is for those who read it.
            Event::UserSaid(_) => {}
            Event::LabelLifted(event) => self.session.label_lifted(session, &event.label),
            Event::StatePut(event) => self.session.state_was_put(session, event, entry.seq, entry.at),
            Event::StateDeleted(event) => self.session.state_was_deleted(session, event),
            Event::WaitOpened(event) => self.waits.opened(session, event),
            Event::WaitEnded(event) => {
                self.waits.ended(session, event, entry.seq);
                self.approvals.told(session, &event.name);
            }
            Event::WaitDelivered(event) => self.waits.delivered(session, event),
            Event::GrantSet(event) => self.grants.set(session, event),
            Event::ApprovalRequested(event) => self.approvals.requested(session, event, entry.seq, entry.at),
            // Only a principal answers.
            Event::ApprovalAnswered(event) => {
                entry.actor.subject().iter().for_each(|by| self.approvals.answered(event, by, entry.at));
            }
            Event::ApprovalEscalated(event) => self.approvals.escalated(event.call, &event.role),
            Event::ApprovalUsed(event) => self.approvals.used(event.call, event.by),
            Event::ApprovalExpired(event) => self.approvals.expired(event.call),
            Event::ApprovalWithdrawn(event) => self.approvals.withdrawn(event.call),
            Event::PushOpened(event) => self.pushes.opened(session, event, entry.seq, entry.at),
            Event::PushBound(event) => self.pushes.bound(session, event),
            Event::PushClosed(event) => self.pushes.closed(session, &event.push),
            Event::NewsCame(event) => self.news_came(session, event, entry.seq),
            Event::NewsDelivered(event) => self.pushes.delivered(session, event),
            Event::TaskLeft(event) => self.task_left(session, event),
            Event::TaskOver(event) => self.agent_tasks.over(&task(session, &event.agent, &event.task)),
            Event::TaskCancelling(event) => self.agent_tasks.tried(&task(session, &event.agent, &event.task)),
            Event::TaskCancelled(event) => self.agent_tasks.over(&task(session, &event.agent, &event.task)),
            Event::RecordPut(event) => self.records.was_put(session, &event.id, event.is_lasting, entry.seq),
            Event::RecordExtended(event) => self.records.was_extended(session, &event.id, &event.items, entry.seq),
            Event::RecordDropped(event) => self.records.was_dropped(session, &event.id, event.item.as_ref()),
            Event::RequestTaken(event) => self.request_taken(event, entry),
            Event::RequestAnswered(event) => self.request_answered(event, entry),
            Event::Delegated(event) => self.delegated(session, event),
            Event::CallAdmitted(event) => self.admitted(session, event, entry.at),
            Event::CallRefused(CallRefused { .. }) => self.session.counted(session, 0, 1),
            Event::CallSettled(event) => self.settled(session, event, entry),
            Event::CallResolved(event) => self.resolved(session, event, entry),
            Event::Granted(event) => self.ledger.granted(event),
            // These are written to the control stream only.
            Event::KeyCreated(_)
            | Event::KeyLimited(_)
            | Event::KeyRevoked(_)
            | Event::KeyWithdrawn(_)
            | Event::KeyRestored(_)
            | Event::PrincipalSeen(_)
            | Event::PrincipalDisabled(_)
            | Event::PrincipalEnabled(_)
            | Event::SigningRotated(_)
            | Event::PolicyActivated(_)
            | Event::PolicyRolledBack(_)
            | Event::PolicyRolledForward(_)
            | Event::ToolsObserved(_) => {}
        }
        self.session.touched(session, entry.at);
    }

    fn session_closed(&mut self, session: &SessionId) {
        self.session.closed(session);
        self.placements.ended(session);
        self.waits.closed(session);
        self.approvals.session_closed(session);
        self.grants.session_closed(session);
        self.pushes.session_closed(session);
        self.agent_tasks.session_closed(session);
        self.requests.session_closed(session);
    }

    fn key_ended(&mut self, key: &KeyId) {
        let credential = Credential::Key(key.clone());
        self.agent_tasks.halt(|open| open.authority.credential == credential);
    }

    fn principal_disabled(&mut self, principal: &PrincipalName, at: Timestamp) {
        self.disabled.disabled(principal, at);
        self.agent_tasks.halt(|open| open.concerns(principal));
    }

    fn task_left(&mut self, session: &SessionId, event: &TaskLeft) {
        let is_revoked = matches!(&event.authority.credential, Credential::Key(key)
            if self.identity.find(key).is_none_or(|key| key.revoked_at.is_some()));
        let is_done_by_disabled = event.callee.as_ref().is_some_and(|callee| self.disabled.since(callee).is_some());
        let is_disabled = is_done_by_disabled || self.disabled.check(event.authority.chain(&session.owner)).is_err();
        let is_halted = is_revoked || is_disabled;
        self.agent_tasks.left(session, event, is_halted);
    }

    fn news_came(&mut self, session: &SessionId, event: &NewsCame, seq: u64) {
        if let Some(push) = self.pushes.find(session, &event.push).filter(|_| event.is_last) {
            self.agent_tasks.over(&task(session, &push.agent, &event.task));
        }
        self.pushes.came(session, event, seq);
    }

    fn request_taken(&mut self, event: &RequestTaken, entry: &Entry<Event>) {
        let RequestTaken { request, requester, mark, gateway } = event.clone();
        let actor = entry.actor.clone();
        self.requests.taken(request, OpenRequest { requester, mark, actor, gateway }, entry.at);
    }

    fn request_answered(&mut self, event: &RequestAnswered, entry: &Entry<Event>) {
        let RequestAnswered { request, requester, mark, outcome } = event;
        match outcome {
            Outcome::Completed => self.requests.answered(*request, requester, *mark, entry.seq, entry.at),
            Outcome::Failed | Outcome::Aborted => self.requests.undone(*request),
            Outcome::Unknown => self.requests.lost(*request, entry.at),
        }
    }

    fn delegated(&mut self, session: &SessionId, event: &Delegated) {
        if let Some(TaskGrant { task, parent, amount }) = &event.grant {
            self.ledger.carved(session, task, parent.as_ref(), *amount);
        }
        if let Some(grant) = &event.within {
            self.grants.handed_on(session, event.token, event.authority.under, grant);
        }
    }

    fn admitted(&mut self, session: &SessionId, event: &CallAdmitted, at: Timestamp) {
        self.session.counted(session, 1, 0);
        self.uses.used(&event.authority.credential, at);
        self.session.labelled(session, &event.labels);
        self.ledger.held(event.call, Payer { session, task: event.authority.task.as_ref() }, event.hold);
        if let Some(once) = self.session.once(session) {
            event.delivered.iter().for_each(|call| once.delivered(*call));
            if let Some(mark) = event.once {
                once.admitted(mark, event.call, at);
            }
        }
        if let Some(placement) = &event.placement {
            self.placements.placed(session, &event.capability, placement);
        }
        if let Some(approval) = event.approval {
            self.approvals.used(approval, event.call);
        }
        if let Some(counted) = &event.grant {
            self.grants.counted(session, event.call, counted);
        }
        if event.is_turn {
            self.session.turn_began(session, &event.capability, event.call);
        }
        let open = OpenCall {
            session: session.clone(),
            capability: event.capability.clone(),
            once: event.once.map(|mark| mark.id),
            fence: event.placement.as_ref().map(|placement| placement.fence),
            approval: event.approval,
            gateway: event.gateway.clone(),
        };
        self.open_calls.insert(event.call, open);
    }

    fn settled(&mut self, session: &SessionId, event: &CallSettled, entry: &Entry<Event>) {
        let denied = event.judged.iter().filter(|judged| judged.effect == Effect::Deny).count();
        self.session.counted(session, 0, u64::try_from(denied).unwrap_or(u64::MAX));
        self.ledger.settled(event.call, event.charged);
        self.session.labelled(session, &event.labels);
        let open = self.open_calls.remove(&event.call);
        if let Some(open) = &open {
            self.session.turn_ended(session, &open.capability, event.call);
            if let Some(approval) = open.approval.filter(|_| event.outcome == Outcome::Failed) {
                self.approvals.unused(approval, event.call, self.policy.version);
            }
            if let Some(fence) = open.fence.filter(|_| event.outcome == Outcome::Completed) {
                self.placements.completed(session, &open.capability, fence);
            }
        }
        let mark = open.and_then(|open| open.once);
        let had_effect = match event.outcome {
            Outcome::Completed => Some(true),
            Outcome::Failed => Some(false),
            // What carries a mark may be resolved later.
            Outcome::Aborted | Outcome::Unknown => mark.is_none().then_some(true),
        };
        self.grants.ended(session, event.call, had_effect);
        if let (Some(mark), Some(once)) = (mark, self.session.once(session)) {
            match event.outcome {
                Outcome::Completed => once.done(mark, entry.seq, entry.at),
                Outcome::Failed => once.undone(mark),
                Outcome::Aborted | Outcome::Unknown => once.lost(mark, entry.at),
            }
        }
    }

    fn resolved(&mut self, session: &SessionId, event: &CallResolved, entry: &Entry<Event>) {
        let Some(once) = self.session.once(session) else { return };
        let Some(mark) = once.unknown(event.call) else { return };
        self.grants.ended(session, event.call, Some(event.outcome == Outcome::Completed));
        match event.outcome {
            Outcome::Completed => once.done(mark, entry.seq, entry.at),
            Outcome::Failed | Outcome::Aborted | Outcome::Unknown => once.undone(mark),
        }
    }
}

fn task(session: &SessionId, agent: &Capability, id: &str) -> AgentTask {
    AgentTask { session: session.clone(), agent: agent.clone(), id: id.to_owned() }
}
