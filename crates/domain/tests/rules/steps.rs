//! What may happen, at random: few calls, sessions and keys, so that they meet often.

use std::collections::BTreeMap;

use bytes::Bytes;
use portcullis_domain::admission::{
    Activation, Admit, Admitted, CloseSession, Configure, CreateKey, Delegate, Delegation, DeleteState, EndWait,
    NoteDelivery, ObserveTools, OpenSession, OpenWait, Passed, Put, PutState, Receipt, ResolveCall, RevokeKey, Settle,
};
use portcullis_domain::authority::Authority;
use portcullis_domain::call::{Capability, Door, Kind};
use portcullis_domain::digest::Digest;
use portcullis_domain::event::Outcome;
use portcullis_domain::identity::event::KeyCreated;
use portcullis_domain::ids::{Actor, CallId, KeyId, PrincipalName, SessionId, TaskId};
use portcullis_domain::journal::Body;
use portcullis_domain::ledger::Account;
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::{Asks, Decision, Effect};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::registry::Replica;
use portcullis_domain::session::wait::{End, WaitName};
use portcullis_domain::session::{Earlier, Expected, Mark, Origin, Repetition, StateKey, Turn};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::engine::Engine;

/// The grants at the start; the third principal has none and so no limit.
const GRANTS: [u64; 2] = [400, 120];

#[derive(Debug, Clone)]
pub(super) enum Step {
    Admit(Ask),
    Delegate(HandOn),
    OpenWait { owner: u8, name: u8, wait: u8, until: u64, is_told: bool },
    EndWait { owner: u8, name: u8, wait: u8, end: Ending },
    NoteDelivery { owner: u8, name: u8, wait: u8 },
    Resolve { owner: u8, name: u8, call: u8, is_done: bool },
    Settle { call: u8, outcome: Outcome, cost: Option<u64> },
    Open { key: u8, owner: u8, name: u8, origin: Origin, budget: Option<u64> },
    Put { at: Value, expected: Expected, ttl: Option<u64> },
    Delete { at: Value, expected: Expected },
    Close { owner: u8, name: u8 },
    CreateKey { key: u8, owner: u8, lifetime: Option<u64> },
    RevokeKey { key: u8 },
    Configure { raised: [u64; 2], policies: u8 },
    ObserveTools { list: u8 },
    Wait { micros: u64 },
    Sync,
    Crash { is_batch_lost: bool },
}

/// A task that is handed on by whoever has that key, out of the budget of another one.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandOn {
    pub(super) key: u8,
    pub(super) owner: u8,
    pub(super) name: u8,
    pub(super) parent: Option<u8>,
    pub(super) task: Option<u8>,
    pub(super) budget: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    Event(u8),
    Expired,
    Cancelled,
}

/// A value of a scratchpad, and with which key it is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub(super) key: u8,
    pub(super) owner: u8,
    pub(super) name: u8,
    pub(super) number: u8,
}

impl Value {
    pub(super) fn key(self) -> StateKey {
        state_key(self.number)
    }

