//! Whoever asked for an approval does not want the call any more.

use crate::admission::answer_approval::not_found;
use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::is_held;
use crate::authority::Authority;
use crate::event::Event;
use crate::ids::{CallId, SessionId};
use crate::journal::{Draft, StreamId};
use crate::policy::Approval;
use crate::policy::event::ApprovalWithdrawn;
use crate::refusal::Refusal;
use crate::session::Origin;
use crate::time::Timestamp;
use crate::world::World;

/// Takes an approval back that no call has used. It can only make less happen, so that whoever may act in the session may do it.
#[derive(Debug, Clone)]
pub struct WithdrawApproval {
    /// The call that was parked.
    pub call: CallId,
    /// The session that it was asked for in.
    pub session: SessionId,
    /// On whose authority it is taken back.
    pub authority: Authority,
}

impl Command for WithdrawApproval {
    /// Whether it was taken back now.
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        match self.check(world, at) {
            Ok(_) => Verdict { answer: Ok(()), drafts: vec![self.draft()] },
            Err(refusal) => Verdict::unchanged(Err(refusal)),
        }
    }
}

impl WithdrawApproval {
    fn check<'a>(&self, world: &'a World, at: Timestamp) -> Result<&'a Approval, Refusal> {
        is_held(world, &self.authority, &self.session, at)?;
        world.session.enter(&self.session, Origin::Named)?;
        let found = world.approvals.find(self.call).filter(|found| found.session == self.session);
        let approval = found.ok_or_else(|| not_found(self.call))?;
        if approval.standing.is_open() && at < approval.expires_at {
            Ok(approval)
        } else {
            Err(approval.over(self.call))
        }
    }

    fn draft(&self) -> Draft<Event> {
        Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: self.authority.actor(&self.session.owner),
            event: Event::ApprovalWithdrawn(ApprovalWithdrawn { call: self.call }),
            bodies: Vec::new(),
        }
    }
}
