//! The grant of a task: which capabilities it may use, with which arguments, how often, and how much in all. It narrows what policy allows, and never widens it.
//!
//! Grants are not merged when one narrows another: a call must be within each of them, so that what comes of it can't be more than any of them allows.

mod constraint;
mod numeral;
mod read;
mod sentences;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use constraint::{Constraint, Literal, Source};
pub use numeral::Numeral;

use crate::call::Capability;
use crate::digest::Digest;
use crate::ids::SessionName;
use crate::scope::Pattern;

/// How many entries a grant may have.
pub const ENTRIES_LIMIT: usize = 64;
/// How many arguments an entry may name.
pub const ARGUMENTS_LIMIT: usize = 64;
/// How many values an argument may be one of.
pub const VALUES_LIMIT: usize = 256;
/// The longest name of an entry or of an argument, in bytes.
pub const NAME_LIMIT_BYTES: usize = 260;
/// The longest text that an argument may be compared with, in bytes.
pub const TEXT_LIMIT_BYTES: usize = 4_096;
/// The largest grant, in bytes as it is written.
pub const GRANT_LIMIT_BYTES: usize = 64 << 10;

/// What a task may do: any of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "read::Written")]
pub struct Grant {
    capabilities: Vec<Entry>,
}

/// Calls that a task may make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Of what.
    pub capability: Pattern,
    /// What its calls are counted under; the written form of the capability where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What each argument must be. One that is named here must be there, unless it may be anything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, Constraint>,
    /// Whether there may be arguments that are not named.
    #[serde(default, skip_serializing_if = "Others::is_refuse")]
    pub others: Others,
    /// What numbers come to in all, over all calls that are counted under the name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub in_all: BTreeMap<String, Numeral>,
    /// How many calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
}

/// What becomes of arguments that an entry does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    /// The call is refused.
    #[default]
    Refuse,
    /// They may be anything.
    Allow,
}

impl Others {
    fn is_refuse(&self) -> bool {
        *self == Self::Refuse
    }
}

/// Which grants a decision was made by: their number in the session, which grows with every change, and the digest of all that applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantVersion {
    /// The number.
    pub number: u64,
    /// The digest.
    pub digest: Digest,
}

impl std::fmt::Display for GrantVersion {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "task grant {} ({})", self.number, self.digest)
    }
}

impl Grant {
    /// The entries, in their order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.capabilities
    }

    /// The entries that are about this capability.
    pub fn about(&self, capability: &Capability) -> impl Iterator<Item = &Entry> {
        let written = capability.to_string();
        self.capabilities.iter().filter(move |entry| entry.capability.covers(&written))
    }

    /// Whether what was said in the session must be known to judge a call of this.
    #[must_use]
    pub fn reads_words(&self, capability: &Capability) -> bool {
        let mut constraints = self.about(capability).flat_map(|entry| entry.arguments.values());
        constraints.any(|constraint| matches!(constraint, Constraint::From(_)))
    }

    /// The keys of the session's state that must be known to judge calls.
    #[must_use]
    pub fn reads_state(&self) -> BTreeSet<SessionName> {
        let key = |constraint: &Constraint| match constraint {
            Constraint::State(key) => Some(key.clone()),
            Constraint::Any
            | Constraint::Exactly(_)
            | Constraint::OneOf(_)
            | Constraint::Between(..)
            | Constraint::From(_) => None,
        };
        self.capabilities.iter().flat_map(|entry| entry.arguments.values()).filter_map(key).collect()
    }

    /// What tells it from others.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.written())
    }

    /// As it is written: always the same bytes for the same grant.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What it says, in sentences for people: one for every entry.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        self.capabilities.iter().map(Entry::sentence).collect()
    }
}

