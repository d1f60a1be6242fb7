//! A store that is not as it was written is refused with a sentence that says what is wrong, and is left as it is. Whoever verifies it is told too.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use crate::journal::conformance::scene::{TurnedClock, WORKLOAD};
use crate::journal::files::{SIGNER_FILE, VAULT_FILE};
use crate::journal::sqlite::schema;
use crate::journal::sqlite::tests::embedded::{Embedded, judge};
use crate::journal::verify::verify;

/// A store with the workload in it and more than one checkpoint, in good order.
async fn sound() -> Embedded {
    let (store, clock) = (Embedded::new(), TurnedClock::new());
    let opened = store.open(clock.clone());
    for step in WORKLOAD {
        step.run(opened.journal()).await.unwrap();
        clock.advance(300_000);
    }
    opened.close();
    store
}

/// What a damaged store says when it is opened, and when it is verified; nothing where it says nothing.
#[derive(Default)]
struct Said {
    opened: &'static str,
    verified: &'static str,
}

async fn check(damage: impl FnOnce(&Path), said: Said) {
    let store = sound().await;
    damage(&store.path());
    let before = content(&store.path());
    let fault = store.refusal().map(|fault| fault.to_string()).unwrap_or_default();
    assert!(fault.contains(said.opened) && fault.is_empty() == said.opened.is_empty(), "opened: {fault}");
    if !said.opened.is_empty() {
        assert!(content(&store.path()) == before, "what was refused is left as it is");
    }
    let found = match verify(&store.path()) {
        Ok(report) => report.problems.join("; "),
        Err(fault) => fault.to_string(),
    };
    assert!(found.contains(said.verified) && found.is_empty() == said.verified.is_empty(), "verified: {found}");
}

/// The same, by a statement of SQL.
async fn check_sql(damage: &str, said: Said) {
    let change = |path: &Path| {
        let connection = Connection::open(path.join(schema::FILE)).unwrap();
        connection.execute_batch(damage).unwrap();
        assert!(connection.total_changes() > 0 || damage.contains("PRAGMA"), "it damages something");
    };
    check(change, said).await;
}

/// All rows of all tables and all keys; the bytes of a file that has no tables.
fn content(path: &Path) -> Vec<Vec<u8>> {
    let mut content: Vec<Vec<u8>> =
        [VAULT_FILE, SIGNER_FILE].iter().filter_map(|name| fs::read(path.join(name)).ok()).collect();
    let connection = Connection::open(path.join(schema::FILE)).unwrap();
    for table in ["streams", "entries", "bodies", "checkpoints"] {
        let Ok(mut statement) = connection.prepare(&format!("SELECT * FROM {table}")) else {
            content.push(fs::read(path.join(schema::FILE)).unwrap());
            continue;
        };
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Ok(Some(row)) = rows.next() {
            content.push(
                (0..columns).flat_map(|column| format!("{:?}", row.get_ref(column).unwrap()).into_bytes()).collect(),
            );
        }
    }
    content
}

#[tokio::test]
async fn altered_entries_are_refused() {
    let bytes = "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), 'claim-1', 'claim-7') AS BLOB) WHERE position = 6";
    check_sql(
        bytes,
        Said {
            opened: "stream `session/ann:claim-1`, entry 2: it says that it belongs to `session/ann:claim-7`",
            verified: "it says that it belongs to",
        },
    )
    .await;
    let hold = "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), '\"hold\":400', '\"hold\":300') AS BLOB) WHERE position = 8";
    check_sql(
        hold,
        Said {
            opened: "entry 5: it does not follow the entry before it",
            verified: "entry 5: it does not follow the entry before it",
        },
    )
    .await;
    let last =
        "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), '\"charged\":50', '\"charged\":49') AS BLOB)
                WHERE position = (SELECT max(position) FROM entries)";
    check_sql(
        last,
        Said { opened: "entries are not those that were signed", verified: "entries are not those that were signed" },
    )
    .await;
    let spaced = "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), ',', ', ') AS BLOB) WHERE position = 6";
    // A start sees only that these are not the bytes that were written; who verifies is told what they are.
    check_sql(
        spaced,
        Said { opened: "entry 3: it does not follow the entry before it", verified: "its bytes are not canonical" },
    )
    .await;
    let nonsense = "UPDATE entries SET bytes = x'00' WHERE position = 6";
    check_sql(nonsense, Said { opened: "entry 6 of the journal: expected value", verified: "entry 2: expected value" })
        .await;
}

