//! May this call be forwarded?

use bytes::Bytes;

use crate::admission::command::{Command, Verdict};
use crate::admission::look::moment;
use crate::admission::open_session::{is_held, opening};
use crate::admission::parked::{Parked, content};
use crate::authority::{Authority, Credential};
use crate::call::{Capability, Door, Place, Shown};
use crate::digest::Digest;
use crate::event::{CallAdmitted, CallRefused, Event};
use crate::grant::GrantVersion;
use crate::ids::{Actor, CallId, PrincipalName, SessionId};
use crate::journal::{Body, Draft, StreamId};
use crate::ledger::Payer;
use crate::money::Nanodollars;
use crate::policy::event::Counted;
use crate::policy::grants::version;
use crate::policy::{Asks, Decision, Effect, Moment, Within};
use crate::refusal::{Code, Refusal};
use crate::registry::{Placement, Replica};
use crate::session::{Earlier, Origin, Repetition, Session, Turn};
use crate::time::Timestamp;
use crate::world::World;

/// What the model reads when a rule without a message says no.
const DENIED: &str =
    "This call is not allowed by policy. Do not try it again; continue without it or say what you would need.";

/// A call that asks to be forwarded, with all that is known of it.
#[derive(Debug, Clone)]
pub struct Admit {
    /// Its id, made by the shell.
    pub call: CallId,
    /// The call that led to it.
    pub parent: Option<CallId>,
    /// On whose authority it is asked.
    pub authority: Authority,
    /// The session; its owner is who asks.
    pub session: SessionId,
    /// Whether the caller named the session.
    pub origin: Origin,
    /// What may be spent in the session in all, if it is opened by this call.
    pub session_budget: Option<Nanodollars>,
    /// How the call came in.
    pub door: Door,
    /// What it is aimed at.
    pub capability: Capability,
    /// The principal that is called: that of the agent, or of the server of tools that is one. None where nobody is.
    pub callee: Option<PrincipalName>,
    /// What is to be forwarded; or why there is nothing to forward it to, or no way to judge it.
    pub payload: Result<Body, Refusal>,
    /// What policy says of exactly this payload.
    pub decision: Decision,
    /// What it may cost; none when its price is not known.
    pub estimate: Option<Nanodollars>,
    /// Whether it may have been made before.
    pub repetition: Repetition,
    /// The replicas that could serve it now, where there is a choice to make or to keep.
    pub candidates: Option<Vec<Replica>>,
    /// Whether it is a turn of the session.
    pub turn: Turn,
    /// What of the payload an approval is bound to; all of it where nothing is named, as it differs between attempts in nothing else.
    pub content: Option<Digest>,
    /// How a person is asked.
    pub asks: Asks,
    /// What it is within of the grants of its task; none where that was not looked at, because nobody knew of any.
    pub within: Option<Within>,
    /// What the upstream is shown.
    pub shown: Option<Shown>,
}

/// A call that met with no "no".
#[derive(Debug)]
pub enum Passed {
    /// It may be forwarded.
    New(Admitted),
    /// It is an earlier call once more: it gets that one's answer.
    Again(Earlier),
}

/// A call that may be forwarded. Only [`Admit::decide`] makes one, and it is the only thing that egress takes.
#[derive(Debug)]
pub struct Admitted {
    call: CallId,
    authority: Box<Authority>,
    session: SessionId,
    capability: Capability,
    payload: Bytes,
    placement: Option<Placement>,
    knows_session: bool,
}

impl Admitted {
    /// The call's id.
    #[must_use]
    pub fn call(&self) -> CallId {
        self.call
    }

    /// On whose authority it is made.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The session that it is made in.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// What it is aimed at.
    #[must_use]
    pub fn capability(&self) -> &Capability {
        &self.capability
    }

    /// The replica that it goes to, where there are several.
    #[must_use]
    pub fn placement(&self) -> Option<&Placement> {
        self.placement.as_ref()
    }

    /// Whether that replica has completed a call of the session since the session was placed there.
    #[must_use]
    pub fn knows_session(&self) -> bool {
        self.knows_session
    }

    /// What was judged, and so what is forwarded.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }
}

