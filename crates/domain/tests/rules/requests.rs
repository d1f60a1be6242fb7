//! Requests with an idempotency key, at random, against a model of a few lines: each is carried out once, whatever comes in between, and after a crash the entries say the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use portcullis_domain::admission::keep_records::Write;
use portcullis_domain::admission::{AnswerRequest, KeepRecords, Keyed, Performed, RequestEnd, TakeRequest};
use portcullis_domain::digest::Digest;
use portcullis_domain::event::Outcome;
use portcullis_domain::ids::{Actor, CallId, RecordId};
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::Code;
use portcullis_domain::session::requests::{Requester, mark};
use portcullis_domain::session::{Earlier, Origin};
use proptest::collection::vec;
use proptest::prelude::*;

use super::engine::{Engine, replay};
use super::steps::{authority, config, principal, session, started};

#[derive(Debug, Clone)]
enum Step {
    /// A request that takes a while.
    Take {
        key: u8,
        content: u8,
        is_harmless: bool,
    },
    /// The end of the one that was taken so many before the last.
    Answer {
        back: usize,
        end: Outcome,
    },
    /// A request that is carried out at once: it writes a record.
    Keep {
        key: u8,
        content: u8,
    },
    /// The same, of a record that another session has: it is refused.
    KeepElsewhere {
        key: u8,
    },
    Crash,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Open(CallId),
    Done(CallId),
    Unknown,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, 0..2_u8, any::<bool>()).prop_map(|(key, content, is_harmless)| Step::Take { key, content, is_harmless }),
        3 => (0..3_usize, end()).prop_map(|(back, end)| Step::Answer { back, end }),
        3 => (0..3_u8, 0..2_u8).prop_map(|(key, content)| Step::Keep { key, content }),
        1 => (0..3_u8).prop_map(|key| Step::KeepElsewhere { key }),
        1 => Just(Step::Crash),
    ]
}

fn end() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Completed), Just(Outcome::Failed), Just(Outcome::Unknown)]
}

/// What there should be.
#[derive(Default)]
struct Model {
    known: BTreeMap<u8, (u8, State)>,
    taken: Vec<(u8, CallId)>,
    records: u64,
}

struct Story {
    engine: Engine,
    model: Model,
    number: u128,
}

impl Story {
    fn request(&mut self) -> CallId {
        self.number += 1;
        CallId(self.number.to_be_bytes())
    }

    fn content(content: u8) -> Digest {
        Digest::of(&[content])
    }

    /// What a request of that key comes to: the code of a refusal, the earlier one, or nothing where it is new.
    fn expected(&self, key: u8, content: u8, is_harmless: bool) -> Result<Option<State>, Code> {
        match self.model.known.get(&key) {
            Some((known, _)) if *known != content => Err(Code::IdempotencyKeyReused),
            Some((_, State::Unknown)) if !is_harmless => Err(Code::OutcomeUnknown),
            Some((_, State::Unknown)) | None => Ok(None),
            Some((_, state)) => Ok(Some(*state)),
        }
    }

    fn take(&mut self, key: u8, content: u8, is_harmless: bool) {
        let expected = self.expected(key, content, is_harmless);
        let request = self.request();
        let command = TakeRequest {
            request,
            authority: authority(0),
            session: session(0, 0),
            origin: Origin::Named,
            session_budget: None,
            mark: mark(&principal(0), &key.to_string(), Self::content(content)),
            is_harmless,
        };
        let taken = self.engine.run(&command).map_err(|refusal| refusal.code);
        let taken = taken.map(|earlier| {
            earlier.map(|earlier| match earlier {
                Earlier::Open(request) => State::Open(request),
                Earlier::Done(done) => State::Done(done.call),
            })
        });
        assert_eq!(taken, expected);
        if expected == Ok(None) {
            self.model.known.insert(key, (content, State::Open(request)));
            self.model.taken.push((key, request));
        }
    }

    fn answer(&mut self, back: usize, outcome: Outcome) {
        let Some((key, request)) = self.model.taken.len().checked_sub(back + 1).map(|place| self.model.taken[place])
        else {
            return;
        };
        let end = match outcome {
            Outcome::Completed => RequestEnd::Answered(Body::new(Bytes::from_static(b"answer"))),
            Outcome::Failed | Outcome::Aborted => RequestEnd::Undone,
            Outcome::Unknown => RequestEnd::Unknown,
        };
        self.engine.run(&AnswerRequest { request, end });
        // Of one that is not open any more nothing is said a second time.
        if self.model.known.get(&key).is_some_and(|(_, state)| *state == State::Open(request)) {
            let content = self.model.known[&key].0;
            match outcome {
                Outcome::Completed => self.model.known.insert(key, (content, State::Done(request))),
                Outcome::Failed | Outcome::Aborted => self.model.known.remove(&key),
                Outcome::Unknown => self.model.known.insert(key, (content, State::Unknown)),
            };
        }
    }