#[tokio::test]
async fn missing_entries_are_refused() {
    let middle = "PRAGMA foreign_keys = OFF; DELETE FROM entries WHERE position = 7";
    check_sql(
        middle,
        Said { opened: "entry 7 of the journal is missing", verified: "entry 7 of the journal is missing" },
    )
    .await;
    let first = "DELETE FROM entries WHERE position = 1";
    check_sql(
        first,
        Said { opened: "entry 1 of the journal is missing", verified: "entry 1 of the journal is missing" },
    )
    .await;
    let closed_up =
        "DELETE FROM entries WHERE position = 7; UPDATE entries SET position = position - 1 WHERE position > 7";
    check_sql(closed_up, Said { opened: "it says that its number is", verified: "it says that its number is" }).await;
    let tail = "DELETE FROM entries WHERE position > 10; DELETE FROM bodies WHERE number >= 88";
    check_sql(tail, Said { opened: "were signed, and 10 are there", verified: "were signed, and 10 are there" }).await;
    let all = "DELETE FROM entries; DELETE FROM bodies";
    check_sql(all, Said { opened: "were signed, and 0 are there", verified: "were signed, and 0 are there" }).await;
    let streams = "PRAGMA foreign_keys = OFF; DELETE FROM streams WHERE name = 'session/ann:claim-1'";
    check_sql(streams, Said { opened: "stream 2 is missing", verified: "entry 5 belongs to no stream" }).await;
}

#[tokio::test]
async fn entries_in_another_order_are_refused() {
    let swap = |one: u64, other: u64| {
        format!(
            "CREATE TEMP TABLE held AS SELECT * FROM entries WHERE position IN ({one}, {other});
             UPDATE entries SET bytes = (SELECT bytes FROM held WHERE held.position = {one} + {other} - entries.position)
             WHERE position IN ({one}, {other})"
        )
    };
    check_sql(&swap(6, 7), Said { opened: "it says that its number is 3", verified: "it says that its number is 3" })
        .await;
    check_sql(&swap(2, 5), Said { opened: "it says that it belongs to", verified: "it says that it belongs to" }).await;
    let refiled = "UPDATE entries SET seq = 99 WHERE position = 6";
    check_sql(refiled, Said { opened: "entry 2: it is filed as number 99", verified: "entry 6 is filed as number 99" })
        .await;
    let renamed = "UPDATE streams SET name = 'session/ann:claim-8' WHERE name = 'session/ann:claim-1'";
    check_sql(
        renamed,
        Said { opened: "it says that it belongs to `session/ann:claim-1`", verified: "it says that it belongs to" },
    )
    .await;
}

#[tokio::test]
async fn altered_checkpoints_are_refused() {
    let last = "WHERE size = (SELECT max(size) FROM checkpoints)";
    let note = format!("UPDATE checkpoints SET note = replace(note, 'portcullis', 'portcullus') {last}");
    check_sql(&note, Said { opened: "the last checkpoint was altered", verified: "no valid signature" }).await;
    let size = format!("UPDATE checkpoints SET size = size - 1 {last}");
    check_sql(&size, Said { opened: "the last checkpoint is not the one that was signed", verified: "was signed for" })
        .await;
    // A start trusts the last one, which covers all before it; who verifies reads all.
    let first = "UPDATE checkpoints SET note = replace(note, 'portcullis', 'portcullus') WHERE size = (SELECT min(size) FROM checkpoints)";
    check_sql(first, Said { opened: "", verified: "no valid signature" }).await;
}

#[tokio::test]
async fn altered_bodies_are_found() {
    let last = "UPDATE bodies SET sealed = zeroblob(length(sealed)) WHERE number = (SELECT max(number) FROM bodies)";
    check_sql(last, Said { opened: "the last body was altered", verified: "does not open" }).await;
    let first = "UPDATE bodies SET sealed = zeroblob(length(sealed)) WHERE number = (SELECT min(number) FROM bodies)";
    check_sql(first, Said { opened: "", verified: "does not open" }).await;
    let missing = "DELETE FROM bodies WHERE number = (SELECT min(number) FROM bodies)";
    check_sql(missing, Said { opened: "", verified: "body 8 of entry 1 is missing" }).await;
    let stray = "INSERT INTO bodies (number, sealed) SELECT 17, sealed FROM bodies LIMIT 1";
    check_sql(stray, Said { opened: "", verified: "body 17 belongs to no entry" }).await;
    let salt = "UPDATE streams SET salt = zeroblob(32) WHERE name = 'control'";
    check_sql(salt, Said { opened: "", verified: "does not open" }).await;
}

#[tokio::test]
async fn entries_that_are_filed_wrongly_are_found() {
    let lost = "DELETE FROM places WHERE position = 6";
    check_sql(lost, Said { opened: "", verified: "entry 6 can't be found by its stream" }).await;
    let swapped = "UPDATE places SET seq = 99 WHERE position = 6";
    check_sql(swapped, Said { opened: "", verified: "entry 6 can't be found by its stream" }).await;
    let invented = "INSERT INTO places (stream, seq, position) VALUES (1, 99, 1)";
    check_sql(invented, Said { opened: "", verified: "entry 1 can't be found by its stream" }).await;
}

