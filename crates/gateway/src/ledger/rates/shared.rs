//! Windows in a Redis or Valkey, by its own clock.
//!
//! It is asked with little patience: when it does not answer in time it is left alone for a while, and nobody waits for it meanwhile.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use portcullis_domain::time::Timestamp;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{RedisError, Script};

use super::table::StoreUrl;
use super::window::{Full, Window};
use crate::clock::Clock;

/// For how long it is left alone after it did not answer, in microseconds.
const AWAY_US: u64 = 1_000_000;
/// How long connecting may take, where nobody waits for longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The rule of `Rate::take` for each key, with its interval and how early a call may come as arguments: all are counted, or none. It answers with the number of the first that is
/// full, from 1, and the microseconds to wait; 0 when none is. Numbers are floating-point there, and times in microseconds exact until the year 2255.
const TAKE: &str = "\
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local next_due = {}
for i, key in ipairs(KEYS) do
    local interval, early = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local due = tonumber(redis.call('GET', key) or '0') or 0
    due = math.min(math.max(due, now), now + early + interval)
    local wait = due - now - early
    if wait > 0 then return {i, wait} end
    next_due[i] = due + interval
end
for i, key in ipairs(KEYS) do
    redis.call('SET', key, string.format('%.0f', next_due[i]), 'PX', math.ceil((next_due[i] - now) / 1000))
end
return {0, 0}";

/// A Redis.
pub(super) struct Shared {
    connection: ConnectionManager,
    take: Script,
    /// How long a call waits for it.
    patience: Duration,
    away_until: Mutex<Option<Timestamp>>,
}

impl Shared {
    /// Connects to it as soon as it is needed.
    pub(super) fn open(url: &StoreUrl, patience: Duration) -> Option<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT.max(patience)))
            .set_response_timeout(Some(patience))
            .set_number_of_retries(0);
        let opened = url.client().ok()?;
        let connection = ConnectionManager::new_lazy_with_config(opened, config);
        let connection =
            connection.inspect_err(|error| tracing::error!(%error, "the store of rates can't be used")).ok()?;
        Some(Self { connection, take: Script::new(TAKE), patience, away_until: Mutex::default() })
    }

    /// Counts a call in all of them, or in none; nothing when it is away.
    pub(super) async fn take(&self, windows: &[Window<'_>], clock: &dyn Clock) -> Option<Result<(), Full>> {
        let now = clock.now();
        // A clock that was put back does not keep it away for longer.
        let is_soon = |until: Timestamp| now < until && until.0 - now.0 <= AWAY_US;
        if self.away_until().is_some_and(is_soon) {
            return None;
        }
        let mut call = self.take.prepare_invoke();
        for window in windows {
            call.key(&window.key).arg(window.limit.rate.interval_us()).arg(window.limit.rate.early_us());
        }
        let mut connection = self.connection.clone();
        let answered: Result<Result<(usize, u64), RedisError>, _> =
            tokio::time::timeout(self.patience, call.invoke_async(&mut connection)).await;
        let problem = match answered {
            Ok(Ok((0, _))) => return self.is_here(Ok(())),
            Ok(Ok((number, wait_us))) => return self.is_here(Err(Full { index: number - 1, wait_us })),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it did not answer in {} ms", self.patience.as_millis()),
        };
        if self.set_away(Some(Timestamp(clock.now().0.saturating_add(AWAY_US)))).is_none() {
            tracing::warn!(problem, "the store of rates is away; each gateway counts by itself meanwhile");
        }
        None
    }

    fn is_here(&self, answer: Result<(), Full>) -> Option<Result<(), Full>> {
        if self.set_away(None).is_some() {
            tracing::info!("the store of rates is there again");
        }
        Some(answer)
    }

    fn away_until(&self) -> Option<Timestamp> {
        *self.away_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what was there before.
    fn set_away(&self, until: Option<Timestamp>) -> Option<Timestamp> {
        std::mem::replace(&mut *self.away_until.lock().unwrap_or_else(PoisonError::into_inner), until)
    }
}
