//! Tasks that outlast their calls are cancelled once nobody may act for them any more, a limited number of times, and no others.

use portcullis_domain::admission::{Admit, CancelTask, CloseSession, Disable, EndCancel, NoteTask, Passed, RevokeKey};
use portcullis_domain::authority::Authority;
use portcullis_domain::call::{Capability, Door, Kind};
use portcullis_domain::ids::{Actor, CallId, PrincipalName};
use portcullis_domain::journal::Body;
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::{Asks, Decision, Effect};
use portcullis_domain::refusal::Code;
use portcullis_domain::registry::Replica;
use portcullis_domain::session::agent_tasks::{ATTEMPTS_LIMIT, AgentTask, OPEN_LIMIT};
use portcullis_domain::session::event::CancelEnd;
use portcullis_domain::session::{Origin, Repetition, Turn};

use super::engine::{Engine, replay};
use super::steps::{authority, key_id, principal, session, started};

fn agent() -> Capability {
    Capability::new(Kind::Agent, "adjuster")
}

/// The principal that the agent is.
fn adjuster() -> PrincipalName {
    "adjuster-bot".parse().unwrap()
}

fn task(owner: u8, id: &str) -> AgentTask {
    AgentTask { session: session(owner, 0), agent: agent(), id: id.to_owned() }
}

fn through(owner: u8, agents: &[&str]) -> Authority {
    Authority { through: agents.iter().map(|agent| agent.parse().unwrap()).collect(), ..authority(owner) }
}

/// A call of the agent, by which its session has a replica.
fn call(engine: &mut Engine, owner: u8) {
    assert!(matches!(engine.run(&admit(engine, owner)), Ok(Passed::New(_))));
}

fn admit(engine: &Engine, owner: u8) -> Admit {
    Admit {
        call: CallId(u128::from(owner).to_be_bytes()),
        callee: Some(adjuster()),
        parent: None,
        authority: authority(owner),
        session: session(owner, 0),
        origin: Origin::Named,
        session_budget: None,
        door: Door::A2a,
        capability: agent(),
        payload: Ok(Body::new("{}".into())),
        decision: Decision::of(Effect::Allow, engine.world.policy.version.unwrap()),
        estimate: Some(Nanodollars::ZERO),
        repetition: Repetition::default(),
        candidates: Some(vec![Replica::at("http://one")]),
        turn: Turn::Beside,
        content: None,
        asks: Asks::Anew { lasts_us: 1, is_run: false },
        within: None,
        shown: None,
    }
}

/// Where Ann and Bob have a task each, and Ann one more through an agent.
fn begun() -> Engine {
    let mut engine = started();
    (0..2).for_each(|owner| call(&mut engine, owner));
    for (owner, id, agents) in [(0, "a", &[][..]), (0, "b", &["planner"]), (1, "c", &[])] {
        engine.run(&NoteTask { task: task(owner, id), left: Some((through(owner, agents), Some(adjuster()))) });
    }
    engine
}

fn halted(engine: &Engine) -> Vec<&str> {
    engine.world.agent_tasks.halted().map(|task| task.id.as_str()).collect()
}

fn disable(engine: &mut Engine, name: &str) {
    let disable = Disable { by: Actor::Gateway, principal: name.parse().unwrap(), reason: Some("x".to_owned()) };
    assert!(engine.run(&disable).unwrap());
}

#[test]
fn what_was_begun_by_or_through_whoever_is_disabled_is_cancelled() {
    let mut engine = begun();
    assert!(halted(&engine).is_empty());
    assert_eq!(engine.run(&CancelTask { task: task(0, "a") }).unwrap_err().code, Code::NotFound, "it may go on");
    disable(&mut engine, "planner");
    assert_eq!(halted(&engine), ["b"]);
    disable(&mut engine, "ann");
    assert_eq!(halted(&engine), ["a", "b"]);
    engine.run(&RevokeKey { by: Actor::Gateway, key: key_id(1) }).unwrap();
    assert_eq!(halted(&engine), ["a", "b", "c"]);
    // What is left by a call that was cut off itself is halted at once.
    engine.run(&NoteTask { task: task(0, "d"), left: Some((authority(0), Some(adjuster()))) });
    assert_eq!(halted(&engine), ["a", "b", "d", "c"]);
    // Letting somebody act again brings no task back.
    engine.run(&Disable { by: Actor::Gateway, principal: principal(0), reason: None }).unwrap();
    let cancellation = engine.run(&CancelTask { task: task(0, "a") }).unwrap();
    assert_eq!((cancellation.task(), cancellation.placement().replica.address()), (&task(0, "a"), "http://one"));
    engine.run(&EndCancel { task: task(0, "a"), end: CancelEnd::Taken });
    let entries = engine.written.len();
    engine.run(&EndCancel { task: task(0, "a"), end: CancelEnd::Taken });
    assert_eq!((halted(&engine), engine.written.len()), (vec!["b", "d", "c"], entries));
    assert_eq!(replay(&engine.written).0, engine.world);
}

