//! The table `ledger.rates` of the configuration.

use std::collections::BTreeSet;
use std::fmt;

use portcullis_domain::ledger::Rate;
use portcullis_domain::scope::{PATTERNS_LIMIT, Pattern, Scope};
use redis::{Client, IntoConnectionInfo as _};
use schemars::JsonSchema;
use serde::Deserialize;

/// How many limits there may be.
const LIMITS_LIMIT: usize = 64;
/// The longest name of a limit, in bytes.
const NAME_LIMIT_BYTES: usize = 64;

/// How long it may take at most until the store answers, in milliseconds.
const PATIENCE_LIMIT_MS: u64 = 60_000;

/// How often calls may be made. A call that comes too soon is refused with status 429 and `Retry-After`, and nothing of it is journaled.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RatesTable {
    /// A Redis or Valkey that several gateways count in together, as in `redis://:${REDIS_PASSWORD}@redis.internal:6379/0`, or `rediss://…` for TLS, with certificates that the machine trusts.
    /// Without one, and while it is away, each gateway counts by itself.
    pub store: Option<StoreUrl>,
    /// How long a call waits for the store before each gateway counts by itself, in milliseconds: 1 to 60000.
    pub patience_ms: u64,
    /// The limits. A call must be within all that it comes under.
    pub limits: Vec<LimitTable>,
}

impl Default for RatesTable {
    fn default() -> Self {
        Self { store: None, patience_ms: 100, limits: Vec::new() }
    }
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitTable {
    /// What it is called in refusals.
    pub name: String,
    /// How many calls.
    pub calls: u64,
    /// In how much time, in seconds.
    pub per_s: u64,
    /// How many of them may come at once; all of them when nothing is said.
    pub burst: Option<u64>,
    /// Whose calls are counted together.
    #[serde(default)]
    pub each: Each,
    /// Calls of what, as in `model/*` or `tool/claims__pay`; of everything when nothing is said.
    #[serde(default)]
    #[schemars(with = "BTreeSet<String>")]
    pub to: BTreeSet<Pattern>,
}

/// Whose calls are counted together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Each {
    /// Those of a principal, with those that agents make on their behalf.
    #[default]
    Principal,
    /// Those of whoever makes them: a principal, or an agent on anybody's behalf.
    Actor,
    /// Those of a session.
    Session,
    /// All.
    Everybody,
}

impl LimitTable {
    /// How often that is.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn rate(&self) -> Result<Rate, String> {
        let per_us = self.per_s.checked_mul(1_000_000).ok_or("it is longer than can be counted")?;
        Rate::new(self.calls, per_us, self.burst.unwrap_or(self.calls))
    }

    /// What it is for; everything when there is none.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        Scope::of_all(&self.to)
    }
}

impl RatesTable {
    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if !(1..=PATIENCE_LIMIT_MS).contains(&self.patience_ms) {
            return Some(format!("`ledger.rates.patience_ms` is 1 to {PATIENCE_LIMIT_MS}"));
        }
        if self.limits.len() > LIMITS_LIMIT {
            return Some(format!("`ledger.rates.limits` has at most {LIMITS_LIMIT}"));
        }
        let mut names = BTreeSet::new();
        self.limits.iter().find_map(|limit| {
            let problem = if limit.name.is_empty() || limit.name.len() > NAME_LIMIT_BYTES {
                Some(format!("a name has 1 to {NAME_LIMIT_BYTES} bytes"))
            } else if !names.insert(&limit.name) {
                Some("two limits have that name".to_owned())
            } else if limit.to.len() > PATTERNS_LIMIT {
                Some(format!("it names at most {PATTERNS_LIMIT} patterns"))
            } else {
                limit.rate().err()
            };
            problem.map(|problem| format!("`ledger.rates.limits`, `{}`: {problem}", limit.name))
        })
    }
}

/// The URL of a Redis. It may have a password and so is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct StoreUrl(String);

impl StoreUrl {
    /// What connects to it.
    ///
    /// # Errors
    ///
    /// A sentence, without the URL.
    pub fn client(&self) -> Result<Client, String> {
        Client::open(self.0.as_str()).map_err(|_| "the URL of the Redis can't be used".to_owned())
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a Redis")
    }
}

impl TryFrom<String> for StoreUrl {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        let is_meant = ["redis://", "rediss://", "redis+unix://"].iter().any(|scheme| url.starts_with(scheme));
        let info = url.as_str().into_connection_info();
        if !is_meant || info.is_err() || url.contains("#insecure") {
            // What was meant for another kind of URL may have a password in it.
            return Err("the store of rates is none that is known; use `redis://…` or `rediss://…`".to_owned());
        }
        Ok(Self(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &str, calls: u64, per_s: u64, burst: Option<u64>) -> LimitTable {
        LimitTable { name: name.to_owned(), calls, per_s, burst, each: Each::Principal, to: BTreeSet::new() }
    }

    #[test]
    fn what_is_no_limit_is_named() {
        let check = |limits: Vec<LimitTable>, expected: Option<&str>| {
            let problem = RatesTable { limits, ..RatesTable::default() }.problem();
            match expected {
                Some(text) => assert!(problem.as_ref().is_some_and(|problem| problem.contains(text)), "{problem:?}"),
                None => assert_eq!(problem, None),
            }
        };
        check(vec![], None);
        check(vec![limit("a", 60, 60, None), limit("b", 1, 1, Some(5))], None);
        check(vec![limit("a", 60, 60, None), limit("a", 1, 1, None)], Some("two limits"));
        check(vec![limit("", 60, 60, None)], Some("1 to 64 bytes"));
        check(vec![limit("a", 0, 60, None)], Some("at least one call"));
        check(vec![limit("a", 1, u64::MAX, None)], Some("longer than can be counted"));
    }

    #[test]
    fn a_call_waits_for_a_while_that_is_bounded() {
        for (patience_ms, is_taken) in [(0, false), (1, true), (60_000, true), (60_001, false)] {
            let problem = RatesTable { patience_ms, ..RatesTable::default() }.problem();
            assert_eq!(problem.is_none(), is_taken, "{patience_ms}: {problem:?}");
        }
    }

    #[test]
    fn only_the_url_of_a_redis_is_one_and_no_password_is_shown() {
        let check = |url: &str, is_one: bool| {
            let read = StoreUrl::try_from(url.to_owned());
            assert_eq!(read.is_ok(), is_one, "{url}");
            assert!(!format!("{read:?}").contains("hunter2"), "{read:?}");
        };
        check("redis://127.0.0.1:6379/0", true);
        check("redis://user:hunter2@127.0.0.1:6379/0", true);
        check("rediss://:hunter2@redis.internal", true);
        check("rediss://:hunter2@redis.internal/#insecure", false);
        check("postgres://user:hunter2@127.0.0.1/", false);
        check("redis://:hunter2@127.0.0.1:port/0", false);
        check("", false);
    }
}
