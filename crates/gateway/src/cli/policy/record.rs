//! The calls of the journal as questions, with what rules could see then: the chain, the time, and what the session had done until then.

use std::collections::{BTreeSet, HashMap};

use portcullis_domain::authority::{Authority, Credential};
use portcullis_domain::call::{Capability, Door, Kind, Place};
use portcullis_domain::event::{CallAdmitted, CallRefused, CallSettled, Event, Judged};
use portcullis_domain::grant::GrantVersion;
use portcullis_domain::ids::{Actor, CallId, LabelName, PrincipalName, SessionId};
use portcullis_domain::journal::{Entry, StreamId};
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::{Effect, Moment, Version};
use portcullis_domain::profile::Profile;
use portcullis_domain::refusal::Code;
use portcullis_domain::time::Timestamp;
use portcullis_interop::llm::chat::ChatRequest;

use crate::cli::exit::Exit;
use crate::cli::policy::ask::{Case, no_key};
use crate::journal::show::{Entries, Selection, Source};
use crate::snapshot::{ASTRAY, OUTSIDE};

/// A call, or a tool call inside a model's answer, and what was said of it.
pub(super) struct Recorded {
    pub(super) call: CallId,
    pub(super) at: Timestamp,
    /// The question.
    pub(super) case: Case,
    /// Why the question can't be put again, where that is so.
    pub(super) lacks: Option<String>,
    /// What policy answered, or none where it was not asked.
    pub(super) effect: Option<Effect>,
    /// Why it was refused.
    pub(super) code: Option<Code>,
    pub(super) policies: Vec<String>,
    pub(super) message: Option<String>,
    pub(super) reasons: Vec<String>,
    pub(super) audit: Vec<String>,
    /// The version of the policies that was in force.
    pub(super) version: Option<Version>,
}

/// What a session has done so far.
#[derive(Default, Clone)]
struct Done {
    opened_at: Option<Timestamp>,
    calls: u64,
    refused: u64,
    spent: Nanodollars,
    labels: BTreeSet<LabelName>,
}