    pub(super) fn session(self) -> SessionId {
        session(self.owner, self.name)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) call: u8,
    pub(super) parent: Option<u8>,
    pub(super) key: u8,
    pub(super) owner: u8,
    pub(super) name: u8,
    pub(super) origin: Origin,
    pub(super) budget: Option<u64>,
    pub(super) estimate: Option<u64>,
    pub(super) effect: Effect,
    pub(super) is_stale: bool,
    pub(super) has_payload: bool,
    /// The mark that it has, if any.
    pub(super) marked: Option<Marked>,
    /// The calls whose answers were delivered.
    pub(super) delivered: Vec<u8>,
    /// The replicas that can serve it, if it is for an agent.
    pub(super) candidates: Option<Vec<u8>>,
    pub(super) turn: Turn,
    /// The task with a budget that pays, if any.
    pub(super) task: Option<u8>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Marked {
    pub(super) number: u8,
    pub(super) has_key: bool,
    pub(super) is_harmless: bool,
}

impl Marked {
    pub(super) fn mark(self) -> Mark {
        let content = Digest::of(&[self.number]);
        Mark { id: if self.has_key { Digest::of(&[self.number, 0]) } else { content }, content }
    }
}

/// What came of a step.
pub(super) enum Done {
    Admitted(Admitted),
    Again(Earlier),
    Settled(Receipt),
    Delegated(Delegation),
    Put(Put),
    Deleted,
    Refused(Code),
    Else,
}

/// So many times 128 stories; `PROPTEST_CASES` makes it more. What fails is printed with the smallest story that fails.
pub(super) fn config(times: u32) -> Config {
    let default = Config::default();
    Config { failure_persistence: None, cases: default.cases / 2 * times, ..default }
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..64)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => ask().prop_map(Step::Admit),
        4 => hand_on().prop_map(Step::Delegate),
        10 => (0..24_u8, outcome(), amount()).prop_map(|(call, outcome, cost)| Step::Settle { call, outcome, cost }),
        3 => (0..2_u8, 0..2_u8, 0..2_u8, 0..60_u64, prop::bool::weighted(0.8))
            .prop_map(|(owner, name, wait, until, is_told)| Step::OpenWait { owner, name, wait, until, is_told }),
        5 => (0..2_u8, 0..2_u8, 0..2_u8, ending())
            .prop_map(|(owner, name, wait, end)| Step::EndWait { owner, name, wait, end }),
        4 => (0..2_u8, 0..2_u8, 0..2_u8).prop_map(|(owner, name, wait)| Step::NoteDelivery { owner, name, wait }),
        2 => (0..3_u8, name(), 0..12_u8, any::<bool>())
            .prop_map(|(owner, name, call, is_done)| Step::Resolve { owner, name, call, is_done }),
        1 => (0..3_u8, forged(), name(), origin(), amount()).prop_map(|(owner, is_forged, name, origin, budget)| {
            Step::Open { key: key_of(owner, is_forged), owner, name, origin, budget }
        }),
        3 => (value(), expected(), prop::option::of(0..60_u64))
            .prop_map(|(at, expected, ttl)| Step::Put { at, expected, ttl }),
        2 => (value(), expected()).prop_map(|(at, expected)| Step::Delete { at, expected }),
        2 => (0..3_u8, name()).prop_map(|(owner, name)| Step::Close { owner, name }),
        1 => (0..6_u8, 0..3_u8, any::<Option<u8>>())
            .prop_map(|(key, owner, lifetime)| Step::CreateKey { key, owner, lifetime: lifetime.map(u64::from) }),
        1 => (0..9_u8).prop_map(|key| Step::RevokeKey { key }),
        1 => (0..60_u64, 0..60_u64, 0..3_u8)
            .prop_map(|(first, second, policies)| Step::Configure { raised: [first, second], policies }),
        1 => (0..3_u8).prop_map(|list| Step::ObserveTools { list }),
        1 => (0..100_u64).prop_map(|micros| Step::Wait { micros }),
        4 => Just(Step::Sync),
        1 => any::<bool>().prop_map(|is_batch_lost| Step::Crash { is_batch_lost }),
    ]
}

fn hand_on() -> impl Strategy<Value = HandOn> {
    let of = (0..2_u8, forged(), 0..2_u8, prop::option::of(0..4_u8), prop::option::weighted(0.9, 0..4_u8), 0..200_u64);
    of.prop_map(|(owner, is_forged, name, parent, task, budget)| HandOn {
        key: key_of(owner, is_forged),
        owner,
        name,
        parent,
        task,
        budget,
    })
}

fn ask() -> impl Strategy<Value = Ask> {
    let who = (0..3_u8, name(), forged(), origin());
    let money = (amount(), amount());
    let judged = (prop::bool::weighted(0.15), prop::bool::weighted(0.1), prop::bool::weighted(0.9));
    let once = (prop::option::weighted(0.8, marked()), vec(0..12_u8, 0..4));
    let agent = (prop::option::weighted(0.3, vec(0..3_u8, 0..4)), turn(), prop::option::weighted(0.3, 0..4_u8));
    let once = (once, agent);
    (0..12_u8, prop::option::of(0..12_u8), who, money, judged, once).prop_map(
        |(call, parent, who, money, judged, once)| {
            let ((marked, delivered), (candidates, turn, task)) = once;
            let (owner, name, is_forged, origin) = who;
            let (budget, estimate) = money;
            let (is_denied, is_stale, has_payload) = judged;
            let key = key_of(owner, is_forged);
            let effect = if is_denied { Effect::Deny } else { Effect::Allow };
            Ask {
                call,
                parent,
                key,
                owner,
                name,
                origin,
                budget,
                estimate,
                effect,
                is_stale,
                has_payload,
                marked,
                delivered,
                candidates,
                turn,
                task,
            }
        },
    )
}

