//! A signed checkpoint covers every entry after a second at the latest.

use portcullis_domain::session::Expected;

use crate::journal::conformance::scene::{Opened as _, START_US, Step, TurnedClock, put, until, world};
use crate::journal::handle::Journal;
use crate::journal::show::Reader;
use crate::journal::sqlite::tests::disks::{Failure, Faulty};
use crate::journal::sqlite::tests::embedded::{Embedded, judge};
use crate::journal::verify::verify;

async fn write(journal: &Journal) {
    journal.execute(put("claim-1", "step", Expected::Anything, "value")).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_a_checkpoint_is_due_when_the_last_one_is_a_second_old() {
    let (store, clock) = (Embedded::new(), TurnedClock::new());
    let opened = store.open_wrapped(clock.clone(), Box::new(|disk| disk)).unwrap();
    for _ in 0..5 {
        clock.advance(999_999);
        write(&opened.journal).await;
        clock.advance(1);
        // Whatever comes makes it due, also what writes nothing.
        world(&opened.journal).await;
        assert_eq!(verify(&store.path()).unwrap().unsealed, 0);
    }
    Box::new(opened).close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_silence_a_checkpoint_comes_by_itself() {
    let store = Embedded::new();
    let opened = store.open_wrapped(TurnedClock::new(), Box::new(|disk| disk)).unwrap();
    for _ in 0..3 {
        write(&opened.journal).await;
    }
    until("all entries are covered", || verify(&store.path()).unwrap().unsealed == 0).await;
    Box::new(opened).close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_turned_back_does_not_put_off_a_checkpoint() {
    let (store, clock) = (Embedded::new(), TurnedClock::new());
    let opened = store.open_wrapped(clock.clone(), Box::new(|disk| disk)).unwrap();
    for back in 0..3 {
        clock.set(START_US - back * 3_600_000_000);
        write(&opened.journal).await;
        assert_eq!(verify(&store.path()).unwrap().unsealed, 0);
    }
    Box::new(opened).close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_seals_everything_and_a_start_nothing_twice() {
    let (store, clock) = (Embedded::new(), TurnedClock::new());
    for _ in 0..3 {
        let opened = store.open_wrapped(clock.clone(), Box::new(|disk| disk)).unwrap();
        for _ in 0..3 {
            write(&opened.journal).await;
        }
        // `close` asserts that nothing is left without a checkpoint.
        Box::new(opened).close();
    }
    let before = Reader::open(&store.path()).unwrap().checkpoints(usize::MAX).unwrap();
    Box::new(store.open_wrapped(clock, Box::new(|disk| disk)).unwrap()).close();
    assert_eq!(Reader::open(&store.path()).unwrap().checkpoints(usize::MAX).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_without_a_checkpoint_gets_one_at_the_next_start() {
    let store = Embedded::new();
    // The third batch is the checkpoint of the second entry, and the writer does not live to see it.
    let opened = store.open_wrapped(TurnedClock::new(), Faulty::new(Failure::Ended, 3).wrap()).unwrap();
    Step::Issue(1).run(&opened.journal).await.unwrap();
    Step::Issue(2).run(&opened.journal).await.unwrap();
    opened.engine.close();
    assert_eq!(verify(&store.path()).unwrap().unsealed, 1);
    let opened = store.open_wrapped(TurnedClock::new(), Box::new(|disk| disk)).unwrap();
    until("the tail is covered", || verify(&store.path()).unwrap().unsealed == 0).await;
    Box::new(opened).close();
    assert_eq!(judge(&store.path()).entries, 2);
}
