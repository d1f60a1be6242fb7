//! The scratchpad: named values with a version, written and deleted by compare-and-set, for a time or for good.
//!
//! Nothing sweeps at a time of its own. A value whose time is over is absent to whoever asks; it is forgotten with the next write.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::refusal::{Code, Refusal};
use crate::session::event::{StateDeleted, StateKey, StatePut};
use crate::time::Timestamp;

/// The largest value, in bytes.
pub const VALUE_LIMIT_BYTES: u64 = 1024 * 1024;
/// The most values of one session.
pub const VALUES_LIMIT: usize = 1_024;
/// The most bytes that all values of one session have together.
pub const VALUES_LIMIT_BYTES: u64 = 32 * 1024 * 1024;
/// The longest time that a value may be kept for, in seconds: ten years. Whoever means longer means for good.
pub const TTL_LIMIT_S: u64 = 10 * 365 * 86_400;

/// Where a value is: the entry of the session's stream that has it as its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The value's version.
    pub version: u64,
    /// The number of the entry.
    pub seq: u64,
    /// How long it is.
    pub bytes: u64,
    /// From when on it is absent; none is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl Located {
    fn is_live(&self, at: Timestamp) -> bool {
        self.expires_at.is_none_or(|expiry| at < expiry)
    }
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

impl Expected {
    fn check(self, key: &StateKey, found: Option<u64>) -> Result<(), Refusal> {
        let is_met = match self {
            Self::Anything => true,
            Self::Absent => found.is_none(),
            Self::Present => found.is_some(),
            Self::Version(version) => found == Some(version),
        };
        if is_met {
            return Ok(());
        }
        let there = found.map_or("nothing".to_owned(), |version| format!("version {version}"));
        Err(Refusal::new(Code::Conflict, format!("`{key}` has {there}, which is not what was expected")))
    }
}

/// The values of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scratchpad {
    values: BTreeMap<StateKey, Located>,
    /// The highest version of any value that is gone. What is written where nothing is counts on from here, so that no key ever
    /// has the same version twice, without a memory of every key that there was.
    #[serde(default)]
    floor: u64,
}

impl Scratchpad {
    /// Where the value of that key is, if it has one at that time.
    #[must_use]
    pub fn find(&self, key: &StateKey, at: Timestamp) -> Option<Located> {
        self.values.get(key).copied().filter(|located| located.is_live(at))
    }

    /// All keys that have a value at that time, in order, with where their values are.
    pub fn all(&self, at: Timestamp) -> impl Iterator<Item = (&StateKey, &Located)> {
        self.values.iter().filter(move |(_, located)| located.is_live(at))
    }

    /// The version that a value gets which is written now.
    #[must_use]
    pub fn next_version(&self, key: &StateKey) -> u64 {
        self.values.get(key).map_or(self.floor, |located| located.version) + 1
    }

    /// The version that writing `bytes` under `key` would give, and whether there was nothing.
    ///
    /// # Errors
    ///
    /// [`Code::Conflict`] when what is there is not what is expected; [`Code::TooLarge`] or [`Code::TooMany`] over a limit.
    pub fn put(&self, key: &StateKey, expected: Expected, bytes: u64, at: Timestamp) -> Result<(u64, bool), Refusal> {
        let found = self.find(key, at);
        expected.check(key, found.map(|located| located.version))?;
        if bytes > VALUE_LIMIT_BYTES {
            let message = format!("a value has at most {VALUE_LIMIT_BYTES} bytes, not {bytes}");
            return Err(Refusal::new(Code::TooLarge, message));
        }
        let (count, sum) = self.all(at).fold((0, 0), |(count, sum), (_, located)| (count + 1, sum + located.bytes));
        if found.is_none() && count >= VALUES_LIMIT {
            let message = format!("a session has at most {VALUES_LIMIT} values: delete one, or use another session");
            return Err(Refusal::new(Code::TooMany, message));
        }
        let others = sum - found.map_or(0, |located| located.bytes);
        if others + bytes > VALUES_LIMIT_BYTES {
            let message = format!(
                "the values of a session have at most {VALUES_LIMIT_BYTES} bytes together: the others have {others}, and this one {bytes}"
            );
            return Err(Refusal::new(Code::TooLarge, message));
        }
        Ok((self.next_version(key), found.is_none()))
    }

    /// The version that deleting the value of `key` would end.
    ///
    /// # Errors
    ///
    /// [`Code::Conflict`] when what is there is not what is expected; [`Code::NotFound`] when nothing is there.
    pub fn delete(&self, key: &StateKey, expected: Expected, at: Timestamp) -> Result<u64, Refusal> {
        let found = self.find(key, at).map(|located| located.version);
        expected.check(key, found)?;
        found.ok_or_else(|| Refusal::new(Code::NotFound, format!("there is no value `{key}`")))
    }

    /// Takes in that a value was written at that time by the entry of that number.
    pub fn was_put(&mut self, event: &StatePut, seq: u64, at: Timestamp) {
        let StatePut { version, bytes, expires_at, .. } = *event;
        self.values.insert(event.key.clone(), Located { version, seq, bytes, expires_at });
        let (values, floor) = (&mut self.values, &mut self.floor);
        values.retain(|_, located| {
            let is_live = located.is_live(at);
            if !is_live {
                *floor = located.version.max(*floor);
            }
            is_live
        });
    }

