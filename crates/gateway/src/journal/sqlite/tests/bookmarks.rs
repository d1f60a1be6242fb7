//! A start goes on from a bookmark to the world that all entries make, and from one that can't be used it does not go on at all.
//!
//! That a bookmark was used is seen by its file: one that can't be is thrown away.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use portcullis_domain::event::Event;
use portcullis_domain::journal::Entry;
use portcullis_domain::session::Expected;
use rusqlite::Connection;

use crate::journal::bookmark::{Bookmarks, FILE, Pace};
use crate::journal::conformance::scene::{Opened as _, Step, TurnedClock, WORKLOAD, put, stream, until, whole, world};
use crate::journal::files::{DataDirectory, SIGNER_FILE, VAULT_FILE};
use crate::journal::sqlite::schema;
use crate::journal::sqlite::tests::embedded::{Embedded, OpenEngine, judge};
use crate::journal::verify::verify;

/// No bookmark is ever made.
const NEVER: Pace = Pace { every: u64::MAX, worth: u64::MAX };
/// One is made at every end.
const AT_END: Pace = Pace { every: u64::MAX, worth: 1 };
/// One is made after every few entries, and none at an end.
const OFTEN: Pace = Pace { every: 4, worth: u64::MAX };

async fn run(store: &Embedded, steps: &[Step], pace: Pace) {
    let (clock, opened) = open(store, pace);
    for step in steps {
        step.run(&opened.journal).await.unwrap();
        clock.advance(300_000);
    }
    Box::new(opened).close();
}

fn open(store: &Embedded, pace: Pace) -> (Arc<TurnedClock>, OpenEngine) {
    let clock = TurnedClock::new();
    (clock.clone(), store.open_paced(clock, pace).unwrap())
}

/// The world of a start, which is that of the oracle, and whether it went on from a bookmark.
async fn start(store: &Embedded) -> bool {
    let (_, opened) = open(store, NEVER);
    let started = world(&opened.journal).await;
    Box::new(opened).close();
    assert_eq!(started, serde_json::to_string(&judge(&store.path()).world).unwrap());
    is_there(store)
}

fn is_there(store: &Embedded) -> bool {
    store.path().join(FILE).exists()
}

/// A store with the workload in it and a bookmark after so many steps.
async fn marked_after(steps: usize) -> Embedded {
    let store = Embedded::new();
    run(&store, &WORKLOAD[..steps], AT_END).await;
    run(&store, &WORKLOAD[steps..], NEVER).await;
    assert!(is_there(&store));
    store
}

#[tokio::test]
async fn a_start_goes_on_from_any_entry_to_the_world_that_all_entries_make() {
    for steps in 1..=WORKLOAD.len() {
        assert!(start(&marked_after(steps).await).await, "after {steps} steps");
    }
}

#[tokio::test]
async fn what_goes_on_from_a_bookmark_goes_on_as_if_there_had_been_none() {
    let (marked, plain) = (Embedded::new(), Embedded::new());
    run(&plain, WORKLOAD, NEVER).await;
    for step in WORKLOAD {
        run(&marked, &[*step], AT_END).await;
    }
    let (derived, expected) = (judge(&marked.path()), judge(&plain.path()));
    // Salts and times differ; what follows from the entries does not.
    let (counted, other) = (derived.world.ledger, expected.world.ledger);
    assert_eq!((derived.entries, counted), (expected.entries, other));
}

#[tokio::test]
async fn a_start_does_not_read_what_is_before_a_bookmark_and_a_verification_does() {
    let store = marked_after(WORKLOAD.len()).await;
    let altered = "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), ',', ', ') AS BLOB) WHERE position = 6";
    Connection::open(store.path().join(schema::FILE)).unwrap().execute_batch(altered).unwrap();
    let opened = store.open_paced(TurnedClock::new(), NEVER).unwrap();
    opened.engine.close();
    assert!(is_there(&store));
    let problems = verify(&store.path()).unwrap().problems.join("; ");
    assert!(problems.contains("its bytes are not canonical"), "{problems}");
    fs::remove_file(store.path().join(FILE)).unwrap();
    assert!(store.refusal().is_some());
}

