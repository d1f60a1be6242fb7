//! What a task or a key may be used for: patterns of capabilities. It narrows what policy allows, and never widens it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::call::{CAPABILITY_LIMIT_BYTES, Capability};

/// How many patterns a scope may have.
pub const PATTERNS_LIMIT: usize = 64;

/// The capabilities that a task may use. Written as OAuth writes scopes (RFC 6749, section 3.3): patterns with spaces between them, such as `tool/claims__* model/gpt-4o`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    patterns: Vec<Pattern>,
}

/// A capability, or with `*` at its end all whose written form begins so. A `*` within a name is a character like any other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    text: String,
    is_prefix: bool,
}

impl Scope {
    /// Whether the capability is within it.
    #[must_use]
    pub fn covers(&self, capability: &Capability) -> bool {
        let written = capability.to_string();
        self.patterns.iter().any(|pattern| pattern.covers(&written))
    }

    /// What is covered by any of these; none where there are none of them.
    #[must_use]
    pub fn of_all(patterns: &BTreeSet<Pattern>) -> Option<Self> {
        (!patterns.is_empty()).then(|| Self { patterns: least(patterns.iter().cloned().collect()) })
    }

    /// What is within both; none where that is nothing.
    #[must_use]
    pub fn within(&self, other: &Self) -> Option<Self> {
        let met = self.patterns.iter().flat_map(|one| other.patterns.iter().filter_map(|two| one.meet(two)));
        Self::of(met.cloned().collect()).ok()
    }

    fn of(patterns: Vec<Pattern>) -> Result<Self, String> {
        let patterns = least(patterns);
        match patterns.len() {
            0 => Err("a scope names at least one capability".to_owned()),
            1..=PATTERNS_LIMIT => Ok(Self { patterns }),
            _ => Err(format!("a scope has at most {PATTERNS_LIMIT} patterns")),
        }
    }
}

/// Each once, and none that another one covers.
fn least(mut patterns: Vec<Pattern>) -> Vec<Pattern> {
    patterns.sort();
    patterns.dedup();
    let all = patterns.clone();
    patterns.retain(|pattern| !all.iter().any(|other| other != pattern && other.contains(pattern)));
    patterns
}

impl Pattern {
    /// Whether the capability that is written so is one of them.
    #[must_use]
    pub fn covers(&self, written: &str) -> bool {
        if self.is_prefix { written.starts_with(&self.text) } else { written == self.text }
    }

    /// Whether everything that the other one covers is covered by this.
    fn contains(&self, other: &Self) -> bool {
        match (self.is_prefix, other.is_prefix) {
            (true, _) => other.text.starts_with(&self.text),
            (false, false) => self.text == other.text,
            (false, true) => false,
        }
    }

    /// The narrower of the two, if one is within the other: otherwise they have nothing in common.
    fn meet<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        if self.contains(other) { Some(other) } else { other.contains(self).then_some(self) }
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (plain, is_prefix) = text.strip_suffix('*').map_or((text, false), |prefix| (prefix, true));
        if text.contains(' ') {
            return Err(format!("`{text}` is no pattern: a space ends one"));
        }
        if plain.len() > CAPABILITY_LIMIT_BYTES {
            return Err("a pattern of the scope is longer than any capability".to_owned());
        }
        // `*` alone is everything; otherwise the kind stands in full, so that a slip does not widen it.
        if !(is_prefix && plain.is_empty()) {
            let _: Capability = plain.parse()?;
        }
        Ok(Self { text: plain.to_owned(), is_prefix })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.text, if self.is_prefix { "*" } else { "" })
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.split(' ').count() > PATTERNS_LIMIT {
            return Err(format!("a scope has at most {PATTERNS_LIMIT} patterns"));
        }
        Self::of(text.split(' ').filter(|part| !part.is_empty()).map(str::parse).collect::<Result<_, _>>()?)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, pattern) in self.patterns.iter().enumerate() {
            let space = if number == 0 { "" } else { " " };
            write!(out, "{space}{pattern}")?;
        }
        Ok(())
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    fn check_within(one: &str, two: &str, expected: Option<&str>) {
        for (one, two) in [(one, two), (two, one)] {
            let met = scope(one).within(&scope(two)).map(|met| met.to_string());
            assert_eq!(met.as_deref(), expected, "{one} and {two}");
        }
    }

    #[test]
    fn what_two_scopes_have_in_common_is_in_both() {
        check_within("tool/claims__* model/*", "tool/claims__look", Some("tool/claims__look"));
        check_within("*", "tool/a__b agent/x", Some("agent/x tool/a__b"));
        check_within("tool/a__*", "tool/b__*", None);
        check_within("tool/a__x", "tool/a__x*", Some("tool/a__x"));
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for text in ["", " ", "claims", "tools/x", "too*", "agent"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        let many = vec!["tool/x"; PATTERNS_LIMIT + 1].join(" ");
        assert!(many.parse::<Scope>().is_err());
        assert!("tool/a b".parse::<Pattern>().is_err());
    }

    #[test]
    fn a_scope_of_patterns_is_read_as_it_is_written() {
        let patterns = ["tool/a__*", "tool/a__b", "model/x"].map(|text| text.parse().unwrap()).into();
        let of_all = Scope::of_all(&patterns).unwrap();
        assert_eq!((of_all.to_string().as_str(), &of_all), ("model/x tool/a__*", &scope(&of_all.to_string())));
        assert_eq!(Scope::of_all(&BTreeSet::new()), None);
    }

    proptest! {
        #[test]
        fn a_capability_is_within_the_meet_where_it_is_within_both(
            one in "[ab]{0,2}\\*?( tool/[ab]{0,2}\\*?){0,2}", two in "[ab]{0,2}\\*?( tool/[ab]{0,2}\\*?){0,2}", name in "[ab]{0,3}",
        ) {
            let (one, two) = (scope(&format!("tool/{one}")), scope(&format!("tool/{two}")));
            let capability: Capability = format!("tool/{name}").parse().unwrap();
            let is_met = one.within(&two).is_some_and(|met| met.covers(&capability));
            prop_assert_eq!(is_met, one.covers(&capability) && two.covers(&capability));
        }
    }
}
