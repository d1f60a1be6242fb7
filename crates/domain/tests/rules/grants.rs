//! What tasks are granted, at random: no sum is ever passed, in any order and through any crash, and what is handed on is never more than there was.

use std::collections::BTreeMap;

use bytes::Bytes;
use portcullis_domain::admission::{Admit, Command, Delegate, OpenSession, Passed, ResolveCall, SetGrant, Settle};
use portcullis_domain::authority::Authority;
use portcullis_domain::call::{Capability, Door, Kind};
use portcullis_domain::event::{Event, Outcome};
use portcullis_domain::grant::{Grant, Numeral};
use portcullis_domain::ids::CallId;
use portcullis_domain::journal::Body;
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::within::{Call, matches};
use portcullis_domain::policy::{Asks, Decision, Effect, Within};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::{Mark, Origin, Repetition, Turn};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;
use proptest::collection::vec;
use proptest::prelude::*;

use super::engine::{Engine, Written};
use super::steps::{authority, config, principal, session, started};

#[derive(Debug, Clone)]
enum Step {
    Narrow(usize),
    Widen(usize),
    HandOn { task: u8, parent: Option<u8>, grant: usize },
    Pay(Payment),
    Settle { nth: u8, outcome: Outcome },
    Resolve { nth: u8, is_done: bool },
    Sync,
    Crash { is_batch_lost: bool },
}

#[derive(Debug, Clone)]
struct Payment {
    task: Option<u8>,
    payee: &'static str,
    amount: &'static str,
    key: Option<u8>,
    /// Whether it is judged by the grants as they were at the beginning.
    is_stale: bool,
}

const GRANTS: [&str; 5] = [
    r#"{"capabilities": [{"capability": "*", "name": "pay", "others": "allow", "in_all": {"amount": 100}}]}"#,
    r#"{"capabilities": [{"capability": "tool/bank__pay", "name": "pay", "arguments": {"payee": {"one_of": ["jane", "joe"]}}, "in_all": {"amount": "40.5"}, "calls": 5}]}"#,
    r#"{"capabilities": [{"capability": "tool/bank__*", "name": "jane", "arguments": {"payee": {"exactly": "jane"}}, "in_all": {"amount": 30}}, {"capability": "tool/bank__*", "name": "all", "others": "allow", "in_all": {"amount": 9}}]}"#,
    r#"{"capabilities": [{"capability": "tool/bank__pay", "others": "allow", "arguments": {"amount": {"between": [0, 10]}}, "calls": 3}]}"#,
    r#"{"capabilities": [{"capability": "tool/bank__pay", "name": "pay", "others": "allow", "in_all": {"amount": 200}}]}"#,
];

fn grant(number: usize) -> Grant {
    serde_json::from_str(GRANTS[number]).unwrap()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome =
        || prop::sample::select(vec![Outcome::Completed, Outcome::Failed, Outcome::Aborted, Outcome::Unknown]);
    let payment = (
        prop::option::of(0..3_u8),
        prop::sample::select(vec!["jane", "joe", "eve"]),
        prop::sample::select(vec!["1", "7.5", "1e1", "20.25", "33", "0.0001", "99.99990", "-4"]),
        prop::option::weighted(0.6, 0..3_u8),
        prop::bool::weighted(0.1),
    );
    let payment =
        payment.prop_map(|(task, payee, amount, key, is_stale)| Payment { task, payee, amount, key, is_stale });
    vec(
        prop_oneof![
            1 => (0..5_usize).prop_map(Step::Narrow),
            1 => (0..5_usize).prop_map(Step::Widen),
            2 => (0..3_u8, prop::option::of(0..3_u8), 0..5_usize).prop_map(|(task, parent, grant)| Step::HandOn { task, parent, grant }),
            12 => payment.prop_map(Step::Pay),
            6 => (any::<u8>(), outcome()).prop_map(|(nth, outcome)| Step::Settle { nth, outcome }),
            2 => (any::<u8>(), any::<bool>()).prop_map(|(nth, is_done)| Step::Resolve { nth, is_done }),
            2 => Just(Step::Sync),
            1 => any::<bool>().prop_map(|is_batch_lost| Step::Crash { is_batch_lost }),
        ],
        1..60,
    )
}

