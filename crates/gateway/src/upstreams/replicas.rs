//! The replicas of agents and the deployments of models: which are up, and how many calls each has.
//!
//! A replica that can't be connected to is down until it can; one with a health path is also asked regularly. When all are down all are tried: what this
//! process last saw may be out of date, and a refused connection costs nothing. One that says that it has too much to do is left alone for as long as it says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, Uri};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::registry::Replica;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::upstreams::client::HttpClient;

/// How long a replica may take to say how it is.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest that one with too much to do is left alone.
const BUSY_LIMIT: Duration = Duration::from_secs(60);
/// After how many bad answers in a row, or none in time, a replica is down. One that can't be connected to is down at once.
const BAD_LIMIT: u32 = 2;

/// What is known of all replicas.
#[derive(Debug, Default)]
pub struct Replicas {
    states: Mutex<HashMap<Replica, State>>,
}

#[derive(Debug)]
struct State {
    is_down: bool,
    /// Until when it is left alone because it has too much to do.
    busy_until: Option<Instant>,
    /// Probes in a row that were answered badly, or not in time.
    bad: u32,
    calls: Arc<Semaphore>,
    calls_limit: usize,
}

/// How a replica was, when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Well,
    /// It is ill, or has not answered in time.
    Bad,
    /// It can't be connected to, or has broken off.
    Gone,
}

impl Replicas {
    /// Those of `open` that may be asked now: those that are up, or all when none is.
    #[must_use]
    pub fn candidates(&self, open: &[Replica]) -> Vec<Replica> {
        let states = self.lock();
        let is_up = |replica: &&Replica| states.get(*replica).is_none_or(State::is_up);
        let up: Vec<Replica> = open.iter().filter(is_up).cloned().collect();
        if up.is_empty() { open.to_vec() } else { up }
    }

    /// A place among the calls of the replica.
    ///
    /// # Errors
    ///
    /// [`Code::TooMany`] when it has as many as it takes.
    pub fn enter(&self, replica: &Replica, calls_limit: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let mut states = self.lock();
        let state = states.entry(replica.clone()).or_insert_with(|| State::new(calls_limit));
        if state.calls_limit != calls_limit {
            // Calls that are under way end with the semaphore that they began with.
            (state.calls, state.calls_limit) = (Arc::new(Semaphore::new(calls_limit)), calls_limit);
        }
        let calls = state.calls.clone();
        drop(states);
        calls.try_acquire_owned().map_err(|_| {
            Refusal::new(Code::TooMany, "the replica that serves this session has as many calls as it takes")
        })
    }

    /// It could not be connected to.
    pub fn unreachable(&self, replica: &Replica) {
        self.change(replica, |state| state.is_down = true);
    }

    /// It has too much to do.
    pub fn busy(&self, replica: &Replica, pause: Duration) {
        self.change(replica, |state| state.busy_until = Some(now() + pause.min(BUSY_LIMIT)));
    }

    /// Asks the replica how it is, and remembers it.
    pub async fn probe(&self, http: &HttpClient, replica: &Replica, health: Option<&str>) {
        let uri = format!("{}{}", replica.address(), health.unwrap_or("/")).parse::<Uri>();
        let Ok(uri) = uri else { return };
        self.note(replica, look(http, &uri, health.is_none(), PROBE_TIMEOUT).await);
    }

    fn note(&self, replica: &Replica, seen: Seen) {
        self.change(replica, |state| match seen {
            Seen::Well => (state.is_down, state.bad) = (false, 0),
            Seen::Bad => {
                state.bad = state.bad.saturating_add(1);
                state.is_down |= state.bad >= BAD_LIMIT;
            }
            Seen::Gone => state.is_down = true,
        });
    }

    /// Whether the replica is down, as far as is known.
    #[must_use]
    pub fn is_down(&self, replica: &Replica) -> bool {
        self.lock().get(replica).is_some_and(|state| state.is_down)
    }

