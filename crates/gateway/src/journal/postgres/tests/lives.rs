//! Gateways that end, die, or are taken for dead.

use std::time::Duration;

use portcullis_domain::event::Outcome;
use portcullis_domain::ids::CallId;
use portcullis_domain::session::Expected;

use crate::journal::bookmark::Pace;
use crate::journal::conformance::scene::{Opened as _, Step, TurnedClock, admit, put, session, stream, until, whole};
use crate::journal::fault::StoreFault;
use crate::journal::leases::SessionLeases as _;
use crate::journal::postgres::Options;
use crate::journal::postgres::tests::clustered::{Clustered, OpenEngine, PATIENT};
use crate::journal::postgres::tests::proxy::{Cut, Proxy};

/// Gateways are missed soon, but not by a machine that is merely busy.
const SHORT: Options = Options { lease: Duration::from_secs(6), outage: Duration::from_secs(60), pace: Pace::USUAL };

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

/// Until when the gateway is believed to live, in seconds.
async fn lease_of(client: &tokio_postgres::Client, gateway: &str) -> f64 {
    let select = "SELECT extract(epoch FROM lease_until)::float8 FROM portcullis.gateways WHERE id = $1";
    client.query_one(select, &[&gateway]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_that_reads_its_memory_anew_lives_however_long_that_takes() {
    let Some(store) = Clustered::new() else { return };
    let proxy = Proxy::start(store.server.port()).await;
    let busy = store.engine_at(&proxy.address(), "a", SHORT, TurnedClock::new()).unwrap();
    let other = store.engine("b", SHORT, TurnedClock::new()).unwrap();
    Step::Open("claim-1").run(&busy.journal).await.unwrap();
    // Another writes while it is not known what became of a batch: memory is read anew, and that does not come to its end.
    proxy.plan(Cut::Before, 0, true);
    let (client, id) = (store.client().await, busy.engine.gateway().to_string());
    let (late, ()) = tokio::join!(
        async { busy.journal.execute(put("claim-1", "step", Expected::Absent, "late")).await.unwrap() },
        async {
            until("the commit was lost", || proxy.has_cut()).await;
            other.journal.execute(put("claim-1", "step", Expected::Absent, "soon")).await.unwrap().unwrap();
            proxy.hold_looks();
            proxy.open();
            until("memory is read", || proxy.is_holding()).await;
            let begun = lease_of(&client, &id).await;
            let waiting = async {
                while lease_of(&client, &id).await < begun + 2.0 * SHORT.lease.as_secs_f64() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("the lease is renewed");
            proxy.let_go();
        }
    );
    assert!(late.is_err(), "the other's value is there");
    let version = busy.journal.execute(put("claim-1", "step", Expected::Version(1), "again")).await.unwrap().unwrap();
    assert_eq!(version.version, 2, "it lives");
    other.engine.close();
    Box::new(busy).close();
    Box::new(other).close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_is_one_gateways_until_it_gives_it_back_ends_or_dies() {
    let Some(store) = Clustered::new() else { return };
    let proxy = Proxy::start(store.server.port()).await;
    let first = store.engine_at(&proxy.address(), "a", SHORT, TurnedClock::new()).unwrap();
    let second = store.engine("b", SHORT, TurnedClock::new()).unwrap();
    let sessions: Vec<_> = ["claim-1", "claim-2", "claim-3"].map(session).to_vec();
    let check = async |opened: &OpenEngine, limit: usize, expected: &[usize]| {
        let (engine, asked) = (opened.engine.clone(), sessions.clone());
        let taken = tokio::task::spawn_blocking(move || engine.take(&asked, limit).unwrap()).await.unwrap();
        let expected: Vec<_> = expected.iter().map(|number| sessions[*number].clone()).collect();
        assert_eq!(taken, expected);
    };
    check(&first, 2, &[0, 1]).await;
    check(&second, 9, &[2]).await;
    check(&first, 9, &[0, 1]).await;
    let (engine, back) = (first.engine.clone(), sessions[..1].to_vec());
    tokio::task::spawn_blocking(move || engine.give_back(&back).unwrap()).await.unwrap();
    check(&second, 9, &[0, 2]).await;

    // It is cut off until it is taken for dead; then it gets nothing any more, whatever it believes of itself.
    proxy.shut();
    let client = store.client().await;
    let waiting = async {
        let select = "SELECT ended_at IS NOT NULL FROM portcullis.gateways WHERE id = $1";
        while !client.query_one(select, &[&first.engine.gateway().as_str()]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
    proxy.open();
    check(&first, 9, &[]).await;
    check(&second, 9, &[0, 1, 2]).await;
    let third = store.engine("c", SHORT, TurnedClock::new()).unwrap();
    check(&third, 9, &[]).await;
    second.engine.close();
    check(&third, 9, &[0, 1, 2]).await;
    Box::new(second).close();
    Box::new(third).close();
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
async fn leases_that_ran_out_while_nobody_could_renew_them_cost_nobody_its_life() {
    let Some(store) = Clustered::new() else { return };
    let ways = [Proxy::start(store.server.port()).await, Proxy::start(store.server.port()).await];
    let mut engines = Vec::new();
    for (way, name) in ways.iter().zip(["a", "b"]) {
        store.copy_secrets(name);
        engines.push(store.engine_at(&way.address(), name, SHORT, TurnedClock::new()).unwrap());
        // By now the first has seen the second, and both are seen with the leases that will run out.
        Step::Open("one").run(&engines[0].journal).await.unwrap();
    }
    Step::Issue(1).run(&engines[0].journal).await.unwrap();
    ways.iter().for_each(Proxy::shut);
    let client = store.client().await;
    let waiting = async {
        let select = "SELECT bool_and(lease_until < clock_timestamp()) FROM portcullis.gateways";
        while !client.query_one(select, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
    ways.iter().for_each(Proxy::open);
    for name in ["two", "three"] {
        let (first, second) = tokio::join!(
            Step::Open(name).run(&engines[0].journal),
            Step::Put(name, "step", Expected::Anything, "value").run(&engines[1].journal)
        );
        first.and(second).unwrap();
    }
    engines.iter().for_each(|opened| opened.engine.close());
    for opened in engines {
        Box::new(opened).close();
    }
}
