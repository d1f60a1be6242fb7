//! The question that policy is asked, and its answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::authority::Chain;
use crate::call::{Capability, Door, Place};
use crate::digest::Digest;
use crate::grant::GrantVersion;
use crate::ids::{LabelName, PrincipalName, RoleName, SessionId};
use crate::policy::arguments::Arguments;
use crate::policy::guarded::Guarded;
use crate::policy::moment::Moment;
use crate::policy::provenance::Said;
use crate::profile::Profile;

/// Which policies, schema and principals made a decision: the digest of all of them.
pub type Version = Digest;

/// May this principal make this call?
///
/// Roles and attributes of principals of the configuration are not part of the question: the engine's snapshot has them, under the same version as the rules.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who is asked about: one of those on the chain. All of them must be allowed.
    pub principal: &'a PrincipalName,
    /// What an issuer says of who asked first; none for principals of the configuration. Of agents it says nothing.
    pub profile: Option<&'a Profile>,
    /// On whose behalf it is asked.
    pub chain: Chain<'a>,
    /// For what.
    pub capability: &'a Capability,
    /// With which arguments; none for models and for functions that the registry does not know.
    pub arguments: Option<&'a Arguments>,
    /// In which session.
    pub session: &'a SessionId,
    /// By which protocol.
    pub door: Door,
    /// At the door or inside a model's answer.
    pub place: Place,
    /// When, and what the session has done by then. Where a rule reads what is absent, the answer is no and [`Decision::lacks_moment`].
    pub moment: &'a Moment,
    /// What was said in the session, which values may come from. Where a rule reads where they come from and this is absent, the answer is no and [`Decision::lacks_said`].
    pub said: Option<&'a Said>,
}

/// What policy answers. The stricter answer is the greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The call may be made.
    Allow,
    /// The call may be made once a person has said so.
    Ask,
    /// The call must not be made.
    Deny,
}

/// The most people that one rule may ask.
pub const APPROVALS_LIMIT: u8 = 8;

/// Who must be asked: the `@ask` of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ask {
    /// The role that whoever answers must have.
    pub role: RoleName,
    /// How many of them must say yes.
    pub approvals: u8,
    /// Whether the one whose call it is counts as one of them, where they say so in the client that makes it (`@approver("client")`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_client: bool,
}

impl Ask {
    /// All of these together, in the order of their roles: of those that ask the same role, the one that asks most of them, and the client only where all of them do.
    #[must_use]
    pub fn all(asks: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut strictest: BTreeMap<RoleName, Self> = BTreeMap::new();
        for ask in asks {
            let known = strictest.entry(ask.role.clone()).or_insert_with(|| ask.clone());
            known.approvals = known.approvals.max(ask.approvals);
            known.by_client &= ask.by_client;
        }
        strictest.into_values().collect()
    }
}

/// An answer with what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Yes or no.
    pub effect: Effect,
    /// The ids of the rules that decided; none when no rule permits.
    pub policies: Vec<String>,
    /// What the model will read when the answer is no, and whoever is asked when a person must be: the `@message` of the deciding rule.
    pub message: Option<String>,
    /// Who must be asked, all of them, when that is the answer.
    pub asks: Vec<Ask>,
    /// Rules that could not be evaluated. There is never one without the answer being no.
    pub errors: Vec<String>,
    /// What it rests on besides the question and the version: only what was read.
    pub moment: Moment,
    /// Whether the answer is no for the one reason that the moment was not told. Whoever tells it may ask again.
    pub lacks_moment: bool,
    /// Whether the answer is no for the one reason that what was said in the session was not told.
    pub lacks_said: bool,
    /// What rules would have decided that are only on trial, as sentences.
    pub audit: Vec<String>,
    /// The grants of the task, where they say no whatever rules say.
    pub outside: Option<GrantVersion>,
    /// What guardrails did with what was asked about, before policy was.
    pub guarded: Vec<Guarded>,
    /// What they mark the session with.
    pub labels: Vec<LabelName>,
    /// What decided.
    pub version: Version,
}

impl Decision {
    /// The same for what nobody is asked about: an answer that a person must be asked is a yes.
    #[must_use]
    pub fn unasked(self) -> Self {
        match self.effect {
            Effect::Ask => Self { effect: Effect::Allow, asks: Vec::new(), message: None, ..self },
            Effect::Allow | Effect::Deny => self,
        }
    }

    /// An answer that no rule made.
    #[must_use]
    pub fn of(effect: Effect, version: Version) -> Self {
        Self {
            effect,
            policies: Vec::new(),
            message: None,
            asks: Vec::new(),
            errors: Vec::new(),
            moment: Moment::default(),
            lacks_moment: false,
            lacks_said: false,
            audit: Vec::new(),
            outside: None,
            guarded: Vec::new(),
            labels: Vec::new(),
            version,
        }
    }
}
