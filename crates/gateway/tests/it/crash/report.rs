//! The figures of a run.

use std::fmt;
use std::time::Duration;

/// What was done and what came of it, over all rounds.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) seed: u64,
    /// Kills under load.
    pub(super) kills: u64,
    /// Kills while it was starting.
    pub(super) early: u64,
    /// Kills while the disk hung.
    pub(super) stalled: u64,
    /// How long each start took that was not cut short.
    pub(super) starts: Vec<Duration>,
    /// How much processor time each of them has used until it was ready.
    pub(super) efforts: Vec<Duration>,
    pub(super) acknowledged: usize,
    pub(super) effects: usize,
    pub(super) entries: u64,
    pub(super) unknown: usize,
    pub(super) exhausted: u64,
    pub(super) left: u64,
    pub(super) missing: usize,
    pub(super) twice: usize,
}

impl Report {
    /// The middle one and the most.
    pub(super) fn start_efforts(&self) -> (Duration, Duration) {
        middle_and_most(&self.efforts)
    }
}

fn middle_and_most(times: &[Duration]) -> (Duration, Duration) {
    let mut times = times.to_vec();
    times.sort();
    (times.get(times.len() / 2).copied().unwrap_or_default(), times.last().copied().unwrap_or_default())
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (middle, longest) = middle_and_most(&self.starts);
        let (effort, most) = self.start_efforts();
        let ms = |time: Duration| time.as_millis();
        let Self { kills, early, stalled, seed, .. } = self;
        let rounds = kills + early;
        writeln!(out, "rounds          {rounds} ({early} while starting, {stalled} while the disk hung), seed {seed}")?;
        writeln!(out, "acknowledged    {}, missing {}", self.acknowledged, self.missing)?;
        writeln!(out, "tool effects    {}, duplicates {}", self.effects, self.twice)?;
        writeln!(out, "entries         {}, outcome unknown {}", self.entries, self.unknown)?;
        writeln!(out, "callers         left {}, found a budget exhausted {}", self.left, self.exhausted)?;
        writeln!(out, "start-up        p50 {} ms, max {} ms over {}", ms(middle), ms(longest), self.starts.len())?;
        write!(out, "  of processor  p50 {} ms, max {} ms", ms(effort), ms(most))
    }
}
