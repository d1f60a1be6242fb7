//! The order of things: every peer has its turn in every round, so that what disturbs the machine disturbs all alike.

use std::time::Duration;

use crate::{
    calls::Scenario,
    cpu::{Machine, Usage, resident_kib},
    failure::Result,
    load::{Fleet, Outcome, Pace},
    options::Options,
    peers::{Lane, Peer},
    upstream::Upstream,
};

const WARM_UP: Duration = Duration::from_millis(500);
/// Portcullis seals its journal up to a second after the call; that work belongs to the call.
const SETTLE: Duration = Duration::from_millis(1_200);
/// Above this share of a core, other processes make a run doubtful.
pub(crate) const DISTURBED: f64 = 0.1;

/// One run of one peer.
pub(crate) struct Sample {
    pub(crate) outcome: Outcome,
    /// Processor time of the proxy.
    pub(crate) spent: Duration,
    /// Share of one core the proxy had while the load ran.
    pub(crate) busy: f64,
    /// Share of one core that went to processes outside the measurement, and to the hypervisor.
    pub(crate) foreign: f64,
    pub(crate) resident_kib: u64,
}

/// All runs of one peer in one scenario.
pub(crate) struct Series {
    pub(crate) peer: Peer,
    pub(crate) fixed: Vec<Sample>,
    pub(crate) peak: Vec<Sample>,
}

pub(crate) struct Bench<'a> {
    pub(crate) options: &'a Options,
    pub(crate) upstream: &'a Upstream,
    pub(crate) lanes: &'a [Lane],
}

impl Bench<'_> {
    pub(crate) async fn run(&self, scenario: Scenario) -> Result<Vec<Series>> {
        let mut all = Vec::new();
        for lane in self.lanes {
            match self.warm_up(lane, scenario).await {
                Ok(()) => all.push((lane, Series { peer: lane.peer, fixed: vec![], peak: vec![] })),
                Err(error) => eprintln!("{}, without {}: {error}", scenario.name(), lane.peer.name()),
            }
        }
        for round in 0..self.options.rounds {
            let mut turns: Vec<_> = all.iter_mut().collect();
            // Another peer begins each time, so that none always follows the same one.
            let first = usize::try_from(round).unwrap_or(0) % turns.len().max(1);
            turns.rotate_left(first);
            for (lane, series) in turns {
                eprintln!("{}, round {} of {}: {}", scenario.name(), round + 1, self.options.rounds, lane.peer.name());
                self.turn(lane, scenario, series).await?;
            }
        }
        Ok(all.into_iter().map(|(_, series)| series).collect())
    }

    /// A peer that can't answer every call of its warm-up is left out: its numbers would be those of refusals.
    async fn warm_up(&self, lane: &Lane, scenario: Scenario) -> Result<()> {
        let outcome = self.open(lane, scenario).await?.run(Pace::Peak { duration: WARM_UP }).await;
        outcome.first_error.map_or(Ok(()), |error| Err(error.into()))
    }

    async fn turn(&self, lane: &Lane, scenario: Scenario, series: &mut Series) -> Result<()> {
        let per_second = self.options.rate_of(scenario);
        let duration = self.options.duration();
        series.fixed.push(self.quiet(lane, scenario, Pace::Rate { per_second, duration }).await?);
        series.peak.push(self.quiet(lane, scenario, Pace::Peak { duration: duration / 2 }).await?);
        Ok(())
    }

    /// The least disturbed of a few attempts: chosen by what others did on the machine, never by the result.
    async fn quiet(&self, lane: &Lane, scenario: Scenario, pace: Pace) -> Result<Sample> {
        let mut best = self.sample(lane, scenario, pace).await?;
        for _ in 0..self.options.retries {
            if best.foreign <= DISTURBED {
                break;
            }
            let mut again = self.sample(lane, scenario, pace).await?;
            if again.foreign < best.foreign {
                std::mem::swap(&mut best, &mut again);
            }
            // A failed call stays one, whatever becomes of its run.
            best.outcome.errors += again.outcome.errors;
            best.outcome.first_error = best.outcome.first_error.take().or(again.outcome.first_error);
        }
        Ok(best)
    }

    async fn sample(&self, lane: &Lane, scenario: Scenario, pace: Pace) -> Result<Sample> {
        let fleet = self.open(lane, scenario).await?;
        let served = self.upstream.served();
        let before = Watch::look(lane);
        let mut outcome = fleet.run(pace).await;
        let after = Watch::look(lane);
        if lane.peer == Peer::Portcullis {
            tokio::time::sleep(SETTLE).await;
        }
        if self.upstream.served() - served < outcome.calls {
            outcome.errors += outcome.calls;
            outcome.first_error.get_or_insert("answered calls that never reached the upstream".to_owned());
        }
        let share = |time: Duration| time.as_secs_f64() / outcome.elapsed.as_secs_f64();
        Ok(Sample {
            spent: Watch::look(lane).proxy.since(&before.proxy),
            busy: share(after.proxy.since(&before.proxy)),
            foreign: share(after.foreign_since(&before)),
            resident_kib: lane.process().map_or(0, resident_kib),
            outcome,
        })
    }

    async fn open(&self, lane: &Lane, scenario: Scenario) -> Result<Fleet> {
        let opened = Fleet::open(&lane.target, scenario, self.options.connections, self.options.sessions).await;
        opened.map_err(|error| format!("{}: {error}", lane.peer.name()).into())
    }
}

/// All processor times at one moment.
struct Watch {
    proxy: Usage,
    /// This process and all proxies, which are its children.
    ours: Usage,
    machine: Machine,
}

impl Watch {
    fn look(lane: &Lane) -> Self {
        // No process has the number 0, so a lane without a proxy spends nothing.
        let proxy = Usage::of(lane.process().unwrap_or(0));
        Self { proxy, ours: Usage::of(std::process::id()), machine: Machine::now() }
    }

    fn foreign_since(&self, before: &Self) -> Duration {
        let busy = self.machine.busy.saturating_sub(before.machine.busy);
        let stolen = self.machine.stolen.saturating_sub(before.machine.stolen);
        busy.saturating_sub(self.ours.since(&before.ours)) + stolen
    }
}
