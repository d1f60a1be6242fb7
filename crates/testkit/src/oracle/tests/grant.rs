//! What a session is granted: every law of grants is broken once.

use std::collections::BTreeMap;

use portcullis_domain::grant::{Grant, GrantVersion, Numeral};
use portcullis_domain::policy::event::{Counted, GrantChange, GrantSet, Use};

use super::*;

/// One call, and 10 in all.
fn given(number: u64, change: GrantChange) -> Event {
    let grant: Grant = serde_json::from_str(
        r#"{"capabilities": [{"capability": "model/*", "name": "m", "in_all": {"amount": 10}, "calls": 2}, {"capability": "tool/*"}]}"#,
    )
    .unwrap();
    Event::GrantSet(GrantSet { number, change, grant })
}

fn call_of(number: u8, entry: &str, amount: Option<i64>) -> Event {
    let sums: BTreeMap<String, Numeral> =
        amount.map(|amount| ("amount".to_owned(), Numeral(amount * 10_000))).into_iter().collect();
    let uses = vec![Use { task: None, entry: entry.to_owned(), sums }];
    let version = GrantVersion { number: 1, digest: Digest::ZERO };
    let grant = Some(Counted { version, uses });
    Event::CallAdmitted(CallAdmitted { grant, hold: Nanodollars::ZERO, ..admitted(number) })
}

fn check(events: &[Event], expected: &str) {
    super::check(|journal| events.iter().cloned().for_each(|event| journal.plant(CLAIM, event)), expected);
    let (_, before) = events.split_last().unwrap();
    let mut journal = Journal::started();
    before.iter().cloned().for_each(|event| journal.plant(CLAIM, event));
    journal.seal();
    assert_eq!(journal.judge().err(), None, "{expected}");
}

#[test]
fn a_call_beyond_what_was_granted_is_found() {
    let first = || given(1, GrantChange::Given);
    check(&[first(), Event::CallAdmitted(admitted(2))], "was not held against the grant of its task");
    check(&[first(), call_of(2, "other", Some(1))], "is not within a grant of its task");
    check(&[first(), call_of(2, "tool/*", None)], "is not within a grant of its task");
    check(&[first(), call_of(2, "m", None)], "`amount` of `m` was not counted");
    check(
        &[first(), call_of(2, "m", Some(6)), call_of(3, "m", Some(5))],
        "5 more for `amount` of `m` than the 10 in all allow",
    );
    let calls = [call_of(2, "m", Some(1)), call_of(3, "m", Some(1)), call_of(4, "m", Some(1))];
    check(&[&[first()], &calls[..]].concat(), "3 calls of `m`, which are more than were granted");
    let narrowed = given(2, GrantChange::Narrowed);
    check(&[first(), narrowed, call_of(2, "m", Some(1))], "was judged by grant 1, and 2 was in force");
    check(&[given(2, GrantChange::Given)], "grant 2 after 0");
    check(&[given(1, GrantChange::Widened)], "and is the first one: true");
}

#[test]
fn a_grant_that_an_agent_has_changed_is_found() {
    let by_agent = |journal: &mut Journal| {
        let actor = Actor::Through { subject: "ann".parse().unwrap(), agents: vec!["payer".parse().unwrap()] };
        let stream = StreamId::Session(CLAIM.parse().unwrap());
        journal.place(Draft { stream, actor, event: given(1, GrantChange::Given), bodies: vec![] });
    };
    super::check(by_agent, "a grant was changed by another than a person");
}
