//! A person says yes or no to a call that is parked.

use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::is_held_by;
use crate::authority::Authority;
use crate::event::Event;
use crate::ids::{Actor, CallId, PrincipalName, RoleName};
use crate::journal::{Draft, StreamId};
use crate::policy::approval::COMMENT_LIMIT_BYTES;
use crate::policy::event::ApprovalAnswered;
use crate::policy::{Approval, Standing, Version};
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;
use crate::world::World;

/// Answers an approval. Nobody who is on the chain that asks does, and nobody through an agent; but the one whose call it is may, in the client that makes it, where a rule says so.
#[derive(Debug, Clone)]
pub struct AnswerApproval {
    /// The call that was parked.
    pub call: CallId,
    /// Who answers.
    pub by: PrincipalName,
    /// On whose authority; none for who comes by a link, which stands for them.
    pub authority: Option<Authority>,
    /// Whether it is the one whose call it is, in the client that makes it.
    pub is_by_client: bool,
    /// The roles that they have, by these policies.
    pub roles: Vec<RoleName>,
    /// The policies.
    pub policy_version: Version,
    /// Yes or no.
    pub is_yes: bool,
    /// Why.
    pub comment: Option<String>,
}

impl Command for AnswerApproval {
    /// How the approval stands then.
    type Answer = Result<Standing, Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        let approval = match self.check(world, at) {
            Ok(approval) => approval,
            Err(refusal) => return Verdict::unchanged(Err(refusal)),
        };
        if approval.said.iter().any(|said| said.by == self.by && said.is_yes == self.is_yes) {
            return Verdict::unchanged(Ok(approval.standing));
        }
        match (approval.standing, approval.expires_at <= at) {
            (Standing::Pending, false) => {
                let event = self.event(approval);
                let standing = approval.clone().hears(&event, &self.by, at);
                Verdict { answer: Ok(standing), drafts: vec![self.draft(approval, event)] }
            }
            (
                Standing::Pending
                | Standing::Approved
                | Standing::Denied
                | Standing::Used(_)
                | Standing::Expired
                | Standing::Withdrawn
                | Standing::Void,
                _,
            ) => Verdict::unchanged(Err(approval.over(self.call))),
        }
    }
}

impl AnswerApproval {
    /// The approval, if this one may answer it. Who has nothing to do with it does not learn that there is one.
    fn check<'a>(&self, world: &'a World, at: Timestamp) -> Result<&'a Approval, Refusal> {
        match &self.authority {
            Some(authority) if !authority.through.is_empty() => {
                return Err(Refusal::new(Code::Forbidden, "a person answers by themselves, and not through an agent"));
            }
            Some(authority) => is_held_by(world, authority, &self.by, at)?,
            None => world.disabled.check_one(&self.by)?,
        }
        let approval = world.approvals.find(self.call);
        let approval = approval.ok_or_else(|| not_found(self.call))?;
        if approval.is_on_chain(&self.by) && !self.is_by_client {
            return Err(Refusal::new(Code::Forbidden, "nobody answers for a call that they have a part in"));
        }
        if world.policy.version != Some(self.policy_version) {
            return Err(Refusal::new(Code::StaleDecision, "the policies have changed meanwhile"));
        }
        if self.counted(approval).is_empty() {
            return Err(not_found(self.call));
        }
        match &self.comment {
            Some(comment) if comment.len() > COMMENT_LIMIT_BYTES => {
                let message = format!("a comment has at most {COMMENT_LIMIT_BYTES} bytes");
                Err(Refusal::new(Code::TooLarge, message).about("comment"))
            }
            Some(_) | None => Ok(approval),
        }
    }

    /// The roles that the answer counts for.
    fn counted(&self, approval: &Approval) -> Vec<&RoleName> {
        match (self.is_by_client, &self.authority) {
            (false, _) => approval.asked_of(&self.roles),
            (true, Some(_)) => approval.asked_of_client(&self.by, &self.roles),
            // A link stands for somebody who is asked, and not for a client.
            (true, None) => Vec::new(),
        }
    }

    fn event(&self, approval: &Approval) -> ApprovalAnswered {
        ApprovalAnswered {
            call: self.call,
            is_yes: self.is_yes,
            roles: self.counted(approval).into_iter().cloned().collect(),
            is_by_link: self.authority.is_none(),
            is_by_client: self.is_by_client,
            comment: self.comment.clone(),
        }
    }

    fn draft(&self, approval: &Approval, event: ApprovalAnswered) -> Draft<Event> {
        Draft {
            stream: StreamId::Session(approval.session.clone()),
            actor: Actor::Principal(self.by.clone()),
            event: Event::ApprovalAnswered(event),
            bodies: Vec::new(),
        }
    }
}

/// The answer to everybody whom an approval is none of the business of, whether there is one or not.
#[must_use]
pub fn not_found(call: CallId) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no approval {call}"))
}