fn turn() -> impl Strategy<Value = Turn> {
    prop::sample::select(vec![Turn::Beside, Turn::Waiting, Turn::Now])
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![4 => (0..2_u8).prop_map(Ending::Event), 2 => Just(Ending::Expired), 1 => Just(Ending::Cancelled)]
}

fn forged() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.06)
}

/// The key that is presented: one's own, or that of the next or of nobody.
fn key_of(owner: u8, is_forged: bool) -> u8 {
    if is_forged { (owner + 1) % 6 } else { owner }
}

fn value() -> impl Strategy<Value = Value> {
    let at = (0..3_u8, forged(), name(), 0..2_u8);
    at.prop_map(|(owner, is_forged, name, number)| Value { key: key_of(owner, is_forged), owner, name, number })
}

fn marked() -> impl Strategy<Value = Marked> {
    (0..2_u8, any::<bool>(), any::<bool>()).prop_map(|(number, has_key, is_harmless)| Marked {
        number,
        has_key,
        is_harmless,
    })
}

/// None, small, or so large that sums come near the end of what an amount can be.
fn amount() -> impl Strategy<Value = Option<u64>> {
    let large = (u64::MAX / 4)..=u64::MAX;
    prop_oneof![2 => Just(None), 20 => (0..150_u64).prop_map(Some), 1 => large.prop_map(Some)]
}

/// Mostly one that callers choose, sometimes one of the form that only the gateway gives.
fn name() -> impl Strategy<Value = u8> {
    prop_oneof![4 => 0..2_u8, 1 => 2..4_u8]
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![4 => Just(Origin::Named), 1 => Just(Origin::Minted)]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![Outcome::Completed, Outcome::Failed, Outcome::Aborted, Outcome::Unknown])
}

fn expected() -> impl Strategy<Value = Expected> {
    prop_oneof![
        Just(Expected::Anything),
        Just(Expected::Absent),
        Just(Expected::Present),
        (0..4_u64).prop_map(Expected::Version)
    ]
}

/// An engine with three principals, a key for each, policies and grants.
pub(super) fn started() -> Engine {
    let mut engine = Engine::default();
    engine.run(&configure(&engine, [0; 2], 0));
    for owner in 0..3 {
        engine.run(&create_key(owner, owner, None)).unwrap();
    }
    engine.sync();
    engine
}

