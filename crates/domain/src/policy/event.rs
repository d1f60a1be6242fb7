//! What the journal says about policy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::call::{Capability, Door, Place};
use crate::digest::Digest;
use crate::grant::{Grant, GrantVersion, Numeral};
use crate::ids::{CallId, RoleName};
use crate::money::Nanodollars;
use crate::policy::question::{Ask, Version};
use crate::time::Timestamp;

/// Other policies are in force from here on. The first body is their text; the second, where there is one, all that the version is the digest of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activated {
    /// The digest of rules, schema and principals.
    pub version: Version,
    /// How many rules there are.
    pub policies: u32,
    /// Whether they are all on trial: nothing is refused by them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_audit: bool,
    /// The digest of the rules alone, without schema and principals; none in entries that are older than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Digest>,
}

/// Rules of before count instead of those that stand in the files. What puts them in force follows at once, where it is another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The entry of this stream that had put them in force before; their text is beside it.
    pub entry: u64,
    /// Their version then.
    pub version: Version,
    /// Their digest.
    pub rules: Digest,
    /// The digest of what the files say. For as long as they say this, they do not count.
    pub instead_of: Digest,
    /// What was in force until now.
    pub replaced: Version,
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What the files say counts again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledForward {
    /// The digest of what they say.
    pub rules: Digest,
    /// What was in force until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Version>,
    /// Why, for the record; nothing where the files have changed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A call is parked until a person has said yes. The body is its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRequested {
    /// The call; the approval is known by its id.
    pub call: CallId,
    /// What it is aimed at.
    pub capability: Capability,
    /// How it came in.
    pub door: Door,
    /// Where it was judged.
    pub place: Place,
    /// On whose authority it was to be made.
    #[serde(rename = "key")]
    pub authority: Authority,
    /// What tells it from calls with other arguments.
    pub content: Digest,
    /// The rules that ask.
    pub policies: Vec<String>,
    /// What they decided by.
    pub policy_version: Version,
    /// Who must say yes.
    pub asks: Vec<Ask>,
    /// Why it is asked, in the words of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the call may cost; none when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Nanodollars>,
    /// Until when it may be answered, and used.
    pub expires_at: Timestamp,
    /// Whether the gateway makes the call itself once it may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_run: bool,
}

/// Whoever acts has said yes or no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalAnswered {
    /// The call that was parked.
    pub call: CallId,
    /// Yes or no.
    pub is_yes: bool,
    /// The roles that the answer counts for.
    pub roles: Vec<RoleName>,
    /// Whether it came by a link, and so from whoever had that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_by_link: bool,
    /// Whether it is the answer of the one whose call it is, given in the client that makes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_by_client: bool,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Nobody has answered for a while: those with another role may answer too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalEscalated {
    /// The call that was parked.
    pub call: CallId,
    /// The role.
    pub role: RoleName,
}

/// A tool call inside a model's answer has used its approval, and goes on to the agent. What is called at a door says so when it is admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalUsed {
    /// The call that was parked.
    pub call: CallId,
    /// The call that has used it.
    pub by: CallId,
}

/// Its time came before all were asked, or before it was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalExpired {
    /// The call that was parked.
    pub call: CallId,
}

/// Whoever asked for it does not want the call any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalWithdrawn {
    /// The call that was parked.
    pub call: CallId,
}

/// What becomes of the grant of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantChange {
    /// It begins with this one.
    Given,
    /// A call must be within this one too.
    Narrowed,
    /// This one takes the place of all that there were. A person has said so.
    Widened,
}

/// The grant of a session was given, narrowed or widened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantSet {
    /// The number of the session's grants from here on: one more than before.
    pub number: u64,
    /// What became of it.
    pub change: GrantChange,
    /// The grant.
    pub grant: Grant,
}

/// What a call uses of the grants that it is within.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The grants.
    pub version: GrantVersion,
    /// What it uses of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<Use>,
}

/// What a call uses of one entry of a grant, besides being one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// The task that it is the grant of; none for the session's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<CallId>,
    /// What it is counted under.
    pub entry: String,
    /// What the numbers are that are limited in all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sums: BTreeMap<String, Numeral>,
}
