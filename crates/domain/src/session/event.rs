//! What the journal says about a session, in the session's own stream.

use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::call::Capability;
use crate::digest::Digest;
use crate::ids::{AgentName, LabelName, PrincipalName, RecordId, SessionName};
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

/// The session takes no calls until a person lets it go on; what is under way in it is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Why, in words for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The session goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfrozen {}

/// The session is not marked so any more: somebody has looked at what came into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelLifted {
    /// The label.
    pub label: LabelName,
    /// Why, in words for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The user has said something, for the record of what they want. The body is what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSaid {}

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
    /// On whose authority the wait was opened: the delivery is a call on the same.
    #[serde(rename = "key")]
    pub authority: Authority,
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

/// Nobody is told any more how a wait has ended: the agent has accepted it, or the task that waited has ended itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitDelivered {
    /// The wait's name.
    pub name: WaitName,
    /// Whether the agent was not told, since the task that waited was handed on with an end that has come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_given_up: bool,
}

/// The name of a place for news within its session, made by the gateway.
pub type PushName = SessionName;

/// The client of an agent wants news of a task at a place of its own. The body says where, with the client's credential for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushOpened {
    /// The place's name; the agent knows it by this one.
    pub push: PushName,
    /// The agent.
    pub agent: Capability,
    /// The task, as the agent calls it; none where the call is still to make it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// What the client calls the place, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The version of the client's language, in which it is told.
    pub form: String,
    /// Of the secret that the agent must show with its news.
    pub secret: Digest,
    /// On whose authority the client asked: nothing is told once it is not valid any more.
    #[serde(rename = "key")]
    pub authority: Authority,
}

/// The agent has taken a place for news of this task. Another one of the client's that has the same id and task is replaced by it, and what was still to be told there
/// is told here. Once the task is over it is written again, and then replaces nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushBound {
    /// The place's name.
    pub push: PushName,
    /// The task, as the agent calls it.
    pub task: String,
    /// Whether the task is known to be over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_over: bool,
}

/// A place for news is no more, and what was still to be told there is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushClosed {
    /// The place's name.
    pub push: PushName,
}

/// The agent has news of a task. The body is what the client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewsCame {
    /// The place that they are for.
    pub push: PushName,
    /// The task, as the agent calls it.
    pub task: String,
    /// What tells repetitions of them from others, where the agent says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether the task is over with them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_last: bool,
}

/// The client has accepted news.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewsDelivered {
    /// The place that they were for.
    pub push: PushName,
    /// The entry with which they came.
    pub seq: u64,
}

/// A call of an agent has ended, and the task that it has made goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLeft {
    /// The agent.
    pub agent: Capability,
    /// The task, as the agent calls it.
    pub task: String,
    /// On whose authority it was begun.
    #[serde(rename = "key")]
    pub authority: Authority,
    /// The principal that the agent is. Entries from before this was noted say nothing, and their tasks are not halted by its being disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callee: Option<PrincipalName>,
}

/// A task that was left is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOver {
    /// The agent.
    pub agent: Capability,
    /// The task, as the agent calls it.
    pub task: String,
}

/// The agent is asked to cancel a task, since nobody may act for it any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCancelling {
    /// The agent.
    pub agent: Capability,
    /// The task, as the agent calls it.
    pub task: String,
}

/// What came of cancelling a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCancelled {
    /// The agent.
    pub agent: Capability,
    /// The task, as the agent calls it.
    pub task: String,
    /// What came of it.
    pub end: CancelEnd,
}

/// How cancelling a task has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelEnd {
    /// The agent has taken it.
    Taken,
    /// The task was over before.
    Over,
    /// The agent cancels no such task.
    Refused,
    /// It was tried as often as it is tried.
    GivenUp,
}
