//! The connection is lost at a commit, which has arrived or has not, and the answer is the same as if nothing had happened.

use std::time::Duration;

use portcullis_domain::session::Expected;

use crate::journal::conformance::scene::{Opened as _, Step, TurnedClock, WORKLOAD, put, until, world};
use crate::journal::fault::StoreFault;
use crate::journal::postgres::Options;
use crate::journal::postgres::tests::clustered::{Clustered, PATIENT};
use crate::journal::postgres::tests::load;
use crate::journal::postgres::tests::proxy::{Cut, Proxy};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_whose_answer_was_lost_is_found_and_one_that_never_arrived_is_made() {
    let Some(ideal) = Clustered::new() else { return };
    let opened = ideal.open(TurnedClock::new());
    let mut answers = Vec::new();
    for step in WORKLOAD {
        answers.push(step.run(opened.journal()).await.unwrap());
    }
    let expected = world(opened.journal()).await;
    opened.close();
    let ids = |text: &str| {
        // Calls name the run of the gateway that forwards them.
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let mut value = value;
        for call in value["open_calls"].as_object_mut().unwrap().values_mut() {
            call.as_object_mut().unwrap().remove("gateway").unwrap();
        }
        value
    };
    for cut in [Cut::Before, Cut::After] {
        let Some(store) = Clustered::new() else { return };
        let proxy = Proxy::start(store.server.port()).await;
        let opened = store.engine_at(&proxy.address(), "a", PATIENT, TurnedClock::new()).unwrap();
        for (step, answer) in WORKLOAD.iter().zip(&answers) {
            proxy.plan(cut, 0, false);
            assert_eq!(step.run(&opened.journal).await.unwrap(), *answer, "{step:?}, {cut:?}");
            until("the commit was lost", || proxy.has_cut()).await;
        }
        assert_eq!(ids(&world(&opened.journal).await), ids(&expected), "{cut:?}");
        Box::new(opened).close();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_decided_before_another_wrote_is_decided_again_unless_it_was_committed() {
    for cut in [Cut::Before, Cut::After] {
        let Some(store) = Clustered::new() else { return };
        let proxy = Proxy::start(store.server.port()).await;
        let cut_off = store.engine_at(&proxy.address(), "a", PATIENT, TurnedClock::new()).unwrap();
        let other = store.engine("b", PATIENT, TurnedClock::new()).unwrap();
        Step::Open("claim-1").run(&cut_off.journal).await.unwrap();
        // The session's stream begins in the batch that is lost, and in the other's too: with another salt.
        let journal = cut_off.journal.clone();
        proxy.plan(cut, 0, true);
        let (first, second) = tokio::join!(
            async { journal.execute(put("claim-2", "step", Expected::Absent, "first")).await.unwrap() },
            async {
                until("the commit was lost", || proxy.has_cut()).await;
                let answer = other.journal.execute(put("claim-2", "step", Expected::Absent, "second")).await.unwrap();
                proxy.open();
                answer
            }
        );
        let winner = if cut == Cut::After { [first, second] } else { [second, first] };
        assert_eq!(winner[0].as_ref().map(|put| put.version), Ok(1), "{cut:?}");
        assert!(winner[1].is_err(), "{cut:?}");
        // What is encrypted from here on can be read by all.
        let answer = cut_off.journal.execute(put("claim-2", "step", Expected::Version(1), "third")).await.unwrap();
        assert_eq!(answer.map(|put| put.version), Ok(2));
        assert_eq!(world(&cut_off.journal).await, world(&other.journal).await);
        other.engine.close();
        Box::new(cut_off).close();
        Box::new(other).close();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_that_are_lost_under_load_lose_and_double_nothing() {
    let Some(store) = Clustered::new() else { return };
    let proxy = Proxy::start(store.server.port()).await;
    let cut_off = store.engine_at(&proxy.address(), "a", PATIENT, TurnedClock::new()).unwrap();
    let other = store.engine("b", PATIENT, TurnedClock::new()).unwrap();
    let (told, tasks) = load::start(&[cut_off.journal.clone(), other.journal.clone()], 12, 40);
    for round in 0..24 {
        let cut = if round % 2 == 0 { Cut::Before } else { Cut::After };
        proxy.plan(cut, round % 3, false);
        until("a commit was lost", || proxy.has_cut() || told.count() == 12 * 40).await;
    }
    tasks.join_all().await;
    load::holds(&store, &told).await;
    other.engine.close();
    Box::new(cut_off).close();
    Box::new(other).close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_callers_were_refused_is_never_written_later() {
    const HASTY: Options = Options { outage: Duration::from_millis(200), ..PATIENT };
    for cut in [Cut::Before, Cut::After] {
        let Some(store) = Clustered::new() else { return };
        let proxy = Proxy::start(store.server.port()).await;
        let opened = store.engine_at(&proxy.address(), "a", HASTY, TurnedClock::new()).unwrap();
        Step::Open("claim-1").run(&opened.journal).await.unwrap();
        proxy.plan(cut, 0, true);
        let fault = opened.journal.execute(put("claim-1", "step", Expected::Absent, "in doubt")).await.unwrap_err();
        assert!(matches!(fault, StoreFault::Failed(_)), "{fault:?}");
        proxy.open();
        let again = async {
            loop {
                match opened.journal.execute(put("claim-1", "step", Expected::Absent, "again")).await {
                    Ok(answer) => return answer.is_ok(),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let was_free = tokio::time::timeout(Duration::from_secs(30), again).await.unwrap();
        assert_eq!(was_free, cut == Cut::Before, "it is there if and only if it had arrived");
        Box::new(opened).close();
    }
}
