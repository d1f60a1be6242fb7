//! Time goes by over an approval: it expires, or others may answer it too.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, CallId, RoleName};
use crate::journal::{Draft, StreamId};
use crate::policy::event::{ApprovalEscalated, ApprovalExpired};
use crate::policy::{Approval, Standing};
use crate::time::Timestamp;
use crate::world::World;

/// Writes down that an approval has expired, if it has.
#[derive(Debug, Clone)]
pub struct ExpireApproval {
    /// The call that was parked.
    pub call: CallId,
}

impl Command for ExpireApproval {
    /// Whether it was written down now.
    type Answer = bool;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<bool> {
        let due = world.approvals.find(self.call).filter(|found| found.standing.is_open() && found.expires_at <= at);
        let Some(approval) = due else { return Verdict::unchanged(false) };
        let event = Event::ApprovalExpired(ApprovalExpired { call: self.call });
        Verdict { answer: true, drafts: vec![draft(approval, event)] }
    }
}

/// Lets those with another role answer too, if nobody has for so long.
#[derive(Debug, Clone)]
pub struct EscalateApproval {
    /// The call that was parked.
    pub call: CallId,
    /// The role.
    pub role: RoleName,
    /// How long it must have waited, in microseconds.
    pub after_us: u64,
}

impl Command for EscalateApproval {
    /// Whether it was escalated now.
    type Answer = bool;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<bool> {
        let due = |found: &&Approval| {
            found.standing == Standing::Pending
                && at < found.expires_at
                && found.requested_at.0.saturating_add(self.after_us) <= at.0
                && !found.escalated.contains(&self.role)
        };
        let Some(approval) = world.approvals.find(self.call).filter(due) else { return Verdict::unchanged(false) };
        let event = Event::ApprovalEscalated(ApprovalEscalated { call: self.call, role: self.role.clone() });
        Verdict { answer: true, drafts: vec![draft(approval, event)] }
    }
}

fn draft(approval: &Approval, event: Event) -> Draft<Event> {
    Draft { stream: StreamId::Session(approval.session.clone()), actor: Actor::Gateway, event, bodies: Vec::new() }
}