/// The engine, and the number of the next call.
struct Story {
    engine: Engine,
    next: u8,
}

impl Story {
    fn begin() -> Self {
        let mut engine = started();
        let open = OpenSession {
            authority: authority(0),
            session: session(0, 0),
            origin: Origin::Named,
            budget: None,
            grant: Some(grant(0)),
        };
        assert!(engine.run(&open).unwrap());
        engine.sync();
        Self { engine, next: 100 }
    }

    fn take(&mut self, step: &Step) -> Option<Result<Passed, Refusal>> {
        match step {
            Step::Narrow(number) | Step::Widen(number) => {
                let is_wider = matches!(step, Step::Widen(_));
                let (by, grant) = (principal(0), grant(*number));
                let set =
                    SetGrant { authority: authority(0), by, session: session(0, 0), grant, is_wider, expected: None };
                let _ = self.engine.run(&set);
            }
            Step::HandOn { task, parent, grant: number } => {
                let delegate = Delegate {
                    authority: on(*parent),
                    session: session(0, 0),
                    token: token(*task),
                    to: Some("payer".parse().unwrap()),
                    scope: None,
                    expires_at: Timestamp(self.engine.now + 600),
                    until: None,
                    budget: None,
                    within: Some(grant(*number)),
                };
                // A token's number is given once.
                if !self.engine.world.grants.tasks(&session(0, 0)).contains(&token(*task)) {
                    let _ = self.engine.run(&delegate);
                }
            }
            Step::Pay(payment) => {
                self.next = self.next.wrapping_add(1);
                let admit = self.admit(payment, on(payment.task));
                return Some(self.engine.run(&admit));
            }
            Step::Settle { nth, outcome } => {
                let open = &self.engine.world.open_calls;
                if let Some(call) = open.keys().nth(usize::from(*nth) % open.len().max(1)).copied() {
                    let (cost, answer) = (Some(Nanodollars::ZERO), None);
                    let settle = Settle {
                        call,
                        outcome: *outcome,
                        tokens: None,
                        cost,
                        answer,
                        judged: vec![],
                        labels: vec![],
                        guarded: vec![],
                    };
                    self.engine.run(&settle).unwrap();
                }
            }
            Step::Resolve { nth, is_done } => {
                let unknown: Vec<CallId> =
                    self.engine.world.session.find(&session(0, 0)).unwrap().once.all_unknown().collect();
                if let Some(call) = unknown.get(usize::from(*nth) % unknown.len().max(1)).copied() {
                    let result = is_done.then(|| Body::new(Bytes::from_static(b"{}")));
                    self.engine.run(&ResolveCall { session: session(0, 0), call, by: principal(0), result }).unwrap();
                }
            }
            Step::Sync => self.engine.sync(),
            Step::Crash { is_batch_lost } => self.engine.crash(*is_batch_lost),
        }
        None
    }

