//! Approvals: what persons were asked, what they said, and what has come of it.
//!
//! An approval is for one call: by this chain, of this capability, with this content, under these policies, until its time comes. It is known by the id of the call that was
//! parked for it, and is used by one call at most. Whoever is on the chain answers nothing, and where several are to say yes they are different people. A change of the policies
//! makes all approvals void: what was asked may not be what would be asked now.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::call::{Capability, Door, Place};
use crate::digest::Digest;
use crate::ids::{CallId, PrincipalName, RoleName, SessionId, SessionName};
use crate::money::Nanodollars;
use crate::policy::event::{ApprovalAnswered, ApprovalRequested};
use crate::policy::question::{Ask, Version};
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// The most approvals of one principal that are waited for or not yet used.
pub const OPEN_LIMIT: usize = 64;
/// How many approvals of one principal are remembered that are over, so that late answers are known as such.
pub const OVER_LIMIT: usize = 128;
/// The longest comment of whoever answers, in bytes.
pub const COMMENT_LIMIT_BYTES: usize = 2_000;

/// What the names of the waits begin with whose end says what came of a call that the gateway makes itself.
pub const WAIT_PREFIX: &str = "approval_";

/// Whether a wait of that name is one of those that say what came of an approved call: the gateway opens and ends them, and nobody else.
#[must_use]
pub fn is_wait_of_approval(name: &SessionName) -> bool {
    name.as_str().starts_with(WAIT_PREFIX)
}

/// How a person is asked, and what happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// Somebody is asked, if nobody was yet.
    Anew {
        /// How long there is time to answer, in microseconds.
        lasts_us: u64,
        /// Whether the gateway makes the call itself once it may.
        is_run: bool,
    },
    /// Nobody is: the gateway makes the call that was parked, by this approval or not at all.
    Only(CallId),
}

/// The name of the wait whose end says what came of the call that was parked.
///
/// # Errors
///
/// Never: it is a name.
pub fn wait_of(call: CallId) -> Result<SessionName, String> {
    format!("{WAIT_PREFIX}{call}").parse()
}

/// How an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Not all have said yes, and nobody has said no.
    Pending,
    /// All have said yes, and no call has used it.
    Approved,
    /// Somebody has said no.
    Denied,
    /// This call has used it.
    Used(CallId),
    /// Its time came first.
    Expired,
    /// Whoever asked for it has taken it back.
    Withdrawn,
    /// The policies have changed, or the session was closed.
    Void,
}

impl Standing {
    /// Whether something may still come of it.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Approved)
    }
}

/// What somebody has said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Who.
    pub by: PrincipalName,
    /// For which of their roles.
    pub roles: Vec<RoleName>,
    /// Yes or no.
    pub is_yes: bool,
    /// Whether it is their own call, and they said so in the client that makes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_by_client: bool,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// One approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The session that it was asked for in.
    pub session: SessionId,
    /// On whose authority the call was to be made.
    pub authority: Authority,
    /// What it was aimed at.
    pub capability: Capability,
    /// How it came in.
    pub door: Door,
    /// Where it was judged.
    pub place: Place,
    /// What tells it from calls with other arguments.
    pub content: Digest,
    /// The rules that ask.
    pub policies: Vec<String>,
    /// What they decided by.
    pub policy_version: Version,
    /// Who must say yes.
    pub asks: Vec<Ask>,
    /// Why it is asked, in the words of the rule.
    pub message: Option<String>,
    /// What the call may cost; none when that is not known.
    pub estimate: Option<Nanodollars>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// Until when it may be answered, and used.
    pub expires_at: Timestamp,
    /// The entry of the session's stream that has the arguments as its body.
    pub seq: u64,
    /// Whether the gateway makes the call itself once it may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_run: bool,
    /// The roles that may answer besides, because it has taken too long.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalated: Vec<RoleName>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
    /// How it stands.
    pub standing: Standing,
}

impl Approval {
    /// Whether the principal is on the chain that asks.
    #[must_use]
    pub fn is_on_chain(&self, principal: &PrincipalName) -> bool {
        self.authority.chain(&self.session.owner).principals().any(|on_chain| on_chain == principal)
    }

