//! What the journal says about a session, in the session's own stream.

use serde::{Deserialize, Serialize};

use crate::money::Nanodollars;
use crate::time::Timestamp;

/// The name of a value of the scratchpad, of the same alphabet as a session's name.
pub type StateKey = crate::ids::SessionName;

/// The session begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// What may be spent in it in all; none is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Nanodollars>,
}

/// The session takes no more calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {}

/// A value of the scratchpad was written. The body is the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatePut {
    /// Its key.
    pub key: StateKey,
    /// Its version: one more than before, and higher than that of any value of the session that is gone.
    pub version: u64,
    /// How long it is.
    #[serde(default)]
    pub bytes: u64,
    /// From when on it is absent; none is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A value of the scratchpad was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDeleted {
    /// Its key.
    pub key: StateKey,
    /// The version that it had.
    pub version: u64,
}
