//! Requests with an idempotency key: taken, and answered once.

use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::{is_held, opening};
use crate::authority::Authority;
use crate::event::{Event, Outcome, RequestAnswered, RequestTaken};
use crate::ids::{Actor, CallId, SessionId};
use crate::journal::{Body, Draft, StreamId};
use crate::money::Nanodollars;
use crate::refusal::Refusal;
use crate::session::once::Done;
use crate::session::requests::Requester;
use crate::session::{Earlier, Mark, Origin};
use crate::time::Timestamp;
use crate::world::World;

/// Takes a request in a session, which takes a while and is answered by [`AnswerRequest`]; opens the session if there is none yet.
#[derive(Debug, Clone)]
pub struct TakeRequest {
    /// The number of the request, made by the shell.
    pub request: CallId,
    /// On whose authority it is asked.
    pub authority: Authority,
    /// The session; its owner is who asks.
    pub session: SessionId,
    /// Whether the caller named the session.
    pub origin: Origin,
    /// What may be spent in the session in all, if it is opened by this.
    pub session_budget: Option<Nanodollars>,
    /// What tells the request apart.
    pub mark: Mark,
    /// Whether it may be made again when nobody knows what became of it.
    pub is_harmless: bool,
}

impl Command for TakeRequest {
    /// None where the request is new.
    type Answer = Result<Option<Earlier>, Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        match self.ask(world, at) {
            Ok(None) => {
                let mut drafts = opening(world, &self.authority, &self.session, self.session_budget);
                drafts.push(self.draft());
                Verdict { answer: Ok(None), drafts }
            }
            earlier => Verdict::unchanged(earlier),
        }
    }
}

impl TakeRequest {
    fn ask(&self, world: &World, at: Timestamp) -> Result<Option<Earlier>, Refusal> {
        is_held(world, &self.authority, &self.session, at)?;
        world.session.enter(&self.session, self.origin)?;
        world.requests.find(&self.requester(), self.mark, self.is_harmless, at)
    }

    fn requester(&self) -> Requester {
        Requester { by: self.session.owner.clone(), session: Some(self.session.clone()) }
    }

    fn draft(&self) -> Draft<Event> {
        let requester = self.requester();
        let taken = RequestTaken { request: self.request, requester, mark: self.mark, gateway: None };
        Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: self.authority.actor(&self.session.owner),
            event: Event::RequestTaken(taken),
            bodies: Vec::new(),
        }
    }
}

/// Says what a request that was taken came to.
#[derive(Debug, Clone)]
pub struct AnswerRequest {
    /// The request.
    pub request: CallId,
    /// How it ended.
    pub end: RequestEnd,
}

/// How a request ended that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestEnd {
    /// It was answered, and is answered so from now on.
    Answered(Body),
    /// It certainly had no effect, or none that counts, and may be made again.
    Undone,
    /// Nobody knows whether it took effect, so that it is not made again.
    Unknown,
}

impl Command for AnswerRequest {
    type Answer = ();

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<()> {
        let Some(open) = world.requests.find_open(self.request) else { return Verdict::unchanged(()) };
        let (outcome, answer) = match &self.end {
            RequestEnd::Answered(answer) => (Outcome::Completed, Some(answer)),
            RequestEnd::Undone => (Outcome::Failed, None),
            RequestEnd::Unknown => (Outcome::Unknown, None),
        };
        let draft = answered(self.request, &open.actor, &open.requester, open.mark, outcome, answer);
        Verdict { answer: (), drafts: vec![draft] }
    }
}

/// A command that is carried out once for its key: the change and its answer are written together, so that there is no moment at which one is there without the other.
#[derive(Debug)]
pub struct Keyed<C, F> {
    /// The number of the request, made by the shell.
    pub request: CallId,
    /// Who asks, with the agents through whom.
    pub actor: Actor,
    /// Whose it is.
    pub requester: Requester,
    /// What tells it apart.
    pub mark: Mark,
    /// What is to be done.
    pub command: C,
    /// What is kept as the answer.
    pub record: F,
}

/// What a command came to that has a key.
#[derive(Debug)]
pub enum Performed<T> {
    /// It was carried out now.
    Now(T),
    /// It was carried out before; the answer stands there.
    Before(Done),
}

impl<T, C, F> Command for Keyed<C, F>
where
    T: Send + 'static,
    C: Command<Answer = Result<T, Refusal>>,
    F: Fn(&T) -> Body + Send + 'static,
{
    type Answer = Result<Performed<T>, Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        // It is written in one piece, so that none is ever open here or unknown.
        match world.requests.find(&self.requester, self.mark, true, at) {
            Err(refusal) => return Verdict::unchanged(Err(refusal)),
            Ok(Some(Earlier::Done(done))) => return Verdict::unchanged(Ok(Performed::Before(done))),
            Ok(Some(Earlier::Open(_)) | None) => {}
        }
        let Verdict { answer, mut drafts } = self.command.decide(world, at);
        match answer {
            Err(refusal) => Verdict { answer: Err(refusal), drafts },
            Ok(answer) => {
                let kept = (self.record)(&answer);
                let done = Outcome::Completed;
                drafts.push(answered(self.request, &self.actor, &self.requester, self.mark, done, Some(&kept)));
                Verdict { answer: Ok(Performed::Now(answer)), drafts }
            }
        }
    }
}

/// The entry that says how a request ended: by whoever asked, but for what the gateway finds out by itself.
pub(super) fn answered(
    request: CallId,
    actor: &Actor,
    requester: &Requester,
    mark: Mark,
    outcome: Outcome,
    answer: Option<&Body>,
) -> Draft<Event> {
    let actor = if outcome == Outcome::Unknown { Actor::Gateway } else { actor.clone() };
    Draft {
        stream: requester.session.clone().map_or(StreamId::Control, StreamId::Session),
        actor,
        event: Event::RequestAnswered(RequestAnswered { request, requester: requester.clone(), mark, outcome }),
        bodies: answer.into_iter().cloned().collect(),
    }
}