/// A bookmark that was spoilt is thrown away, and the start succeeds.
async fn check_spoilt(what: &str, spoil: impl FnOnce(&Path, Vec<u8>)) {
    let store = marked_after(12).await;
    let path = store.path().join(FILE);
    let bytes = fs::read(&path).unwrap();
    spoil(&path, bytes);
    assert!(!start(&store).await, "{what}");
    assert!(!start(&store).await, "{what}, the second time");
}

#[tokio::test]
async fn a_bookmark_that_is_not_whole_is_thrown_away() {
    for kept in [0, 1, 31, 32, 33, 400] {
        check_spoilt("cut off", |path, bytes| fs::write(path, &bytes[..kept]).unwrap()).await;
    }
    check_spoilt("cut off by a byte", |path, bytes| fs::write(path, &bytes[..bytes.len() - 1]).unwrap()).await;
    for place in [0, 20, 100, 700] {
        let flip = |path: &Path, mut bytes: Vec<u8>| {
            bytes[place] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        check_spoilt("altered", flip).await;
    }
    let of_end = |path: &Path, mut bytes: Vec<u8>| {
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    };
    check_spoilt("with another end", of_end).await;
    check_spoilt("longer", |path, bytes| fs::write(path, [bytes, vec![0]].concat()).unwrap()).await;
}

/// Spoils it by something that is said in it, and signs it again.
async fn check_resigned(from: &str, to: &str) {
    check_spoilt(&format!("`{to}` for `{from}`"), |path, bytes| {
        let text = String::from_utf8(bytes[..bytes.len() - 32].to_vec()).unwrap();
        assert!(text.contains(from), "{from}");
        let directory = DataDirectory::look(path.parent().unwrap());
        let signed = Bookmarks::new(&directory, NEVER).unwrap().sign(text.replacen(from, to, 1).into_bytes());
        fs::write(path, signed).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_bookmark_of_another_version_is_thrown_away() {
    check_resigned("{\"format\":1,", "{\"format\":2,").await;
    check_resigned(concat!("\"rules\":\"", env!("PORTCULLIS_RULES")), "\"rules\":\"0123456789abcdef").await;
    check_resigned("\n", " ").await;
    check_resigned("\"world\":", "\"globe\":").await;
}

#[tokio::test]
async fn a_bookmark_that_differs_from_the_journal_is_thrown_away() {
    // All of these are whole: they are what another journal with the same secrets could have left.
    check_resigned("\"tree\":{\"size\":1", "\"tree\":{\"size\":2").await;
    check_resigned(
        "\"roots\":[\"",
        "\"roots\":[\"0000000000000000000000000000000000000000000000000000000000000000\",\"",
    )
    .await;
    check_resigned(
        "\"names\":\"",
        "\"names\":\"0000000000000000000000000000000000000000000000000000000000000000\",\"was\":\"",
    )
    .await;
    check_resigned(
        "\"heads\":[",
        "\"heads\":[{\"seq\":1,\"digest\":\"0000000000000000000000000000000000000000000000000000000000000000\"},",
    )
    .await;
}

#[tokio::test]
async fn a_bookmark_of_another_directory_is_thrown_away() {
    let other = marked_after(12).await;
    check_spoilt("of another directory", |path, _| {
        fs::copy(other.path().join(FILE), path).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_bookmark_that_can_not_be_read_is_no_reason_not_to_start() {
    let store = marked_after(12).await;
    fs::remove_file(store.path().join(FILE)).unwrap();
    fs::create_dir(store.path().join(FILE)).unwrap();
    let (_, opened) = open(&store, AT_END);
    // The new one can't take its place either, and that is no reason for anything.
    Box::new(opened).close();
    start(&store).await;
}

#[tokio::test]
async fn a_bookmark_is_thrown_away_that_is_newer_than_the_journal_which_was_restored() {
    let (store, copy) = (Embedded::new(), tempfile::tempdir().unwrap());
    let older = copy.path().join("older");
    run(&store, &WORKLOAD[..8], NEVER).await;
    copy_directory(&store.path(), &older);
    run(&store, &WORKLOAD[8..], AT_END).await;
    let newer = fs::read(store.path().join(FILE)).unwrap();
    // What is there is fewer entries, or as many others, or more.
    for times in [0, 1, 2] {
        fs::remove_dir_all(store.path()).unwrap();
        copy_directory(&older, &store.path());
        for _ in 0..times {
            run(&store, &[Step::Open("another"), Step::Configure(7), Step::Configure(8)].repeat(9), NEVER).await;
        }
        fs::write(store.path().join(FILE), &newer).unwrap();
        assert!(!start(&store).await, "{times}");
    }
}

#[tokio::test]
async fn a_bookmark_is_thrown_away_where_another_entry_is_in_the_place_of_its_last() {
    let store = marked_after(WORKLOAD.len()).await;
    let connection = Connection::open(store.path().join(schema::FILE)).unwrap();
    let last = "SELECT bytes FROM entries ORDER BY position DESC LIMIT 1";
    let bytes: Vec<u8> = connection.query_row(last, [], |row| row.get(0)).unwrap();
    let mut entry = Entry::<Event>::decode(&bytes).unwrap();
    entry.at.0 += 1;
    // Nothing was signed over it, and nothing follows it.
    let other = "UPDATE entries SET bytes = ?1 WHERE position = (SELECT max(position) FROM entries)";
    connection.execute(other, [entry.encode().unwrap()]).unwrap();
    connection.execute("DELETE FROM checkpoints", []).unwrap();
    drop(connection);
    assert!(!start(&store).await);
}

#[tokio::test]
async fn with_a_bookmark_too_a_start_refuses_what_is_after_it_and_was_altered() {
    for (damage, said) in [
        (
            "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), ':', ': ') AS BLOB) WHERE position = 20",
            "entry 21",
        ),
        ("DELETE FROM entries WHERE position = 20", "entry 20 of the journal is missing"),
        ("DELETE FROM entries WHERE position = (SELECT max(position) FROM entries)", "entries were signed, and"),
        (
            "UPDATE streams SET name = 'session/ann:claim-8' WHERE name = 'session/ann:claim-1'",
            "it says that it belongs to",
        ),
    ] {
        let store = marked_after(12).await;
        Connection::open(store.path().join(schema::FILE)).unwrap().execute_batch(damage).unwrap();
        let fault = store.refusal().map(|fault| fault.to_string()).unwrap_or_default();
        assert!(fault.contains(said), "{damage}: {fault}");
    }
    let store = marked_after(WORKLOAD.len()).await;
    let last = "DELETE FROM entries WHERE position = (SELECT max(position) FROM entries)";
    Connection::open(store.path().join(schema::FILE)).unwrap().execute_batch(last).unwrap();
    assert!(store.refusal().unwrap().to_string().contains("entries were signed, and"));
}

#[tokio::test]
async fn a_bookmark_says_nothing_that_the_store_keeps_encrypted() {
    let store = marked_after(WORKLOAD.len()).await;
    let path = store.path().join(FILE);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(&path).unwrap();
    let has = |wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    assert!(has(b"claim-1"), "it is searched where names can be found");
    for body in ["question 1", "answer 1", "too late", "permit (principal"] {
        assert!(!has(body.as_bytes()), "{body}");
    }
    let connection = Connection::open(store.path().join(schema::FILE)).unwrap();
    let mut statement = connection.prepare("SELECT salt FROM streams").unwrap();
    let salts: Vec<Vec<u8>> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let secrets = [VAULT_FILE, SIGNER_FILE].map(|name| fs::read(store.path().join(name)).unwrap());
    for secret in salts.iter().chain(&secrets) {
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = serde_json::to_vec(secret).unwrap();
        assert!(!has(secret) && !has(hex.as_bytes()) && !has(&list[1..list.len() - 1]));
    }
}

#[tokio::test]
async fn a_stream_that_was_erased_stays_erased_after_a_start_from_a_bookmark() {
    let store = marked_after(WORKLOAD.len()).await;
    let erased = "UPDATE streams SET salt = NULL WHERE name = 'session/ann:claim-2'";
    Connection::open(store.path().join(schema::FILE)).unwrap().execute_batch(erased).unwrap();
    let (_, opened) = open(&store, NEVER);
    let entries = whole(&opened.journal, &stream("claim-2")).await;
    let with_body = entries.iter().find(|placed| !placed.entry.bodies.is_empty()).unwrap();
    assert_eq!(opened.journal.body(&stream("claim-2"), with_body.position, 0).await.unwrap(), None);
    opened.engine.close();
    assert!(is_there(&store));
}

#[tokio::test]
async fn a_bookmark_is_made_when_it_is_worth_it() {
    let store = Embedded::new();
    let enough = Pace { every: u64::MAX, worth: 20 };
    run(&store, &WORKLOAD[..12], enough).await;
    assert!(!is_there(&store), "an end that would spare little makes none");
    run(&store, &WORKLOAD[12..], enough).await;
    assert!(is_there(&store), "an end that spares much makes one");
    fs::remove_file(store.path().join(FILE)).unwrap();
    let (_, opened) = open(&store, enough);
    assert!(is_there(&store), "a start that had to read much makes one before anything else");
    Box::new(opened).close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bookmarks_are_made_beside_the_writer_and_each_replaces_the_one_before() {
    let (store, copies) = (Embedded::new(), tempfile::tempdir().unwrap());
    let (clock, opened) = open(&store, OFTEN);
    let mut last = Vec::new();
    for round in 0..5 {
        for number in 0..8 {
            write(&opened, number % 3).await;
            clock.advance(300_000);
        }
        until("there is a newer bookmark", || fs::read(store.path().join(FILE)).is_ok_and(|bytes| bytes != last)).await;
        last = fs::read(store.path().join(FILE)).unwrap();
        // What is there if the machine stops now.
        let copy = Embedded::in_folder(copies.path().join(round.to_string()));
        copy_directory(&store.path(), &copy.path());
        assert!(start(&copy).await);
    }
    Box::new(opened).close();
}

/// The entries that a process has written before it was killed in the middle of making a bookmark are there, and the next start makes the same world of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn being_killed_while_a_bookmark_is_written_costs_nothing() {
    let store = Embedded::new();
    let half = store.path().join(format!("{FILE}.new"));
    fs::write(store.path().with_file_name(CALLED), []).unwrap();
    let mut halves = 0;
    for _ in 0..8 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD])
            .current_dir(store.path().parent().unwrap())
            .stdout(Stdio::null())
            .spawn();
        let mut child = child.unwrap();
        until("a bookmark is being written", || half.exists()).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let was_half = half.exists();
        start(&store).await;
        halves += u32::from(was_half);
        let _ = fs::remove_file(&half);
    }
    assert!(halves > 0, "it was killed in the middle of it at least once");
}

const CHILD: &str = "journal::sqlite::tests::bookmarks::writes_entries_and_bookmarks_until_it_is_killed";
/// Lies where the child is to run: anywhere else it does nothing, as when all tests are run.
const CALLED: &str = "called-by-its-parent";

/// Run in the folder of a store by the test above.
#[tokio::test]
async fn writes_entries_and_bookmarks_until_it_is_killed() {
    if !Path::new(CALLED).exists() {
        return;
    }
    let store = Embedded::in_folder(PathBuf::from("data"));
    let (clock, opened) = open(&store, OFTEN);
    for number in 0_u64.. {
        clock.advance(300_000);
        write(&opened, number % 1_000).await;
    }
}

async fn write(opened: &OpenEngine, number: u64) {
    let put = put(&format!("claim-{number}"), "step", Expected::Anything, "value");
    opened.journal.execute(put).await.unwrap().unwrap();
}

/// What is there, while bookmarks are made: a file that is not finished yet may have its other name before it is copied.
fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match fs::copy(entry.path(), to.join(entry.file_name())) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            copied => assert!(copied.is_ok(), "{copied:?}"),
        }
    }
}
