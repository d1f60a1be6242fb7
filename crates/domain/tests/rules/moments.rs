//! A decision that rests on what the session has done is good for as long as that is so.

use portcullis_domain::admission::{Admit, Look};
use portcullis_domain::call::{Capability, Door, Kind};
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::moment::AGE_LIMIT_US;
use portcullis_domain::policy::{Asks, Decision, Effect, Moment};
use portcullis_domain::refusal::Code;
use portcullis_domain::session::{Origin, Repetition, Turn};

use super::engine::Engine;
use super::steps::{authority, call, payload, session, started};

fn ask(engine: &mut Engine, number: u8, effect: Effect, moment: &Moment) -> Result<(), Code> {
    let version = engine.world.policy.version.unwrap();
    let admit = Admit {
        within: None,
        call: call(number),
        callee: None,
        parent: None,
        authority: authority(0),
        session: session(0, 0),
        origin: Origin::Named,
        session_budget: None,
        door: Door::Openai,
        capability: Capability::new(Kind::Model, "gpt"),
        payload: Ok(payload(number)),
        content: None,
        asks: Asks::Anew { lasts_us: 1_000, is_run: false },
        shown: None,
        decision: Decision { moment: moment.clone(), ..Decision::of(effect, version) },
        estimate: Some(Nanodollars::ZERO),
        repetition: Repetition::default(),
        candidates: None,
        turn: Turn::Beside,
    };
    engine.run(&admit).map(|_| ()).map_err(|refusal| refusal.code)
}

fn look(engine: &mut Engine) -> Moment {
    engine.run(&Look { session: session(0, 0) })
}

#[test]
fn two_calls_that_were_judged_by_the_same_count_do_not_both_pass() {
    let mut engine = started();
    let counted = |engine: &mut Engine| Moment { calls: look(engine).calls, ..Moment::default() };
    for round in 0..3 {
        let before = counted(&mut engine);
        assert_eq!(before.calls, Some(u64::from(round)));
        assert_eq!(ask(&mut engine, round * 2, Effect::Allow, &before), Ok(()));
        let written = engine.written.len();
        assert_eq!(ask(&mut engine, round * 2 + 1, Effect::Allow, &before), Err(Code::StaleDecision));
        // What was judged too early is no refusal either.
        assert_eq!(ask(&mut engine, round * 2 + 1, Effect::Deny, &before), Err(Code::StaleDecision));
        assert_eq!(engine.written.len(), written);
    }
}

#[test]
fn what_was_not_read_does_not_matter() {
    let mut engine = started();
    let before = look(&mut engine);
    assert_eq!(ask(&mut engine, 0, Effect::Allow, &Moment { spent: before.spent, ..Moment::default() }), Ok(()));
    assert_eq!(ask(&mut engine, 1, Effect::Allow, &Moment { spent: before.spent, ..Moment::default() }), Ok(()));
    assert_eq!(
        ask(&mut engine, 2, Effect::Deny, &Moment { refused: before.refused, ..Moment::default() }),
        Err(Code::Denied)
    );
    let refused = Moment { refused: before.refused, ..Moment::default() };
    assert_eq!(ask(&mut engine, 3, Effect::Allow, &refused), Err(Code::StaleDecision));
}

#[test]
fn a_decision_that_rests_on_the_time_does_not_wait_for_long() {
    let mut engine = started();
    let before = Moment { at: look(&mut engine).at, ..Moment::default() };
    assert_eq!(ask(&mut engine, 0, Effect::Allow, &before), Ok(()));
    engine.now += AGE_LIMIT_US;
    assert_eq!(ask(&mut engine, 1, Effect::Allow, &before), Err(Code::StaleDecision));
}
