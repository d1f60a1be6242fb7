//! What guardrails did with a call: for the record. It never has anything of what was found in it, only what kinds of things were found, and how many.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::RuleName;

/// How many kinds of findings one entry names for a rule.
pub const KINDS_LIMIT: usize = 64;
/// The longest name of a kind, in bytes.
pub const KIND_LIMIT_BYTES: usize = 64;

/// Where a guardrail looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// What a model, or an agent that is called like one, is asked.
    ModelIn,
    /// What it answers.
    ModelOut,
    /// The arguments of a tool.
    ToolIn,
    /// What a tool answers.
    ToolOut,
    /// What a tool server says of its tools.
    ToolList,
}

impl Point {
    /// The written form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ModelIn => "model_in",
            Self::ModelOut => "model_out",
            Self::ToolIn => "tool_in",
            Self::ToolOut => "tool_out",
            Self::ToolList => "tool_list",
        }
    }

    /// Whether it is on the way to whatever is called.
    #[must_use]
    pub fn is_in(self) -> bool {
        matches!(self, Self::ModelIn | Self::ToolIn)
    }
}

/// What a guardrail did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// It went no further.
    Blocked,
    /// Something in it was replaced, and that went on.
    Changed,
    /// It went on, and the session has a label more.
    Labelled,
    /// It went on as it was.
    Reported,
    /// The guardrail could not look at it, and it went on as the rule says.
    Unseen,
}

impl Deed {
    /// The written form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Changed => "changed",
            Self::Labelled => "labelled",
            Self::Reported => "reported",
            Self::Unseen => "unseen",
        }
    }
}

/// What one guardrail did at one point of a call. One that found nothing is not mentioned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    /// The rule.
    pub rule: RuleName,
    /// Where it looked.
    pub at: Point,
    /// What it did.
    pub deed: Deed,
    /// How many of each kind it found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub found: BTreeMap<String, u64>,
    /// Why it could not look, for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Guarded {
    /// What is wrong with it, by itself.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let Self { rule, at, deed, found, fault } = self;
        let is_kind = |kind: &String| !kind.is_empty() && kind.len() <= KIND_LIMIT_BYTES;
        if found.len() > KINDS_LIMIT || !found.keys().all(is_kind) || found.values().any(|count| *count == 0) {
            return Some(format!("guardrail `{rule}` names kinds that are none"));
        }
        let is_explained = match deed {
            Deed::Unseen => fault.is_some() && found.is_empty(),
            Deed::Blocked => fault.is_some() == found.is_empty(),
            Deed::Changed | Deed::Labelled | Deed::Reported => fault.is_none() && !found.is_empty(),
        };
        let written = deed.as_str();
        (!is_explained).then(|| format!("guardrail `{rule}` has {written} at {} for no reason", at.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deed_has_its_reason() {
        let check = |deed, found: &[(&str, u64)], fault: Option<&str>, expected: bool| {
            let found = found.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
            let fault = fault.map(str::to_owned);
            let guarded = Guarded { rule: "r".parse().unwrap(), at: Point::ToolIn, deed, found, fault };
            assert_eq!(guarded.problem().is_none(), expected, "{guarded:?}");
        };
        let card: &[(&str, u64)] = &[("card", 1)];
        for deed in [Deed::Changed, Deed::Labelled, Deed::Reported] {
            check(deed, card, None, true);
            check(deed, &[], None, false);
            check(deed, card, Some("late"), false);
        }
        check(Deed::Blocked, card, None, true);
        check(Deed::Blocked, &[], Some("late"), true);
        check(Deed::Blocked, &[], None, false);
        check(Deed::Unseen, &[], Some("late"), true);
        check(Deed::Unseen, card, Some("late"), false);
        check(Deed::Reported, &[("card", 0)], None, false);
        check(Deed::Reported, &[(&"x".repeat(65), 1)], None, false);
    }
}
