//! Everything that the journal can say.
//!
//! Each pillar has its own events in `<pillar>/event.rs`; those of a call touch several pillars and stand here. An event is never changed once
//! it has been released: what must be said otherwise gets another type.

use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::call::{Capability, Door, Place, Shown};
use crate::grant::{Grant, GrantVersion};
use crate::ids::{CallId, GatewayId, LabelName, PrincipalName, SessionId, TaskId};
use crate::money::{Nanodollars, Tokens};
use crate::policy::{Effect, Guarded, Version};
use crate::refusal::Code;
use crate::registry::Placement;
use crate::scope::Scope;
use crate::session::Mark;
use crate::session::requests::Requester;
use crate::time::Timestamp;
use crate::{identity, ledger, policy, registry, session};

/// What an entry says. Its type is written first, so that readers can tell at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
#[expect(clippy::large_enum_variant, reason = "the largest, an admission, is also the most frequent")]
pub enum Event {
    /// A key was issued.
    #[serde(rename = "identity.key_created")]
    KeyCreated(identity::event::KeyCreated),
    /// A key ends by itself.
    #[serde(rename = "identity.key_limited")]
    KeyLimited(identity::event::KeyLimited),
    /// A key was taken back.
    #[serde(rename = "identity.key_revoked")]
    KeyRevoked(identity::event::KeyRevoked),
    /// A key of the configuration does not stand there any more.
    #[serde(rename = "identity.key_withdrawn")]
    KeyWithdrawn(identity::event::KeyWithdrawn),
    /// A key of the configuration stands there again.
    #[serde(rename = "identity.key_restored")]
    KeyRestored(identity::event::KeyRestored),
    /// An issuer describes a principal as it was not described before.
    #[serde(rename = "identity.principal_seen")]
    PrincipalSeen(identity::event::PrincipalSeen),
    /// A principal may not act any more.
    #[serde(rename = "identity.principal_disabled")]
    PrincipalDisabled(identity::event::PrincipalDisabled),
    /// A principal may act again.
    #[serde(rename = "identity.principal_enabled")]
    PrincipalEnabled(identity::event::PrincipalEnabled),
    /// The gateways sign with another key.
    #[serde(rename = "identity.signing_rotated")]
    SigningRotated(identity::event::SigningRotated),
    /// Other policies are in force.
    #[serde(rename = "policy.activated")]
    PolicyActivated(policy::event::Activated),
    /// Rules of before count instead of those that stand in the files.
    #[serde(rename = "policy.rolled_back")]
    PolicyRolledBack(policy::event::RolledBack),
    /// What the files say counts again.
    #[serde(rename = "policy.rolled_forward")]
    PolicyRolledForward(policy::event::RolledForward),
    /// A call is parked until a person has said yes.
    #[serde(rename = "approval.requested")]
    ApprovalRequested(policy::event::ApprovalRequested),
    /// A person has said yes or no.
    #[serde(rename = "approval.answered")]
    ApprovalAnswered(policy::event::ApprovalAnswered),
    /// Nobody has answered for a while, and others may.
    #[serde(rename = "approval.escalated")]
    ApprovalEscalated(policy::event::ApprovalEscalated),
    /// A tool call inside a model's answer has used its approval.
    #[serde(rename = "approval.used")]
    ApprovalUsed(policy::event::ApprovalUsed),
    /// Nothing comes of an approval any more: its time has come.
    #[serde(rename = "approval.expired")]
    ApprovalExpired(policy::event::ApprovalExpired),
    /// Nothing comes of an approval any more: whoever asked for it has taken it back.
    #[serde(rename = "approval.withdrawn")]
    ApprovalWithdrawn(policy::event::ApprovalWithdrawn),
    /// The grant of a session was given, narrowed or widened.
    #[serde(rename = "session.grant_set")]
    GrantSet(policy::event::GrantSet),
    /// A server declares other tools.
    #[serde(rename = "registry.tools_observed")]
    ToolsObserved(registry::event::ToolsObserved),
    /// An account was granted an amount.
    #[serde(rename = "ledger.granted")]
    Granted(ledger::event::Granted),
    /// A session begins.
    #[serde(rename = "session.opened")]
    SessionOpened(session::event::Opened),
    /// A session ends.
    #[serde(rename = "session.closed")]
    SessionClosed(session::event::Closed),
    /// A session takes no calls until a person lets it go on.
    #[serde(rename = "session.frozen")]
    SessionFrozen(session::event::Frozen),
    /// The user has said something.
    #[serde(rename = "session.user_said")]
    UserSaid(session::event::UserSaid),
    /// A label of a session was lifted.
    #[serde(rename = "session.label_lifted")]
    LabelLifted(session::event::LabelLifted),
    /// A session goes on.
    #[serde(rename = "session.unfrozen")]
    SessionUnfrozen(session::event::Unfrozen),
    /// A value of a session's scratchpad was written.
    #[serde(rename = "session.state_put")]
    StatePut(session::event::StatePut),
    /// A session waits for something.
    #[serde(rename = "session.wait_opened")]
    WaitOpened(session::event::WaitOpened),
    /// A wait has ended.
    #[serde(rename = "session.wait_ended")]
    WaitEnded(session::event::WaitEnded),
    /// The end of a wait was accepted by the agent that it is for.
    #[serde(rename = "session.wait_delivered")]
    WaitDelivered(session::event::WaitDelivered),
    /// A value of a session's scratchpad was deleted.
    #[serde(rename = "session.state_deleted")]
    StateDeleted(session::event::StateDeleted),
    /// A client wants news of a task.
    #[serde(rename = "session.push_opened")]
    PushOpened(session::event::PushOpened),
    /// An agent will send news of the task.
    #[serde(rename = "session.push_bound")]
    PushBound(session::event::PushBound),
    /// No more news are wanted.
    #[serde(rename = "session.push_closed")]
    PushClosed(session::event::PushClosed),
    /// There are news of a task.
    #[serde(rename = "session.news_came")]
    NewsCame(session::event::NewsCame),
    /// News were accepted by the client that they are for.
    #[serde(rename = "session.news_delivered")]
    NewsDelivered(session::event::NewsDelivered),
    /// A task of an agent has outlasted its call.
    #[serde(rename = "session.task_left")]
    TaskLeft(session::event::TaskLeft),
    /// A task that has outlasted its call is over.
    #[serde(rename = "session.task_over")]
    TaskOver(session::event::TaskOver),
    /// A task that nobody may act for any more is to be cancelled by its agent.
    #[serde(rename = "session.task_cancelling")]
    TaskCancelling(session::event::TaskCancelling),
    /// The agent was told to cancel a task, or can't be.
    #[serde(rename = "session.task_cancelled")]
    TaskCancelled(session::event::TaskCancelled),
    /// The head of a record was written.
    #[serde(rename = "session.record_put")]
    RecordPut(session::event::RecordPut),
    /// Items were added to a record.
    #[serde(rename = "session.record_extended")]
    RecordExtended(session::event::RecordExtended),
    /// A record, or an item of it, was deleted.
    #[serde(rename = "session.record_dropped")]
    RecordDropped(session::event::RecordDropped),
    /// A request with an idempotency key was taken.
    #[serde(rename = "request.taken")]
    RequestTaken(RequestTaken),
    /// What became of a request with an idempotency key.
    #[serde(rename = "request.answered")]
    RequestAnswered(RequestAnswered),
    /// A task was handed on.
    #[serde(rename = "task.delegated")]
    Delegated(Delegated),
    /// A call may be forwarded.
    #[serde(rename = "call.admitted")]
    CallAdmitted(CallAdmitted),
    /// A call must not be forwarded.
    #[serde(rename = "call.refused")]
    CallRefused(CallRefused),
    /// What became of an admitted call.
    #[serde(rename = "call.settled")]
    CallSettled(CallSettled),
    /// A person has found out what became of a call.
    #[serde(rename = "call.resolved")]
    CallResolved(CallResolved),
}

