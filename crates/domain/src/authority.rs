//! On whose authority something is asked: the credential that its owner came with, and the agents that act for them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::call::Capability;
use crate::ids::{Actor, CallId, IssuerName, KeyId, PrincipalName, TaskId};
use crate::refusal::{Code, Refusal};
use crate::scope::Scope;
use crate::time::Timestamp;

/// How many agents may act for somebody, one through the other.
pub const DEPTH_LIMIT: usize = 16;

/// What somebody was recognised by. Written `0123456789ab` for a key of the gateway's own, `issuer/id` for what another one vouches for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Credential {
    /// A key that the gateway has issued.
    Key(KeyId),
    /// What an issuer of the configuration vouches for: a token or a certificate, by its id.
    Vouched {
        /// Who vouches.
        issuer: IssuerName,
        /// What tells it from others of the same issuer.
        id: KeyId,
    },
}

impl fmt::Display for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(out, "{key}"),
            Self::Vouched { issuer, id } => write!(out, "{issuer}/{id}"),
        }
    }
}

impl FromStr for Credential {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((issuer, id)) => Ok(Self::Vouched { issuer: issuer.parse()?, id: id.parse()? }),
            None => text.parse().map(Self::Key),
        }
    }
}

impl Serialize for Credential {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Credential {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// On whose authority something is asked. Whose the credential is, the session says in which it is asked. Written as the credential alone where nobody acts for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Authority {
    /// What the owner of the session was recognised by.
    pub credential: Credential,
    /// The agents that act for the owner, one through the other: the last one is who asks. None where the owner asks.
    pub through: Vec<PrincipalName>,
    /// When it ends by itself, besides the key that it comes from.
    pub expires_at: Option<Timestamp>,
    /// When whoever has handed the task on wanted it to end. Tokens end because they must be short; this end is meant, and holds for what is done later too.
    pub until: Option<Timestamp>,
    /// What it may be used for; everything that policy allows where nothing is said.
    pub scope: Option<Scope>,
    /// The account of the task that pays, below that of the session.
    pub task: Option<TaskId>,
    /// What a task is under that was handed on with a grant of its own: the number of the token by which it was.
    pub under: Option<CallId>,
}

impl Authority {
    /// That of somebody who came by themselves with this.
    #[must_use]
    pub fn of(credential: Credential) -> Self {
        Self { credential, through: Vec::new(), expires_at: None, until: None, scope: None, task: None, under: None }
    }

    /// That of somebody who came by themselves with a key.
    #[must_use]
    pub fn of_key(key: KeyId) -> Self {
        Self::of(Credential::Key(key))
    }

    /// The same, with one more agent that acts for all who are on it.
    ///
    /// # Errors
    ///
    /// [`Code::TooDeep`] when there are as many as there may be.
    pub fn through(&self, agent: PrincipalName) -> Result<Self, Refusal> {
        if self.through.len() >= DEPTH_LIMIT {
            let message = format!("at most {DEPTH_LIMIT} agents may act for somebody, one through the other");
            return Err(Refusal::new(Code::TooDeep, message));
        }
        let mut next = self.clone();
        next.through.push(agent);
        Ok(next)
    }

    /// The same for what the gateway does later by itself: it ends with its key or the principals on it, not with the hour of a token, unless the task was handed on with an end.
    #[must_use]
    pub fn lasting(&self) -> Self {
        Self { expires_at: self.until, ..self.clone() }
    }

    /// Whether its own end has come.
    #[must_use]
    pub fn is_over(&self, at: Timestamp) -> bool {
        self.expires_at.is_some_and(|expiry| at >= expiry)
    }

    /// Who acts in a session of this owner.
    #[must_use]
    pub fn actor(&self, owner: &PrincipalName) -> Actor {
        let subject = owner.clone();
        if self.through.is_empty() {
            Actor::Principal(subject)
        } else {
            Actor::Through { subject, agents: self.through.clone() }
        }
    }

    /// The chain of principals that asks in a session of this owner.
    #[must_use]
    pub fn chain<'a>(&'a self, owner: &'a PrincipalName) -> Chain<'a> {
        let Self { credential, through, scope, .. } = self;
        Chain { subject: owner, through, credential, scope: scope.as_ref() }
    }
}

/// How an authority is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Plain(Credential),
    Full {
        credential: Credential,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        through: Vec<PrincipalName>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<Scope>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        under: Option<CallId>,
    },
}

impl From<Written> for Authority {
    fn from(written: Written) -> Self {
        match written {
            Written::Plain(credential) => Self::of(credential),
            Written::Full { credential, through, expires_at, until, scope, task, under } => {
                Self { credential, through, expires_at, until, scope, task, under }
            }
        }
    }
}

impl From<Authority> for Written {
    fn from(authority: Authority) -> Self {
        let Authority { credential, through, expires_at, until, scope, task, under } = authority;
        let is_limited = expires_at.is_some() || until.is_some() || scope.is_some();
        if through.is_empty() && !is_limited && task.is_none() && under.is_none() {
            return Self::Plain(credential);
        }
        Self::Full { credential, through, expires_at, until, scope, task, under }
    }
}

/// Who asked first, and the agents through whom. What any of them may not, the chain may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain<'a> {
    /// Who asked first.
    pub subject: &'a PrincipalName,
    /// The agents that act for them, one through the other.
    pub through: &'a [PrincipalName],
    /// What the one who asked first was recognised by.
    pub credential: &'a Credential,
    /// What the task may be used for; everything that policy allows where nothing is said.
    pub scope: Option<&'a Scope>,
}

impl<'a> Chain<'a> {
    /// Everybody on it, from who asked first.
    pub fn principals(self) -> impl Iterator<Item = &'a PrincipalName> {
        std::iter::once(self.subject).chain(self.through)
    }

    /// Who asks now.
    #[must_use]
    pub fn actor(self) -> &'a PrincipalName {
        self.through.last().unwrap_or(self.subject)
    }

    /// Whether the task may be used for this, whatever policy says.
    #[must_use]
    pub fn covers(self, capability: &Capability) -> bool {
        self.scope.is_none_or(|scope| scope.covers(capability))
    }

    /// How many agents there are between who asked first and the call.
    #[must_use]
    pub fn depth(self) -> usize {
        self.through.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, through: &[&str], expires_at: Option<u64>) {
        let authority: Authority = serde_json::from_str(text).unwrap();
        let named: Vec<&str> = authority.through.iter().map(PrincipalName::as_str).collect();
        assert_eq!((named.as_slice(), authority.expires_at), (through, expires_at.map(Timestamp)), "{text}");
        assert_eq!(serde_json::to_string(&authority).unwrap(), text);
    }

    #[test]
    fn a_plain_one_is_written_as_its_credential() {
        check(r#""0123456789ab""#, &[], None);
        check(r#""corp/0123""#, &[], None);
        check(r#"{"credential":"corp/0123","through":["planner","payer"]}"#, &["planner", "payer"], None);
        let narrow =
            r#"{"credential":"0123456789ab","through":["payer"],"expires_at":9,"scope":"tool/a__*","task":"t1"}"#;
        check(narrow, &["payer"], Some(9));
        let ended = r#"{"credential":"0123456789ab","through":["payer"],"expires_at":9,"until":12}"#;
        check(ended, &["payer"], Some(9));
        let ended: Authority = serde_json::from_str(ended).unwrap();
        assert_eq!(ended.lasting().expires_at, Some(Timestamp(12)), "an end that was meant is kept");
        assert!(serde_json::from_str::<Authority>(r#""corp/a/b""#).is_err());
    }
}
