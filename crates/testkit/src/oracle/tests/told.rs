//! What a session waits for and what it tells: every law of waits and of news is broken once.

use portcullis_domain::session::event::{
    Deliver, End, NewsCame, NewsDelivered, PushBound, PushClosed, PushOpened, WaitDelivered, WaitEnded, WaitOpened,
};

use super::*;

/// Plants one after the other; what is found first is of the last.
fn check(events: &[Event], expected: &str) {
    super::check(|journal| events.iter().cloned().for_each(|event| journal.plant(CLAIM, event)), expected);
    let (_, before) = events.split_last().unwrap();
    let mut journal = Journal::started();
    before.iter().cloned().for_each(|event| journal.plant(CLAIM, event));
    journal.seal();
    assert_eq!(journal.judge().err(), None, "{expected}");
}

fn check_bare(before: &[Event], event: Event, expected: &str) {
    let story = |journal: &mut Journal| {
        before.iter().cloned().for_each(|event| journal.plant(CLAIM, event));
        let stream = StreamId::Session(CLAIM.parse().unwrap());
        journal.place(Draft { stream, actor: Actor::Principal("ann".parse().unwrap()), event, bodies: vec![] });
    };
    super::check(story, expected);
}

#[test]
fn a_wait_that_ends_otherwise_than_once_and_in_time_is_found() {
    let name = || "letter".parse().unwrap();
    let opened = |until| {
        let deliver =
            Deliver { agent: "adjuster".parse().unwrap(), path: "/".to_owned(), authority: authority("key-ann") };
        Event::WaitOpened(WaitOpened {
            name: name(),
            what: "a letter".to_owned(),
            until: Timestamp(until),
            deliver: Some(deliver),
        })
    };
    let ended = |end| Event::WaitEnded(WaitEnded { name: name(), end, content_type: None });
    let came = || ended(End::Event("e-1".to_owned()));
    let delivered = || Event::WaitDelivered(WaitDelivered { name: name(), is_given_up: false });
    let given_up = || Event::WaitDelivered(WaitDelivered { name: name(), is_given_up: true });
    let (late, soon) = (1_000_000, 1_010);
    check(&[opened(0)], "wait `letter` is there, or was over at once");
    check(&[opened(late), opened(late)], "wait `letter` is there, or was over at once");
    check(&[came()], "wait `letter` had ended, was never opened");
    check(&[opened(late), came(), came()], "wait `letter` had ended");
    check(&[opened(late), ended(End::Cancelled)], "ends at the wrong time");
    check_bare(&[opened(late)], ended(End::Expired), "ends at the wrong time");
    check_bare(&[opened(late)], came(), "ends at the wrong time");
    let over = |journal: &mut Journal| {
        journal.plant(CLAIM, opened(soon));
        journal.now = soon;
        journal.plant(CLAIM, came());
    };
    super::check(over, "ends at the wrong time");
    check(&[opened(late), delivered()], "wait `letter` was not to be delivered");
    check(&[opened(late), came(), given_up()], "wait `letter` was given up, and could be told");
    check(&[opened(late), came(), delivered(), delivered()], "wait `letter` was not to be delivered");
}

#[test]
fn news_that_nobody_wanted_or_that_come_twice_are_found() {
    let push = || "place".parse().unwrap();
    let opened = || {
        Event::PushOpened(PushOpened {
            push: push(),
            agent: model(),
            task: Some("t-1".to_owned()),
            id: None,
            form: "1.0".to_owned(),
            secret: Digest::ZERO,
            authority: authority("key-ann"),
        })
    };
    let bound = |task: &str, is_over| Event::PushBound(PushBound { push: push(), task: task.to_owned(), is_over });
    let came = |task: &str| {
        let id = Some("n-1".to_owned());
        Event::NewsCame(NewsCame { push: push(), task: task.to_owned(), id, is_last: false })
    };
    let delivered = |seq| Event::NewsDelivered(NewsDelivered { push: push(), seq });
    let closed = || Event::PushClosed(PushClosed { push: push() });
    check(&[opened(), opened()], "the place for news `place` was opened before");
    check_bare(&[], opened(), "it does not say where the place is");
    for event in [bound("t-1", false), came("t-1"), closed()] {
        check(&[event], "there is no place for news `place`");
    }
    check(&[opened(), bound("t-1", true)], "`place` is over and was not taken");
    check(&[opened(), bound("t-2", false)], "`place` is for another task");
    check(&[opened(), came("t-2")], "news of `t-2` are at the place of another task");
    check(&[opened(), came("t-1"), came("t-1")], "came before");
    check_bare(&[opened()], came("t-1"), "they say nothing");
    check(&[opened(), delivered(4)], "news 4 of `place` were not the next");
    let more = Event::NewsCame(NewsCame { push: push(), task: "t-1".to_owned(), id: None, is_last: false });
    // The session and the call that is open in it come before them.
    check(&[opened(), more.clone(), more.clone(), delivered(5)], "news 5 of `place` were not the next");
    check(&[opened(), more, delivered(4), delivered(4)], "news 4 of `place` were not the next");
    check(&[opened(), came("t-1"), closed(), closed()], "there is no place for news `place`");
}

#[test]
fn what_the_gateway_may_do_in_a_session_it_does_and_no_more() {
    let by_gateway = |event: Event| {
        move |journal: &mut Journal| {
            let stream = StreamId::Session(CLAIM.parse().unwrap());
            journal.place(Draft { stream, actor: Actor::Gateway, event, bodies: vec![body("planted")] });
        }
    };
    let closed = Event::PushClosed(PushClosed { push: "place".parse().unwrap() });
    super::check(by_gateway(closed), "there is no place for news `place`");
    let put = Event::StatePut(put("step", 1, None));
    super::check(by_gateway(put), "the gateway acts in a session of `ann`");
}
