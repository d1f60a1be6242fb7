//! A call that a person must say yes to runs once they have, once, and in no other case: at random, against what the entries say.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use portcullis_domain::admission::{
    Admit, AnswerApproval, CloseSession, Disable, EndWait, EscalateApproval, ExpireApproval, Park, Passed, Settle,
    WithdrawApproval,
};
use portcullis_domain::authority::Authority;
use portcullis_domain::call::{Capability, Door, Kind};
use portcullis_domain::digest::Digest;
use portcullis_domain::event::{Event, Outcome};
use portcullis_domain::ids::{Actor, CallId, PrincipalName, RoleName};
use portcullis_domain::journal::Body;
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::approval::{OPEN_LIMIT, OVER_LIMIT, wait_of};
use portcullis_domain::policy::{Ask, Asks, Decision, Effect, Standing, Version};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::wait::End;
use portcullis_domain::session::{Mark, Origin, Repetition, Turn};
use portcullis_domain::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

use super::engine::{Engine, Written, replay};
use super::steps::{authority, config, configure, principal, session, started};

const LASTS_US: u64 = 200;

fn role(number: u8) -> RoleName {
    ["manager", "auditor", "director"][usize::from(number)].parse().unwrap()
}

fn ask(number: u8, approvals: u8) -> Ask {
    Ask { role: role(number), approvals, by_client: false }
}

/// Ann's payment, through these agents.
struct Payment<'a> {
    number: u128,
    arguments: &'a str,
    through: &'a [&'a str],
    asks: &'a [Ask],
    key: Option<&'a str>,
}

impl Default for Payment<'_> {
    fn default() -> Self {
        Self { number: 0, arguments: r#"{"amount":50000}"#, through: &[], asks: &[], key: None }
    }
}

fn bank() -> Capability {
    Capability::new(Kind::Tool, "bank__pay")
}

fn decision(engine: &Engine, asks: &[Ask]) -> Decision {
    Decision {
        policies: vec!["ask".to_owned()],
        message: Some("More than 10,000.".to_owned()),
        asks: asks.to_vec(),
        ..Decision::of(Effect::Ask, engine.world.policy.version.unwrap())
    }
}

fn chain(through: &[&str]) -> Authority {
    Authority { through: through.iter().map(|agent| agent.parse().unwrap()).collect(), ..authority(0) }
}

fn admit(engine: &Engine, payment: &Payment<'_>) -> Admit {
    Admit {
        call: CallId(payment.number.to_be_bytes()),
        callee: None,
        parent: None,
        authority: chain(payment.through),
        session: session(0, 0),
        origin: Origin::Named,
        session_budget: None,
        door: Door::Mcp,
        capability: bank(),
        payload: Ok(Body::new(Bytes::from(payment.arguments.to_owned()))),
        decision: decision(engine, payment.asks),
        estimate: Some(Nanodollars::ZERO),
        repetition: Repetition {
            mark: payment.key.map(|key| Mark::of(&bank(), payment.arguments, Some(key))),
            ..Repetition::default()
        },
        candidates: None,
        turn: Turn::Beside,
        content: None,
        asks: Asks::Anew { lasts_us: LASTS_US, is_run: false },
        within: None,
        shown: None,
    }
}

fn answer(engine: &mut Engine, call: u128, by: u8, roles: &[u8], is_yes: bool) -> Result<Standing, Refusal> {
    let command = AnswerApproval {
        call: CallId(call.to_be_bytes()),
        by: principal(by),
        authority: Some(authority(by)),
        is_by_client: false,
        roles: roles.iter().map(|number| role(*number)).collect(),
        policy_version: engine.world.policy.version.unwrap(),
        is_yes,
        comment: None,
    };
    engine.run(&command)
}

