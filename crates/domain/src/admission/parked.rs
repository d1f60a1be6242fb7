//! A call that a person must say yes to: whether somebody has, and who is asked where nobody was yet.

use crate::authority::Authority;
use crate::call::{Capability, Door, Place};
use crate::digest::Digest;
use crate::event::Event;
use crate::ids::{CallId, SessionId};
use crate::journal::{Body, Draft, StreamId};
use crate::json;
use crate::money::Nanodollars;
use crate::policy::approval::wait_of;
use crate::policy::event::ApprovalRequested;
use crate::policy::{Approval, Asks, Decision, Standing};
use crate::refusal::{Code, Refusal};
use crate::session::event::WaitOpened;
use crate::session::state::is_minted;
use crate::time::Timestamp;
use crate::world::World;

/// How long the gateway may take to make a call that was approved in the last moment, in microseconds.
const RUN_LIMIT_US: u64 = 3_600 * 1_000_000;

/// The call, with what an approval of it is bound to.
pub(super) struct Parked<'a> {
    pub(super) call: CallId,
    pub(super) authority: &'a Authority,
    pub(super) session: &'a SessionId,
    pub(super) capability: &'a Capability,
    pub(super) door: Door,
    pub(super) place: Place,
    pub(super) content: Digest,
    pub(super) payload: &'a Body,
    pub(super) decision: &'a Decision,
    pub(super) estimate: Option<Nanodollars>,
    pub(super) asks: Asks,
}

/// What tells a call of `capability` from calls with other arguments. Neither the order of members nor spaces count where they are JSON, and every byte does where they are not.
pub(super) fn content(capability: &Capability, payload: &Body) -> Digest {
    let text = std::str::from_utf8(payload.bytes()).ok();
    let plain = text.and_then(|text| json::canonical(text).ok());
    let bytes = plain.as_deref().map_or(payload.bytes().as_ref(), str::as_bytes);
    Digest::of_parts(&[capability.to_string().as_bytes(), b"\n", bytes])
}

impl Parked<'_> {
    /// The approval that the call may use.
    ///
    /// # Errors
    ///
    /// [`Code::ApprovalRequired`] with the approval that is waited for, which is the call's own where there was none yet; [`Code::Denied`] when somebody has said no.
    pub(super) fn approval(&self, world: &World, at: Timestamp) -> Result<CallId, Refusal> {
        let found = || world.approvals.of(&self.session.owner).filter(|(_, approval)| self.is_for_this(approval, at));
        let standing = |wanted: Standing| found().find(|(_, approval)| approval.standing == wanted);
        if let Asks::Only(only) = self.asks {
            let mut given = found().filter(|(_, approval)| approval.standing == Standing::Approved);
            let is_given = given.any(|(approval, _)| approval == only);
            let refusal = || Refusal::new(Code::Conflict, format!("approval {only} is not to be used"));
            return is_given.then_some(only).ok_or_else(refusal);
        }
        if let Some((approval, _)) = standing(Standing::Approved) {
            return Ok(approval);
        }
        if let Some((approval, found)) = standing(Standing::Pending) {
            return Err(waits(self.decision, approval, found.is_run));
        }
        if let Some((approval, found)) = standing(Standing::Denied) {
            return Err(said_no(approval, found));
        }
        world.approvals.check(&self.session.owner)?;
        if self.is_run() {
            let wait = wait_of(self.call).map_err(|problem| Refusal::new(Code::Conflict, problem))?;
            world.waits.check(self.session, &wait)?;
        }
        Err(waits(self.decision, self.call, self.is_run()))
    }

    fn is_run(&self) -> bool {
        matches!(self.asks, Asks::Anew { is_run: true, .. })
    }

    /// By the same chain, of the same content, asked under the same policies; and in the same session, unless nobody has named that.
    fn is_for_this(&self, approval: &Approval, at: Timestamp) -> bool {
        approval.content == self.content
            && approval.capability == *self.capability
            && approval.authority.through == self.authority.through
            && approval.policy_version == self.decision.version
            && at < approval.expires_at
            && (approval.session == *self.session || is_minted(&approval.session.name))
    }

    /// The entries by which somebody is asked; what comes of a call that the gateway makes itself is waited for.
    pub(super) fn request(&self, at: Timestamp) -> Vec<Draft<Event>> {
        let lasts_us = match self.asks {
            Asks::Anew { lasts_us, .. } => lasts_us,
            Asks::Only(_) => 0,
        };
        let expires_at = Timestamp(at.0.saturating_add(lasts_us));
        let wait = wait_of(self.call).ok().filter(|_| self.is_run()).map(|name| {
            let what = format!("the approval of {}", self.capability);
            let until = Timestamp(expires_at.0.saturating_add(RUN_LIMIT_US));
            self.draft(Event::WaitOpened(WaitOpened { name, what, until, deliver: None }), Vec::new())
        });
        let request = self.draft(self.requested(expires_at), vec![self.payload.clone()]);
        std::iter::once(request).chain(wait).collect()
    }

    fn requested(&self, expires_at: Timestamp) -> Event {
        Event::ApprovalRequested(ApprovalRequested {
            call: self.call,
            capability: self.capability.clone(),
            door: self.door,
            place: self.place,
            authority: self.authority.lasting(),
            content: self.content,
            policies: self.decision.policies.clone(),
            policy_version: self.decision.version,
            asks: self.decision.asks.clone(),
            message: self.decision.message.clone(),
            estimate: self.estimate,
            expires_at,
            is_run: self.is_run(),
        })
    }

    fn draft(&self, event: Event, bodies: Vec<Body>) -> Draft<Event> {
        Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: self.authority.actor(&self.session.owner),
            event,
            bodies,
        }
    }
}

/// The refusal of a call that waits for an approval, in words that a model can act on.
fn waits(decision: &Decision, approval: CallId, is_run: bool) -> Refusal {
    let Refusal { message, .. } = unanswered(decision);
    let then = if is_run {
        format!(
            "Once it is given, the gateway makes this call itself: do not repeat it. The end of the wait `{}{approval}` of this session says what came of it.",
            crate::policy::approval::WAIT_PREFIX
        )
    } else {
        "Once it is given, make exactly this call again; with other arguments it would need another approval."
            .to_owned()
    };
    let message = format!("{message} It was asked for as approval {approval}. Nothing was done. {then}");
    Refusal { approval: Some(approval), ..Refusal::new(Code::ApprovalRequired, message) }
}

fn said_no(approval: CallId, found: &Approval) -> Refusal {
    let said = found.said.iter().find(|said| !said.is_yes);
    let comment = said.and_then(|said| said.comment.as_deref()).map(|comment| format!(": {comment}"));
    let message =
        format!("A person was asked about this call and has said no{}", comment.unwrap_or_else(|| ".".to_owned()));
    let by = said.map_or("somebody", |said| said.by.as_str());
    Refusal::new(Code::Denied, message).because(format!("approval {approval} was denied by `{by}`"))
}

/// The refusal that a decision stands for when a person must be asked and was not.
#[must_use]
pub fn unanswered(decision: &Decision) -> Refusal {
    let who = |ask: &crate::policy::Ask| match ask.approvals {
        1 => format!("a person with the role `{}`", ask.role),
        more => format!("{more} persons with the role `{}`", ask.role),
    };
    let who: Vec<String> = decision.asks.iter().map(who).collect();
    let why = decision.message.as_ref().map(|message| format!("{message} ")).unwrap_or_default();
    let message = format!("{why}This call needs the approval of {}.", who.join(" and "));
    Refusal::new(Code::ApprovalRequired, message)
}
