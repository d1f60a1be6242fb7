//! A gateway goes on from its bookmark to the world that the whole log makes, and from one that can't be used it does not go on at all.

use std::fs;

use portcullis_domain::session::Expected;

use crate::journal::bookmark::{FILE, Pace};
use crate::journal::conformance::scene::{Opened as _, TurnedClock, put, until, world};
use crate::journal::postgres::Options;
use crate::journal::postgres::tests::clustered::{Clustered, OpenEngine, PATIENT};

/// No bookmark is ever made.
const NEVER: Options = Options { pace: Pace { every: u64::MAX, worth: u64::MAX }, ..PATIENT };
/// One is made at every end.
const AT_END: Options = Options { pace: Pace { every: u64::MAX, worth: 1 }, ..PATIENT };
/// One is made after every few entries, and none at an end.
const OFTEN: Options = Options { pace: Pace { every: 4, worth: u64::MAX }, ..PATIENT };

async fn write(opened: &OpenEngine, values: u64, value: &str) {
    for number in 0..values {
        let put = put(&format!("claim-{}", number % 7), "step", Expected::Anything, value);
        opened.journal.execute(put).await.unwrap().unwrap();
    }
}

/// One gateway after the other writes so many values.
async fn run(store: &Clustered, gateway: &str, options: Options, values: u64) {
    let opened = store.engine(gateway, options, TurnedClock::new()).unwrap();
    write(&opened, values, "value").await;
    Box::new(opened).close();
}

/// Whether a start of the first gateway, whose world is that of the oracle, went on from its bookmark: one that can't be used is thrown away.
async fn start(store: &Clustered) -> bool {
    let opened = store.engine("a", NEVER, TurnedClock::new()).unwrap();
    let started = world(&opened.journal).await;
    Box::new(opened).close();
    assert_eq!(started, serde_json::to_string(&store.judge().world).unwrap());
    store.path("a").join(FILE).exists()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_start_reads_what_came_after_its_bookmark_and_nothing_before() {
    let Some(store) = Clustered::new() else { return };
    run(&store, "a", AT_END, 9).await;
    assert!(start(&store).await, "with nothing after it");
    run(&store, "b", NEVER, 20).await;
    assert!(start(&store).await, "with what another gateway has written since");
    let altered = "UPDATE portcullis.entries SET bytes = bytes || ' '::bytea WHERE position = 2";
    store.client().await.batch_execute(altered).await.unwrap();
    let opened = store.engine("a", NEVER, TurnedClock::new()).unwrap();
    opened.engine.close();
    let refused = store.engine("b", NEVER, TurnedClock::new()).err().map(|fault| fault.to_string());
    assert!(
        refused.as_ref().is_some_and(|said| said.contains("it does not follow the entry before it")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bookmark_that_can_not_be_used_is_thrown_away() {
    let Some(store) = Clustered::new() else { return };
    let path = store.path("a").join(FILE);
    run(&store, "a", AT_END, 9).await;
    let whole = fs::read(&path).unwrap();
    run(&store, "b", NEVER, 9).await;
    let mut altered = whole.clone();
    altered[300] ^= 1;
    for spoilt in [&whole[..whole.len() / 2], &altered, b""] {
        fs::write(&path, spoilt).unwrap();
        assert!(!start(&store).await, "{} bytes", spoilt.len());
    }
    // Another database whose gateways have the same secrets, with fewer entries and with as many others.
    let Some(other) = Clustered::new() else { return };
    fs::create_dir_all(other.path("a")).unwrap();
    for entry in fs::read_dir(store.path("a")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), other.path("a").join(entry.file_name())).unwrap();
    }
    for values in [0, 30] {
        let opened = other.engine("a", NEVER, TurnedClock::new()).unwrap();
        // With the same values it would be the same journal.
        write(&opened, values, "another value").await;
        Box::new(opened).close();
        fs::write(other.path("a").join(FILE), &whole).unwrap();
        assert!(!start(&other).await, "{values} values");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bookmarks_are_made_beside_the_writer_of_what_others_write_too() {
    let Some(store) = Clustered::new() else { return };
    let path = store.path("a").join(FILE);
    let (opened, other) =
        (store.engine("a", OFTEN, TurnedClock::new()).unwrap(), store.engine("b", NEVER, TurnedClock::new()).unwrap());
    write(&opened, 9, "value").await;
    until("there is a bookmark", || path.exists()).await;
    let first = fs::read(&path).unwrap();
    write(&other, 9, "value").await;
    until("there is a newer one", || fs::read(&path).unwrap() != first).await;
    Box::new(other).close();
    Box::new(opened).close();
    assert!(start(&store).await);
}
