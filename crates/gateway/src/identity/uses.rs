//! When keys were used last: for people who look for keys that nobody needs. Kept in memory, to the minute, and not journaled: it is that of this gateway since it was started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use portcullis_domain::ids::KeyId;
use portcullis_domain::time::Timestamp;

const MINUTE_US: u64 = 60_000_000;
/// The most keys that are remembered; one that is used after that stands without a time.
const KEYS_LIMIT: usize = 64 << 10;

/// The last uses. Locked to write only for a key that was not used before.
#[derive(Debug, Default)]
pub struct Uses(RwLock<BTreeMap<KeyId, AtomicU64>>);

impl Uses {
    /// Notes that a valid key was used.
    pub fn note(&self, key: &KeyId, at: Timestamp) {
        let at = at.0 - at.0 % MINUTE_US;
        if let Some(last) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            last.fetch_max(at, Ordering::Relaxed);
            return;
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() < KEYS_LIMIT {
            all.entry(key.clone()).or_default().fetch_max(at, Ordering::Relaxed);
        }
    }

    /// The minute in which the key was used last, as far as this gateway knows.
    #[must_use]
    pub fn last(&self, key: &KeyId) -> Option<Timestamp> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(key).map(|last| Timestamp(last.load(Ordering::Relaxed)))
    }
}
