//! What a key is for, where it is not for everything that its principal may do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::call::Capability;

/// The longest pattern, in bytes, and how many a key may have.
const PATTERN_LIMIT_BYTES: usize = 256;
/// How many patterns a key may have.
pub const PATTERNS_LIMIT: usize = 64;

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

/// Capabilities by their written form, as in `model/gpt-4o`; with a `*` at its end all that begin so, as in `tool/claims__*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    start: String,
    is_open: bool,
}

impl Pattern {
    fn has(&self, written: &str) -> bool {
        if self.is_open { written.starts_with(&self.start) } else { written == self.start }
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (start, is_open) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
        let is_whole = !start.contains('*') && (is_open || !start.ends_with('/')) && text.len() <= PATTERN_LIMIT_BYTES;
        match start.parse::<Capability>() {
            Ok(_) if is_whole => Ok(Self { start: start.to_owned(), is_open }),
            Ok(_) | Err(_) => {
                Err(format!("`{text}` is no pattern of capabilities as `model/*` or `tool/claims__list`"))
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.start, if self.is_open { "*" } else { "" })
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

    /// Whether it may be called.
    #[must_use]
    pub fn has_capability(&self, capability: &Capability) -> bool {
        if self.capabilities.is_empty() {
            return true;
        }
        let written = capability.to_string();
        self.capabilities.iter().any(|pattern| pattern.has(&written))
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
    }

    #[test]
    fn a_pattern_is_a_capability_or_the_beginning_of_some() {
        for text in ["model/*", "tool/a__*", "agent/x", "function/web_search"] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
        for text in ["", "*", "model", "mod*", "tool/*x", "tool/*/x*", "tool/", "x/y"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }
}
