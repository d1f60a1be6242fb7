//! Callers who do something that can be found again, and remember what they were told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use portcullis_domain::event::Event;
use portcullis_domain::journal::{Entry, StreamId};
use portcullis_domain::session::Expected;
use tokio::task::JoinSet;

use crate::journal::conformance::scene::{put, stream};
use crate::journal::handle::Journal;
use crate::journal::postgres::tests::clustered::Clustered;

/// What callers were told: the names of the sessions in which they have put a value, and of those where it is not known.
#[derive(Default)]
pub(super) struct Told {
    done: Mutex<Vec<String>>,
    refused: Mutex<Vec<String>>,
    count: AtomicUsize,
}

impl Told {
    /// How many calls have come back.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    pub(super) fn done(&self) -> usize {
        self.done.lock().unwrap().len()
    }

    pub(super) fn refused(&self) -> usize {
        self.refused.lock().unwrap().len()
    }
}

/// So many callers, each with so many puts, one after the other and each in a session of its own. Callers go round the journals.
pub(super) fn start(journals: &[Journal], callers: usize, puts: usize) -> (Arc<Told>, JoinSet<()>) {
    let (told, mut tasks) = (Arc::new(Told::default()), JoinSet::new());
    for caller in 0..callers {
        let (told, journal) = (told.clone(), journals[caller % journals.len()].clone());
        tasks.spawn(async move {
            for number in 0..puts {
                let name = format!("caller-{caller}-put-{number}");
                match journal.execute(put(&name, "step", Expected::Absent, &name)).await {
                    // Decided twice, the second would find the first.
                    Ok(answer) => {
                        assert_eq!(answer.map(|put| put.version), Ok(1), "{name}");
                        told.done.lock().unwrap().push(name);
                    }
                    Err(_) => told.refused.lock().unwrap().push(name),
                }
                told.count.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    (told, tasks)
}

/// What was acknowledged is there exactly once, and what was not at most once; nothing else is there.
pub(super) async fn holds(store: &Clustered, told: &Told) {
    let derived = store.judge();
    let client = store.client().await;
    let mut found: HashMap<StreamId, usize> = HashMap::new();
    for row in client.query("SELECT bytes FROM portcullis.entries", &[]).await.unwrap() {
        let entry = Entry::<Event>::decode(row.get(0)).unwrap();
        if matches!(entry.event, Event::StatePut(_)) {
            *found.entry(entry.stream).or_default() += 1;
        }
    }
    for name in told.done.lock().unwrap().iter() {
        assert_eq!(found.remove(&stream(name)), Some(1), "{name} was acknowledged");
    }
    for name in told.refused.lock().unwrap().iter() {
        assert!(found.remove(&stream(name)).unwrap_or(0) <= 1, "{name} was refused");
    }
    assert_eq!(found, HashMap::new(), "of {} entries", derived.entries);
}