#[test]
fn an_agent_that_is_disabled_is_not_called_and_what_it_does_is_cancelled() {
    let mut engine = begun();
    disable(&mut engine, "adjuster-bot");
    assert_eq!(halted(&engine), ["a", "b", "c"]);
    let refused = engine.run(&Admit { call: CallId([9; 16]), ..admit(&engine, 0) }).unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (Code::Forbidden, "`adjuster` is disabled and may not be called")
    );
    assert!(refused.reasons.iter().any(|reason| reason.contains("adjuster-bot")), "{refused:?}");
    // Whoever may not call it is not told.
    let denied = Decision::of(Effect::Deny, engine.world.policy.version.unwrap());
    let denied = Admit { call: CallId([10; 16]), decision: denied, ..admit(&engine, 0) };
    assert_eq!(engine.run(&denied).unwrap_err().code, Code::Denied);
    // What a call leaves behind that was cut off by it is halted at once.
    engine.run(&NoteTask { task: task(1, "e"), left: Some((authority(1), Some(adjuster()))) });
    assert_eq!(halted(&engine), ["a", "b", "c", "e"]);
    // It is told all the same: that is the gateway's own doing.
    assert!(engine.run(&CancelTask { task: task(0, "a") }).is_ok());
    engine.run(&Disable { by: Actor::Gateway, principal: adjuster(), reason: None }).unwrap();
    assert!(engine.run(&Admit { call: CallId([11; 16]), ..admit(&engine, 0) }).is_ok());
    assert_eq!(replay(&engine.written).0, engine.world);
}

#[test]
fn a_task_of_which_it_was_not_noted_who_does_it_is_nobodys_but_its_chains() {
    let mut engine = started();
    call(&mut engine, 0);
    engine.run(&NoteTask { task: task(0, "a"), left: Some((authority(0), None)) });
    for agent in ["adjuster-bot", "adjuster"] {
        disable(&mut engine, agent);
        assert!(halted(&engine).is_empty(), "{agent}");
    }
}

#[test]
fn what_is_over_is_not_cancelled_and_what_is_known_is_not_noted_again() {
    let mut engine = begun();
    let entries = engine.written.len();
    engine.run(&NoteTask { task: task(0, "a"), left: Some((authority(0), Some(adjuster()))) });
    engine.run(&NoteTask { task: task(0, "z"), left: None });
    assert_eq!(engine.written.len(), entries);
    engine.run(&NoteTask { task: task(0, "a"), left: None });
    engine.run(&CloseSession { session: session(1, 0), by: principal(1) }).unwrap();
    disable(&mut engine, "ann");
    disable(&mut engine, "bob");
    assert_eq!(halted(&engine), ["b"]);
}

#[test]
fn it_is_tried_so_often_and_no_more_and_so_many_are_known() {
    let mut engine = begun();
    disable(&mut engine, "ann");
    for _ in 0..ATTEMPTS_LIMIT {
        engine.run(&CancelTask { task: task(0, "a") }).unwrap();
    }
    assert_eq!(engine.run(&CancelTask { task: task(0, "a") }).unwrap_err().code, Code::TooMany);
    for number in 0..OPEN_LIMIT {
        engine.run(&NoteTask { task: task(0, &format!("t-{number}")), left: Some((authority(0), Some(adjuster()))) });
    }
    assert!(engine.world.agent_tasks.find(&task(0, "b")).is_none(), "the oldest are forgotten");
    assert_eq!(halted(&engine).len(), OPEN_LIMIT);
}
