//! Decisions are made one after the other, however many ask at once.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use portcullis_domain::event::Event;
use portcullis_domain::journal::{Head, chain};
use portcullis_domain::refusal::Code;
use portcullis_domain::session::Expected;
use tokio::task::JoinSet;

use crate::journal::conformance::scene::{Opener, START_US, Step, TurnedClock, admit, put, stream, streams, whole};

pub(crate) async fn commands_are_decided_in_the_order_in_which_they_came(open: Opener<'_>) {
    let opened = open(TurnedClock::new());
    let journal = opened.journal();
    let puts = (0..100).map(|version| {
        let expected = if version == 0 { Expected::Absent } else { Expected::Version(version) };
        Box::pin(journal.execute(put("claim-1", "step", expected, "value")))
    });
    // Asked once, every one of them is under way; nobody waits for the one before.
    let mut under_way: Vec<_> = puts.collect();
    let mut nobody = Context::from_waker(Waker::noop());
    let early: Vec<_> = under_way.iter_mut().map(|put| pin!(put).poll(&mut nobody)).collect();
    for (version, (put, early)) in (1..).zip(under_way.into_iter().zip(early)) {
        let answer = if let Poll::Ready(answer) = early { answer } else { put.await };
        assert_eq!(answer.unwrap().unwrap().version, version);
    }
    opened.close();
}

pub(crate) async fn concurrent_commands_make_streams_without_gaps(open: Opener<'_>) {
    const TASKS: usize = 32;
    const PUTS: usize = 20;
    const SESSIONS: [&str; 5] = ["a", "b", "c", "d", "e"];
    let opened = open(TurnedClock::new());
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let journal = opened.journal().clone();
        tasks.spawn(async move {
            for number in 0..PUTS {
                let name = SESSIONS[(task + number) % SESSIONS.len()];
                journal.execute(put(name, "step", Expected::Anything, "value")).await.unwrap().unwrap();
            }
        });
    }
    tasks.join_all().await;
    let (mut positions, mut puts) = (Vec::new(), 0);
    for stream in streams(opened.journal()).await {
        let (mut head, mut last) = (Head::START, 0);
        for placed in whole(opened.journal(), &stream).await {
            head = chain::follow::<Event>(&stream, head, &placed.entry.encode().unwrap()).unwrap().1;
            assert!(last < placed.position, "positions grow with numbers");
            last = placed.position;
            puts += usize::from(matches!(placed.entry.event, Event::StatePut(_)));
            positions.push(placed.position);
        }
    }
    positions.sort_unstable();
    assert_eq!(puts, TASKS * PUTS);
    assert!(positions.iter().copied().eq(1..=u64::try_from(TASKS * PUTS + SESSIONS.len()).unwrap()));
    opened.close();
}

pub(crate) async fn of_many_writers_that_expect_the_same_version_one_wins(open: Opener<'_>) {
    let opened = open(TurnedClock::new());
    for round in 0..5_u64 {
        let expected = if round == 0 { Expected::Absent } else { Expected::Version(round) };
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let journal = opened.journal().clone();
            tasks.spawn(async move { journal.execute(put("claim-1", "step", expected, "mine")).await.unwrap() });
        }
        let answers = tasks.join_all().await;
        assert_eq!(
            answers.iter().filter(|answer| answer.as_ref().is_ok_and(|put| put.version == round + 1)).count(),
            1
        );
        assert!(answers.iter().flat_map(|answer| answer.as_ref().err()).all(|refusal| refusal.code == Code::Conflict));
    }
    assert_eq!(whole(opened.journal(), &stream("claim-1")).await.len(), 6);
    opened.close();
}

pub(crate) async fn concurrent_calls_never_hold_more_than_is_granted(open: Opener<'_>) {
    let opened = open(TurnedClock::new());
    for step in [Step::Configure(105), Step::Issue(1)] {
        step.run(opened.journal()).await.unwrap();
    }
    let mut tasks = JoinSet::new();
    for call in 1..=50 {
        let journal = opened.journal().clone();
        let name = if call % 2 == 0 { "even" } else { "odd" };
        tasks.spawn(async move { journal.execute(admit(call, name, 10)).await.unwrap() });
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10);
    let refused = answers.iter().flat_map(|answer| answer.as_ref().err());
    assert!(refused.into_iter().all(|refusal| refusal.code == Code::BudgetExhausted));
    opened.close();
}

pub(crate) async fn a_clock_that_is_turned_back_does_not_turn_the_journal_back(open: Opener<'_>) {
    let clock: Arc<TurnedClock> = TurnedClock::new();
    let times = [START_US, START_US - 3_600_000_000, START_US + 5, 0, START_US + 6];
    for (round, time) in times.into_iter().enumerate() {
        clock.set(time);
        // The second half is asked of an engine that knows the time of the last entry only from the store.
        let opened = open(clock.clone());
        opened.journal().execute(put("claim-1", "step", Expected::Anything, "value")).await.unwrap().unwrap();
        let entries = whole(opened.journal(), &stream("claim-1")).await;
        assert!(entries.is_sorted_by_key(|placed| placed.entry.at));
        let latest = times.iter().take(round + 1).max().copied();
        assert_eq!(entries.last().map(|placed| placed.entry.at.0), latest);
        opened.close();
    }
}