/// Lets the step happen.
pub(super) fn take(engine: &mut Engine, step: &Step) -> Done {
    match step {
        Step::Admit(ask) => done(engine.run(&admit(engine, ask)), |passed| match passed {
            Passed::New(admitted) => Done::Admitted(admitted),
            Passed::Again(earlier) => Done::Again(earlier),
        }),
        Step::Delegate(hand_on) => done(engine.run(&delegate(engine, *hand_on)), Done::Delegated),
        Step::OpenWait { owner, name, wait, until, is_told } => {
            let deliver = is_told.then(|| ("adjuster".parse().unwrap(), "/resume".to_owned()));
            let open = OpenWait {
                session: session(*owner, *name),
                authority: authority(*owner),
                session_budget: None,
                name: wait_name(*wait),
                what: "a letter".to_owned(),
                until: Timestamp(engine.now + until),
                deliver,
            };
            done(engine.run(&open), |()| Done::Else)
        }
        Step::EndWait { owner, name, wait, end } => {
            let (end, event) = match end {
                Ending::Event(id) => (End::Event(format!("event-{id}")), Some((None, body("{}")))),
                Ending::Expired => (End::Expired, None),
                Ending::Cancelled => (End::Cancelled, None),
            };
            let (session, name) = (session(*owner, *name), wait_name(*wait));
            done(engine.run(&EndWait { session, name, by: Actor::Gateway, end, event }), |_| Done::Else)
        }
        Step::NoteDelivery { owner, name, wait } => {
            let (session, name) = (session(*owner, *name), wait_name(*wait));
            engine.run(&NoteDelivery { session, name, is_given_up: false });
            Done::Else
        }
        Step::Resolve { owner, name, call: number, is_done } => {
            let (session, result) = (session(*owner, *name), is_done.then(|| body("result")));
            done(engine.run(&ResolveCall { session, call: call(*number), by: principal(2), result }), |()| Done::Else)
        }
        Step::Settle { call: number, outcome, cost } => {
            let (call, cost) = (aimed(&engine.world, *number), cost.map(Nanodollars::new));
            let settle = Settle {
                call,
                outcome: *outcome,
                tokens: None,
                cost,
                answer: Some(body("answer")),
                judged: vec![],
                labels: vec![],
                guarded: Vec::new(),
            };
            done(engine.run(&settle), Done::Settled)
        }
        Step::Open { key, owner, name, origin, budget } => {
            let (session, budget) = (session(*owner, *name), budget.map(Nanodollars::new));
            let open = OpenSession { authority: authority(*key), session, origin: *origin, budget, grant: None };
            done(engine.run(&open), |_| Done::Else)
        }
        Step::Put { at, expected, ttl } => {
            let put = PutState {
                authority: authority(at.key),
                session: at.session(),
                session_budget: None,
                key: at.key(),
                expected: *expected,
                ttl_us: *ttl,
                value: body("value"),
            };
            done(engine.run(&put), Done::Put)
        }
        Step::Delete { at, expected } => {
            let (authority, key) = (authority(at.key), at.key());
            let delete = DeleteState { authority, session: at.session(), key, expected: *expected };
            done(engine.run(&delete), |()| Done::Deleted)
        }
        Step::Close { owner, name } => {
            done(engine.run(&CloseSession { session: session(*owner, *name), by: principal(*owner) }), |()| Done::Else)
        }
        Step::CreateKey { key, owner, lifetime } => {
            let expires_at = lifetime.map(|micros| Timestamp(engine.now + micros));
            done(engine.run(&create_key(*key, *owner, expires_at)), |()| Done::Else)
        }
        Step::RevokeKey { key } => {
            done(engine.run(&RevokeKey { by: Actor::Gateway, key: key_id(*key) }), |()| Done::Else)
        }
        Step::Configure { raised, policies } => {
            engine.run(&configure(engine, *raised, *policies));
            Done::Else
        }
        Step::ObserveTools { list } => {
            let list = body(&format!("[{list}]"));
            engine.run(&ObserveTools { server: "claims".parse().unwrap(), tools: 1, list });
            Done::Else
        }
        Step::Wait { micros } => {
            engine.now += micros;
            Done::Else
        }
        Step::Sync => {
            engine.sync();
            Done::Else
        }
        Step::Crash { is_batch_lost } => {
            engine.crash(*is_batch_lost);
            Done::Else
        }
    }
}

fn done<T>(answer: Result<T, Refusal>, ok: impl FnOnce(T) -> Done) -> Done {
    answer.map_or_else(|refusal| Done::Refused(refusal.code), ok)
}

fn admit(engine: &Engine, ask: &Ask) -> Admit {
    let current = engine.world.policy.version.unwrap();
    let version = if ask.is_stale { Digest::of(b"stale") } else { current };
    let unread = Refusal::new(Code::InvalidArguments, "argument `amount`: a number is expected");
    Admit {
        call: call(ask.call),
        callee: None,
        parent: ask.parent.map(call),
        authority: paid_by(authority(ask.key), ask.task),
        session: session(ask.owner, ask.name),
        origin: ask.origin,
        session_budget: ask.budget.map(Nanodollars::new),
        door: Door::Openai,
        capability: capability(ask),
        payload: if ask.has_payload { Ok(payload(ask.call)) } else { Err(unread) },
        decision: Decision::of(ask.effect, version),
        estimate: ask.estimate.map(Nanodollars::new),
        repetition: Repetition {
            mark: ask.marked.map(Marked::mark),
            is_harmless: ask.marked.is_some_and(|marked| marked.is_harmless),
            delivered: ask.delivered.iter().copied().map(call).collect(),
        },
        candidates: ask.candidates.as_ref().map(|numbers| numbers.iter().map(|number| replica(*number)).collect()),
        turn: ask.turn,
        content: None,
        asks: Asks::Anew { lasts_us: 1_000, is_run: false },
        within: None,
        shown: None,
    }
}

