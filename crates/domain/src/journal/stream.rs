//! Streams: what entries belong to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::SessionId;

/// A sequence of entries. Written `control`, `session/ann:claim-99`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// Keys, policies, the registry and the top accounts.
    Control,
    /// Everything that happened in one session.
    Session(SessionId),
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => out.write_str("control"),
            Self::Session(id) => write!(out, "session/{id}"),
        }
    }
}

impl FromStr for StreamId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("session/") {
            Some(id) => id.parse().map(Self::Session),
            None if text == "control" => Ok(Self::Control),
            None => Err(format!("`{text}` is neither `control` nor `session/owner:name`")),
        }
    }
}

impl Serialize for StreamId {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
