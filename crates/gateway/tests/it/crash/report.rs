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
    /// The middle one and the longest.
    pub(super) fn start_times(&self) -> (Duration, Duration) {
        let mut starts = self.starts.clone();
        starts.sort();
        (starts.get(starts.len() / 2).copied().unwrap_or_default(), starts.last().copied().unwrap_or_default())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (middle, longest) = self.start_times();
        let ms = |time: Duration| time.as_millis();
        let Self { kills, early, stalled, seed, .. } = self;
        let rounds = kills + early;
        writeln!(out, "rounds          {rounds} ({early} while starting, {stalled} while the disk hung), seed {seed}")?;
        writeln!(out, "acknowledged    {}, missing {}", self.acknowledged, self.missing)?;
        writeln!(out, "tool effects    {}, duplicates {}", self.effects, self.twice)?;
        writeln!(out, "entries         {}, outcome unknown {}", self.entries, self.unknown)?;
        writeln!(out, "callers         left {}, found a budget exhausted {}", self.left, self.exhausted)?;
        write!(out, "start-up        p50 {} ms, max {} ms over {}", ms(middle), ms(longest), self.starts.len())
    }
}
