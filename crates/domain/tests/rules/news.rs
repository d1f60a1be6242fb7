//! News of a task go to those who asked for them, once each, and in order.

use portcullis_domain::admission::{
    BindPush, ClosePush, CloseSession, NoteNews, NoteTaskOver, OpenPush, OpenSession, RevokeKey, TakeNews, Taken,
};
use portcullis_domain::call::{Capability, Kind};
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::Actor;
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::Code;
use portcullis_domain::session::Origin;
use portcullis_domain::session::push::{
    DONE_LIMIT, NEWS_LIMIT, PUSHES_LIMIT, PushName, TASK_LIMIT_BYTES, UNTAKEN_LIMIT_US,
};
use proptest::prelude::*;

use super::engine::{Engine, replay};
use super::steps::{authority, key_id, principal, session, started};

fn agent() -> Capability {
    Capability::new(Kind::Agent, "adjuster")
}

fn name(number: usize) -> PushName {
    format!("push-{number}").parse().unwrap()
}

fn open(engine: &mut Engine, number: usize, task: Option<&str>) -> Result<(), Code> {
    let open = OpenPush {
        session: session(0, 0),
        authority: authority(0),
        push: name(number),
        agent: agent(),
        task: task.map(str::to_owned),
        id: Some("mine".to_owned()),
        form: "1.0".to_owned(),
        secret: Digest::of(b"secret"),
        place: Body::new("{}".into()),
    };
    engine.run(&open).map_err(|refusal| refusal.code)
}

fn news(engine: &mut Engine, number: usize, secret: &str, task: Option<&str>, id: Option<&str>) -> Result<Taken, Code> {
    let take = TakeNews {
        session: session(0, 0),
        push: name(number),
        secret: Digest::of(secret.as_bytes()),
        task: task.map(str::to_owned),
        id: id.map(str::to_owned),
        is_last: false,
        news: Body::new("{}".into()),
    };
    engine.run(&take).map_err(|refusal| refusal.code)
}

fn bind(engine: &mut Engine, number: usize, task: &str) {
    drop(engine.run(&BindPush { session: session(0, 0), push: name(number), task: task.to_owned() }));
}

fn to_tell(engine: &Engine) -> Vec<(PushName, u64)> {
    engine.world.pushes.to_tell().map(|(_, push, _, seq)| (push.clone(), seq)).collect()
}

fn begun() -> Engine {
    let mut engine = started();
    let open = OpenSession {
        authority: authority(0),
        session: session(0, 0),
        origin: Origin::Named,
        budget: None,
        grant: None,
    };
    engine.run(&open).unwrap();
    engine
}

#[test]
fn news_are_believed_from_whoever_has_the_secret_and_names_the_task() {
    let mut engine = begun();
    assert_eq!(open(&mut engine, 0, None), Ok(()));
    assert_eq!(open(&mut engine, 0, None), Err(Code::Conflict));
    for (secret, task, id, expected) in [
        ("other", Some("t"), None, Err(Code::NotFound)),
        ("secret", None, None, Err(Code::NotFound)),
        // The first that names a task says which one it is.
        ("secret", Some("t"), Some("n-1"), Ok(Taken::Now)),
        ("secret", Some("t"), Some("n-1"), Ok(Taken::Before)),
        ("secret", None, Some("n-2"), Ok(Taken::Now)),
        ("secret", Some("u"), None, Err(Code::NotFound)),
        ("secret", Some("t"), Some(""), Err(Code::InvalidRequest)),
        ("secret", Some("t"), None, Ok(Taken::Now)),
        ("secret", Some("t"), None, Ok(Taken::Now)),
    ] {
        assert_eq!(news(&mut engine, 0, secret, task, id), expected, "{secret} {task:?} {id:?}");
    }
    assert_eq!(news(&mut engine, 1, "secret", Some("t"), None), Err(Code::NotFound));
    engine.run(&RevokeKey { by: Actor::Gateway, key: key_id(0) }).unwrap();
    assert_eq!(news(&mut engine, 0, "secret", Some("t"), None), Err(Code::NotFound));
    assert_eq!(open(&mut engine, 2, None), Err(Code::Unauthenticated));
}