/// A request with an idempotency key was taken, and will be answered later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestTaken {
    /// The request.
    pub request: CallId,
    /// Whose it is.
    pub requester: Requester,
    /// What tells it apart.
    pub mark: Mark,
    /// The gateway that answers it, where several share the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayId>,
}

/// What became of a request with an idempotency key: completed, failed without effect, or unknown. The body is what was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestAnswered {
    /// The request.
    pub request: CallId,
    /// Whose it is.
    pub requester: Requester,
    /// What tells it apart.
    pub mark: Mark,
    /// How it ended.
    pub outcome: Outcome,
}

/// A task of the session was handed on: to another agent, for less, for a shorter time, or with a budget of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegated {
    /// The number of the token that says so.
    pub token: CallId,
    /// On whose authority.
    #[serde(rename = "key")]
    pub authority: Authority,
    /// Who acts next; none where the same agent goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PrincipalName>,
    /// What it may be used for; none where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When all ends that comes of it, and what is done for it later; none where no end was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Its budget, where it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<TaskGrant>,
    /// What it may do, where it has a grant of its own: within that of the task that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Grant>,
}

/// What a task may spend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskGrant {
    /// The task.
    pub task: TaskId,
    /// The task whose budget it was carved out of; none for the session's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TaskId>,
    /// How much, in all.
    pub amount: Nanodollars,
}