    fn keep(&mut self, key: u8, content: u8, is_elsewhere: bool) {
        // Keys of what is carried out at once are others, as its content names another path.
        let key = key + 10;
        let request = self.request();
        let id: RecordId =
            if is_elsewhere { "conv_elsewhere".to_owned() } else { format!("conv_{}", self.number) }.parse().unwrap();
        let command = Keyed {
            request,
            actor: Actor::Principal(principal(0)),
            requester: Requester { by: principal(0), session: Some(session(0, 0)) },
            mark: mark(&principal(0), &key.to_string(), Self::content(content)),
            command: keep(0, &id),
            record: said,
        };
        let expected = self.expected(key, content, true);
        let performed = self.engine.run(&command);
        match (performed, expected) {
            (Ok(Performed::Now(())), Ok(None)) => {
                self.model.known.insert(key, (content, State::Done(request)));
                self.model.records += 1;
            }
            (Ok(Performed::Before(done)), Ok(Some(state))) => assert_eq!(State::Done(done.call), state),
            // A refusal is not kept: the key is free for another try.
            (Err(refusal), Ok(None)) => assert!(is_elsewhere && refusal.code == Code::Conflict, "{refusal}"),
            (Err(refusal), Err(code)) => assert_eq!(refusal.code, code),
            (performed, expected) => panic!("{performed:?} instead of {expected:?}"),
        }
    }

    fn crash(&mut self) {
        self.engine.sync();
        self.engine.crash(false);
        for (_, state) in self.model.known.values_mut().filter(|(_, state)| matches!(state, State::Open(_))) {
            *state = State::Unknown;
        }
    }
}

fn keep(name: u8, id: &RecordId) -> KeepRecords {
    let head = Body::new(Bytes::from_static(b"{}"));
    KeepRecords {
        authority: authority(0),
        session: session(0, name),
        origin: Origin::Named,
        session_budget: None,
        writes: vec![Write::Put { id: id.clone(), is_lasting: true, head }],
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "an answer is handed in by reference, whatever it is")]
fn said(_: &()) -> Body {
    Body::new(Bytes::from_static(b"kept"))
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn a_request_is_carried_out_once_for_its_key(steps in vec(step(), 1..48)) {
        let mut story = Story { engine: started(), model: Model::default(), number: 0 };
        story.engine.run(&keep(1, &"conv_elsewhere".parse().unwrap())).unwrap();
        for step in steps {
            match step {
                Step::Take { key, content, is_harmless } => story.take(key, content, is_harmless),
                Step::Answer { back, end } => story.answer(back, end),
                Step::Keep { key, content } => story.keep(key, content, false),
                Step::KeepElsewhere { key } => story.keep(key, 0, true),
                Step::Crash => story.crash(),
            }
            let open = story.model.known.values().filter(|(_, state)| matches!(state, State::Open(_))).count();
            prop_assert_eq!(story.engine.world.requests.all_open().count(), open);
            prop_assert_eq!(&replay(&story.engine.written).0, &story.engine.world);
        }
        let written = |number: u128| format!("conv_{number}").parse::<RecordId>().unwrap();
        let there = (1..=story.number).filter(|number| story.engine.world.records.find(&principal(0), &written(*number)).is_some());
        prop_assert_eq!(u64::try_from(there.count()).unwrap(), story.model.records);
    }
}

#[test]
fn an_answer_is_by_whoever_asked_with_the_agents_through_whom() {
    let through = authority(0).through("payer".parse().unwrap()).unwrap();
    let asked_by = through.actor(&principal(0));
    let check = |end: RequestEnd, expected: &Actor| {
        let mut engine = started();
        let request = CallId([9; 16]);
        let command = TakeRequest {
            request,
            authority: through.clone(),
            session: session(0, 0),
            origin: Origin::Named,
            session_budget: None,
            mark: mark(&principal(0), "k", Digest::ZERO),
            is_harmless: true,
        };
        assert_eq!(engine.run(&command), Ok(None));
        engine.run(&AnswerRequest { request, end });
        assert_eq!(engine.written.last().map(|written| &written.entry.actor), Some(expected));
    };
    assert!(matches!(&asked_by, Actor::Through { agents, .. } if agents.len() == 1), "{asked_by}");
    check(RequestEnd::Answered(Body::new(Bytes::from_static(b"answer"))), &asked_by);
    check(RequestEnd::Undone, &asked_by);
    check(RequestEnd::Unknown, &Actor::Gateway);
    let mut engine = started();
    let requester = Requester { by: principal(0), session: None };
    let id = "conv_1".parse().unwrap();
    let (request, mark) = (CallId([9; 16]), mark(&principal(0), "k", Digest::ZERO));
    engine
        .run(&Keyed { request, actor: asked_by.clone(), requester, mark, command: keep(0, &id), record: said })
        .unwrap();
    assert_eq!(engine.written.last().map(|written| &written.entry.actor), Some(&asked_by));
}
