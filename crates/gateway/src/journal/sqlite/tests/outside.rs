//! The store as those see it who only read it, beside the gateway that writes.

use std::fs;

use portcullis_domain::session::Expected;
use tokio::task::JoinSet;

use crate::journal::conformance::scene::{Opened as _, TurnedClock, put, stream};
use crate::journal::files::VAULT_FILE;
use crate::journal::handle::Placed;
use crate::journal::show::{Reader, Selection, Source as _};
use crate::journal::sqlite::tests::embedded::{ALL, Embedded};
use crate::journal::verify::verify;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_journal_is_whole_at_every_moment_while_it_is_written() {
    let store = Embedded::new();
    let opened = store.open_wrapped(TurnedClock::new(), Box::new(|disk| disk)).unwrap();
    let mut tasks = JoinSet::new();
    for name in ["a", "b", "c", "d"] {
        let journal = opened.journal.clone();
        tasks.spawn(async move {
            for _ in 0..100 {
                journal.execute(put(name, "step", Expected::Anything, "value")).await.unwrap().unwrap();
            }
        });
    }
    let mut entries = 0;
    while tasks.try_join_next().is_some() || !tasks.is_empty() {
        let report = verify(&store.path()).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert!(report.entries >= entries && report.bodies + report.sessions == report.entries, "{report:?}");
        entries = report.entries;
    }
    assert_eq!(verify(&store.path()).unwrap().entries, 404);
    Box::new(opened).close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_selected_by_stream_place_and_number() {
    let store = Embedded::new();
    let opened = store.open_wrapped(TurnedClock::new(), Box::new(|disk| disk)).unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..700 {
        let (journal, name) = (opened.journal.clone(), if number % 7 == 0 { "few" } else { "many" });
        tasks.spawn(
            async move { journal.execute(put(name, "step", Expected::Anything, "value")).await.unwrap().unwrap() },
        );
    }
    tasks.join_all().await;
    let reader = Reader::open(&store.path()).unwrap();
    let select = |selection: Selection| -> Vec<Placed> {
        reader.entries(selection).map(|stored| Placed::read(&stored.unwrap()).unwrap()).collect()
    };
    let all = select(ALL);
    assert!(all.iter().map(|placed| placed.position).eq(1..=702));
    for (name, count) in [(None, 702), (Some("few"), 101), (Some("many"), 601), (Some("none"), 0)] {
        let wanted = |placed: &&Placed| name.is_none_or(|name| placed.entry.stream == stream(name));
        assert_eq!(all.iter().filter(wanted).count(), count);
        for (from, limit) in
            [(0, usize::MAX), (1, 300), (300, 256), (300, 257), (702, 5), (703, 5), (u64::MAX, 5), (5, 0)]
        {
            let expected = all.iter().filter(wanted).filter(|placed| placed.position >= from).take(limit);
            let found = select(Selection { stream: name.map(stream), from, limit });
            let positions = |placed: &Placed| placed.position;
            assert!(found.iter().map(positions).eq(expected.map(positions)), "{name:?} from {from}, at most {limit}");
        }
    }
    Box::new(opened).close();
}

#[tokio::test]
async fn bodies_are_opened_only_with_the_key() {
    let store = Embedded::new();
    let opened = store.open_wrapped(TurnedClock::new(), Box::new(|disk| disk)).unwrap();
    opened.journal.execute(put("a", "step", Expected::Absent, "value")).await.unwrap().unwrap();
    let body = || Reader::open(&store.path()).unwrap().body(&stream("a"), 2, 0);
    assert_eq!(body().unwrap().as_deref(), Some(b"value".as_slice()));
    Box::new(opened).close();
    fs::remove_file(store.path().join(VAULT_FILE)).unwrap();
    assert!(body().unwrap_err().to_string().starts_with("can't read `"));
    assert_eq!(Reader::open(&store.path()).unwrap().entries(ALL).count(), 2);
}