#[tokio::test]
async fn other_keys_are_refused() {
    let write =
        |name: &'static str, bytes: &'static [u8]| move |path: &Path| fs::write(path.join(name), bytes).unwrap();
    let remove = |name: &'static str| move |path: &Path| fs::remove_file(path.join(name)).unwrap();
    let signer = Said { opened: "was signed with another `journal.key`", verified: "no valid signature" };
    check(write(SIGNER_FILE, &[1; 32]), signer).await;
    let vault = Said { opened: "was encrypted with another `vault.key`", verified: "does not open" };
    check(write(VAULT_FILE, &[1; 32]), vault).await;
    check(write(SIGNER_FILE, &[1; 31]), Said { opened: "does not have 32 bytes", verified: "does not have 32 bytes" })
        .await;
    check(remove(SIGNER_FILE), Said { opened: "journal.key`: No such file", verified: "journal.key`: No such file" })
        .await;
    // Without the vault's key everything but bodies can still be verified, and the report says so.
    check(remove(VAULT_FILE), Said { opened: "vault.key`: No such file", verified: "" }).await;
}

#[tokio::test]
async fn another_file_is_refused() {
    check_sql(
        "PRAGMA user_version = 3",
        Said { opened: "has version 3; this gateway reads version 2", verified: "has version 3" },
    )
    .await;
    let tables = "DROP TABLE entries; DROP TABLE bodies; PRAGMA user_version = 0";
    check_sql(tables, Said { opened: "it has tables of something else", verified: "it has tables of something else" })
        .await;
    let write = |bytes: &'static [u8]| {
        move |path: &Path| {
            for name in ["journal.sqlite-wal", "journal.sqlite-shm"] {
                let _ = fs::remove_file(path.join(name));
            }
            fs::write(path.join(schema::FILE), bytes).unwrap();
        }
    };
    let text = b"This is a letter to the editor, and not a database of any kind. It is long enough to fill a header of a hundred bytes.";
    check(write(text), Said { opened: "is no journal: it is no SQLite file", verified: "it is no SQLite file" }).await;
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_refused() {
    let cut = |path: &Path| {
        // Opened and closed once, all of it is in the one file.
        drop(
            Connection::open(path.join(schema::FILE))
                .map(|connection| connection.query_row("SELECT 1", [], |_| Ok(()))),
        );
        let file = fs::OpenOptions::new().write(true).open(path.join(schema::FILE)).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2 / 4096 * 4096).unwrap();
    };
    check(cut, Said { opened: "the store is damaged: ", verified: "malformed" }).await;
}

#[tokio::test]
async fn what_could_not_be_checked_is_noted() {
    let store = sound().await;
    fs::remove_file(store.path().join(VAULT_FILE)).unwrap();
    let report = verify(&store.path()).unwrap();
    assert_eq!((report.bodies, report.problems.len(), report.notes.len()), (0, 0, 1));
    assert!(report.notes[0].starts_with("bodies were not opened: can't read"), "{:?}", report.notes);
}

#[tokio::test]
async fn an_erased_stream_keeps_its_chain_and_loses_its_bodies() {
    let store = sound().await;
    let before = verify(&store.path()).unwrap();
    let connection = Connection::open(store.path().join(schema::FILE)).unwrap();
    let erased = "UPDATE streams SET salt = NULL WHERE name = 'session/ann:claim-2';
                  DELETE FROM bodies WHERE number / 8 IN
                  (SELECT position FROM entries JOIN streams ON streams.number = entries.stream WHERE name = 'session/ann:claim-2')";
    connection.execute_batch(erased).unwrap();
    drop(connection);
    let after = verify(&store.path()).unwrap();
    assert_eq!((after.erased, after.problems.len(), after.root == before.root), (1, 0, true));
    assert!(after.bodies < before.bodies);
    store.open(TurnedClock::new()).close();
    judge(&store.path());
}

#[tokio::test]
async fn a_sound_store_is_told_in_numbers() {
    let report = verify(&sound().await.path()).unwrap();
    let counts = [report.entries, report.streams, report.sessions, report.bodies, report.erased, report.unsealed];
    assert_eq!(counts, [22, 4, 3, 12, 0, 0]);
    assert!(report.checkpoints > 1 && report.root.len() == 64 && report.verifier.starts_with("portcullis+"));
    assert!(
        verify(Path::new("there-is-no-such-folder")).unwrap_err().to_string().starts_with("there is no journal at ")
    );
}
