//! Gateways that end, die, or are taken for dead.

use std::time::Duration;

use portcullis_domain::event::Outcome;
use portcullis_domain::ids::CallId;

use crate::journal::conformance::scene::{Opened as _, Step, TurnedClock, admit, stream, until, whole};
use crate::journal::fault::StoreFault;
use crate::journal::postgres::Options;
use crate::journal::postgres::tests::clustered::{Clustered, PATIENT};
use crate::journal::postgres::tests::proxy::Proxy;

/// Gateways are missed soon, but not by a machine that is merely busy.
const SHORT: Options = Options { lease: Duration::from_secs(2), outage: Duration::from_secs(60) };

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_calls_of_a_gateway_that_died_are_settled_by_another_and_it_writes_nothing_more() {
    let Some(store) = Clustered::new() else { return };
    let proxy = Proxy::start(store.server.port()).await;
    let lost = store.engine_at(&proxy.address(), "a", SHORT, TurnedClock::new()).unwrap();
    let other = store.engine("b", SHORT, TurnedClock::new()).unwrap();
    for step in [Step::Configure(1_000), Step::Issue(1)] {
        step.run(&lost.journal).await.unwrap();
    }
    lost.journal.execute(admit(1, "claim-1", 400)).await.unwrap().unwrap();
    other.journal.execute(admit(2, "claim-2", 300)).await.unwrap().unwrap();
    let owners =
        other.journal.read(|world| world.open_calls.values().map(|call| call.gateway.clone()).collect::<Vec<_>>());
    let expected = [lost.engine.gateway(), other.engine.gateway()].map(|id| Some(id.clone()));
    assert_eq!(owners.await.unwrap(), expected);

    proxy.shut();
    let journal = other.journal.clone();
    let waiting = async {
        while journal.read(|world| world.open_calls.contains_key(&CallId([1; 16]))).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
    let derived = store.judge();
    assert_eq!(derived.settled.get(&CallId([1; 16])), Some(&Outcome::Unknown));
    assert!(!derived.settled.contains_key(&CallId([2; 16])), "the living keep their calls");
    let before = whole(&other.journal, &stream("claim-1")).await.len();

    // It did not die: it was only cut off.
    proxy.open();
    let answer = Step::Settle(1, 100).run(&lost.journal).await;
    assert!(matches!(answer, Err(StoreFault::Unusable(_) | StoreFault::Closed)), "{answer:?}");
    until("it has ended", || !lost.faults().is_empty()).await;
    assert!(matches!(lost.faults().as_slice(), [one] if one.contains("took this one for dead")), "{:?}", lost.faults());
    assert_eq!(whole(&other.journal, &stream("claim-1")).await.len(), before);
    Step::Settle(2, 100).run(&other.journal).await.unwrap();
    Box::new(other).close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_that_stops_ends_its_lease_unless_it_leaves_calls_behind() {
    let Some(store) = Clustered::new() else { return };
    for (call, has_ended) in [(None, true), (Some(1), false)] {
        let opened = store.engine("a", PATIENT, TurnedClock::new()).unwrap();
        for step in [Step::Configure(1_000), Step::Issue(1)] {
            step.run(&opened.journal).await.unwrap();
        }
        if let Some(call) = call {
            opened.journal.execute(admit(call, "claim-1", 400)).await.unwrap().unwrap();
        }
        let id = opened.engine.gateway().to_string();
        Box::new(opened).close();
        let select = "SELECT ended_at IS NOT NULL FROM portcullis.gateways WHERE id = $1";
        let row = store.client().await.query_one(select, &[&id]).await.unwrap();
        assert_eq!(row.get::<_, bool>(0), has_ended);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leases_that_ran_out_while_the_database_was_away_cost_nobody_its_life() {
    let Some(store) = Clustered::new() else { return };
    let engines = ["a", "b"].map(|name| store.engine(name, SHORT, TurnedClock::new()).unwrap());
    let client = store.client().await;
    // As if the database had been away for an hour: all leases ran out, and nobody saw it.
    let expire = "UPDATE portcullis.gateways SET lease_until = clock_timestamp() - interval '1 hour'";
    client.execute(expire, &[]).await.unwrap();
    store.server.crash().unwrap();
    store.server.begin().unwrap();
    for round in 0..5 {
        for opened in &engines {
            Step::Open(["one", "two", "three", "four", "five"][round]).run(&opened.journal).await.unwrap();
        }
    }
    engines.iter().for_each(|opened| opened.engine.close());
    for opened in engines {
        Box::new(opened).close();
    }
}
