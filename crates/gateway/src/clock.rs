//! The only place that reads the time of day. Everything else is handed a [`Clock`], so that days can pass in a test.

use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_domain::time::Timestamp;

/// What time it is.
pub trait Clock: Send + Sync {
    /// The time now. It may stand still or jump back, as the machine's does.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock that all others are handed")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}