    fn admit(&self, payment: &Payment, authority: Authority) -> Admit {
        let world = &self.engine.world;
        let capability = Capability::new(Kind::Tool, "bank__pay");
        let arguments = format!(r#"{{"payee":"{}","amount":{}}}"#, payment.payee, payment.amount);
        let (within, outside) = judged(world, &authority, &capability, &arguments, payment.is_stale);
        let version = world.policy.version.unwrap();
        let decision = match outside {
            Some(message) => {
                let layers = world.grants.layers(&session(0, 0), authority.under).unwrap_or_default();
                let number = world.grants.number(&session(0, 0));
                let outside = Some(portcullis_domain::policy::grants::version(number, &layers));
                Decision { message: Some(message), outside, ..Decision::of(Effect::Deny, version) }
            }
            None => Decision::of(Effect::Allow, version),
        };
        let key = payment.key.map(|key| format!("key-{key}-{}-{}", payment.payee, payment.amount));
        Admit {
            call: CallId([self.next; 16]),
            callee: None,
            parent: None,
            authority,
            session: session(0, 0),
            origin: Origin::Named,
            session_budget: None,
            door: Door::Mcp,
            payload: Ok(Body::new(Bytes::from(arguments.clone()))),
            decision,
            estimate: Some(Nanodollars::ZERO),
            repetition: Repetition {
                mark: key.map(|key| Mark::of(&capability, &arguments, Some(&key))),
                ..Repetition::default()
            },
            capability,
            candidates: None,
            turn: Turn::Beside,
            content: None,
            asks: Asks::Anew { lasts_us: 1_000, is_run: false },
            within: Some(within),
            shown: None,
        }
    }
}

/// What the shell finds out.
fn judged(
    world: &World,
    authority: &Authority,
    capability: &Capability,
    arguments: &str,
    is_stale: bool,
) -> (Within, Option<String>) {
    let (said, state) = (None, &BTreeMap::new());
    let layers = world.grants.layers(&session(0, 0), authority.under).unwrap_or_default();
    let call = Call { capability, arguments: Some(arguments), said, state };
    let entries: Result<Vec<_>, String> = layers.iter().map(|layer| matches(layer.grant, call)).collect();
    let number = if is_stale { 0 } else { world.grants.number(&session(0, 0)) };
    let outside = entries.as_ref().err().cloned();
    (Within { number, entries: entries.unwrap_or_default(), state: BTreeMap::new() }, outside)
}

fn token(number: u8) -> CallId {
    CallId([number; 16])
}

/// The authority of a task, of which there may be none.
fn on(task: Option<u8>) -> Authority {
    let through = task.iter().map(|_| "payer".parse().unwrap()).collect();
    Authority { through, under: task.map(token), ..authority(0) }
}

/// What the entries alone say was used under a name of a task, of calls that may have had an effect: how many, and what the amounts come to.
fn used(written: &[Written]) -> BTreeMap<(Option<CallId>, String), (i128, i128)> {
    let (mut used, mut admitted) = (BTreeMap::new(), BTreeMap::new());
    let mut add = |call: &CallId, uses: &[portcullis_domain::policy::event::Use], sign: i128| {
        assert!(!uses.is_empty(), "{call} is under no grant");
        for one in uses {
            let of: &mut (i128, i128) = used.entry((one.task, one.entry.clone())).or_default();
            of.0 += sign;
            of.1 += sign * one.sums.get("amount").map_or(0, |number| i128::from(number.0));
        }
    };
    for Written { entry, .. } in written {
        if let Event::CallAdmitted(event) = &entry.event {
            let counted = event.grant.clone().unwrap();
            add(&event.call, &counted.uses, 1);
            admitted.insert(event.call, counted.uses);
        } else if let Event::CallSettled(event) = &entry.event
            && event.outcome == Outcome::Failed
        {
            add(&event.call, &admitted[&event.call], -1);
        } else if let Event::CallResolved(event) = &entry.event
            && event.outcome == Outcome::Failed
        {
            add(&event.call, &admitted[&event.call], -1);
        }
    }
    used
}

#[test]
fn no_sum_and_no_number_of_calls_is_ever_passed() {
    proptest!(config(4), |(steps in steps())| {
        let mut story = Story::begin();
        for step in &steps {
            let done = story.take(step);
            let used = used(&story.engine.written);
            let world = &story.engine.world;
            let layers = |under| world.grants.layers(&session(0, 0), under).unwrap_or_default();
            // What the world has counted is what the entries say.
            for under in std::iter::once(None).chain(world.grants.tasks(&session(0, 0)).into_iter().map(Some)) {
                for layer in layers(under) {
                    for entry in layer.grant.entries() {
                        let (calls, sum) = used.get(&(layer.task, entry.counted_as())).copied().unwrap_or_default();
                        prop_assert_eq!(i128::from(layer.counts.calls_of(&entry.counted_as())), calls);
                        prop_assert_eq!(i128::from(layer.counts.sum(&entry.counted_as(), "amount").0), sum);
                    }
                }
            }
            let (Step::Pay(payment), Some(Ok(Passed::New(admitted)))) = (step, done) else { continue };
            prop_assert!(!payment.is_stale && payment.amount != "-4");
            for layer in layers(admitted.authority().under) {
                let is_within = layer.grant.entries().iter().any(|entry| {
                    let of = used.get(&(layer.task, entry.counted_as())).copied();
                    let limit = entry.in_all.get("amount").map_or(Numeral(i64::MAX), |limit| *limit);
                    of.is_some_and(|(calls, sum)| sum <= i128::from(limit.0) && calls <= i128::from(entry.calls.unwrap_or(u64::MAX)))
                });
                prop_assert!(is_within, "{:?} under {:?} with {:?}", payment, layer, used);
            }
        }
    });
}

#[test]
fn what_a_task_may_the_tasks_that_it_comes_from_may_too() {
    proptest!(config(4), |(steps in steps())| {
        let mut story = Story::begin();
        for step in &steps {
            if let Step::Pay(payment) = step {
                let at = Timestamp(story.engine.now + 1);
                let asked = |under: Option<u8>| {
                    let answer = story.admit(payment, on(under)).decide(&story.engine.world, at).answer;
                    !matches!(answer, Err(Refusal { code: Code::OutsideGrant, .. }))
                };
                prop_assert!(!asked(payment.task) || asked(None), "{:?}", payment);
            }
            story.take(step);
        }
    });
}

#[test]
fn a_repetition_counts_once_and_a_grant_that_has_changed_is_looked_at_again() {
    let payment = Payment { task: None, payee: "jane", amount: "60", key: Some(1), is_stale: false };
    let mut story = Story::begin();
    assert!(matches!(story.take(&Step::Pay(payment.clone())), Some(Ok(Passed::New(_)))));
    for _ in 0..2 {
        assert!(matches!(story.take(&Step::Pay(payment.clone())), Some(Ok(Passed::Again(_)))));
        story.take(&Step::Settle { nth: 0, outcome: Outcome::Completed });
    }
    let other = Payment { key: Some(2), ..payment.clone() };
    let code = |done: Option<Result<Passed, Refusal>>| done.unwrap().err().map(|refusal| refusal.code);
    assert_eq!(code(story.take(&Step::Pay(other.clone()))), Some(Code::OutsideGrant));
    assert_eq!(code(story.take(&Step::Pay(Payment { is_stale: true, ..other.clone() }))), Some(Code::StaleDecision));
    let unjudged = Admit { within: None, ..story.admit(&other, on(None)) };
    assert_eq!(story.engine.run(&unjudged).unwrap_err().code, Code::StaleDecision);
    let of_nobody = story.admit(&other, on(Some(2)));
    assert_eq!(story.engine.run(&of_nobody).unwrap_err().code, Code::OutsideGrant, "a task that was never handed on");
    // Through an agent nobody changes it.
    for is_wider in [false, true] {
        let (by, grant, session) = (principal(0), grant(4), session(0, 0));
        let set = SetGrant { authority: on(Some(2)), by, session, grant, is_wider, expected: None };
        assert_eq!(story.engine.run(&set).unwrap_err().code, Code::Forbidden);
    }
    story.take(&Step::Widen(4));
    assert!(matches!(story.take(&Step::Pay(other)), Some(Ok(Passed::New(_)))), "120 of 200");
}