    /// Those of these roles that an answer counts for.
    #[must_use]
    pub fn asked_of<'a>(&self, roles: &'a [RoleName]) -> Vec<&'a RoleName> {
        let is_asked = |role: &RoleName| self.escalated.contains(role) || self.asks.iter().any(|ask| ask.role == *role);
        roles.iter().filter(|role| is_asked(role)).collect()
    }

    /// Those of these roles that an answer counts for which the one whose call it is gives in the client that makes it: none where somebody acts for them, or where no rule has said so.
    #[must_use]
    pub fn asked_of_client<'a>(&self, by: &PrincipalName, roles: &'a [RoleName]) -> Vec<&'a RoleName> {
        let is_alone = self.session.owner == *by && self.authority.through.is_empty();
        let is_asked = |role: &RoleName| self.asks.iter().any(|ask| ask.by_client && ask.role == *role);
        roles.iter().filter(|role| is_alone && is_asked(role)).collect()
    }

    /// How many more with the role must say yes.
    #[must_use]
    pub fn missing(&self, ask: &Ask) -> usize {
        let counts = |said: &&Said| {
            // Whoever is called in later, nobody's own answer counts for what it was not asked for.
            let is_called_in = |role: &RoleName| !said.is_by_client && self.escalated.contains(role);
            let may = ask.by_client || !said.is_by_client;
            said.is_yes && may && said.roles.iter().any(|role| *role == ask.role || is_called_in(role))
        };
        usize::from(ask.approvals).saturating_sub(self.said.iter().filter(counts).count())
    }

    /// How it stands once this was said.
    pub fn hears(&mut self, event: &ApprovalAnswered, by: &PrincipalName, at: Timestamp) -> Standing {
        let (roles, comment) = (event.roles.clone(), event.comment.clone());
        // Who says something else than before has changed their mind.
        self.said.retain(|said| said.by != *by);
        let (is_yes, is_by_client) = (event.is_yes, event.is_by_client);
        self.said.push(Said { by: by.clone(), roles, is_yes, is_by_client, comment, at });
        if !event.is_yes {
            Standing::Denied
        } else if self.asks.iter().all(|ask| self.missing(ask) == 0) {
            Standing::Approved
        } else {
            Standing::Pending
        }
    }

    /// The refusal of what comes when nothing can come of it any more.
    #[must_use]
    pub fn over(&self, call: CallId) -> Refusal {
        let how = match self.standing {
            Standing::Pending | Standing::Expired => format!("expired at {}", self.expires_at),
            Standing::Approved => "was given by all who were asked".to_owned(),
            Standing::Denied => "was denied".to_owned(),
            Standing::Used(call) => format!("was given, and used by call {call}"),
            Standing::Withdrawn => "was taken back by whoever asked for it".to_owned(),
            Standing::Void => {
                "is void: the policies have changed since it was asked for, or the session was closed".to_owned()
            }
        };
        Refusal::new(Code::WaitOver, format!("approval {call} {how}"))
    }
}

/// All approvals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvals {
    owners: BTreeMap<PrincipalName, BTreeMap<CallId, Approval>>,
    /// Whose each of them is.
    of_call: BTreeMap<CallId, PrincipalName>,
    /// The open ones by the time when they expire.
    by_time: BTreeSet<(Timestamp, CallId)>,
    /// Those whose calls the gateway makes itself, until it is told what came of them.
    #[serde(default)]
    to_tell: BTreeSet<CallId>,
}

impl Approvals {
    /// The approval that the call of that id was parked for.
    #[must_use]
    pub fn find(&self, call: CallId) -> Option<&Approval> {
        self.owners.get(self.of_call.get(&call)?)?.get(&call)
    }

    /// Those of one principal.
    pub fn of(&self, owner: &PrincipalName) -> impl Iterator<Item = (CallId, &Approval)> {
        self.owners.get(owner).into_iter().flatten().map(|(call, approval)| (*call, approval))
    }

    /// Those that are open, by the time when they expire.
    pub fn open(&self) -> impl Iterator<Item = (CallId, &Approval)> {
        self.by_time.iter().filter_map(|(_, call)| Some((*call, self.find(*call)?)))
    }

    /// Those whose calls the gateway makes itself, until it is told what came of them.
    pub fn to_tell(&self) -> impl Iterator<Item = (CallId, &Approval)> {
        self.to_tell.iter().filter_map(|call| Some((*call, self.find(*call)?)))
    }

    /// Whether the gateway is still to make the call of it, or to be told what came of that.
    #[must_use]
    pub fn is_to_tell(&self, call: CallId) -> bool {
        self.to_tell.contains(&call)
    }

    /// The open ones whose time has come.
    pub fn overdue(&self, at: Timestamp) -> impl Iterator<Item = CallId> {
        self.by_time.iter().take_while(move |(expires_at, _)| *expires_at <= at).map(|(_, call)| *call)
    }

    /// Whether the principal may ask for another one.
    ///
    /// # Errors
    ///
    /// [`Code::TooMany`].
    pub fn check(&self, owner: &PrincipalName) -> Result<(), Refusal> {
        if self.of(owner).filter(|(_, approval)| approval.standing.is_open()).count() < OPEN_LIMIT {
            return Ok(());
        }
        Err(Refusal::new(Code::TooMany, format!("a principal has at most {OPEN_LIMIT} approvals that are not used")))
    }