/// Walks through the journal.
pub(super) struct Walk<'a> {
    source: &'a dyn Source,
    /// Only this call, so that no other bodies are read.
    only: Option<CallId>,
    sessions: HashMap<SessionId, Done>,
    /// Calls under way: on whose authority and through which door.
    open: HashMap<CallId, (Authority, Door)>,
    /// What issuers have said so far.
    vouched: HashMap<PrincipalName, Vec<(Credential, Profile)>>,
    /// What stands for a key that nobody knows.
    unknown: Credential,
    version: Option<Version>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(source: &'a dyn Source, only: Option<CallId>) -> Result<Self, Exit> {
        let unknown = no_key().map_err(Exit::system)?;
        let (sessions, open, vouched) = (HashMap::new(), HashMap::new(), HashMap::new());
        Ok(Self { source, only, sessions, open, vouched, unknown, version: None })
    }

    /// Hands every call to `each`, in the order in which they were written.
    pub(super) fn run(
        mut self,
        stream: Option<StreamId>,
        mut each: impl FnMut(Recorded) -> Result<(), Exit>,
    ) -> Result<(), Exit> {
        for stored in Entries::of(self.source, Selection { stream, from: 1, limit: usize::MAX }) {
            let stored = stored?;
            let entry = Entry::<Event>::decode(&stored.bytes)
                .map_err(|problem| Exit::io(format!("entry {}: {problem}", stored.position)))?;
            self.take(&entry, stored.position, &mut each)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        entry: &Entry<Event>,
        position: u64,
        each: &mut impl FnMut(Recorded) -> Result<(), Exit>,
    ) -> Result<(), Exit> {
        let session = match &entry.stream {
            StreamId::Session(session) => Some(session),
            StreamId::Control => None,
        };
        match (&entry.event, session) {
            (Event::PolicyActivated(event), _) => self.version = Some(event.version),
            (Event::PrincipalSeen(event), _) => {
                let credential = event.profile.credential(&event.issuer, &event.principal).map_err(Exit::io)?;
                self.vouched.entry(event.principal.clone()).or_default().push((credential, event.profile.clone()));
            }
            (Event::SessionOpened(_), Some(session)) => {
                self.sessions.insert(session.clone(), Done { opened_at: Some(entry.at), ..Done::default() });
            }
            (Event::CallAdmitted(event), Some(session)) => {
                if self.is_wanted(event.call) {
                    each(self.admitted(entry, position, session, event)?)?;
                }
                self.open.insert(event.call, (event.authority.clone(), event.door));
                let done = self.sessions.entry(session.clone()).or_default();
                done.calls += 1;
                done.labels.extend(event.labels.iter().cloned());
            }
            (Event::CallRefused(event), session) => {
                if let Some(session) = session.or(event.session.as_ref())
                    && self.is_wanted(event.call)
                {
                    each(self.refused(entry, position, session, event)?)?;
                }
                if let Some(session) = session {
                    self.sessions.entry(session.clone()).or_default().refused += 1;
                }
            }
            (Event::CallSettled(event), Some(session)) => {
                let by = self.open.remove(&event.call);
                if self.is_wanted(event.call)
                    && let Some((authority, door)) = by
                {
                    for judged in &event.judged {
                        each(self.judged(entry, session, (&authority, door), event.call, judged))?;
                    }
                }
                self.settled(session, event);
            }
            (Event::LabelLifted(event), Some(session)) => {
                self.sessions.entry(session.clone()).or_default().labels.remove(&event.label);
            }
            // Nothing else changes what rules can see.
            (_, _) => {}
        }
        Ok(())
    }

    fn is_wanted(&self, call: CallId) -> bool {
        self.only.is_none_or(|only| only == call)
    }

    fn settled(&mut self, session: &SessionId, event: &CallSettled) {
        let done = self.sessions.entry(session.clone()).or_default();
        let denied = event.judged.iter().filter(|judged| judged.effect == Effect::Deny).count();
        done.refused += u64::try_from(denied).unwrap_or(u64::MAX);
        done.spent = done.spent.plus(event.charged);
        done.labels.extend(event.labels.iter().cloned());
    }

    fn moment(&self, session: &SessionId, at: Timestamp) -> Moment {
        let done = self.sessions.get(session).cloned().unwrap_or_default();
        let age = done.opened_at.map_or(0, |opened| at.0.saturating_sub(opened.0));
        Moment {
            at: Some(at),
            age_s: Some(age / 1_000_000),
            spent: Some(done.spent),
            calls: Some(done.calls),
            refused: Some(done.refused),
            labels: Some(done.labels),
        }
    }

    fn case(&self, entry: &Entry<Event>, session: &SessionId, authority: &Authority, door: Door) -> Case {
        let said = self.vouched.get(&session.owner).into_iter().flatten();
        let profile =
            said.rev().find(|(credential, _)| *credential == authority.credential).map(|(_, profile)| profile);
        Case {
            subject: session.owner.clone(),
            credential: authority.credential.clone(),
            profile: profile.cloned(),
            scope: authority.scope.clone(),
            through: authority.through.clone(),
            capability: Capability::new(Kind::Function, ""),
            arguments: None,
            functions: Vec::new(),
            session: session.clone(),
            door,
            place: Place::Request,
            moment: self.moment(session, entry.at),
            said: None,
        }
    }

    fn admitted(
        &self,
        entry: &Entry<Event>,
        position: u64,
        session: &SessionId,
        event: &CallAdmitted,
    ) -> Result<Recorded, Exit> {
        let case = self.case(entry, session, &event.authority, event.door);
        let mut recorded = Recorded {
            call: event.call,
            at: entry.at,
            case: Case { capability: event.capability.clone(), ..case },
            lacks: None,
            effect: Some(Effect::Allow),
            code: None,
            policies: event.policies.clone(),
            message: None,
            reasons: Vec::new(),
            audit: event.audit.clone(),
            version: Some(event.policy_version),
        };
        self.read_payload(&mut recorded, entry, position)?;
        Ok(recorded)
    }

    fn refused(
        &self,
        entry: &Entry<Event>,
        position: u64,
        session: &SessionId,
        event: &CallRefused,
    ) -> Result<Recorded, Exit> {
        let through: &[PrincipalName] = match &entry.actor {
            Actor::Through { agents, .. } => agents,
            Actor::Gateway | Actor::Principal(_) => &[],
        };
        // The entry does not name what they have come with: where an issuer has said several things of them, it may have been any.
        let said = self.vouched.get(&session.owner).map(Vec::as_slice).unwrap_or_default();
        let credential = said.last().map_or(&self.unknown, |(credential, _)| credential).clone();
        let is_doubtful = said.iter().any(|(other, _)| *other != credential);
        let authority = Authority { through: through.to_vec(), ..Authority::of(credential) };
        let case = self.case(entry, session, &authority, event.door);
        let mut recorded = Recorded {
            call: event.call,
            at: entry.at,
            case: Case { capability: event.capability.clone(), ..case },
            lacks: is_doubtful.then(|| DOUBTFUL.to_owned()).or_else(|| not_by_rules(event)),
            effect: answer_behind(event.code),
            code: Some(event.code),
            policies: event.policies.clone(),
            message: Some(event.message.clone()),
            reasons: event.reasons.clone(),
            audit: event.audit.clone(),
            version: self.version,
        };
        self.read_payload(&mut recorded, entry, position)?;
        Ok(recorded)
    }

    fn judged(
        &self,
        entry: &Entry<Event>,
        session: &SessionId,
        (authority, door): (&Authority, Door),
        call: CallId,
        judged: &Judged,
    ) -> Recorded {
        let case = Case {
            capability: judged.capability.clone(),
            arguments: Some(judged.arguments.clone()),
            place: judged.place,
            ..self.case(entry, session, authority, door)
        };
        let is_outside = authority.scope.as_ref().is_some_and(|scope| !scope.covers(&judged.capability));
        Recorded {
            call,
            at: entry.at,
            case,
            lacks: is_outside.then(|| UNASKED.to_owned()).or_else(|| judged.outside.map(granted)),
            effect: Some(judged.effect),
            code: None,
            policies: judged.policies.clone(),
            message: judged.message.clone(),
            reasons: judged.reasons.clone(),
            audit: judged.audit.clone(),
            version: self.version,
        }
    }

    /// The arguments of a tool, and what a model's provider would run by itself.
    fn read_payload(&self, recorded: &mut Recorded, entry: &Entry<Event>, position: u64) -> Result<(), Exit> {
        if recorded.effect.is_none() || !matches!(recorded.case.capability.kind, Kind::Tool | Kind::Model) {
            return Ok(());
        }
        let body = if entry.bodies.is_empty() { None } else { self.source.body(&entry.stream, position, 0)? };
        let Some(body) = body else {
            recorded.lacks = Some("its arguments are not in the journal, or erased".to_owned());
            return Ok(());
        };
        if recorded.case.capability.kind == Kind::Tool {
            recorded.case.arguments = Some(String::from_utf8_lossy(&body).into_owned());
            return Ok(());
        }
        match ChatRequest::read(body) {
            Ok(request) => {
                let names = request.provider_tools().iter();
                recorded.case.functions = names.map(|name| Capability::new(Kind::Function, name)).collect();
            }
            Err(refusal) => recorded.lacks = Some(format!("its request can't be read: {}", refusal.message)),
        }
        Ok(())
    }
}

