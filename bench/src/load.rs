//! The load generator: a fixed rate that does not wait for answers, and a closed loop that finds the peak.
//!
//! A generator that sends the next call when the last one was answered slows down together with what it measures and so
//! leaves out exactly the bad moments (coordinated omission). Here the moments of arrival are fixed before the run; a call
//! that finds all connections busy waits, and its wait counts, because latency runs from the intended moment.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet, time::timeout_at};

use crate::{
    calls::{Scenario, Target, Template, prepare},
    failure::Result,
    histogram::Histogram,
    wire::Connection,
};

/// No run makes more calls than this, however fast the peer.
const CALLS_LIMIT: u64 = 5_000_000;
/// A connection gives up after so many failed calls; what it would have sent counts as failed too.
const ERRORS_PER_CONNECTION: u64 = 100;
/// How long after its end a run waits for answers that are still owed.
const GRACE: Duration = Duration::from_secs(10);

/// Numbers every call of the process; ten digits from the start, as the templates demand.
static SERIAL: AtomicU64 = AtomicU64::new(1_000_000_000);

#[derive(Clone, Copy)]
pub(crate) enum Pace {
    Rate { per_second: u32, duration: Duration },
    Peak { duration: Duration },
}

/// What a run found. Latencies are those of good answers only.
pub(crate) struct Outcome {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// From the intended moment of sending to the last byte.
    pub(crate) latency: Histogram,
    /// From the intended moment of sending to the first byte of the body.
    pub(crate) first_byte: Histogram,
    /// From the intended to the actual moment of sending: the wait for a connection, and the generator's own lateness.
    pub(crate) lateness: Histogram,
    pub(crate) elapsed: Duration,
}

impl Outcome {
    fn new() -> Self {
        Self {
            calls: 0,
            errors: 0,
            first_error: None,
            latency: Histogram::new(),
            first_byte: Histogram::new(),
            lateness: Histogram::new(),
            elapsed: Duration::ZERO,
        }
    }

    fn fail(&mut self, message: String) {
        self.errors += 1;
        self.first_error.get_or_insert(message);
    }

    fn absorb(&mut self, other: Self) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.latency.absorb(&other.latency);
        self.first_byte.absorb(&other.first_byte);
        self.lateness.absorb(&other.lateness);
    }
}

/// Open connections, ready to call.
pub(crate) struct Fleet {
    scenario: Scenario,
    members: Vec<Member>,
}

impl Fleet {
    pub(crate) async fn open(target: &Target, scenario: Scenario, connections: u64, sessions: u64) -> Result<Self> {
        let mut members = Vec::new();
        for slot in 0..connections {
            members.push(Member::open(target, scenario, slot % sessions, sessions).await?);
        }
        Ok(Self { scenario, members })
    }

    pub(crate) async fn run(self, pace: Pace) -> Outcome {
        let connections = self.members.len();
        let schedule = Arc::new(Schedule::new(pace));
        let limit = tokio::time::Instant::from_std(schedule.end) + GRACE;
        let mut workers = JoinSet::new();
        for mut member in self.members {
            let schedule = Arc::clone(&schedule);
            workers.spawn(async move {
                let mut outcome = Outcome::new();
                if timeout_at(limit, member.work(&schedule, &mut outcome)).await.is_err() {
                    outcome.fail("no answer in time".to_owned());
                }
                outcome
            });
        }
        let pacer = Arc::clone(&schedule);
        thread::spawn(move || pacer.release(connections));
        let mut total = Outcome::new();
        while let Some(worker) = workers.join_next().await {
            match worker {
                Ok(outcome) => total.absorb(outcome),
                Err(error) => total.fail(format!("{}: {error}", self.scenario.name())),
            }
        }
        total.elapsed = schedule.start.elapsed();
        total.errors += schedule.arrivals.map_or(0, |arrivals| arrivals.saturating_sub(total.calls + total.errors));
        total
    }
}

/// When calls are due. Workers take the next number; a permit says that its moment has come.
struct Schedule {
    start: Instant,
    end: Instant,
    gap: Duration,
    /// None in a closed loop.
    arrivals: Option<u64>,
    next: AtomicU64,
    due: Semaphore,
}

