//! What persons are asked: every law of approvals is broken once.

use portcullis_domain::call::Place;
use portcullis_domain::policy::Ask;
use portcullis_domain::policy::event::{
    Activated, ApprovalAnswered, ApprovalEscalated, ApprovalExpired, ApprovalRequested, ApprovalUsed, ApprovalWithdrawn,
};

use super::*;

const SOON: u64 = 1_060;

/// A function that is parked inside an answer: it needs no refusal at a door.
fn requested(number: u8) -> ApprovalRequested {
    ApprovalRequested {
        call: call(number),
        capability: model(),
        door: Door::Openai,
        place: Place::ModelAnswer,
        authority: authority("key-ann"),
        content: Digest::of(b"content"),
        policies: vec![],
        policy_version: version(),
        asks: vec![Ask { role: "manager".parse().unwrap(), approvals: 2, by_client: false }],
        message: None,
        estimate: None,
        expires_at: Timestamp(1_000_000),
        is_run: false,
    }
}

fn answered(number: u8, role: &str, is_yes: bool) -> Event {
    let roles = vec![role.parse().unwrap()];
    Event::ApprovalAnswered(ApprovalAnswered {
        call: call(number),
        is_yes,
        roles,
        is_by_link: false,
        is_by_client: false,
        comment: None,
    })
}

fn used(number: u8, by: u8) -> Event {
    Event::ApprovalUsed(ApprovalUsed { call: call(number), by: call(by) })
}

/// Who does what in Ann's session.
type Deed = (&'static str, Event);

fn asks(event: ApprovalRequested) -> Deed {
    ("principal/ann", Event::ApprovalRequested(event))
}

fn says(by: &'static str, role: &str, is_yes: bool) -> Deed {
    (by, answered(60, role, is_yes))
}

fn given() -> Vec<Deed> {
    vec![asks(requested(60)), says("principal/bob", "manager", true), says("principal/cleo", "manager", true)]
}

fn place(journal: &mut Journal, (by, event): Deed) {
    let bodies = if matches!(event, Event::ApprovalRequested(_) | Event::CallAdmitted(_)) {
        vec![body("planted")]
    } else {
        vec![]
    };
    let stream = StreamId::Session(CLAIM.parse().unwrap());
    journal.place(Draft { stream, actor: by.parse().unwrap(), event, bodies });
}

/// All but the last are lawful.
fn check_deeds(deeds: Vec<Deed>, expected: &str) {
    let mut before = deeds.clone();
    before.pop();
    let mut journal = Journal::started();
    before.into_iter().for_each(|deed| place(&mut journal, deed));
    journal.seal();
    assert_eq!(journal.judge().err(), None, "{expected}");
    check(|journal| deeds.into_iter().for_each(|deed| place(journal, deed)), expected);
}

fn then(mut deeds: Vec<Deed>, more: impl IntoIterator<Item = Deed>) -> Vec<Deed> {
    deeds.extend(more);
    deeds
}

#[test]
fn what_is_asked_of_nobody_or_for_nothing_is_found() {
    check_deeds(vec![asks(ApprovalRequested { asks: vec![], ..requested(60) })], "asks nobody");
    check_deeds(vec![asks(ApprovalRequested { expires_at: Timestamp(1), ..requested(60) })], "over before it begins");
    check_deeds(vec![asks(ApprovalRequested { policy_version: Digest::ZERO, ..requested(60) })], "not in force");
    check_deeds(vec![asks(ApprovalRequested { place: Place::Request, ..requested(60) })], "was not parked");
    check_deeds(vec![asks(requested(60)), asks(requested(60))], "was asked for before");
}

#[test]
fn an_answer_of_somebody_who_may_not_or_too_late_is_found() {
    check_deeds(vec![says("principal/bob", "manager", true)], "never asked for");
    check_deeds(vec![asks(requested(60)), says("principal/ann", "manager", true)], "has a part in it");
    check_deeds(vec![asks(requested(60)), says("principal/bob>clerk", "manager", true)], "through an agent");
    check_deeds(vec![asks(requested(60)), says("principal/bob", "clerk", true)], "who was not asked");
    check_deeds(then(given(), [says("principal/dora", "manager", true)]), "was answered, and was over");
    let no = || says("principal/bob", "manager", false);
    check_deeds(vec![asks(requested(60)), no(), says("principal/cleo", "manager", true)], "was answered, and was over");
    let late = ApprovalRequested { expires_at: Timestamp(SOON), ..requested(60) };
    let story = |journal: &mut Journal| {
        place(journal, asks(late));
        journal.now = SOON;
        place(journal, says("principal/bob", "manager", true));
    };
    check(story, "was answered, and was over");
}

#[test]
fn an_approval_that_is_used_otherwise_than_once_by_its_chain_is_found() {
    let uses = |by: u8| ("principal/ann", used(60, by));
    check_deeds(vec![uses(61)], "never asked for");
    check_deeds(vec![asks(requested(60)), says("principal/bob", "manager", true), uses(61)], "not given for it");
    let twice = || says("principal/bob", "manager", true);
    check_deeds(vec![asks(requested(60)), twice(), twice(), uses(61)], "not given for it");
    check_deeds(then(given(), [uses(61), uses(62)]), "or used before");
    check_deeds(then(given(), [("principal/ann>payer", used(60, 61))]), "by another chain");
    let called = |event: CallAdmitted| {
        ("principal/ann", Event::CallAdmitted(CallAdmitted { approval: Some(call(60)), ..event }))
    };
    let other = Capability::new(Kind::Model, "other");
    check_deeds(then(given(), [called(CallAdmitted { capability: other, ..admitted(61) })]), "not given for it");
    let changed = |journal: &mut Journal| {
        given().into_iter().for_each(|deed| place(journal, deed));
        for policies in [b"other".as_slice(), b"policies"] {
            journal.plant(
                "control",
                Event::PolicyActivated(Activated {
                    version: Digest::of(policies),
                    policies: 1,
                    is_audit: false,
                    rules: None,
                }),
            );
        }
        place(journal, uses(61));
    };
    check(changed, "not given for it");
}

#[test]
fn time_that_has_not_gone_by_is_found() {
    let expired = || ("gateway", Event::ApprovalExpired(ApprovalExpired { call: call(60) }));
    let escalated = || {
        let role = "director".parse().unwrap();
        ("gateway", Event::ApprovalEscalated(ApprovalEscalated { call: call(60), role }))
    };
    check_deeds(vec![asks(requested(60)), expired()], "was over or not due");
    check_deeds(vec![asks(requested(60)), escalated(), escalated()], "escalated before");
    check_deeds(then(given(), [escalated()]), "was over, or escalated before");
}

#[test]
fn what_was_taken_back_is_taken_back_once_and_never_used() {
    let withdrawn = |number| ("principal/ann", Event::ApprovalWithdrawn(ApprovalWithdrawn { call: call(number) }));
    check_deeds(vec![asks(requested(60)), withdrawn(60), withdrawn(60)], "was taken back, and was over");
    check_deeds(vec![asks(requested(60)), withdrawn(61)], "was taken back, and was over");
    check_deeds(then(given(), [withdrawn(60), ("principal/ann", used(60, 61))]), "not given for it");
}
