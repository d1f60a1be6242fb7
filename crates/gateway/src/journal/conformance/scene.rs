//! What the cases work with: a clock that is turned by hand, steps as data, and what can be seen of a journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use portcullis_domain::admission::{
    Activation, Admit, CloseSession, Command, Configure, CreateKey, Put, PutState, Recover, RevokeKey, Settle, Verdict,
};
use portcullis_domain::authority::Authority;
use portcullis_domain::call::{Capability, Door, Kind};
use portcullis_domain::digest::Digest;
use portcullis_domain::event::{Event, Outcome};
use portcullis_domain::identity::event::KeyCreated;
use portcullis_domain::ids::{Actor, CallId, KeyId, SessionId};
use portcullis_domain::journal::{Body, Draft, StreamId};
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::{Asks, Decision, Effect};
use portcullis_domain::refusal::Refusal;
use portcullis_domain::session::event::{Opened as SessionOpened, StatePut};
use portcullis_domain::session::{Expected, Origin, Repetition, StateKey, Turn};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;

use crate::clock::Clock;
use crate::journal::fault::StoreFault;
use crate::journal::handle::{Journal, Placed};

/// When every scene begins.
pub(crate) const START_US: u64 = 1_700_000_000_000_000;

/// An engine that has been opened.
pub(crate) trait Opened {
    /// What callers use.
    fn journal(&self) -> &Journal;

    /// Ends it in good order, and judges what it has left.
    fn close(self: Box<Self>);
}

/// Opens the store of a test, the same one every time.
pub(crate) type Opener<'a> = &'a dyn Fn(Arc<TurnedClock>) -> Box<dyn Opened>;

/// A clock that stands still until it is turned.
pub(crate) struct TurnedClock(AtomicU64);

