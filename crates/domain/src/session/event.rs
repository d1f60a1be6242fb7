//! What the journal says about a session, in the session's own stream.

use serde::{Deserialize, Serialize};

use crate::ids::{AgentName, KeyId, RecordId, SessionName};
use crate::money::Nanodollars;
use crate::time::Timestamp;

/// The name of a value of the scratchpad, of the same alphabet as a session's name.
pub type StateKey = SessionName;

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

/// The head of a record was written. The body is the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordPut {
    /// The record.
    pub id: RecordId,
    /// Whether it lasts until it is deleted; others are forgotten when there are too many.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_lasting: bool,
}

/// Items were added to a record. The body is a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordExtended {
    /// The record.
    pub id: RecordId,
    /// Their ids.
    pub items: Vec<RecordId>,
}

/// A record, or an item of it, was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordDropped {
    /// The record.
    pub id: RecordId,
    /// The item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<RecordId>,
}

/// The name of a wait within its session, of the same alphabet as a session's name.
pub type WaitName = SessionName;

/// Whom the end of a wait is told to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    /// The agent.
    pub agent: AgentName,
    /// The path that it is posted to.
    pub path: String,
    /// The key that the wait was opened with: the delivery is a call in the name of its principal.
    pub key: KeyId,
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// An event came. Its id tells repetitions of it from other events.
    Event(String),
    /// Its time came first.
    Expired,
    /// It was called off.
    Cancelled,
}

/// The session waits for something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitOpened {
    /// The wait's name.
    pub name: WaitName,
    /// What is waited for, in words for people.
    pub what: String,
    /// When it expires.
    pub until: Timestamp,
    /// Whom its end is told to; none when whoever wants to know asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver: Option<Deliver>,
}

/// A wait has ended. The body, where there is one, is the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitEnded {
    /// The wait's name.
    pub name: WaitName,
    /// How it ended.
    pub end: End,
    /// The media type of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// The agent has accepted the end of a wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitDelivered {
    /// The wait's name.
    pub name: WaitName,
}
