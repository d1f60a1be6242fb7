//! What changes from call to call: the time, and what the session has done so far.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::LabelName;
use crate::money::Nanodollars;
use crate::time::Timestamp;

/// How old a decision may be that rests on the time. What waits longer for the store is judged again.
pub const AGE_LIMIT_US: u64 = 10_000_000;

/// What rules may read of the moment. What is absent is not known, or was not read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// For how long the session has been open, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
    /// What the session's calls were charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<Nanodollars>,
    /// How many calls were admitted to the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// How many calls were refused in it, at the door or inside a model's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// What the session is marked with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeSet<LabelName>>,
}

impl Moment {
    /// What either of the two has.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            at: self.at.or(other.at),
            age_s: self.age_s.or(other.age_s),
            spent: self.spent.or(other.spent),
            calls: self.calls.or(other.calls),
            refused: self.refused.or(other.refused),
            labels: self.labels.or(other.labels),
        }
    }

    /// Whether what was read is not so any more, `now` that everything is known. Time and age may go on for a while.
    #[must_use]
    pub fn is_over(&self, now: &Self) -> bool {
        let is_other = |then: Option<u64>, now: Option<u64>| then.is_some() && then != now;
        let micros = |time: Option<Timestamp>| time.unwrap_or_default().0;
        is_other(self.spent.map(Nanodollars::nanos), now.spent.map(Nanodollars::nanos))
            || is_other(self.calls, now.calls)
            || is_other(self.refused, now.refused)
            || self.labels.is_some() && self.labels != now.labels
            || self.at.is_some() && micros(now.at).abs_diff(micros(self.at)) > AGE_LIMIT_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(then: Moment, expected: bool) {
        let now = Moment {
            at: Some(Timestamp(AGE_LIMIT_US * 3)),
            age_s: Some(7),
            spent: Some(Nanodollars::new(5)),
            calls: Some(2),
            refused: Some(0),
            labels: Some(BTreeSet::from(["untrusted".parse().unwrap()])),
        };
        assert_eq!(then.is_over(&now), expected, "{then:?}");
    }

    #[test]
    fn only_what_was_read_can_be_over() {
        let nothing = Moment::default;
        check(nothing(), false);
        check(Moment { labels: Some(BTreeSet::from(["untrusted".parse().unwrap()])), ..nothing() }, false);
        check(Moment { labels: Some(BTreeSet::new()), ..nothing() }, true);
        check(Moment { calls: Some(2), spent: Some(Nanodollars::new(5)), refused: Some(0), ..nothing() }, false);
        check(Moment { calls: Some(1), ..nothing() }, true);
        check(Moment { spent: Some(Nanodollars::ZERO), ..nothing() }, true);
        check(Moment { refused: Some(1), ..nothing() }, true);
        check(Moment { age_s: Some(1), at: Some(Timestamp(AGE_LIMIT_US * 2)), ..nothing() }, false);
        check(Moment { at: Some(Timestamp(AGE_LIMIT_US * 2 - 1)), ..nothing() }, true);
    }
}