#[test]
fn an_agent_that_names_another_task_than_its_news_is_not_believed() {
    let mut engine = begun();
    open(&mut engine, 0, None).unwrap();
    news(&mut engine, 0, "secret", Some("t"), None).unwrap();
    bind(&mut engine, 0, "u");
    assert!(engine.world.pushes.find(&session(0, 0), &name(0)).is_none() && to_tell(&engine).is_empty());
}

#[test]
fn a_place_is_closed_as_not_taken_only_if_no_news_came_to_it() {
    for has_news in [false, true] {
        let mut engine = begun();
        open(&mut engine, 0, None).unwrap();
        if has_news {
            news(&mut engine, 0, "secret", Some("t"), None).unwrap();
        }
        engine.run(&ClosePush { session: session(0, 0), push: name(0), unless_bound: true });
        assert_eq!(engine.world.pushes.find(&session(0, 0), &name(0)).is_some(), has_news);
        assert_eq!(to_tell(&engine).len(), usize::from(has_news));
    }
}

#[test]
fn a_place_of_the_same_name_and_task_replaces_the_earlier_one_once_the_agent_has_it() {
    let mut engine = begun();
    for (number, task) in [(0, "t"), (1, "u"), (2, "t")] {
        open(&mut engine, number, Some(task)).unwrap();
        assert!(number < 2 || engine.world.pushes.of_task(&session(0, 0), &agent(), "t").len() == 1);
        bind(&mut engine, number, task);
    }
    let left: Vec<PushName> = engine.world.pushes.of(&session(0, 0)).map(|(name, _)| name.clone()).collect();
    assert_eq!(left, [name(1), name(2)]);
}

#[test]
fn what_waits_at_a_place_that_is_replaced_is_told_at_the_new_one() {
    let mut engine = begun();
    open(&mut engine, 0, Some("t")).unwrap();
    news(&mut engine, 0, "secret", None, None).unwrap();
    let first = engine.written.last().unwrap().entry.seq;
    // Nobody has heard of this one, and so nobody will take it.
    open(&mut engine, 1, Some("t")).unwrap();
    open(&mut engine, 2, Some("t")).unwrap();
    news(&mut engine, 2, "secret", None, None).unwrap();
    let second = engine.written.last().unwrap().entry.seq;
    bind(&mut engine, 2, "t");
    assert_eq!(to_tell(&engine), [(name(2), first)]);
    engine.run(&NoteNews { session: session(0, 0), push: name(2), seq: first });
    assert_eq!(to_tell(&engine), [(name(2), second)]);
    assert_eq!(engine.world.pushes.of(&session(0, 0)).count(), 1);
    assert_eq!(&replay(&engine.written).0, &engine.world);
}

#[test]
fn places_of_tasks_that_are_over_make_room() {
    let mut engine = begun();
    for number in 0..PUSHES_LIMIT + DONE_LIMIT + 8 {
        open(&mut engine, number, None).unwrap();
        bind(&mut engine, number, &format!("t-{number}"));
        let over = NoteTaskOver { session: session(0, 0), agent: agent(), task: format!("t-{number}") };
        engine.run(&over);
        let before = engine.written.len();
        engine.run(&over);
        assert_eq!(engine.written.len(), before);
        // The last news may come later than the answer that has said so.
        news(&mut engine, number, "secret", None, None).unwrap();
        let seq = engine.written.last().unwrap().entry.seq;
        engine.run(&NoteNews { session: session(0, 0), push: name(number), seq });
    }
    assert_eq!(engine.world.pushes.of(&session(0, 0)).count(), DONE_LIMIT);
    assert_eq!(&replay(&engine.written).0, &engine.world);
}