impl Command for Admit {
    type Answer = Result<Passed, Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        // Admitted once more, it would hold twice, be settled once, and run twice.
        if world.open_calls.contains_key(&self.call) {
            let refusal = Refusal::new(Code::Conflict, format!("call {} is open already", self.call));
            return Verdict::unchanged(Err(refusal));
        }
        match self.ask(world, at) {
            Ok(Asked::New(new)) => self.admitted(world, new),
            // What it came to was decided when it was made, and is written there.
            Ok(Asked::Again(earlier)) => Verdict::unchanged(Ok(Passed::Again(earlier))),
            // Nothing is wrong with the call: the shell asks policy again and comes back.
            Err(refusal) if refusal.code == Code::StaleDecision => Verdict::unchanged(Err(refusal)),
            Err(refusal) if refusal.code == Code::TurnUnderWay && self.turn == Turn::Waiting => {
                Verdict::unchanged(Err(refusal))
            }
            Err(refusal) => self.refused(world, refusal, at),
        }
    }
}

/// What the questions came to, if none was answered with "no".
enum Asked<'a> {
    New(New<'a>),
    Again(Earlier),
}

/// What was found out of a call that may be forwarded.
struct New<'a> {
    payload: &'a Body,
    placement: Option<Placement>,
    approval: Option<CallId>,
    counted: Option<Counted>,
}