/// Why a refusal can't be put again whose credential is not known.
const DOUBTFUL: &str = "its principal came with one of several descriptions, and the entry does not say with which";
/// Why what no rule was asked about can't be put again.
const UNASKED: &str = "it was refused for who asked or for what the task or key is for, before any rule was asked";

/// Why a refusal was none by rules, where that is so.
fn not_by_rules(event: &CallRefused) -> Option<String> {
    let is_unasked = [ASTRAY, OUTSIDE].contains(&event.message.as_str());
    event.outside.map(granted).or_else(|| is_unasked.then(|| UNASKED.to_owned()))
}

fn granted(version: GrantVersion) -> String {
    format!("it was refused by {version}, whatever rules say")
}

/// What policy had answered when a call was refused for that reason; none where it was not asked.
fn answer_behind(code: Code) -> Option<Effect> {
    match code {
        Code::Denied | Code::OutsideGrant => Some(Effect::Deny),
        Code::ApprovalRequired => Some(Effect::Ask),
        Code::BudgetExhausted
        | Code::PriceUnknown
        | Code::TurnUnderWay
        | Code::UpstreamFailed
        | Code::OutcomeUnknown
        | Code::IdempotencyKeyReused => Some(Effect::Allow),
        Code::InvalidRequest
        | Code::InvalidArguments
        | Code::Unauthenticated
        | Code::Blocked
        | Code::Forbidden
        | Code::SessionNotFound
        | Code::SessionClosed
        | Code::SessionFrozen
        | Code::TooDeep
        | Code::CapabilityNotFound
        | Code::NotFound
        | Code::Conflict
        | Code::WaitOver
        | Code::TooLarge
        | Code::TooMany
        | Code::StaleDecision
        | Code::CredentialUnavailable
        | Code::UnsupportedVersion
        | Code::UpstreamTimeout
        | Code::StoreUnavailable => None,
    }
}