    /// Takes in that an approval was asked for, by the entry of that number.
    pub fn requested(&mut self, session: &SessionId, event: &ApprovalRequested, seq: u64, at: Timestamp) {
        let event = event.clone();
        let approval = Approval {
            session: session.clone(),
            authority: event.authority,
            capability: event.capability,
            door: event.door,
            place: event.place,
            content: event.content,
            policies: event.policies,
            policy_version: event.policy_version,
            asks: event.asks,
            message: event.message,
            estimate: event.estimate,
            requested_at: at,
            expires_at: event.expires_at,
            seq,
            is_run: event.is_run,
            escalated: Vec::new(),
            said: Vec::new(),
            standing: Standing::Pending,
        };
        self.by_time.insert((approval.expires_at, event.call));
        if approval.is_run {
            self.to_tell.insert(event.call);
        }
        self.of_call.insert(event.call, session.owner.clone());
        self.owners.entry(session.owner.clone()).or_default().insert(event.call, approval);
    }

    /// Takes in what somebody has said.
    pub fn answered(&mut self, event: &ApprovalAnswered, by: &PrincipalName, at: Timestamp) {
        let Some(approval) = self.find_mut(event.call) else { return };
        let standing = approval.hears(event, by, at);
        self.stands(event.call, standing);
    }

    /// Takes in that another role may answer too.
    pub fn escalated(&mut self, call: CallId, role: &RoleName) {
        if let Some(approval) = self.find_mut(call) {
            approval.escalated.push(role.clone());
        }
    }

    /// Takes in that this call has used it.
    pub fn used(&mut self, approval: CallId, by: CallId) {
        self.stands(approval, Standing::Used(by));
    }

    /// Takes in that the call that has used it certainly had no effect: another one may use it, if the policies are still those.
    pub fn unused(&mut self, approval: CallId, by: CallId, version: Option<Version>) {
        let Some(found) = self.find(approval).filter(|found| found.standing == Standing::Used(by)) else { return };
        let is_valid = Some(found.policy_version) == version;
        self.stands(approval, if is_valid { Standing::Approved } else { Standing::Void });
    }

    /// Takes in that a wait of that name has ended: if it is one of ours, it is told.
    pub fn told(&mut self, session: &SessionId, wait: &SessionName) {
        let call: Option<CallId> = wait.as_str().strip_prefix(WAIT_PREFIX).and_then(|call| call.parse().ok());
        let is_ours = |call: &CallId| self.find(*call).is_some_and(|approval| approval.session == *session);
        if let Some(call) = call.filter(is_ours) {
            self.to_tell.remove(&call);
        }
    }

    /// Takes in that its time has come.
    pub fn expired(&mut self, call: CallId) {
        self.stands(call, Standing::Expired);
    }

    /// Takes in that whoever asked for it has taken it back.
    pub fn withdrawn(&mut self, call: CallId) {
        self.stands(call, Standing::Withdrawn);
    }

    /// Takes in that other policies are in force: nothing that was asked under those before counts any more.
    pub fn policies_changed(&mut self, version: Version) {
        let is_other = |approval: &Approval| approval.standing.is_open() && approval.policy_version != version;
        self.void(is_other);
    }

    /// Takes in that a session is closed.
    pub fn session_closed(&mut self, session: &SessionId) {
        self.void(|approval| approval.standing.is_open() && approval.session == *session);
        let gone: Vec<CallId> =
            self.to_tell().filter(|(_, found)| found.session == *session).map(|(call, _)| call).collect();
        self.to_tell.retain(|call| !gone.contains(call));
    }

    fn void(&mut self, is_void: impl Fn(&Approval) -> bool) {
        let calls: Vec<CallId> = self.open().filter(|(_, approval)| is_void(approval)).map(|(call, _)| call).collect();
        calls.into_iter().for_each(|call| self.stands(call, Standing::Void));
    }

    fn find_mut(&mut self, call: CallId) -> Option<&mut Approval> {
        self.owners.get_mut(self.of_call.get(&call)?)?.get_mut(&call)
    }

    fn stands(&mut self, call: CallId, standing: Standing) {
        let Some(approval) = self.find_mut(call) else { return };
        approval.standing = standing;
        let (place, owner) = ((approval.expires_at, call), approval.session.owner.clone());
        if standing.is_open() {
            self.by_time.insert(place);
        } else {
            self.by_time.remove(&place);
            self.forget_oldest(&owner);
        }
    }

    fn forget_oldest(&mut self, owner: &PrincipalName) {
        let over = || self.of(owner).filter(|(_, approval)| !approval.standing.is_open());
        if over().count() <= OVER_LIMIT {
            return;
        }
        let oldest = over().map(|(call, approval)| (approval.requested_at, call)).min();
        if let Some((_, call)) = oldest {
            self.of_call.remove(&call);
            self.to_tell.remove(&call);
            self.owners.get_mut(owner).and_then(|approvals| approvals.remove(&call));
        }
    }
}