/// What comes of trying to pay: the call that was admitted, or the code and the approval that is waited for.
fn pay(engine: &mut Engine, payment: &Payment<'_>) -> Result<CallId, (Code, Option<u128>)> {
    match engine.run(&admit(engine, payment)) {
        Ok(Passed::New(admitted)) => Ok(admitted.call()),
        Ok(Passed::Again(_)) => panic!("it is no repetition"),
        Err(refusal) => Err((refusal.code, refusal.approval.map(|call| u128::from_be_bytes(call.0)))),
    }
}

fn id(number: u128) -> CallId {
    CallId(number.to_be_bytes())
}

/// What is refused because it waits for that approval.
fn waits(approval: u128) -> Result<CallId, (Code, Option<u128>)> {
    Err((Code::ApprovalRequired, Some(approval)))
}

#[test]
fn an_approved_call_runs_once_and_nothing_else_does() {
    let mut engine = started();
    let asks = [ask(0, 1)];
    let of = |number, arguments| Payment { number, arguments, asks: &asks, ..Payment::default() };
    assert_eq!(pay(&mut engine, &of(1, r#"{"amount":50000,"to":"x"}"#)), waits(1));
    assert_eq!(pay(&mut engine, &of(2, r#"{"amount":50000,"to":"x"}"#)), waits(1), "nobody is asked twice");
    assert_eq!(answer(&mut engine, 1, 1, &[0], true), Ok(Standing::Approved));
    assert_eq!(answer(&mut engine, 1, 1, &[0], true), Ok(Standing::Approved), "said twice is said once");
    for (number, changed) in
        [(3, r#"{"amount":50001,"to":"x"}"#), (4, r#"{"amount":50000,"to":"y"}"#), (5, r#"{"amount":50000}"#)]
    {
        assert_eq!(pay(&mut engine, &of(number, changed)), waits(number), "{changed}");
    }
    let (bare, agents) = (of(6, r#"{"amount":50000,"to":"x"}"#), ["payer"]);
    assert_eq!(pay(&mut engine, &Payment { through: &agents, ..bare }), waits(6), "it is another chain's");
    engine.sync();
    engine.crash(true);
    // Neither order nor spaces make another call.
    assert_eq!(pay(&mut engine, &of(7, r#"{ "to": "x", "amount": 50000 }"#)), Ok(id(7)));
    assert_eq!(pay(&mut engine, &of(8, r#"{"amount":50000,"to":"x"}"#)), waits(8), "it was used");
    assert_eq!(answer(&mut engine, 1, 2, &[0], true).unwrap_err().code, Code::WaitOver);
    assert_eq!(replay(&engine.written).0, engine.world);
}

#[test]
fn a_use_that_certainly_had_no_effect_is_none() {
    for (outcome, expected) in
        [(Outcome::Failed, Ok(id(3))), (Outcome::Unknown, waits(3)), (Outcome::Completed, waits(3))]
    {
        let mut engine = started();
        let asks = [ask(0, 1)];
        let of = |number| Payment { number, asks: &asks, ..Payment::default() };
        let _ = pay(&mut engine, &of(1));
        answer(&mut engine, 1, 1, &[0], true).unwrap();
        pay(&mut engine, &of(2)).unwrap();
        let settle = Settle {
            call: id(2),
            outcome,
            tokens: None,
            cost: None,
            answer: None,
            judged: vec![],
            labels: vec![],
            guarded: vec![],
        };
        engine.run(&settle).unwrap();
        assert_eq!(pay(&mut engine, &of(3)), expected, "{outcome:?}");
    }
}

#[test]
fn a_call_that_comes_again_under_its_key_gets_its_answer_and_no_second_approval() {
    let mut engine = started();
    let asks = [ask(0, 1)];
    let of = |number| Payment { number, asks: &asks, key: Some("k"), ..Payment::default() };
    let _ = pay(&mut engine, &of(1));
    answer(&mut engine, 1, 1, &[0], true).unwrap();
    pay(&mut engine, &of(2)).unwrap();
    let settle = Settle {
        call: id(2),
        outcome: Outcome::Completed,
        tokens: None,
        cost: None,
        answer: None,
        judged: vec![],
        labels: vec![],
        guarded: Vec::new(),
    };
    engine.run(&settle).unwrap();
    let again = engine.run(&admit(&engine, &of(3)));
    assert!(matches!(again, Ok(Passed::Again(_))));
    assert_eq!(engine.world.approvals.open().count(), 0);
}

#[test]
fn who_may_answer_and_who_may_not() {
    let mut engine = started();
    let asks = [ask(0, 1)];
    let payment = Payment { number: 1, asks: &asks, through: &["bob"], ..Payment::default() };
    let _ = pay(&mut engine, &payment);
    // Ann asks, and bob is an agent that acts for her.
    for (by, roles, expected) in [
        (0, [0].as_slice(), Code::Forbidden),
        (1, &[0], Code::Forbidden),
        (2, &[], Code::NotFound),
        (2, &[1, 2], Code::NotFound),
    ] {
        for is_yes in [true, false] {
            assert_eq!(answer(&mut engine, 1, by, roles, is_yes).unwrap_err().code, expected, "{by} {roles:?}");
        }
    }
    let through = AnswerApproval {
        call: id(1),
        by: principal(2),
        authority: Some(Authority { through: vec!["clerk".parse().unwrap()], ..authority(2) }),
        is_by_client: false,
        roles: vec![role(0)],
        policy_version: engine.world.policy.version.unwrap(),
        is_yes: true,
        comment: None,
    };
    assert_eq!(engine.run(&through).unwrap_err().code, Code::Forbidden, "an agent answers for nobody");
    let forged = AnswerApproval { authority: Some(authority(1)), ..through.clone() };
    assert_eq!(engine.run(&forged).unwrap_err().code, Code::Unauthenticated);
    let stale = AnswerApproval { authority: None, policy_version: Digest::of(b"other"), ..through.clone() };
    assert_eq!(engine.run(&stale).unwrap_err().code, Code::StaleDecision, "roles of other policies are none");
    let talkative = AnswerApproval { authority: None, comment: Some("x".repeat(2_001)), ..through.clone() };
    assert_eq!(engine.run(&talkative).unwrap_err().code, Code::TooLarge);
    engine.run(&Disable { principal: principal(2), by: Actor::Gateway, reason: Some("lost".to_owned()) }).unwrap();
    let by_link = AnswerApproval { authority: None, ..through };
    assert_eq!(engine.run(&by_link).unwrap_err().code, Code::Unauthenticated, "a link stands for somebody who may act");
    assert!(!engine.written.iter().any(|written| matches!(written.entry.event, Event::ApprovalAnswered(_))));
}

#[test]
fn their_own_client_answers_only_for_who_is_alone_and_only_where_a_rule_says_so() {
    let own = |number| Ask { by_client: true, ..ask(number, 1) };
    let helpers: [&str; 2] = ["bob", "payer"];
    for (asks, through, by, roles, expected) in [
        (vec![own(0)], 0, 0, vec![0], Ok(Standing::Approved)),
        (vec![own(0), ask(1, 1)], 0, 0, vec![0, 1], Ok(Standing::Pending)),
        (vec![ask(0, 1)], 0, 0, vec![0], Err(Code::NotFound)),
        (vec![own(0)], 0, 0, vec![1], Err(Code::NotFound)),
        (vec![own(0)], 1, 0, vec![0], Err(Code::NotFound)),
        (vec![own(0)], 0, 1, vec![0], Err(Code::NotFound)),
    ] {
        let mut engine = started();
        let _ =
            pay(&mut engine, &Payment { number: 1, asks: &asks, through: &helpers[..through], ..Payment::default() });
        let command = AnswerApproval {
            call: id(1),
            by: principal(by),
            authority: Some(authority(by)),
            is_by_client: true,
            roles: roles.iter().map(|number| role(*number)).collect(),
            policy_version: engine.world.policy.version.unwrap(),
            is_yes: true,
            comment: None,
        };
        // A link is no client, and without the client nobody answers for themself.
        let by_link = AnswerApproval { authority: None, ..command.clone() };
        assert_eq!(engine.run(&by_link).unwrap_err().code, Code::NotFound);
        if by == 0 {
            let by_api = AnswerApproval { is_by_client: false, ..command.clone() };
            assert_eq!(engine.run(&by_api).unwrap_err().code, Code::Forbidden);
        }
        assert_eq!(engine.run(&command).map_err(|refusal| refusal.code), expected, "{asks:?} {through} {by} {roles:?}");
    }
}

#[test]
fn who_is_called_in_later_makes_no_more_of_ones_own_yes() {
    let mut engine = started();
    let asks = [Ask { by_client: true, ..ask(0, 1) }, ask(1, 1)];
    let _ = pay(&mut engine, &Payment { number: 1, asks: &asks, ..Payment::default() });
    let own = AnswerApproval {
        call: id(1),
        by: principal(0),
        authority: Some(authority(0)),
        is_by_client: true,
        roles: vec![role(0)],
        policy_version: engine.world.policy.version.unwrap(),
        is_yes: true,
        comment: None,
    };
    assert_eq!(engine.run(&own), Ok(Standing::Pending));
    engine.now += 60;
    assert!(engine.run(&EscalateApproval { call: id(1), role: role(0), after_us: 50 }));
    let found = engine.world.approvals.find(id(1)).unwrap();
    assert_eq!((found.standing, found.missing(&asks[0]), found.missing(&asks[1])), (Standing::Pending, 0, 1));
    assert_eq!(pay(&mut engine, &Payment { number: 2, asks: &asks, ..Payment::default() }), waits(1));
    assert_eq!(answer(&mut engine, 1, 1, &[0], true), Ok(Standing::Approved), "somebody else with that role may");
}

#[test]
fn of_rules_that_ask_the_same_role_the_strictest_counts() {
    let own = |approvals| Ask { by_client: true, ..ask(0, approvals) };
    assert_eq!(Ask::all([own(1), own(3)]), [own(3)]);
    assert_eq!(Ask::all([own(2), ask(0, 1)]), [ask(0, 2)]);
    assert_eq!(Ask::all([ask(0, 1), own(2)]), [ask(0, 2)]);
}

#[test]
fn four_eyes_are_those_of_two_people() {
    let mut engine = started();
    let asks = [ask(0, 2)];
    let payment = |number| Payment { number, asks: &asks, ..Payment::default() };
    let _ = pay(&mut engine, &payment(1));
    assert_eq!(answer(&mut engine, 1, 1, &[0], true), Ok(Standing::Pending));
    assert_eq!(answer(&mut engine, 1, 1, &[0], true), Ok(Standing::Pending), "twice by one is once");
    assert_eq!(pay(&mut engine, &payment(2)), waits(1));
    assert_eq!(answer(&mut engine, 1, 2, &[0], true), Ok(Standing::Approved));
    assert_eq!(pay(&mut engine, &payment(3)), Ok(id(3)));
    // Who has said yes may change their mind until all have.
    let _ = pay(&mut engine, &payment(4));
    answer(&mut engine, 4, 1, &[0], true).unwrap();
    assert_eq!(answer(&mut engine, 4, 1, &[0], false), Ok(Standing::Denied));
    assert_eq!(pay(&mut engine, &payment(5)), Err((Code::Denied, None)), "a no holds until its time is over");
    assert_eq!(answer(&mut engine, 4, 2, &[0], true).unwrap_err().code, Code::WaitOver);
    engine.now += LASTS_US;
    assert_eq!(pay(&mut engine, &payment(6)), waits(6));
}

#[test]
fn all_who_are_asked_must_say_yes_and_who_was_called_in_counts_for_each() {
    let mut engine = started();
    let asks = [ask(0, 1), ask(1, 1)];
    let payment = Payment { number: 1, asks: &asks, ..Payment::default() };
    let _ = pay(&mut engine, &payment);
    assert_eq!(answer(&mut engine, 1, 1, &[0], true), Ok(Standing::Pending));
    let escalate = EscalateApproval { call: id(1), role: role(2), after_us: 50 };
    assert!(!engine.run(&escalate), "it is too early");
    assert_eq!(answer(&mut engine, 1, 2, &[2], true).unwrap_err().code, Code::NotFound);
    engine.now += 50;
    assert!(engine.run(&escalate));
    assert!(!engine.run(&escalate), "once is enough");
    assert_eq!(answer(&mut engine, 1, 2, &[2], true), Ok(Standing::Approved));
}

#[test]
fn an_approval_ends_with_its_time_its_policies_and_its_session() {
    for is_given in [false, true] {
        let begun = || {
            let mut engine = started();
            let asks = [ask(0, 1)];
            let _ = pay(&mut engine, &Payment { number: 1, asks: &asks, ..Payment::default() });
            if is_given {
                answer(&mut engine, 1, 1, &[0], true).unwrap();
            }
            engine
        };
        let asks = [ask(0, 1)];
        let again = Payment { number: 2, asks: &asks, ..Payment::default() };

        let mut late = begun();
        assert!(!late.run(&ExpireApproval { call: id(1) }));
        late.now += LASTS_US;
        assert_eq!(answer(&mut late, 1, 2, &[0], true).unwrap_err().code, Code::WaitOver, "before anybody has noticed");
        assert_eq!(pay(&mut late, &again), waits(2));
        assert!(late.run(&ExpireApproval { call: id(1) }));
        assert!(!late.run(&ExpireApproval { call: id(1) }));

        let mut changed = begun();
        let (other, before) = (configure(&changed, [0; 2], 1), configure(&changed, [0; 2], 0));
        changed.run(&other);
        assert_eq!(answer(&mut changed, 1, 2, &[0], true).unwrap_err().code, Code::WaitOver);
        // Nor does it come back with them.
        changed.run(&before);
        assert_eq!(pay(&mut changed, &again), waits(2));

        let mut closed = begun();
        closed.run(&CloseSession { session: session(0, 0), by: principal(0) }).unwrap();
        assert_eq!(answer(&mut closed, 1, 2, &[0], true).unwrap_err().code, Code::WaitOver);
        assert_eq!(closed.world.approvals.open().count(), 0);
    }
}

#[test]
fn who_asked_takes_it_back_once_and_nobody_else_does() {
    for is_given in [false, true] {
        let mut engine = started();
        let asks = [ask(0, 1)];
        let _ = pay(&mut engine, &Payment { number: 1, asks: &asks, ..Payment::default() });
        if is_given {
            answer(&mut engine, 1, 1, &[0], true).unwrap();
        }
        let withdraw =
            |call, owner| WithdrawApproval { call: id(call), session: session(owner, 0), authority: authority(owner) };
        assert_eq!(engine.run(&withdraw(1, 1)).unwrap_err().code, Code::NotFound);
        assert_eq!(engine.run(&withdraw(2, 0)).unwrap_err().code, Code::NotFound);
        engine.run(&withdraw(1, 0)).unwrap();
        assert_eq!(engine.run(&withdraw(1, 0)).unwrap_err().code, Code::WaitOver);
        assert_eq!(answer(&mut engine, 1, 2, &[0], true).unwrap_err().code, Code::WaitOver);
        assert_eq!(pay(&mut engine, &Payment { number: 3, asks: &asks, ..Payment::default() }), waits(3));
    }
}

#[test]
fn what_no_session_was_named_for_may_be_used_in_another_one() {
    for (name, expected) in [("ses_1", Ok(id(2))), ("claim-1", waits(2))] {
        let mut engine = started();
        let asks = [ask(0, 1)];
        let first = Payment { number: 1, asks: &asks, ..Payment::default() };
        let named = |name: &str| format!("ann:{name}").parse().unwrap();
        let first = Admit { session: named(name), origin: Origin::Minted, ..admit(&engine, &first) };
        engine.run(&first).unwrap_err();
        answer(&mut engine, 1, 1, &[0], true).unwrap();
        let second = Payment { number: 2, asks: &asks, ..Payment::default() };
        let second = Admit { session: named("ses_2"), origin: Origin::Minted, ..admit(&engine, &second) };
        let found = engine.run(&second);
        let found = match found {
            Ok(Passed::New(admitted)) => Ok(admitted.call()),
            Ok(Passed::Again(_)) => panic!("it is no repetition"),
            Err(refusal) => Err((refusal.code, refusal.approval.map(|call| u128::from_be_bytes(call.0)))),
        };
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn there_is_a_limit_on_what_persons_are_asked_and_on_what_is_remembered() {
    let mut engine = started();
    let asks = [ask(0, 1)];
    let arguments = |number: u128| format!("{{\"amount\":{number}}}");
    let limit = u128::try_from(OPEN_LIMIT).unwrap();
    for number in 0..limit {
        assert_eq!(
            pay(&mut engine, &Payment { number, arguments: &arguments(number), asks: &asks, ..Payment::default() }),
            waits(number)
        );
    }
    let more = arguments(limit);
    let more = Payment { number: limit, arguments: &more, asks: &asks, ..Payment::default() };
    assert_eq!(pay(&mut engine, &more), Err((Code::TooMany, None)));
    for number in 0..limit {
        answer(&mut engine, number, 1, &[0], false).unwrap();
    }
    let more = u128::try_from(OVER_LIMIT).unwrap();
    for number in limit..limit + more {
        let arguments = arguments(number);
        let _ = pay(&mut engine, &Payment { number, arguments: &arguments, asks: &asks, ..Payment::default() });
        answer(&mut engine, number, 1, &[0], false).unwrap();
    }
    assert_eq!(engine.world.approvals.of(&principal(0)).count(), OVER_LIMIT);
    assert!(engine.world.approvals.find(id(0)).is_none());
}

#[test]
fn a_call_that_the_gateway_makes_itself_uses_its_approval_or_is_not_made() {
    let mut engine = started();
    let asks = [ask(0, 1)];
    let of = |number| Payment { number, asks: &asks, ..Payment::default() };
    let first = Admit { asks: Asks::Anew { lasts_us: LASTS_US, is_run: true }, ..admit(&engine, &of(1)) };
    assert_eq!(engine.run(&first).unwrap_err().approval, Some(id(1)));
    let wait = wait_of(id(1)).unwrap();
    assert!(engine.world.waits.find(&session(0, 0), &wait).is_some());
    assert_eq!(engine.world.approvals.to_tell().count(), 1);
    let run = |engine: &mut Engine, number| {
        let run = Admit { asks: Asks::Only(id(1)), ..admit(engine, &of(number)) };
        engine.run(&run).map(|_| ()).map_err(|refusal| (refusal.code, refusal.approval))
    };
    assert_eq!(run(&mut engine, 2), Err((Code::Conflict, None)), "it is not given, and nobody is asked once more");
    answer(&mut engine, 1, 1, &[0], true).unwrap();
    assert_eq!(run(&mut engine, 3), Ok(()));
    assert_eq!(run(&mut engine, 4), Err((Code::Conflict, None)), "once");
    let event = Some((None, Body::new("{}".into())));
    let end =
        EndWait { session: session(0, 0), name: wait, by: Actor::Gateway, end: End::Event("1".to_owned()), event };
    engine.run(&end).unwrap();
    assert_eq!(engine.world.approvals.to_tell().count(), 0);
    assert_eq!(replay(&engine.written).0, engine.world);
}

#[derive(Debug, Clone)]
enum Step {
    Pay { amount: u8, agent: bool },
    Park { amount: u8 },
    Answer { back: u8, by: u8, roles: Vec<u8>, is_yes: bool },
    Settle { outcome: Outcome },
    Escalate { back: u8 },
    Expire { back: u8 },
    Wait { micros: u64 },
    Configure { policies: u8 },
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop::sample::select(vec![Outcome::Completed, Outcome::Failed, Outcome::Unknown]);
    prop_oneof![
        8 => (prop_oneof![5 => Just(0_u8), 1 => Just(1)], prop::bool::weighted(0.1)).prop_map(|(amount, agent)| Step::Pay { amount, agent }),
        3 => prop_oneof![5 => Just(0_u8), 1 => Just(1)].prop_map(|amount| Step::Park { amount }),
        12 => (prop_oneof![5 => Just(0_u8), 1 => 1..3_u8], 0..3_u8, roles(), prop::bool::weighted(0.92))
            .prop_map(|(back, by, roles, is_yes)| Step::Answer { back, by, roles, is_yes }),
        4 => outcome.prop_map(|outcome| Step::Settle { outcome }),
        1 => (0..3_u8).prop_map(|back| Step::Escalate { back }),
        1 => (0..3_u8).prop_map(|back| Step::Expire { back }),
        1 => (0..150_u64).prop_map(|micros| Step::Wait { micros }),
        1 => (0..2_u8).prop_map(|policies| Step::Configure { policies }),
        1 => Just(Step::Crash),
    ]
}

/// Mostly the right ones.
fn roles() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![6 => Just(vec![0, 1]), 2 => Just(vec![0]), 1 => vec(0..3_u8, 0..3)]
}

/// The approvals that were asked for, the newest first.
fn asked(engine: &Engine, back: u8) -> u128 {
    let requested = |written: &Written| {
        if let Event::ApprovalRequested(event) = &written.entry.event {
            Some(u128::from_be_bytes(event.call.0))
        } else {
            None
        }
    };
    engine.written.iter().rev().filter_map(requested).nth(usize::from(back)).unwrap_or(0)
}

fn play(engine: &mut Engine, step: &Step, number: u128) {
    let asks = [ask(0, 2), ask(1, 1)];
    match step {
        Step::Pay { amount, agent } => {
            let (arguments, agents) = (format!("{{\"amount\":{amount}}}"), ["payer"]);
            let through: &[&str] = if *agent { &agents } else { &[] };
            let _ = pay(engine, &Payment { number, arguments: &arguments, through, asks: &asks, key: None });
        }
        Step::Park { amount } => {
            let park = Park {
                call: id(number),
                authority: authority(0),
                session: session(0, 0),
                door: Door::Openai,
                capability: bank(),
                arguments: Body::new(format!("{{\"amount\":{amount}}}").into()),
                decision: decision(engine, &asks),
                approval_us: LASTS_US,
            };
            if engine.world.session.find(&session(0, 0)).is_some() {
                let _ = engine.run(&park);
            }
        }
        Step::Answer { back, by, roles, is_yes } => {
            let _ = answer(engine, asked(engine, *back), *by, roles, *is_yes);
        }
        Step::Settle { outcome } => {
            if let Some(call) = engine.world.open_calls.keys().next().copied() {
                let settle = Settle {
                    call,
                    outcome: *outcome,
                    tokens: None,
                    cost: None,
                    answer: None,
                    judged: vec![],
                    labels: vec![],
                    guarded: Vec::new(),
                };
                engine.run(&settle).unwrap();
            }
        }
        Step::Escalate { back } => {
            engine.run(&EscalateApproval { call: id(asked(engine, *back)), role: role(2), after_us: 60 });
        }
        Step::Expire { back } => {
            engine.run(&ExpireApproval { call: id(asked(engine, *back)) });
        }
        Step::Wait { micros } => engine.now += micros,
        Step::Configure { policies } => {
            engine.run(&configure(engine, [0; 2], *policies));
        }
        Step::Crash => {
            engine.sync();
            engine.crash(true);
        }
    }
}

/// What an approval needs to be good, by the entries alone.
#[derive(Default)]
struct Known {
    yes: BTreeMap<PrincipalName, BTreeSet<RoleName>>,
    escalated: BTreeSet<RoleName>,
    expires_at: Timestamp,
    is_spoilt: bool,
    used: Option<CallId>,
    /// The policies that it was asked under.
    version: Option<Version>,
}

impl Known {
    /// One that is not in use does not outlive the policies that it was asked under.
    fn under(&mut self, version: Option<Version>, failed: &BTreeSet<CallId>) {
        let is_in_use = self.used.is_some_and(|call| !failed.contains(&call));
        self.is_spoilt |= !is_in_use && self.version != version;
    }
}

/// Every use in the story is one that persons have allowed; how many there were.
fn judge(engine: &Engine) -> usize {
    let (mut known, mut uses) = (BTreeMap::<CallId, Known>::new(), 0);
    let (mut failed, mut version) = (BTreeSet::new(), None);
    for written in &engine.written {
        let (event, at) = (&written.entry.event, written.entry.at);
        if let Event::ApprovalRequested(event) = event {
            let fresh = Known { expires_at: event.expires_at, version: Some(event.policy_version), ..Known::default() };
            assert!(known.insert(event.call, fresh).is_none());
        } else if let Event::ApprovalAnswered(event) = event {
            let known = known.get_mut(&event.call).unwrap();
            let by = written.entry.actor.subject().unwrap().clone();
            assert_ne!(by, principal(0), "nobody answers for themselves");
            known.yes.insert(by, event.roles.iter().cloned().collect());
            known.is_spoilt |= !event.is_yes;
        } else if let Event::ApprovalEscalated(event) = event {
            known.get_mut(&event.call).unwrap().escalated.insert(event.role.clone());
        } else if let Event::PolicyActivated(event) = event {
            version = Some(event.version);
            known.values_mut().for_each(|known| known.under(version, &failed));
        } else if let Event::CallSettled(event) = event
            && event.outcome == Outcome::Failed
        {
            failed.insert(event.call);
            known.values_mut().for_each(|known| known.under(version, &failed));
        }
        let used = if let Event::CallAdmitted(event) = event {
            Some((event.approval.unwrap(), event.call))
        } else if let Event::ApprovalUsed(event) = event {
            Some((event.call, event.by))
        } else {
            None
        };
        let Some((approval, call)) = used else { continue };
        uses += 1;
        let known = known.get_mut(&approval).unwrap();
        let has = |role: &RoleName| {
            let has = |roles: &&BTreeSet<RoleName>| roles.contains(role) || !roles.is_disjoint(&known.escalated);
            known.yes.values().filter(has).count()
        };
        assert!(has(&role(0)) >= 2 && has(&role(1)) >= 1, "not all have said yes");
        assert!(!known.is_spoilt && at < known.expires_at, "it was denied, void or late");
        assert!(known.used.is_none_or(|before| failed.contains(&before)), "it was used before");
        known.used = Some(call);
    }
    uses
}

#[test]
fn whatever_happens_nothing_runs_that_was_not_approved() {
    let uses = std::cell::Cell::new(0);
    proptest!(config(6), |(steps in vec(step(), 1..60))| {
        let mut engine = started();
        for (number, step) in (1_u128..).zip(&steps) {
            play(&mut engine, step, number);
        }
        uses.set(uses.get() + judge(&engine));
        prop_assert_eq!(&replay(&engine.written).0, &engine.world);
    });
    assert!(uses.get() > 20, "the stories come to no use: {}", uses.get());
}