impl Admit {
    /// The questions, in order. The first "no" ends it.
    fn ask(&self, world: &World, at: Timestamp) -> Result<Asked<'_>, Refusal> {
        self.is_known(world, at)?;
        let session = world.session.enter(&self.session, self.origin)?;
        let payload = self.payload.as_ref().map_err(Clone::clone)?;
        self.is_judged_by_its_grants(world, at)?;
        self.is_allowed(world, at)?;
        self.is_callable(world)?;
        if let Some(earlier) = self.is_repetition(session, at)? {
            return Ok(Asked::Again(earlier));
        }
        self.is_its_turn(session)?;
        let placement = self.is_placed(world)?;
        let counted = world.grants.count(&self.session, self.authority.under, self.within.as_ref())?;
        self.is_affordable(world)?;
        // Last, so that nobody is asked about what would not be forwarded anyway.
        let approval = self.is_approved(world, payload, at)?;
        Ok(Asked::New(New { payload, placement, approval, counted }))
    }

    /// The door has recognised the key already, from a copy; here is the truth.
    fn is_known(&self, world: &World, at: Timestamp) -> Result<(), Refusal> {
        is_held(world, &self.authority, &self.session, at)?;
        let Credential::Key(key) = &self.authority.credential else { return Ok(()) };
        if world.identity.find(key).is_none_or(|key| key.scope.has_capability(&self.capability)) {
            return Ok(());
        }
        Err(Refusal::new(Code::Forbidden, format!("this key is not for `{}`", self.capability)))
    }

    /// Whether the grants of its task are those that it was judged by, and what that rests on is still there.
    fn is_judged_by_its_grants(&self, world: &World, at: Timestamp) -> Result<(), Refusal> {
        let layers = world.grants.layers(&self.session, self.authority.under)?;
        let Some(within) = &self.within else {
            let stale = Refusal::new(Code::StaleDecision, "the task has a grant that was not looked at");
            return if layers.is_empty() { Ok(()) } else { Err(stale) };
        };
        let state = world.session.find(&self.session).map(|session| &session.scratchpad);
        let version = |key| state.and_then(|state| state.find(key, at)).map(|located| located.version);
        let is_over = within.state.iter().any(|(key, then)| version(key) != *then);
        if is_over || within.number != world.grants.number(&self.session) {
            return Err(Refusal::new(
                Code::StaleDecision,
                "the grant of the task, or what it rests on, has changed meanwhile",
            ));
        }
        Ok(())
    }

    fn is_allowed(&self, world: &World, at: Timestamp) -> Result<(), Refusal> {
        if world.policy.version != Some(self.decision.version) {
            return Err(Refusal::new(Code::StaleDecision, "the policies have changed meanwhile"));
        }
        // Two calls that were judged by the same count can't both pass: the first one changes it.
        let rests_on = &self.decision.moment;
        if *rests_on != Moment::default() && rests_on.is_over(&moment(world, &self.session, at)) {
            return Err(Refusal::new(Code::StaleDecision, "the session has gone on meanwhile"));
        }
        match self.decision.effect {
            Effect::Allow | Effect::Ask => Ok(()),
            Effect::Deny => Err(denied(&self.decision)),
        }
    }

    /// Behind what policy says, so that nobody learns of it who may not call it anyway.
    fn is_callable(&self, world: &World) -> Result<(), Refusal> {
        let Some(callee) = &self.callee else { return Ok(()) };
        world.disabled.check_callee(callee, &self.capability)
    }

    /// The approval that it uses, where a person must be asked.
    fn is_approved(&self, world: &World, payload: &Body, at: Timestamp) -> Result<Option<CallId>, Refusal> {
        match (self.decision.effect, self.asks) {
            (Effect::Ask, _) | (_, Asks::Only(_)) => self.parked(payload).approval(world, at).map(Some),
            (Effect::Allow | Effect::Deny, Asks::Anew { .. }) => Ok(None),
        }
    }

    fn parked<'a>(&'a self, payload: &'a Body) -> Parked<'a> {
        Parked {
            call: self.call,
            authority: &self.authority,
            session: &self.session,
            capability: &self.capability,
            door: self.door,
            place: Place::Request,
            content: self.content.unwrap_or_else(|| content(&self.capability, payload)),
            payload,
            decision: &self.decision,
            estimate: self.estimate,
            asks: self.asks,
        }
    }

    fn is_repetition(&self, session: Option<&Session>, at: Timestamp) -> Result<Option<Earlier>, Refusal> {
        let Repetition { mark: Some(mark), is_harmless, delivered } = &self.repetition else { return Ok(None) };
        let Some(session) = session else { return Ok(None) };
        let earlier = session.once.find(*mark, *is_harmless, at)?;
        // The entry that says so is the one of this call, if it becomes one.
        let is_delivered = matches!(earlier, Some(Earlier::Done(done)) if delivered.contains(&done.call));
        Ok(earlier.filter(|_| mark.has_key() || !is_delivered))
    }

    /// The turns of a session with an agent come one after the other.
    fn is_its_turn(&self, session: Option<&Session>) -> Result<(), Refusal> {
        let session = session.filter(|_| self.turn != Turn::Beside);
        match session.and_then(|session| session.turns.get(&self.capability)) {
            None => Ok(()),
            Some(call) => {
                let message = format!("turn {call} of this session with `{}` is under way", self.capability.name);
                Err(Refusal::new(Code::TurnUnderWay, message))
            }
        }
    }

    fn is_placed(&self, world: &World) -> Result<Option<Placement>, Refusal> {
        let Some(candidates) = &self.candidates else { return Ok(None) };
        let placement = world.placements.choose(&self.session, &self.capability, candidates);
        placement.map(Some).ok_or_else(|| {
            Refusal::new(Code::UpstreamFailed, format!("no replica of `{}` can be reached", self.capability.name))
        })
    }

    fn payer(&self) -> Payer<'_> {
        Payer { session: &self.session, task: self.authority.task.as_ref() }
    }

    fn is_affordable(&self, world: &World) -> Result<(), Refusal> {
        let Some(estimate) = self.estimate else {
            if world.ledger.is_limited(self.payer(), self.session_budget) {
                let message = format!("what `{}` costs is not known, and the budget is limited", self.capability.name);
                return Err(Refusal::new(Code::PriceUnknown, message));
            }
            return Ok(());
        };
        world.ledger.check(self.payer(), self.session_budget, estimate).map_err(|shortfall| {
            let message = format!(
                "the budget of {} is exhausted: this call may cost {}, and {} of {} is left",
                shortfall.account,
                shortfall.needed,
                shortfall.granted.minus(shortfall.held.plus(shortfall.spent)),
                shortfall.granted
            );
            Refusal { shortfall: Some(Box::new(shortfall)), ..Refusal::new(Code::BudgetExhausted, message) }
        })
    }

    fn admitted(&self, world: &World, new: New<'_>) -> Verdict<Result<Passed, Refusal>> {
        let New { payload, placement, approval, counted } = new;
        let is_known = |placement| world.placements.is_known(&self.session, &self.capability, placement);
        let knows_session = placement.as_ref().is_some_and(is_known);
        let event = CallAdmitted {
            call: self.call,
            parent: self.parent,
            capability: self.capability.clone(),
            callee: self.callee.clone(),
            door: self.door,
            authority: self.authority.clone(),
            policies: self.decision.policies.clone(),
            policy_version: self.decision.version,
            hold: self.estimate.unwrap_or_default(),
            once: self.repetition.mark,
            placement: placement.clone(),
            approval,
            is_turn: self.turn != Turn::Beside,
            delivered: self.repetition.delivered.clone(),
            grant: counted,
            // Who writes the entry knows whether there are others.
            gateway: None,
            shown: self.shown.clone(),
            audit: self.decision.audit.clone(),
            guarded: self.decision.guarded.clone(),
            labels: self.decision.labels.clone(),
        };
        let admitted = Admitted {
            call: self.call,
            authority: Box::new(self.authority.clone()),
            session: self.session.clone(),
            capability: self.capability.clone(),
            payload: payload.bytes().clone(),
            placement,
            knows_session,
        };
        let mut drafts = opening(world, &self.authority, &self.session, self.session_budget);
        drafts.push(self.draft(
            StreamId::Session(self.session.clone()),
            Event::CallAdmitted(event),
            vec![payload.clone()],
        ));
        Verdict { answer: Ok(Passed::New(admitted)), drafts }
    }

    /// A refusal is written to the session that the caller may enter; where there is none, to the control stream.
    fn refused(&self, world: &World, refusal: Refusal, at: Timestamp) -> Verdict<Result<Passed, Refusal>> {
        let is_inside =
            refusal.code != Code::Unauthenticated && world.session.enter(&self.session, self.origin).is_ok();
        let (stream, session) = if is_inside {
            (StreamId::Session(self.session.clone()), None)
        } else {
            (StreamId::Control, Some(self.session.clone()))
        };
        let event = CallRefused {
            call: self.call,
            capability: self.capability.clone(),
            door: self.door,
            session,
            code: refusal.code,
            message: refusal.message.clone(),
            reasons: refusal.reasons.clone(),
            audit: self.decision.audit.clone(),
            outside: self.outside(world, refusal.code),
            guarded: self.decision.guarded.clone(),
            policies: if matches!(refusal.code, Code::Denied | Code::ApprovalRequired) {
                self.decision.policies.clone()
            } else {
                Vec::new()
            },
        };
        let bodies = self.payload.iter().filter(|_| is_inside).cloned().collect();
        let mut drafts =
            if is_inside { opening(world, &self.authority, &self.session, self.session_budget) } else { Vec::new() };
        let mut draft = self.draft(stream, Event::CallRefused(event), bodies);
        if refusal.code == Code::Unauthenticated {
            // Naming somebody's session is not yet being that somebody: the entry blames the key.
            let holder = match &self.authority.credential {
                Credential::Key(key) => world.identity.find(key).map(|key| &key.principal),
                vouched @ Credential::Vouched { .. } => world.identity.vouched(vouched).map(|seen| &seen.principal),
            };
            draft.actor = holder.map_or(Actor::Gateway, |holder| Actor::Principal(holder.clone()));
        }
        drafts.push(draft);
        if let Ok(payload) = &self.payload
            && refusal.approval == Some(self.call)
        {
            drafts.extend(self.parked(payload).request(at));
        }
        Verdict { answer: Err(refusal), drafts }
    }

    /// The grants that have said no, if it was they.
    fn outside(&self, world: &World, code: Code) -> Option<GrantVersion> {
        let layers = world.grants.layers(&self.session, self.authority.under).ok()?;
        let number = world.grants.number(&self.session);
        (code == Code::OutsideGrant).then(|| version(number, &layers))
    }

    fn draft(&self, stream: StreamId, event: Event, bodies: Vec<Body>) -> Draft<Event> {
        Draft { stream, actor: self.authority.actor(&self.session.owner), event, bodies }
    }
}

/// The refusal that a decision stands for when its answer is no.
#[must_use]
pub fn denied(decision: &Decision) -> Refusal {
    let message = decision.message.clone().unwrap_or_else(|| DENIED.to_owned());
    if let Some(version) = decision.outside {
        return Refusal::new(Code::OutsideGrant, message).because(version.to_string());
    }
    let refusal = Refusal::new(Code::Denied, message);
    let reasons = if decision.policies.is_empty() && decision.errors.is_empty() {
        vec!["no rule permits it".to_owned()]
    } else {
        decision.errors.clone()
    };
    Refusal { reasons, ..refusal }
}
