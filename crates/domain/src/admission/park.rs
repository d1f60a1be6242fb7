//! A tool call inside a model's answer that no door will see again: it goes on to the agent only once a person has said yes.

use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::is_held;
use crate::admission::parked::{Parked, content};
use crate::authority::Authority;
use crate::call::{Capability, Door, Place};
use crate::event::Event;
use crate::ids::{CallId, SessionId};
use crate::journal::{Body, Draft, StreamId};
use crate::money::Nanodollars;
use crate::policy::event::ApprovalUsed;
use crate::policy::{Asks, Decision};
use crate::refusal::{Code, Refusal};
use crate::session::Origin;
use crate::time::Timestamp;
use crate::world::World;

/// Uses the approval of the call, or asks for one. The session is open, since the model was asked in it.
#[derive(Debug, Clone)]
pub struct Park {
    /// The id that the call gets, made by the shell.
    pub call: CallId,
    /// On whose authority the model was asked.
    pub authority: Authority,
    /// In which session.
    pub session: SessionId,
    /// By which protocol.
    pub door: Door,
    /// What the model wants to call.
    pub capability: Capability,
    /// With which arguments.
    pub arguments: Body,
    /// What policy says of it.
    pub decision: Decision,
    /// How long a request for approval lasts, in microseconds.
    pub approval_us: u64,
}

impl Command for Park {
    /// Whether it may go on.
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        let parked = self.parked();
        match self.approval(world, &parked, at) {
            Ok(approval) => Verdict { answer: Ok(()), drafts: vec![self.used(approval)] },
            Err(refusal) if refusal.approval == Some(self.call) => {
                Verdict { answer: Err(refusal), drafts: parked.request(at) }
            }
            Err(refusal) => Verdict::unchanged(Err(refusal)),
        }
    }
}

impl Park {
    fn parked(&self) -> Parked<'_> {
        Parked {
            call: self.call,
            authority: &self.authority,
            session: &self.session,
            capability: &self.capability,
            door: self.door,
            place: Place::ModelAnswer,
            content: content(&self.capability, &self.arguments),
            payload: &self.arguments,
            decision: &self.decision,
            estimate: Some(Nanodollars::ZERO),
            asks: Asks::Anew { lasts_us: self.approval_us, is_run: false },
        }
    }

    fn approval(&self, world: &World, parked: &Parked<'_>, at: Timestamp) -> Result<CallId, Refusal> {
        is_held(world, &self.authority, &self.session, at)?;
        world.session.enter(&self.session, Origin::Named)?;
        if world.policy.version != Some(self.decision.version) {
            return Err(Refusal::new(Code::StaleDecision, "the policies have changed meanwhile"));
        }
        parked.approval(world, at)
    }

    fn used(&self, approval: CallId) -> Draft<Event> {
        Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: self.authority.actor(&self.session.owner),
            event: Event::ApprovalUsed(ApprovalUsed { call: approval, by: self.call }),
            bodies: Vec::new(),
        }
    }
}