#[test]
fn a_place_that_no_agent_takes_is_none_after_a_day() {
    let mut engine = begun();
    for number in 0..PUSHES_LIMIT {
        open(&mut engine, number, None).unwrap();
    }
    news(&mut engine, 0, "secret", Some("t"), None).unwrap();
    assert_eq!(open(&mut engine, PUSHES_LIMIT, None), Err(Code::TooMany));
    engine.now += UNTAKEN_LIMIT_US;
    open(&mut engine, PUSHES_LIMIT, None).unwrap();
    let left: Vec<PushName> = engine.world.pushes.of(&session(0, 0)).map(|(name, _)| name.clone()).collect();
    assert_eq!(left, [name(0), name(PUSHES_LIMIT)]);
}

#[test]
fn a_task_whose_id_is_empty_or_too_long_is_not_kept() {
    for (task, is_kept) in
        [(String::new(), false), ("t".repeat(TASK_LIMIT_BYTES), true), ("t".repeat(TASK_LIMIT_BYTES + 1), false)]
    {
        let mut engine = begun();
        open(&mut engine, 0, None).unwrap();
        let taken = news(&mut engine, 0, "secret", Some(&task), None);
        assert_eq!(taken, if is_kept { Ok(Taken::Now) } else { Err(Code::InvalidRequest) });
        let bound = engine.run(&BindPush { session: session(0, 0), push: name(0), task: task.clone() });
        assert_eq!(bound.is_ok(), is_kept);
        assert_eq!(engine.world.pushes.find(&session(0, 0), &name(0)).is_some(), is_kept);
    }
}

#[test]
fn a_session_has_so_many_places_and_a_place_so_many_news() {
    let mut engine = begun();
    for number in 0..PUSHES_LIMIT {
        open(&mut engine, number, Some("t")).unwrap();
    }
    assert_eq!(open(&mut engine, PUSHES_LIMIT, Some("t")), Err(Code::TooMany));
    for _ in 0..NEWS_LIMIT {
        news(&mut engine, 0, "secret", Some("t"), None).unwrap();
    }
    assert_eq!(news(&mut engine, 0, "secret", Some("t"), None), Err(Code::TooMany));
    engine.run(&CloseSession { session: session(0, 0), by: principal(0) }).unwrap();
    assert!(to_tell(&engine).is_empty() && engine.world.pushes.of(&session(0, 0)).next().is_none());
    assert_eq!(news(&mut engine, 0, "secret", Some("t"), None), Err(Code::NotFound));
}

proptest! {
    #[test]
    fn news_are_told_in_order_and_once_accepted_never_again(steps in prop::collection::vec((0..5_u8, 0..3_usize), 1..80)) {
        let mut engine = begun();
        let mut expected: [Vec<u64>; 3] = Default::default();
        for (step, number) in steps {
            match step {
                0 => drop(open(&mut engine, number, Some("t"))),
                1 | 2 => {
                    if news(&mut engine, number, "secret", None, None).is_ok() {
                        expected[number].push(engine.written.last().unwrap().entry.seq);
                    }
                }
                3 => {
                    let due = to_tell(&engine).into_iter().find(|(push, _)| *push == name(number));
                    prop_assert_eq!(due.as_ref().map(|(_, seq)| *seq), expected[number].first().copied());
                    if let Some((push, seq)) = due {
                        let note = NoteNews { session: session(0, 0), push, seq };
                        engine.run(&note);
                        let before = engine.written.len();
                        engine.run(&note);
                        prop_assert_eq!(engine.written.len(), before);
                        expected[number].remove(0);
                    }
                }
                _ => {
                    engine.run(&ClosePush { session: session(0, 0), push: name(number), unless_bound: false });
                    expected[number].clear();
                }
            }
        }
        prop_assert_eq!(&replay(&engine.written).0, &engine.world);
    }
}
