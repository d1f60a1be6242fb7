//! What a key is for, where it is not for everything that its principal may do.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::call::Capability;
use crate::scope::{self, Pattern};

/// Where a key may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entrance {
    /// The OpenAI API.
    Openai,
    /// The Model Context Protocol.
    Mcp,
    /// The Agent2Agent protocol.
    A2a,
    /// Plain HTTP to agents.
    Http,
    /// The gateway's own API.
    Api,
}

impl FromStr for Entrance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "openai" => Self::Openai,
            "mcp" => Self::Mcp,
            "a2a" => Self::A2a,
            "http" => Self::Http,
            "api" => Self::Api,
            _ => return Err(format!("`{text}` is no door; use `openai`, `mcp`, `a2a`, `http` or `api`")),
        })
    }
}

/// What a key is for. Empty stands for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Where it may be shown; nothing stands for all doors.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub doors: BTreeSet<Entrance>,
    /// What may be called with it, by whomever acts on it; nothing stands for all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub capabilities: BTreeSet<Pattern>,
}

impl Scope {
    /// Whether the key is for everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.doors.is_empty() && self.capabilities.is_empty()
    }

    /// Whether the key may be shown there. The gateway's own API, by which other keys can be issued, is open to a key with any limit only where that says so.
    #[must_use]
    pub fn has_door(&self, door: Entrance) -> bool {
        self.doors.contains(&door) || self.is_everything() || (self.doors.is_empty() && door != Entrance::Api)
    }

    /// Whether an agent may show it where task tokens are exchanged. That is no door of calls, and a token says nothing of doors: a key that is for some of them says there that it is.
    #[must_use]
    pub fn has_exchange(&self) -> bool {
        self.doors.is_empty() || self.doors.contains(&Entrance::Api)
    }

    /// Whether it may be called.
    #[must_use]
    pub fn has_capability(&self, capability: &Capability) -> bool {
        if self.capabilities.is_empty() {
            return true;
        }
        let written = capability.to_string();
        self.capabilities.iter().any(|pattern| pattern.covers(&written))
    }

    /// What may be called, as whoever acts on the key is bound to it; none where that is everything.
    #[must_use]
    pub fn of_tasks(&self) -> Option<scope::Scope> {
        scope::Scope::of_all(&self.capabilities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(doors: &[&str], capabilities: &[&str]) -> Scope {
        Scope {
            doors: doors.iter().map(|door| door.parse().unwrap()).collect(),
            capabilities: capabilities.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_key_is_for_what_its_scope_names() {
        let check = |capabilities: &[&str], capability: &str, expected: bool| {
            let found = scope(&[], capabilities).has_capability(&capability.parse().unwrap());
            assert_eq!(found, expected, "{capabilities:?} {capability}");
        };
        check(&[], "tool/a__b", true);
        check(&["model/*"], "model/gpt-4o", true);
        check(&["model/*"], "tool/model/x", false);
        check(&["tool/a__*", "model/x"], "tool/a__b", true);
        check(&["tool/a__*", "model/x"], "tool/ab__b", false);
        check(&["tool/a__*", "model/x"], "model/xy", false);
        for capability in ["tool/a__b", "tool/b__b", "model/x", "model/xy"] {
            let (limited, capability) = (scope(&[], &["tool/a__*", "model/x"]), capability.parse().unwrap());
            let is_in = limited.of_tasks().is_some_and(|scope| scope.covers(&capability));
            assert_eq!(is_in, limited.has_capability(&capability), "{capability}");
        }
        assert_eq!(scope(&["mcp"], &[]).of_tasks(), None);
    }

    #[test]
    fn a_limited_key_manages_nothing_unless_it_says_so() {
        let check = |doors: &[&str], capabilities: &[&str], door: &str, expected: bool| {
            let found = scope(doors, capabilities).has_door(door.parse().unwrap());
            assert_eq!(found, expected, "{doors:?} {capabilities:?} {door}");
        };
        check(&[], &[], "api", true);
        check(&["mcp"], &[], "mcp", true);
        check(&["mcp"], &[], "openai", false);
        check(&["mcp"], &[], "api", false);
        check(&[], &["model/*"], "openai", true);
        check(&[], &["model/*"], "api", false);
        check(&["api"], &["model/*"], "api", true);
        for (doors, expected) in [(&[][..], true), (&["mcp"], false), (&["mcp", "api"], true)] {
            assert_eq!(scope(doors, &["model/*"]).has_exchange(), expected, "{doors:?}");
        }
    }
}