    fn change(&self, replica: &Replica, change: impl FnOnce(&mut State)) {
        let mut states = self.lock();
        change(states.entry(replica.clone()).or_insert_with(|| State::new(1)));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Replica, State>> {
        // Nobody panics while holding it; if so, what is in it is still whole.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks how it is. Without a path that says so any answer is a good one.
async fn look(http: &HttpClient, uri: &Uri, is_any_good: bool, limit: Duration) -> Seen {
    let asked = http.send(Method::GET, uri, HeaderMap::new(), bytes::Bytes::new());
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(answer)) if is_any_good || answer.status().as_u16() < 400 => Seen::Well,
        // One that is slow to say how it is has much to do, or this gateway has.
        Ok(Ok(_)) | Err(_) => Seen::Bad,
        Ok(Err(_)) => Seen::Gone,
    }
}

impl State {
    fn is_up(&self) -> bool {
        !self.is_down && self.busy_until.is_none_or(|until| until <= now())
    }

    fn new(calls_limit: usize) -> Self {
        Self { is_down: false, busy_until: None, bad: 0, calls: Arc::new(Semaphore::new(calls_limit)), calls_limit }
    }
}

#[expect(clippy::disallowed_methods, reason = "pauses are measured by a clock that never jumps")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_that_are_down_are_left_out_unless_all_are() {
        let replicas = Replicas::default();
        let [a, b] = ["http://a", "http://b"].map(Replica::at);
        let open = [a.clone(), b.clone()];
        assert_eq!(replicas.candidates(&open), open);
        replicas.unreachable(&a);
        assert_eq!(replicas.candidates(&open), open[1..]);
        replicas.unreachable(&b);
        assert_eq!(replicas.candidates(&open), open);
        assert!(replicas.is_down(&a));
    }

    #[test]
    fn one_that_is_ill_or_late_is_down_the_second_time_and_one_that_is_gone_at_once() {
        let check = |seen: &[Seen], is_down: bool| {
            let (replicas, a) = (Replicas::default(), Replica::at("http://a"));
            seen.iter().for_each(|&seen| replicas.note(&a, seen));
            assert_eq!(replicas.is_down(&a), is_down, "{seen:?}");
        };
        check(&[Seen::Well], false);
        check(&[Seen::Bad], false);
        check(&[Seen::Bad, Seen::Bad], true);
        check(&[Seen::Bad, Seen::Well, Seen::Bad], false);
        check(&[Seen::Gone], true);
        check(&[Seen::Gone, Seen::Well], false);
    }

    #[tokio::test]
    async fn no_answer_in_time_is_a_bad_one_and_no_connection_is_none() {
        let http = HttpClient::new(None).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}/healthz", listener.local_addr().unwrap()).parse().unwrap();
        for is_any_good in [false, true] {
            let seen = look(&http, &uri, is_any_good, Duration::from_millis(1)).await;
            assert_eq!(seen, Seen::Bad);
        }
        drop(listener);
        assert_eq!(look(&http, &uri, false, Duration::from_secs(60)).await, Seen::Gone);
    }

    #[test]
    fn one_with_too_much_to_do_is_left_alone_for_a_while() {
        let replicas = Replicas::default();
        let open = ["http://a", "http://b"].map(Replica::at);
        replicas.busy(&open[0], Duration::from_secs(3_600));
        assert_eq!(replicas.candidates(&open), open[1..]);
        assert!(!replicas.is_down(&open[0]), "nobody needs to ask how it is");
        replicas.busy(&open[0], Duration::ZERO);
        assert_eq!(replicas.candidates(&open), open);
    }

    #[test]
    fn a_name_behind_an_address_does_not_change_where_it_is() {
        let uri: Uri = "http://127.0.0.1:1/v1#two/".parse().unwrap();
        assert_eq!(uri.path(), "/v1");
    }

    #[test]
    fn a_replica_takes_so_many_calls_at_a_time() {
        let replicas = Replicas::default();
        let a = Replica::at("http://a");
        let first = replicas.enter(&a, 1).unwrap();
        assert_eq!(replicas.enter(&a, 1).unwrap_err().code, Code::TooMany);
        drop(first);
        drop(replicas.enter(&a, 1).unwrap());
    }
}
