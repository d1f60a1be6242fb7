//! The record, as those check it who do not trust whoever keeps it.

use std::path::Path;

use portcullis::journal::sequencer::BODIES_LIMIT;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::gateway::{Gateway, run};
use crate::scene::Scene;
use crate::spoken::{ask, in_session, saying};

/// A copy of the gateway's files as they lie on disk, with a configuration that leads to it.
fn copy(gateway: &Gateway) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    for entry in std::fs::read_dir(gateway.file("data")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join("data").join(path.file_name().unwrap())).unwrap();
    }
    std::fs::write(folder.path().join("portcullis.yaml"), "journal: { store: 'sqlite:data' }\n").unwrap();
    folder
}

/// Verifies the journal in a folder against a head; the exit code must be the expected one, and `said` be said.
async fn check(folder: &Path, head: Option<&str>, code: i32, said: &str) {
    let arguments = [&["journal", "verify"][..], head.map(|head| ["--head", head]).as_slice().as_flattened()].concat();
    let output = run(folder, &arguments).await;
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{head:?}: {text}");
    assert!(text.contains(said), "{head:?}: {said} is not in {text}");
}

#[tokio::test]
async fn a_head_that_was_kept_elsewhere_finds_what_was_cut_off() {
    let mut scene = Scene::start().await;
    let client = scene.client("ann").await;
    let head = async |folder: &Path| {
        let output = run(folder, &["journal", "head"]).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    // A stop seals everything, so that both heads cover all that there is.
    ask(&client, &in_session("s"), &saying("SAY hi")).await;
    scene.gateway.stop().await;
    let early = copy(&scene.gateway);
    let before = head(early.path()).await;
    scene.gateway.restart().await;
    ask(&client, &in_session("s"), &saying("SAY more")).await;
    scene.gateway.stop().await;
    let late = copy(&scene.gateway);
    let after = head(late.path()).await;
    // Its second line (C2SP tlog-checkpoint).
    let size = |note: &str| note.lines().nth(1).unwrap().to_owned();

    std::fs::write(late.path().join("kept"), &before).unwrap();
    let contained = format!("the given head of {} entries is contained", size(&before));
    check(late.path(), Some("kept"), 0, &contained).await;
    check(late.path(), Some(&before), 0, &contained).await;
    check(late.path(), Some(before.trim_end()), 0, "the journal is whole").await;
    check(late.path(), Some(&after), 0, &format!("head of {} entries", size(&after))).await;
    let json = run(late.path(), &["journal", "verify", "--json", "--head", "kept"]).await;
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["head"], json!(size(&before).parse::<u64>().unwrap()));

    // The end is cut off together with all that was signed over it: in itself the journal is whole.
    let cut = copy(&scene.gateway);
    let store = Connection::open(cut.path().join("data/journal.sqlite")).unwrap();
    let size_before: u64 = size(&before).parse().unwrap();
    let cut_off = format!(
        "DELETE FROM checkpoints WHERE size > {size_before};
         DELETE FROM entries WHERE position > {size_before}; DELETE FROM places WHERE position > {size_before};
         DELETE FROM bodies WHERE number >= {};",
        (size_before + 1) * BODIES_LIMIT
    );
    store.execute_batch(&cut_off).unwrap();
    drop(store);
    check(cut.path(), None, 0, "the journal is whole").await;
    check(cut.path(), Some(&before), 0, &contained).await;
    check(cut.path(), Some(&after), 1, "are there: the rest was cut off").await;

    // What no other journal's key has signed, and what is no head.
    let wrong = after.replace(&format!("\n{}\n", size(&after)), "\n7\n");
    check(late.path(), Some(&wrong), 1, "the given head: the note has no valid signature").await;
    check(late.path(), Some("two\nlines"), 1, "the given head: the note has no signatures").await;
    let other = Scene::start().await;
    ask(&other.client("ann").await, &in_session("s"), &saying("SAY hi")).await;
    check(&other.gateway.file(""), Some(&before), 1, "the given head: the note has no valid signature").await;
    other.finish().await;
    check(late.path(), Some("no-such-file"), 74, "the head `no-such-file` can't be read").await;
    scene.gateway.restart().await;
    scene.finish().await;
}