impl TurnedClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(START_US)))
    }

    pub(crate) fn set(&self, micros: u64) {
        self.0.store(micros, Ordering::SeqCst);
    }

    pub(crate) fn advance(&self, micros: u64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for TurnedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Something that a caller does. Sessions belong to `ann` and are named by their name alone; calls and keys by a number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Policies are in force, and `ann` may spend so much.
    Configure(u64),
    Issue(u8),
    Revoke(u8),
    Open(&'static str),
    Close(&'static str),
    Put(&'static str, &'static str, Expected, &'static str),
    /// A call with key 1 that may cost so much.
    Admit(u8, &'static str, u64),
    Settle(u8, u64),
    Recover,
}

/// A little of everything: what is done, what is refused, and calls that stay open.
pub(crate) const WORKLOAD: &[Step] = &[
    Step::Configure(1_000),
    Step::Issue(1),
    Step::Issue(2),
    Step::Issue(1),
    Step::Open("claim-1"),
    Step::Put("claim-1", "step", Expected::Absent, "one"),
    Step::Put("claim-1", "step", Expected::Version(1), "two"),
    Step::Put("claim-1", "step", Expected::Version(1), "too late"),
    Step::Admit(1, "claim-1", 400),
    Step::Admit(2, "claim-2", 400),
    Step::Admit(3, "claim-2", 400),
    Step::Settle(1, 100),
    Step::Settle(1, 100),
    Step::Admit(4, "claim-1", 300),
    Step::Put("claim-2", "notes", Expected::Anything, ""),
    Step::Settle(4, 900),
    Step::Configure(5_000),
    Step::Admit(5, "claim-3", 50),
    Step::Close("claim-1"),
    Step::Put("claim-1", "step", Expected::Anything, "closed"),
    Step::Revoke(1),
    Step::Admit(6, "claim-2", 1),
    Step::Settle(5, 50),
];

impl Step {
    /// Does it, and tells the answer.
    pub(crate) async fn run(self, journal: &Journal) -> Result<String, StoreFault> {
        match self {
            Self::Configure(budget) => tell(journal, configure(budget)).await,
            Self::Issue(number) => tell(journal, issue(number)).await,
            Self::Revoke(number) => tell(journal, RevokeKey { by: Actor::Gateway, key: key(number) }).await,
            Self::Open(name) => tell(journal, Begin { session: session(name) }).await,
            Self::Close(name) => {
                let id = session(name);
                tell(journal, CloseSession { by: id.owner.clone(), session: id }).await
            }
            Self::Put(name, at, expected, value) => tell(journal, put_state(name, at, expected, value)).await,
            Self::Admit(call, name, hold) => tell(journal, admit(call, name, hold)).await,
            Self::Settle(call, cost) => tell(journal, settle(call, cost)).await,
            Self::Recover => tell(journal, Recover).await,
        }
    }
}

async fn tell<C: Command<Answer: std::fmt::Debug>>(journal: &Journal, command: C) -> Result<String, StoreFault> {
    journal.execute(command).await.map(|answer| format!("{answer:?}"))
}

pub(crate) fn session(name: &str) -> SessionId {
    format!("ann:{name}").parse().unwrap()
}

pub(crate) fn stream(name: &str) -> StreamId {
    StreamId::Session(session(name))
}

fn key(number: u8) -> KeyId {
    format!("key-{number}").parse().unwrap()
}

fn body(text: &str) -> Body {
    Body::new(Bytes::copy_from_slice(text.as_bytes()))
}

fn policies() -> Digest {
    Digest::of(b"policies")
}

fn configure(budget: u64) -> Configure {
    let budgets = BTreeMap::from([("ann".parse().unwrap(), Nanodollars::new(budget))]);
    Configure {
        policies: Activation::of(policies(), body("permit (principal, action, resource);")),
        written: None,
        budgets,
    }
}

fn issue(number: u8) -> CreateKey {
    let secret = Digest::of(&[number]);
    let key = KeyCreated {
        key: key(number),
        principal: "ann".parse().unwrap(),
        secret,
        expires_at: None,
        scope: portcullis_domain::identity::Scope::default(),
    };
    CreateKey { by: Actor::Gateway, key }
}

/// Opens a session as [`OpenSession`](portcullis_domain::admission::OpenSession) does, but asks nobody for a key: what is tested is the journal.
struct Begin {
    session: SessionId,
}

impl Command for Begin {
    type Answer = Result<bool, Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        if world.session.find(&self.session).is_some() {
            return Verdict::unchanged(Ok(false));
        }
        let draft = Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: Actor::Principal(self.session.owner.clone()),
            event: Event::SessionOpened(SessionOpened { budget: None }),
            bodies: vec![],
        };
        Verdict { answer: Ok(true), drafts: vec![draft] }
    }
}

/// Writes a value as [`PutState`] does, but asks nobody for a key: what is tested is the journal.
pub(crate) struct Write {
    pub(crate) session: SessionId,
    pub(crate) key: StateKey,
    pub(crate) expected: Expected,
    pub(crate) value: Body,
}

impl Command for Write {
    type Answer = Result<Put, Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        let session = world.session.find(&self.session);
        let scratchpad = session.map(|session| session.scratchpad.clone()).unwrap_or_default();
        let bytes = self.value.bytes().len() as u64;
        let (version, is_new) = match scratchpad.put(&self.key, self.expected, bytes, at) {
            Ok(put) => put,
            Err(refusal) => return Verdict::unchanged(Err(refusal)),
        };
        let opened = session.is_none().then_some((Event::SessionOpened(SessionOpened { budget: None }), vec![]));
        let put = Event::StatePut(StatePut { key: self.key.clone(), version, bytes, expires_at: None });
        let stream = StreamId::Session(self.session.clone());
        let actor = Actor::Principal(self.session.owner.clone());
        let draft = |(event, bodies)| Draft { stream: stream.clone(), actor: actor.clone(), event, bodies };
        let drafts = opened.into_iter().chain([(put, vec![self.value.clone()])]).map(draft).collect();
        Verdict { answer: Ok(Put { version, is_new }), drafts }
    }
}

pub(crate) fn put(name: &str, at: &str, expected: Expected, value: &str) -> Write {
    Write { session: session(name), key: at.parse().unwrap(), expected, value: body(value) }
}

fn put_state(name: &str, at: &str, expected: Expected, value: &str) -> PutState {
    PutState {
        authority: Authority::of_key(key(1)),
        session: session(name),
        session_budget: None,
        key: at.parse().unwrap(),
        expected,
        ttl_us: None,
        value: body(value),
    }
}

pub(crate) fn admit(call: u8, name: &str, hold: u64) -> Admit {
    let decision = Decision { policies: vec!["policy0".to_owned()], ..Decision::of(Effect::Allow, policies()) };
    Admit {
        call: CallId([call; 16]),
        callee: None,
        parent: None,
        authority: Authority::of_key(key(1)),
        session: session(name),
        origin: Origin::Named,
        session_budget: None,
        door: Door::Openai,
        capability: Capability::new(Kind::Model, "gpt-4o"),
        payload: Ok(body(&format!("question {call}"))),
        decision,
        estimate: Some(Nanodollars::new(hold)),
        repetition: Repetition::default(),
        candidates: None,
        turn: Turn::Beside,
        content: None,
        asks: Asks::Anew { lasts_us: 1_000, is_run: false },
        within: None,
        shown: None,
    }
}

fn settle(call: u8, cost: u64) -> Settle {
    let answer = Some(body(&format!("answer {call}")));
    let cost = Some(Nanodollars::new(cost));
    Settle {
        call: CallId([call; 16]),
        outcome: Outcome::Completed,
        tokens: None,
        cost,
        answer,
        judged: Vec::new(),
        labels: Vec::new(),
        guarded: Vec::new(),
    }
}

/// All that can be seen of a journal from outside.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) world: String,
    pub(crate) entries: BTreeMap<u64, Vec<u8>>,
    pub(crate) bodies: Vec<Bytes>,
}

impl Seen {
    pub(crate) async fn of(journal: &Journal) -> Self {
        let (mut entries, mut bodies) = (BTreeMap::new(), Vec::new());
        for stream in streams(journal).await {
            for placed in whole(journal, &stream).await {
                for index in 0..placed.entry.bodies.len() {
                    bodies.push(journal.body(&stream, placed.position, index).await.unwrap().unwrap());
                }
                entries.insert(placed.position, placed.entry.encode().unwrap());
            }
        }
        Self { world: world(journal).await, entries, bodies }
    }
}

/// The world as text.
pub(crate) async fn world(journal: &Journal) -> String {
    journal.read(|world| serde_json::to_string(world).unwrap()).await.unwrap()
}

/// The control stream and those of all sessions.
pub(crate) async fn streams(journal: &Journal) -> Vec<StreamId> {
    let sessions = |world: &World| world.session.all().map(|(id, _)| id.clone()).collect::<Vec<_>>();
    let sessions = journal.read(sessions).await.unwrap();
    std::iter::once(StreamId::Control).chain(sessions.into_iter().map(StreamId::Session)).collect()
}

/// All entries of a stream.
pub(crate) async fn whole(journal: &Journal, stream: &StreamId) -> Vec<Placed> {
    journal.entries(stream, 0, usize::MAX).await.unwrap()
}

/// Asks until it holds; a generous limit says what was awaited in vain.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let asking = async {
        while !holds() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), asking)
        .await
        .unwrap_or_else(|_| panic!("waited in vain until {what}"));
}