impl Schedule {
    fn new(pace: Pace) -> Self {
        let (gap, arrivals, duration) = match pace {
            Pace::Peak { duration } => (Duration::ZERO, None, duration),
            Pace::Rate { per_second, duration } => {
                let gap = Duration::from_secs(1) / per_second.max(1);
                let arrivals = duration.as_nanos() / gap.as_nanos().max(1);
                (gap, Some(u64::try_from(arrivals).unwrap_or(u64::MAX).min(CALLS_LIMIT)), duration)
            }
        };
        let start = Instant::now();
        Self { start, end: start + duration, gap, arrivals, next: AtomicU64::new(0), due: Semaphore::new(0) }
    }

    /// One call in each gap, at a place within it that wanders evenly (multiples of the golden ratio): calls in step
    /// with the ticks of a timer would all meet it in the same phase, and another run would meet it in another one.
    fn intended(&self, index: u64) -> Instant {
        let place = u128::from(index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32);
        let gap = self.gap.as_nanos();
        let nanos = gap * u128::from(index) + ((gap * place) >> 32);
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The moment the next call was meant for, once it has come; None when there are no more.
    async fn arrival(&self) -> Option<Instant> {
        let Some(arrivals) = self.arrivals else {
            let now = Instant::now();
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            return (now < self.end && index < CALLS_LIMIT).then_some(now);
        };
        self.due.acquire().await.ok()?.forget();
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (index < arrivals).then(|| self.intended(index))
    }

    /// Runs on a thread of its own: the timers of the async runtime tick in milliseconds, too coarse for added latency.
    fn release(&self, connections: usize) {
        for index in 0..self.arrivals.unwrap_or(0) {
            let wait = self.intended(index).saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                thread::sleep(wait);
            }
            self.due.add_permits(1);
        }
        // One more for each worker, so that it sees the end.
        self.due.add_permits(connections);
    }
}

struct Member {
    target: Target,
    scenario: Scenario,
    connection: Connection,
    template: Template,
    session: u64,
    sessions: u64,
}

impl Member {
    async fn open(target: &Target, scenario: Scenario, session: u64, sessions: u64) -> Result<Self> {
        let mut connection = Connection::open(target.address).await?;
        let template = prepare(scenario, target, &mut connection, session).await?;
        Ok(Self { target: target.clone(), scenario, connection, template, session, sessions })
    }

    async fn work(&mut self, schedule: &Schedule, outcome: &mut Outcome) {
        while let Some(intended) = schedule.arrival().await {
            if self.call(intended, outcome).await {
                continue;
            }
            if outcome.errors >= ERRORS_PER_CONNECTION {
                return;
            }
            match Self::open(&self.target, self.scenario, self.session, self.sessions).await {
                Ok(fresh) => *self = fresh,
                Err(error) => return outcome.fail(error.to_string()),
            }
        }
    }

    /// False if the call failed, after which the connection can't be trusted.
    async fn call(&mut self, intended: Instant, outcome: &mut Outcome) -> bool {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        self.template.fill(serial, serial % self.sessions);
        outcome.lateness.record(intended.elapsed());
        match self.connection.exchange(self.template.bytes()).await {
            Ok(answer) if self.scenario.accepts(&answer) => {
                outcome.latency.record(intended.elapsed());
                outcome.first_byte.record(answer.first_byte.saturating_duration_since(intended));
                outcome.calls += 1;
                return true;
            }
            Ok(answer) => {
                let text: String = answer.text().chars().take(300).collect();
                outcome.fail(format!("status {}: {text}", answer.status));
            }
            Err(error) => outcome.fail(error.to_string()),
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_due_in_order_one_in_each_gap() {
        let schedule = Schedule::new(Pace::Rate { per_second: 500, duration: Duration::from_secs(2) });
        assert_eq!(schedule.arrivals, Some(1_000));
        let gap = Duration::from_millis(2);
        let mut phases = Duration::ZERO;
        for index in 0..1_000_u32 {
            let phase = schedule.intended(u64::from(index)).checked_duration_since(schedule.start + gap * index);
            let phase = phase.expect("not before its gap");
            assert!(phase < gap, "call {index} is {phase:?} into its gap");
            phases += phase;
        }
        let mean = phases / 1_000;
        assert!(mean.abs_diff(gap / 2) < Duration::from_micros(10), "{mean:?} is not the middle");
    }
}