fn delegate(engine: &Engine, hand_on: HandOn) -> Delegate {
    Delegate {
        authority: paid_by(authority(hand_on.key), hand_on.parent),
        session: session(hand_on.owner, hand_on.name),
        token: call(hand_on.name),
        to: Some("payer".parse().unwrap()),
        scope: None,
        expires_at: Timestamp(engine.now + 600),
        until: None,
        budget: hand_on.task.map(|task| (task_id(task), Nanodollars::new(hand_on.budget))),
        within: None,
    }
}

/// That of an agent whose task has a budget, if it has.
fn paid_by(authority: Authority, task: Option<u8>) -> Authority {
    let through = task.iter().map(|_| "planner".parse().unwrap()).collect();
    Authority { through, task: task.map(task_id), ..authority }
}

pub(super) fn task_id(number: u8) -> TaskId {
    format!("task-{number}").parse().unwrap()
}

pub(super) fn capability(ask: &Ask) -> Capability {
    match ask.candidates {
        Some(_) => Capability::new(Kind::Agent, "adjuster"),
        None => Capability::new(Kind::Model, "gpt"),
    }
}

pub(super) fn wait_name(number: u8) -> WaitName {
    format!("wait-{number}").parse().unwrap()
}

pub(super) fn replica(number: u8) -> Replica {
    Replica::at(&format!("http://10.0.0.{number}"))
}

/// The policies of that number, and grants that are higher by so much than those in force.
pub(super) fn configure(engine: &Engine, raised: [u64; 2], policies: u8) -> Configure {
    let budget = |(number, raised): (u8, u64)| {
        let account = Account::Principal(principal(number));
        let granted = engine.world.ledger.balance(&account).granted;
        let granted = granted.map_or(GRANTS[usize::from(number)], Nanodollars::nanos);
        (principal(number), Nanodollars::new(granted + raised))
    };
    let budgets: BTreeMap<_, _> = [(0, raised[0]), (1, raised[1])].map(budget).into();
    Configure { policies: Activation::of(Digest::of(&[policies]), body("permit(…);")), written: None, budgets }
}

fn create_key(key: u8, owner: u8, expires_at: Option<Timestamp>) -> CreateKey {
    let key = KeyCreated {
        key: key_id(key),
        principal: principal(owner),
        secret: Digest::of(&[key]),
        expires_at,
        scope: portcullis_domain::identity::Scope::default(),
    };
    CreateKey { by: Actor::Gateway, key }
}

pub(super) fn call(number: u8) -> CallId {
    CallId([number; 16])
}

/// Which call a settlement is for: any, or one of those that are open.
pub(super) fn aimed(world: &World, number: u8) -> CallId {
    let open = world.open_calls.keys().nth(usize::from(number) % world.open_calls.len().max(1));
    open.filter(|_| number >= 12).copied().unwrap_or(call(number))
}

pub(super) fn principal(number: u8) -> PrincipalName {
    ["ann", "bob", "cleo"][usize::from(number)].parse().unwrap()
}

pub(super) fn session(owner: u8, name: u8) -> SessionId {
    SessionId {
        owner: principal(owner),
        name: ["claim-1", "claim-2", "ses_1", "ses_2"][usize::from(name)].parse().unwrap(),
    }
}

pub(super) fn state_key(number: u8) -> StateKey {
    ["step", "note"][usize::from(number)].parse().unwrap()
}

pub(super) fn authority(number: u8) -> Authority {
    Authority::of_key(key_id(number))
}

pub(super) fn key_id(number: u8) -> KeyId {
    format!("key{number}").parse().unwrap()
}

pub(super) fn payload(call: u8) -> Body {
    body(&format!("{{\"call\":{call}}}"))
}

fn body(text: &str) -> Body {
    Body::new(Bytes::from(text.to_owned()))
}
