//! The database goes away under load, in every way that it can.

use std::time::Duration;

use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::Expected;
use tokio::task::JoinSet;

use crate::journal::bookmark::Pace;
use crate::journal::conformance::scene::{Opened as _, Step, TurnedClock, put, until, world};
use crate::journal::fault::StoreFault;
use crate::journal::postgres::Options;
use crate::journal::postgres::tests::clustered::{Clustered, OpenEngine, PATIENT};
use crate::journal::postgres::tests::load;
use crate::journal::postgres::tests::proxy::Proxy;

fn two(store: &Clustered) -> Vec<OpenEngine> {
    ["a", "b"].map(|name| store.engine(name, PATIENT, TurnedClock::new()).unwrap()).into()
}

fn close(engines: Vec<OpenEngine>) {
    engines.iter().for_each(|opened| opened.engine.close());
    for opened in engines {
        Box::new(opened).close();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_are_ended_at_any_moment_lose_and_double_nothing() {
    let Some(store) = Clustered::new() else { return };
    let engines = two(&store);
    let journals: Vec<_> = engines.iter().map(|opened| opened.journal.clone()).collect();
    let (told, tasks) = load::start(&journals, 16, 40);
    let client = store.client().await;
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE application_name = 'portcullis' AND pid <> pg_backend_pid()";
    let mut ended = 0;
    for round in 1..=20 {
        until("some calls have come back", || told.count() >= round * 25 || told.count() == 16 * 40).await;
        ended += client.query_one(terminate, &[]).await.unwrap().get::<_, i64>(0);
    }
    tasks.join_all().await;
    assert!(ended >= 20, "{ended} connections were ended");
    assert!(told.refused() < 16 * 40 / 4, "most are done in spite of it, and {} are not", told.refused());
    load::holds(&store, &told).await;
    close(engines);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_crashes_under_load_loses_and_doubles_nothing() {
    let Some(store) = Clustered::new() else { return };
    let engines = two(&store);
    let journals: Vec<_> = engines.iter().map(|opened| opened.journal.clone()).collect();
    let (told, tasks) = load::start(&journals, 16, 40);
    for round in 1..=4 {
        until("some calls have come back", || told.count() >= round * 100).await;
        tokio::task::block_in_place(|| store.server.crash().and_then(|()| store.server.begin())).unwrap();
    }
    tasks.join_all().await;
    assert!(told.refused() < 16 * 40 / 4, "most are done in spite of it, and {} are not", told.refused());
    load::holds(&store, &told).await;
    close(engines);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_database_is_away_callers_are_refused_and_told_to_come_back() {
    const HASTY: Options = Options { outage: Duration::from_millis(200), ..PATIENT };
    let Some(store) = Clustered::new() else { return };
    let opened = store.engine("a", HASTY, TurnedClock::new()).unwrap();
    for round in ["one", "two"] {
        Step::Open(round).run(&opened.journal).await.unwrap();
        tokio::task::block_in_place(|| store.server.crash()).unwrap();
        // The first waits, the others find out at once.
        for _ in 0..50 {
            let fault = Step::Open("never").run(&opened.journal).await.unwrap_err();
            assert!(matches!(fault, StoreFault::Away(_) | StoreFault::Failed(_)), "{fault:?}");
            let refusal = Refusal::from(fault);
            assert_eq!((refusal.code, refusal.code.is_retryable()), (Code::StoreUnavailable, true));
        }
        tokio::task::block_in_place(|| store.server.begin()).unwrap();
        let waiting = async {
            while Step::Open(round).run(&opened.journal).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
    }
    let sessions = opened.journal.read(|world| world.session.all().count()).await.unwrap();
    assert_eq!(sessions, 2);
    Box::new(opened).close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_start_whose_connections_are_lost_again_and_again_reads_on_where_it_was() {
    const ENTRIES: usize = 9_000;
    let Some(store) = Clustered::new() else { return };
    let never = Options { pace: Pace { every: u64::MAX, worth: u64::MAX }, ..PATIENT };
    let writer = store.engine("a", never, TurnedClock::new()).unwrap();
    let sessions = (0..ENTRIES).map(|number| format!("claim-{}", number % 40));
    let mut tasks = JoinSet::new();
    for session in sessions {
        let journal = writer.journal.clone();
        tasks.spawn(async move { journal.execute(put(&session, "step", Expected::Anything, "value")).await });
    }
    for written in tasks.join_all().await {
        written.unwrap().unwrap();
    }
    Box::new(writer).close();
    let size = "SELECT sum(octet_length(bytes))::bigint FROM portcullis.entries";
    let bytes: i64 = store.client().await.query_one(size, &[]).await.unwrap().get(0);
    // More than a page and less than two: no connection lives to tell all.
    let proxy = Proxy::start(store.server.port()).await;
    proxy.limit_looks(usize::try_from(bytes).unwrap() * 7 / 10);
    let started = store.engine_at(&proxy.address(), "a", never, TurnedClock::new()).unwrap();
    assert_eq!(proxy.looks_cut(), 1);
    assert_eq!(world(&started.journal).await, serde_json::to_string(&store.judge().world).unwrap());
    proxy.limit_looks(0);
    Box::new(started).close();
    // Where nothing is ever read, it gives up.
    proxy.limit_looks(1);
    let refused = store.engine_at(&proxy.address(), "a", never, TurnedClock::new());
    assert!(matches!(refused, Err(StoreFault::Away(_))));
}
