//! Stores that a gateway must not open, or not go on with.

use std::sync::Arc;

use crate::journal::conformance::scene::{Opened as _, Step, TurnedClock, until};
use crate::journal::files::{SIGNER_FILE, VAULT_FILE};
use crate::journal::postgres::tests::clustered::{Clustered, PATIENT};

fn refused(store: &Clustered, gateway: &str, part: &str) {
    let fault = store.engine_at(&store.address(), gateway, PATIENT, TurnedClock::new()).err();
    let message = fault.map(|fault| fault.to_string()).unwrap_or_default();
    assert!(message.contains(part), "`{message}` does not say `{part}`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_with_other_secrets_or_none_is_told_to_copy_them() {
    let Some(store) = Clustered::new() else { return };
    let opened = store.engine("a", PATIENT, TurnedClock::new()).unwrap();
    Step::Open("claim-1").run(&opened.journal).await.unwrap();
    refused(&store, "b", "is missing: copy `vault.key` and `journal.key`");
    assert!(!store.path("b").join(VAULT_FILE).exists(), "no secret is made that nobody can use");
    for name in [VAULT_FILE, SIGNER_FILE] {
        store.copy_secrets("c");
        std::fs::write(store.path("c").join(name), [9; 32]).unwrap();
        refused(&store, "c", &format!("{name}` is not the one of this store: copy"));
    }
    let other = store.engine("d", PATIENT, TurnedClock::new()).unwrap();
    refused(&store, "d", "is in use by another gateway");
    other.engine.close();
    let client = store.client().await;
    let secret = std::fs::read(store.path("a").join(VAULT_FILE)).unwrap();
    let row = client.query_one("SELECT count(*) FROM portcullis.secrets WHERE fingerprint = $1", &[&secret]).await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 0, "the secret itself is nowhere");
    Box::new(opened).close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_of_a_newer_gateway_are_left_alone() {
    let Some(store) = Clustered::new() else { return };
    Box::new(store.engine("a", PATIENT, TurnedClock::new()).unwrap()).close();
    let client = store.client().await;
    client.execute("INSERT INTO portcullis.migrations (version) VALUES (99)", &[]).await.unwrap();
    refused(&store, "a", "the journal in the database has version 99");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_that_does_not_keep_what_it_acknowledges_is_not_used() {
    let Some(store) = Clustered::new() else { return };
    let client = store.client().await;
    for setting in ["synchronous_commit", "fsync"] {
        client.execute(&format!("ALTER SYSTEM SET {setting} = off"), &[]).await.unwrap();
        client.execute("SELECT pg_reload_conf()", &[]).await.unwrap();
        let shown =
            || store.engine_at(&store.address(), "a", PATIENT, TurnedClock::new()).err().map(|fault| fault.to_string());
        until("the setting is in force", || shown().is_some_and(|message| message.contains(setting))).await;
        client.execute(&format!("ALTER SYSTEM RESET {setting}"), &[]).await.unwrap();
        client.execute("SELECT pg_reload_conf()", &[]).await.unwrap();
        until("it is not any more", || shown().is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_ends_when_the_database_lost_or_changed_what_it_had_acknowledged() {
    let lose = "DELETE FROM portcullis.entries WHERE position > 2; UPDATE portcullis.head SET position = 2";
    let change = "UPDATE portcullis.head SET root = sha256('another past')";
    for (damage, part) in [(lose, "it was replaced by an older copy of itself"), (change, "and what was read of it")] {
        let Some(store) = Clustered::new() else { return };
        let opened = Arc::new(store.engine("a", PATIENT, TurnedClock::new()).unwrap());
        for name in ["one", "two", "three"] {
            Step::Open(name).run(&opened.journal).await.unwrap();
        }
        store.client().await.batch_execute(damage).await.unwrap();
        let answer = Step::Open("four").run(&opened.journal).await;
        assert!(answer.is_err(), "{answer:?}");
        until("it has ended", || !opened.faults().is_empty()).await;
        assert!(opened.faults()[0].contains(part), "{:?}", opened.faults());
    }
}
