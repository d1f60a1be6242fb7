//! The disk fails at every write in turn, in every way. Whatever happens: callers are not told what is not so, the engine ends, and the next start has all that
//! was acknowledged, with what was not acknowledged there whole or not at all.

use std::future::Future as _;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::journal::conformance::scene::{Opened as _, Step, TurnedClock, WORKLOAD, world};
use crate::journal::fault::StoreFault;
use crate::journal::handle::Journal;
use crate::journal::sqlite::tests::disks::{Failure, Faulty};
use crate::journal::sqlite::tests::embedded::{Embedded, OpenEngine, judge};

/// The steps of the workload that are asked at once.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_failure_of_the_disk_loses_or_invents_anything() {
    for at_once in [1, AT_ONCE] {
        let ideal = ideal(at_once).await;
        for failure in Failure::ALL {
            let mut at = 1;
            while fails(&ideal, at_once, &Faulty::new(failure, at)).await {
                at += 1;
            }
            assert!(at > WORKLOAD.len() / at_once / 2, "{failure:?}: the disk was written to {at} times only");
        }
    }
}

/// What the steps answer and make of the world when nothing fails.
struct Ideal {
    answers: Vec<String>,
    /// One more than steps, since it begins with the empty world.
    worlds: Vec<String>,
}

async fn ideal(at_once: usize) -> Ideal {
    let (store, clock) = (Embedded::new(), TurnedClock::new());
    let opened = store.open(clock.clone());
    let mut ideal = Ideal { answers: Vec::new(), worlds: vec![world(opened.journal()).await] };
    for steps in WORKLOAD.chunks(at_once) {
        for step in steps {
            ideal.answers.push(step.run(opened.journal()).await.unwrap());
            ideal.worlds.push(world(opened.journal()).await);
        }
        clock.advance(300_000);
    }
    opened.close();
    ideal
}

/// Does the workload on a disk that fails, and judges what is left; whether the disk came to fail at all.
async fn fails(ideal: &Ideal, at_once: usize, faulty: &Arc<Faulty>) -> bool {
    let (store, clock) = (Embedded::new(), TurnedClock::new());
    let opened = store.open_wrapped(clock.clone(), faulty.wrap()).unwrap();
    let (acknowledged, fault) = work(&opened.journal, at_once, &clock).await;
    assert_eq!(acknowledged, ideal.answers[..acknowledged.len()], "{:?}", faulty.failure);
    opened.engine.close();
    if !faulty.has_failed() {
        return false;
    }
    has_ended(&opened).await;
    drop(opened);
    judge(&store.path());

    let opened = store.open_wrapped(clock, Box::new(|disk| disk)).unwrap();
    let found = world(&opened.journal).await;
    let told = acknowledged.len();
    let possible = match fault {
        Some(_) if faulty.failure.is_written() => told..=(told + at_once).min(WORKLOAD.len()),
        Some(_) | None => told..=told,
    };
    let context = format!("{:?} at {}: {told} steps were acknowledged, then {fault:?}", faulty.failure, faulty.at);
    assert!(possible.clone().any(|steps| ideal.worlds[steps] == found), "{context}");
    if let (Some(StoreFault::Failed(_)), 1) = (&fault, at_once) {
        assert_eq!(ideal.worlds[told + usize::from(faulty.failure.is_written())], found, "{context}");
    }
    goes_on(opened).await;
    true
}

/// The answers that came, and what came instead of the next one.
async fn work(journal: &Journal, at_once: usize, clock: &TurnedClock) -> (Vec<String>, Option<StoreFault>) {
    let mut answers = Vec::new();
    for steps in WORKLOAD.chunks(at_once) {
        let mut under_way: Vec<_> = steps.iter().map(|step| Box::pin(step.run(journal))).collect();
        // Asked once, all of them are in the queue, in this order.
        let mut nobody = Context::from_waker(Waker::noop());
        let early: Vec<_> = under_way.iter_mut().map(|step| step.as_mut().poll(&mut nobody)).collect();
        let mut fault = None;
        for (step, early) in under_way.into_iter().zip(early) {
            let answer = if let Poll::Ready(answer) = early { answer } else { step.await };
            match answer {
                Ok(_) if fault.is_some() => panic!("a step was acknowledged after one that failed"),
                Ok(answer) => answers.push(answer),
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        if fault.is_some() {
            return (answers, fault);
        }
        clock.advance(300_000);
    }
    (answers, None)
}

/// Nothing more is taken, and the shell was told once.
async fn has_ended(opened: &OpenEngine) {
    assert!(matches!(Step::Open("later").run(&opened.journal).await, Err(StoreFault::Closed)));
    assert!(matches!(opened.journal.read(|_| ()).await, Err(StoreFault::Closed)));
    let faults = opened.faults();
    assert!(matches!(faults.as_slice(), [one] if one.starts_with("the store failed: ")), "{faults:?}");
}

/// Open calls are settled, new steps are taken, and all of it is sound at the end.
async fn goes_on(opened: OpenEngine) {
    let calls = opened.journal.read(|world| world.open_calls.len()).await.unwrap();
    assert_eq!(Step::Recover.run(&opened.journal).await.unwrap(), calls.to_string());
    assert_eq!(opened.journal.read(|world| world.open_calls.len()).await.unwrap(), 0);
    Step::Issue(9).run(&opened.journal).await.unwrap();
    Box::new(opened).close();
}