impl Entry {
    /// What its calls are counted under.
    #[must_use]
    pub fn counted_as(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.capability.to_string())
    }

    /// Whether its calls are counted.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.calls.is_some() || !self.in_all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let read = serde_json::from_str::<Grant>(text).map(|grant| grant.sentences().join(" "));
        match (read, expected) {
            (Ok(sentences), Ok(part)) => assert!(sentences.contains(part), "{sentences}"),
            (Err(problem), Err(part)) => assert!(problem.to_string().contains(part), "{text}: {problem}"),
            (read, _) => panic!("{text}: {read:?}"),
        }
    }

    fn entry(more: &str) -> String {
        format!(r#"{{"capabilities": [{{"capability": "tool/bank__pay"{more}}}]}}"#)
    }

    #[test]
    fn a_grant_is_said_in_sentences_and_what_is_none_is_refused() {
        check(&entry(""), Ok("It may use `tool/bank__pay` where there are no arguments."));
        check(r#"{"capabilities": [{"capability": "model/*"}]}"#, Ok("It may use `model/*`."));
        let full = r#", "name": "payments", "arguments": {"payee": {"from": "user"}, "amount": {"between": [1, "10.5"]}, "to": {"one_of": ["a", 2]}}, "in_all": {"amount": 10000}, "calls": 3"#;
        check(
            &entry(full),
            Ok(
                "where `amount` is a number from 1 to 10.5, `payee` stands in the user's own words, `to` is one of `a`, 2, `amount` comes to at most 10000 in all, it is called 3 times at most.",
            ),
        );
        for (more, problem) in [
            (r#", "argument": {}"#, "unknown field"),
            (r#", "arguments": {"x": {"between": [2, 1]}}"#, "nothing is between 2 and 1"),
            (r#", "arguments": {"x": {"between": [0, 10.5]}}"#, "in quotes"),
            (r#", "arguments": {"x": {"exactly": 1.5}}"#, "in quotes"),
            (r#", "arguments": {"x": {"one_of": []}}"#, "1 to 256"),
            (r#", "arguments": {"x": {"exactly": "a", "from": "user"}}"#, "expected"),
            (r#", "arguments": {"x": "user"}"#, "unknown variant"),
            (r#", "in_all": {"x": -1}"#, "never less than 0"),
            (r#", "in_all": {"x": "1e4"}"#, "no number"),
            (r#", "calls": -1"#, "invalid value"),
            (r#", "name": """#, "1 to 260 bytes"),
            (r#"}, {"capability": "tool/bank__pay""#, "another `name`"),
        ] {
            check(&entry(more), Err(problem));
        }
        check(r#"{"capabilities": []}"#, Err("1 to 64 entries"));
        check(r#"{"capabilities": [{"capability": "bank"}]}"#, Err("is not `model/"));
    }

    #[test]
    fn the_schema_knows_every_member_that_a_grant_has() {
        let schema = include_str!("../../../docs/grant.schema.json");
        for member in [
            "capabilities",
            "capability",
            "name",
            "arguments",
            "others",
            "in_all",
            "calls",
            "exactly",
            "one_of",
            "between",
            "from",
            "state",
        ] {
            assert!(schema.contains(&format!("\"{member}\"")), "{member}");
        }
    }

    fn constraint() -> impl Strategy<Value = Constraint> {
        let literal = || {
            prop_oneof![
                "[ab\u{430} ]{0,3}".prop_map(Literal::Text),
                any::<bool>().prop_map(Literal::Bool),
                (-5..5_i64).prop_map(|number| Literal::Number(Numeral(number * 10_000)))
            ]
        };
        prop_oneof![
            Just(Constraint::Any),
            literal().prop_map(Constraint::Exactly),
            prop::collection::vec(literal(), 1..3).prop_map(Constraint::OneOf),
            (any::<i64>(), any::<i64>())
                .prop_map(|(one, two)| Constraint::Between(Numeral(one.min(two)), Numeral(one.max(two)))),
            Just(Constraint::From(Source::User)),
            Just(Constraint::State("key".parse().unwrap())),
        ]
    }

    proptest! {
        #[test]
        fn a_grant_is_read_as_it_is_written(
            arguments in prop::collection::btree_map("[a-c]{1,2}", constraint(), 0..4), limit in 0..i64::MAX, calls in prop::option::of(any::<u64>()), is_open in any::<bool>(),
        ) {
            let others = if is_open { Others::Allow } else { Others::Refuse };
            let in_all = [("a".to_owned(), Numeral(limit))].into();
            let entry = Entry { capability: "tool/a__*".parse().unwrap(), name: None, arguments, others, in_all, calls };
            let grant = Grant { capabilities: vec![entry] };
            prop_assert_eq!(serde_json::from_slice::<Grant>(&grant.written()).unwrap(), grant);
        }

        #[test]
        fn no_text_makes_reading_a_grant_panic(text in "[{}\\[\\]\":,a-z0-9_.*/ -]{0,80}") {
            let _ = serde_json::from_str::<Grant>(&text);
            let _ = serde_json::from_str::<Grant>(&format!(r#"{{"capabilities": [{{"capability": "tool/a", "arguments": {{"a": {text}}}}}]}}"#));
        }
    }
}
