//! When what was not accepted is tried again: after a second, and then after twice as long each time, up to a limit. Only in memory: after a start everything is tried at once.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use portcullis_domain::time::Timestamp;

/// How long after a first failure it is tried again.
const PAUSE_US: u64 = 1_000_000;
/// The longest pause between two attempts.
const PAUSE_LIMIT_US: u64 = 300 * 1_000_000;

/// The failures of what is still to be accepted.
#[derive(Debug)]
pub struct Backoff<K> {
    failed: HashMap<K, Failed>,
}

#[derive(Debug, Clone, Copy)]
struct Failed {
    times: u32,
    next: Timestamp,
}

impl<K: Eq + Hash> Backoff<K> {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new() -> Self {
        Self { failed: HashMap::new() }
    }

    /// Whether it is too early for another attempt.
    #[must_use]
    pub fn is_early(&self, key: &K, now: Timestamp) -> bool {
        self.failed.get(key).is_some_and(|failed| failed.next > now)
    }

    /// Forgets what is not due any more: it was given up elsewhere, or is told by another gateway.
    pub fn keep(&mut self, due: &HashSet<K>) {
        self.failed.retain(|key, _| due.contains(key));
    }

    /// Takes in how an attempt went.
    pub fn note(&mut self, key: K, is_accepted: bool, now: Timestamp) {
        if is_accepted {
            self.failed.remove(&key);
            return;
        }
        let entry = self.failed.entry(key).or_insert(Failed { times: 0, next: now });
        let pause = PAUSE_US.saturating_mul(1 << entry.times.min(20)).min(PAUSE_LIMIT_US);
        *entry = Failed { times: entry.times + 1, next: Timestamp(now.0.saturating_add(pause)) };
    }
}

impl<K: Eq + Hash> Default for Backoff<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_limit_and_is_forgotten_when_it_is_accepted() {
        let mut backoff = Backoff::new();
        let mut now = Timestamp(7);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            backoff.note("letter", false, now);
            let next = backoff.failed["letter"].next;
            assert!(backoff.is_early(&"letter", Timestamp(next.0 - 1)) && !backoff.is_early(&"letter", next));
            pauses.push((next.0 - now.0) / 1_000_000);
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        backoff.note("letter", true, now);
        assert!(backoff.failed.is_empty());
    }

    #[test]
    fn what_is_not_due_any_more_is_forgotten() {
        let mut backoff = Backoff::new();
        for letter in ["a", "b"] {
            backoff.note(letter, false, Timestamp(7));
        }
        backoff.keep(&HashSet::from(["b", "c"]));
        assert_eq!(backoff.failed.keys().collect::<Vec<_>>(), [&"b"]);
    }
}
