//! The scratchpad: named values with a version, written by compare-and-set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::refusal::{Code, Refusal};
use crate::session::event::{StateKey, StatePut};

/// The largest value, in bytes.
pub const VALUE_LIMIT_BYTES: usize = 256 * 1024;
/// The most values of one session.
pub const VALUES_LIMIT: usize = 64;

/// Where a value is: the entry of the session's stream that has it as its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The value's version.
    pub version: u64,
    /// The number of the entry.
    pub seq: u64,
}

/// What a writer believes to be there (RFC 9110, sections 13.1.1 and 13.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever there is (no condition).
    Anything,
    /// Nothing (`If-None-Match: *`).
    Absent,
    /// Something (`If-Match: *`).
    Present,
    /// Exactly this version (`If-Match: "3"`).
    Version(u64),
}

/// The values of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scratchpad {
    values: BTreeMap<StateKey, Located>,
}

impl Scratchpad {
    /// Where the value of that key is.
    #[must_use]
    pub fn find(&self, key: &StateKey) -> Option<Located> {
        self.values.get(key).copied()
    }

    /// All keys with where their values are.
    pub fn all(&self) -> impl Iterator<Item = (&StateKey, &Located)> {
        self.values.iter()
    }

    /// The version that writing `bytes` under `key` would give.
    ///
    /// # Errors
    ///
    /// [`Code::Conflict`] when what is there is not what is expected; [`Code::TooLarge`] or [`Code::TooMany`] over a limit.
    pub fn put(&self, key: &StateKey, expected: Expected, bytes: usize) -> Result<u64, Refusal> {
        let found = self.find(key).map(|located| located.version);
        let is_met = match expected {
            Expected::Anything => true,
            Expected::Absent => found.is_none(),
            Expected::Present => found.is_some(),
            Expected::Version(version) => found == Some(version),
        };
        if !is_met {
            let there = found.map_or("nothing".to_owned(), |version| format!("version {version}"));
            return Err(Refusal::new(Code::Conflict, format!("`{key}` has {there}, which is not what was expected")));
        }
        if bytes > VALUE_LIMIT_BYTES {
            return Err(Refusal::new(
                Code::TooLarge,
                format!("a value has at most {VALUE_LIMIT_BYTES} bytes, not {bytes}"),
            ));
        }
        if found.is_none() && self.values.len() >= VALUES_LIMIT {
            return Err(Refusal::new(Code::TooMany, format!("a session has at most {VALUES_LIMIT} values")));
        }
        Ok(found.unwrap_or(0) + 1)
    }

    /// Takes in that a value was written by the entry of that number.
    pub fn was_put(&mut self, event: &StatePut, seq: u64) {
        self.values.insert(event.key.clone(), Located { version: event.version, seq });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_only_over_what_the_writer_expects() {
        let key: StateKey = "step".parse().unwrap();
        let mut pad = Scratchpad::default();
        let version = |pad: &Scratchpad, expected| pad.put(&key, expected, 1).map_err(|refusal| refusal.code);
        assert_eq!(version(&pad, Expected::Present), Err(Code::Conflict));
        assert_eq!(version(&pad, Expected::Version(0)), Err(Code::Conflict));
        assert_eq!(version(&pad, Expected::Absent), Ok(1));
        pad.was_put(&StatePut { key: key.clone(), version: 1 }, 7);
        assert_eq!(version(&pad, Expected::Absent), Err(Code::Conflict));
        assert_eq!(version(&pad, Expected::Version(2)), Err(Code::Conflict));
        assert_eq!(version(&pad, Expected::Version(1)), Ok(2));
        assert_eq!(version(&pad, Expected::Anything), Ok(2));
    }

    #[test]
    fn values_and_their_number_have_limits() {
        let mut pad = Scratchpad::default();
        for number in 0..VALUES_LIMIT {
            let key: StateKey = format!("key-{number}").parse().unwrap();
            pad.was_put(&StatePut { key, version: 1 }, 1);
        }
        let (new, old): (StateKey, StateKey) = ("new".parse().unwrap(), "key-0".parse().unwrap());
        assert_eq!(pad.put(&new, Expected::Anything, 1).unwrap_err().code, Code::TooMany);
        assert_eq!(pad.put(&old, Expected::Anything, VALUE_LIMIT_BYTES), Ok(2));
        assert_eq!(pad.put(&old, Expected::Anything, VALUE_LIMIT_BYTES + 1).unwrap_err().code, Code::TooLarge);
    }
}