    /// Takes in that a value was deleted.
    pub fn was_deleted(&mut self, event: &StateDeleted) {
        self.values.remove(&event.key);
        self.floor = event.version.max(self.floor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(10);

    fn key(text: &str) -> StateKey {
        text.parse().unwrap()
    }

    fn put(name: &str, version: u64, bytes: u64, expires_at: Option<u64>) -> StatePut {
        StatePut { key: key(name), version, bytes, expires_at: expires_at.map(Timestamp) }
    }

    /// What writing one byte and deleting come to.
    fn check(
        pad: &Scratchpad,
        name: &str,
        expected: Expected,
        at: u64,
        write: Result<u64, Code>,
        delete: Result<u64, Code>,
    ) {
        let written = pad.put(&key(name), expected, 1, Timestamp(at));
        assert_eq!(written.map(|(version, _)| version).map_err(|refusal| refusal.code), write, "put {expected:?}");
        let deleted = pad.delete(&key(name), expected, Timestamp(at));
        assert_eq!(deleted.map_err(|refusal| refusal.code), delete, "delete {expected:?}");
    }

    #[test]
    fn a_value_is_written_and_deleted_only_over_what_is_expected() {
        let (no, gone) = (Err(Code::Conflict), Err(Code::NotFound));
        let mut pad = Scratchpad::default();
        check(&pad, "step", Expected::Present, 10, no, no);
        check(&pad, "step", Expected::Version(0), 10, no, no);
        check(&pad, "step", Expected::Absent, 10, Ok(1), gone);
        check(&pad, "step", Expected::Anything, 10, Ok(1), gone);
        pad.was_put(&put("step", 1, 1, None), 7, NOW);
        check(&pad, "step", Expected::Absent, 10, no, no);
        check(&pad, "step", Expected::Version(2), 10, no, no);
        check(&pad, "step", Expected::Version(1), 10, Ok(2), Ok(1));
        check(&pad, "step", Expected::Present, 10, Ok(2), Ok(1));
        check(&pad, "step", Expected::Anything, 10, Ok(2), Ok(1));
    }

    #[test]
    fn versions_count_on_where_a_value_was_deleted() {
        let mut pad = Scratchpad::default();
        pad.was_put(&put("step", 5, 1, None), 7, NOW);
        pad.was_deleted(&StateDeleted { key: key("step"), version: 5 });
        assert_eq!(pad.find(&key("step"), NOW), None);
        check(&pad, "step", Expected::Version(5), 10, Err(Code::Conflict), Err(Code::Conflict));
        check(&pad, "step", Expected::Absent, 10, Ok(6), Err(Code::NotFound));
    }

    #[test]
    fn a_value_whose_time_is_over_is_absent_and_its_version_does_not_come_back() {
        let mut pad = Scratchpad::default();
        pad.was_put(&put("step", 5, 1, Some(20)), 7, NOW);
        check(&pad, "step", Expected::Version(5), 19, Ok(6), Ok(5));
        check(&pad, "step", Expected::Version(5), 20, Err(Code::Conflict), Err(Code::Conflict));
        check(&pad, "step", Expected::Absent, 20, Ok(6), Err(Code::NotFound));
        assert_eq!((pad.all(Timestamp(19)).count(), pad.all(Timestamp(20)).count()), (1, 0));
        pad.was_put(&put("other", 1, 1, None), 8, Timestamp(20));
        assert_eq!(pad.values.len(), 1, "it is forgotten");
        check(&pad, "step", Expected::Absent, 20, Ok(6), Err(Code::NotFound));
    }

    #[test]
    fn values_their_number_and_their_sum_have_limits() {
        let refused = |pad: &Scratchpad, name: &str, bytes: u64| {
            pad.put(&key(name), Expected::Anything, bytes, NOW).err().map(|refusal| refusal.code)
        };
        let mut pad = Scratchpad::default();
        assert_eq!(refused(&pad, "new", VALUE_LIMIT_BYTES), None);
        assert_eq!(refused(&pad, "new", VALUE_LIMIT_BYTES + 1), Some(Code::TooLarge));
        for number in 0..VALUES_LIMIT {
            pad.was_put(&put(&format!("key-{number}"), 1, 1, None), 1, NOW);
        }
        assert_eq!(refused(&pad, "new", 1), Some(Code::TooMany));
        assert_eq!(refused(&pad, "key-0", VALUE_LIMIT_BYTES), None);
        let mut pad = Scratchpad::default();
        for number in 0..32 {
            pad.was_put(&put(&format!("key-{number}"), 1, VALUE_LIMIT_BYTES, None), 1, NOW);
        }
        assert_eq!(refused(&pad, "new", 1), Some(Code::TooLarge));
        assert_eq!(refused(&pad, "key-0", VALUE_LIMIT_BYTES), None);
        pad.was_put(&put("key-0", 2, 1, None), 1, NOW);
        assert_eq!(refused(&pad, "new", VALUE_LIMIT_BYTES - 1), None);
        assert_eq!(refused(&pad, "new", VALUE_LIMIT_BYTES), Some(Code::TooLarge));
    }
}