/// A call was admitted in the session of the stream. The body is what is forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallAdmitted {
    /// The call.
    pub call: CallId,
    /// The call that led to it: the model call before it in the same request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<CallId>,
    /// What it is aimed at.
    pub capability: Capability,
    /// The principal that is called, where it is an agent or a server of tools that is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callee: Option<PrincipalName>,
    /// How it came in.
    pub door: Door,
    /// On whose authority.
    #[serde(rename = "key")]
    pub authority: Authority,
    /// The rules that permit it.
    pub policies: Vec<String>,
    /// The version of the rules.
    pub policy_version: Version,
    /// What it may cost; held on the accounts of the session's path.
    pub hold: Nanodollars,
    /// What tells it apart, for calls that take effect at most once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<Mark>,
    /// The replica that it goes to, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// The approval that it has used, where a person had to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<CallId>,
    /// Whether it is a turn of the session: turns with one agent come one after the other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_turn: bool,
    /// Earlier calls of the session whose answers have been handed to their callers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delivered: Vec<CallId>,
    /// What it uses of the grants of its task, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<policy::event::Counted>,
    /// The gateway that forwards it, where several share the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayId>,
    /// What the upstream is shown with it; nothing, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Shown>,
    /// What rules would have decided that are only on trial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audit: Vec<String>,
    /// What guardrails did with it. The body is what they made of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guarded: Vec<Guarded>,
    /// What the session is marked with from here on, because of what goes out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelName>,
}

/// A call was refused. The body, where there is one, is what would have been forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRefused {
    /// The call.
    pub call: CallId,
    /// What it was aimed at.
    pub capability: Capability,
    /// How it came in.
    pub door: Door,
    /// The session that was named, where the entry is not in the session's own stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Why, as a stable code.
    pub code: Code,
    /// What the caller or the model reads.
    pub message: String,
    /// What the operator reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// The rules that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// The grants of the task, where they said no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<GrantVersion>,
    /// What rules would have decided that are only on trial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audit: Vec<String>,
    /// What guardrails did with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guarded: Vec<Guarded>,
}

/// What became of a call. The body, where there is one, is the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSettled {
    /// The call.
    pub call: CallId,
    /// How it ended.
    pub outcome: Outcome,
    /// The tokens that were used, for models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// What every account of the path is charged.
    pub charged: Nanodollars,
    /// What it cost beyond that.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub overrun: Nanodollars,
    /// What the session is marked with from here on, because of what came into it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelName>,
    /// The tool calls that the model wanted to make, and what policy said of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub judged: Vec<Judged>,
    /// What guardrails did with the answer. The body is what they made of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guarded: Vec<Guarded>,
}

/// What became of a call whose outcome was unknown: completed or failed. The body, where there is one, is what it would have answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallResolved {
    /// The call.
    pub call: CallId,
    /// How it ended.
    pub outcome: Outcome,
}

fn is_zero(amount: &Nanodollars) -> bool {
    *amount == Nanodollars::ZERO
}

/// How an admitted call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The upstream answered in full.
    Completed,
    /// The upstream answered that it failed, or could not be reached.
    Failed,
    /// The caller left before the answer was whole; the upstream call was cancelled.
    Aborted,
    /// Nobody knows whether it took effect: the connection or the gateway died in between.
    Unknown,
}

/// A tool call inside a model's answer, and what was said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// What the model wanted to call, as far as the registry knows it.
    pub capability: Capability,
    /// Where it was judged.
    pub place: Place,
    /// Yes or no.
    pub effect: Effect,
    /// The arguments, as the model wrote them.
    pub arguments: String,
    /// The rules that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// The grants of the task, where they said no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<GrantVersion>,
    /// What the model reads when the answer is no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the operator reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What rules would have decided that are only on trial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audit: Vec<String>,
}
