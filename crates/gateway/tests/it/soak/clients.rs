//! Clients, one for each session: a turn is asked for until it is acknowledged, then the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_testkit::http::Client;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::person::Person;
use super::{AGENT, Size};

/// Before a turn is asked for again.
const PAUSE: Duration = Duration::from_millis(200);
/// How many turns are under way at a time.
const UNDER_WAY_LIMIT: usize = 64;

pub(super) struct Clients {
    tasks: JoinSet<(String, u64)>,
    shared: Arc<Shared>,
    sessions: usize,
}

struct Shared {
    acknowledged: AtomicU64,
    done: AtomicUsize,
    may_end: AtomicBool,
    places: Semaphore,
}

impl Clients {
    pub(super) fn start(client: &Client, person: &Arc<Person>, size: Size) -> Self {
        let shared = Arc::new(Shared {
            acknowledged: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            may_end: AtomicBool::new(false),
            places: Semaphore::new(UNDER_WAY_LIMIT),
        });
        let mut tasks = JoinSet::new();
        for number in 0..size.sessions {
            let (client, person, shared) = (client.clone(), person.clone(), shared.clone());
            let session = format!("claim-{number}");
            tasks.spawn(async move {
                let mut turn = 0;
                // Those who have had their turns make room for others, and go on when nobody needs it.
                while turn < size.turns || !shared.may_end.load(Ordering::SeqCst) {
                    turn += 1;
                    let _place = shared.places.acquire().await.unwrap();
                    ask(&client, &person, &session, turn).await;
                    shared.acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                shared.done.fetch_add(1, Ordering::SeqCst);
                (session, turn)
            });
        }
        Self { tasks, shared, sessions: size.sessions }
    }

    /// How many turns were acknowledged in all.
    pub(super) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    pub(super) fn are_done(&self) -> bool {
        self.shared.done.load(Ordering::SeqCst) == self.sessions
    }

    /// Whoever has had all turns may end.
    pub(super) fn may_end(&self, may_end: bool) {
        self.shared.may_end.store(may_end, Ordering::SeqCst);
    }

    /// How many turns of each session were acknowledged.
    pub(super) async fn end(self) -> BTreeMap<String, u64> {
        self.tasks.join_all().await.into_iter().collect()
    }
}

/// Asks for a turn until it is acknowledged, always with the same key; the number of the placement that served it.
pub(super) async fn ask(client: &Client, person: &Person, session: &str, turn: u64) -> u64 {
    let key = format!("turn-{turn}");
    let headers = [
        ("portcullis-session", session),
        ("idempotency-key", key.as_str()),
        ("content-type", "application/json"),
        ("prefer", "wait=30"),
    ];
    loop {
        let body = json!({"turn": turn}).to_string();
        if let Ok(answer) = client.send("POST", &format!("/agents/{AGENT}/turn"), &headers, Some(body)).await {
            if answer.status == 200 {
                assert_eq!(answer.json()["turn"], json!(turn), "{session}: {}", answer.text());
                return answer.json()["fence"].as_u64().unwrap();
            }
            if answer.text().contains("outcome_unknown") {
                person.find_out(session, turn).await;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
