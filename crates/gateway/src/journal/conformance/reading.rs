//! What was written can be read, whole and by its own readers only.

use bytes::Bytes;
use portcullis_domain::journal::{Body, StreamId};
use portcullis_domain::session::Expected;

use crate::journal::conformance::scene::{Opener, TurnedClock, Write, put, stream, whole};

pub(crate) async fn entries_are_read_from_any_place_in_order(open: Opener<'_>) {
    let opened = open(TurnedClock::new());
    let journal = opened.journal();
    for number in 0..30 {
        let name = if number % 3 == 0 { "other" } else { "claim-1" };
        journal.execute(put(name, "step", Expected::Anything, "value")).await.unwrap().unwrap();
    }
    // One entry opens the session, twenty are puts.
    for (after, limit, expected) in [(0, 100, 1..=21), (0, 5, 1..=5), (5, 5, 6..=10), (19, 100, 20..=21)] {
        let entries = journal.entries(&stream("claim-1"), after, limit).await.unwrap();
        assert!(entries.iter().all(|placed| placed.entry.stream == stream("claim-1")));
        assert!(entries.iter().map(|placed| placed.entry.seq).eq(expected), "after {after}, at most {limit}");
    }
    assert!(journal.entries(&stream("claim-1"), 21, 100).await.unwrap().is_empty());
    assert!(journal.entries(&stream("claim-1"), 0, 0).await.unwrap().is_empty());
    opened.close();
}

pub(crate) async fn bodies_come_back_exact_and_only_for_their_own_stream(open: Opener<'_>) {
    let all_bytes: Vec<u8> = (0..=255).collect();
    let values = [Vec::new(), b"{\"a\" : 1.0}".to_vec(), vec![0; 200_000], all_bytes];
    let opened = open(TurnedClock::new());
    let journal = opened.journal();
    for (value, name) in values.iter().zip(["a", "b", "c", "d"]) {
        let value = Body::new(Bytes::from(value.clone()));
        journal.execute(Write { value, ..put(name, "step", Expected::Absent, "") }).await.unwrap().unwrap();
    }
    for (value, name) in values.iter().zip(["a", "b", "c", "d"]) {
        let position = whole(journal, &stream(name)).await.last().unwrap().position;
        let body = journal.body(&stream(name), position, 0).await.unwrap();
        assert_eq!(body.as_deref(), Some(value.as_slice()));
        let other = stream(if name == "a" { "b" } else { "a" });
        assert_eq!(journal.body(&other, position, 0).await.unwrap(), None);
        assert_eq!(journal.body(&StreamId::Control, position, 0).await.unwrap(), None);
    }
    opened.close();
}

pub(crate) async fn what_is_not_there_is_not_found(open: Opener<'_>) {
    let opened = open(TurnedClock::new());
    let journal = opened.journal();
    for name in ["claim-1", "claim-2"] {
        journal.execute(put(name, "step", Expected::Absent, "value")).await.unwrap().unwrap();
    }
    assert!(whole(journal, &stream("claim-3")).await.is_empty());
    let put = whole(journal, &stream("claim-1")).await.last().unwrap().position;
    for (position, index) in
        [(put, 1), (put, 8), (put, 16), (put, usize::MAX), (put - 1, 0), (0, 0), (999, 0), (u64::MAX, 3)]
    {
        assert_eq!(journal.body(&stream("claim-1"), position, index).await.unwrap(), None, "{position} {index}");
    }
    opened.close();
}
