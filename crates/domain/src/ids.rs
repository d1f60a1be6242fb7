//! One type per kind of name or id, parsed at the door.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::hex;

/// The longest name that a person or a client may choose, in bytes.
pub const NAME_LIMIT_BYTES: usize = 128;

/// Declares a name that people choose: 1 to [`NAME_LIMIT_BYTES`] of `A–Z a–z 0–9 . _ - @ +`, beginning with a letter or a digit.
///
/// The alphabet leaves out `/`, `:` and `~`, so that names can be joined in paths, account names and streams without
/// escaping, and it can't spell `.` or `..`.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                if is_name(text) {
                    return Ok(Self(text.into()));
                }
                let shown: String = text.chars().take(40).collect();
                Err(format!(
                    "`{shown}` is no name of {}: use 1 to {NAME_LIMIT_BYTES} of A-Z a-z 0-9 . _ - @ +, beginning with a letter or a digit",
                    $what
                ))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= NAME_LIMIT_BYTES
        && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte))
}

names! {
    /// Who acts: a user, a service or an agent.
    PrincipalName, "a principal";
    /// What a session is called by its owner.
    SessionName, "a session";
    /// The public part of a gateway-issued key.
    KeyId, "a key";
    /// An upstream of tools in the registry.
    ServerName, "a server";
    /// An agent in the registry.
    AgentName, "an agent";
    /// A role in the identity table.
    RoleName, "a role";
    /// Who vouches for principals that the gateway does not know by itself.
    IssuerName, "an issuer";
    /// A task that was handed on with a budget of its own.
    TaskId, "a task";
    /// What a session is marked with because of what came into it.
    LabelName, "a label";
    /// A guardrail.
    RuleName, "a guardrail";
    /// The tenant that an entry belongs to.
    TenantName, "a tenant";
    /// What a session keeps for a client: a response, a conversation, an item of one.
    RecordId, "a record";
    /// One run of a gateway that shares its journal with others, from its start to its end.
    GatewayId, "a gateway";
}

/// A session: a name within the names of its owner. Written `owner:name`.
///
/// Two principals may use the same name and never meet: that is what keeps a guessed name from telling anything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The principal that the session belongs to.
    pub owner: PrincipalName,
    /// The name that the owner, or the gateway for the owner, gave to it.
    pub name: SessionName,
}

impl fmt::Display for SessionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.owner, self.name)
    }
}

impl FromStr for SessionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (owner, name) = text.split_once(':').ok_or_else(|| format!("`{text}` is not `owner:name`"))?;
        Ok(Self { owner: owner.parse()?, name: name.parse()? })
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One call, from its admission to its settlement: 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub [u8; 16]);

impl fmt::Display for CallId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(hex(&self.0, &mut [0; 32]))
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

impl FromStr for CallId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a call of 32 hexadecimal digits");
        if text.len() != 32 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| wrong())
    }
}

impl Serialize for CallId {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(hex(&self.0, &mut [0; 32]))
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Who caused an entry. There is no default: whoever writes an entry says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The gateway itself, as at start-up.
    Gateway,
    /// A principal, as in `principal/ann`.
    Principal(PrincipalName),
    /// A principal through agents that act for it, as in `principal/ann>planner>payer`: the last one has done it.
    Through {
        /// For whom.
        subject: PrincipalName,
        /// Through whom, one through the other.
        agents: Vec<PrincipalName>,
    },
}

impl Actor {
    /// In whose name it was done; none is the gateway itself.
    #[must_use]
    pub fn subject(&self) -> Option<&PrincipalName> {
        match self {
            Self::Gateway => None,
            Self::Principal(subject) | Self::Through { subject, .. } => Some(subject),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway => out.write_str("gateway"),
            Self::Principal(name) => write!(out, "principal/{name}"),
            Self::Through { subject, agents } => {
                write!(out, "principal/{subject}")?;
                agents.iter().try_for_each(|agent| write!(out, ">{agent}"))
            }
        }
    }
}

impl FromStr for Actor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "gateway" {
            return Ok(Self::Gateway);
        }
        let names = text.strip_prefix("principal/").ok_or_else(|| format!("`{text}` is no actor"))?;
        let mut names = names.split('>').map(str::parse);
        let subject = names.next().ok_or_else(|| format!("`{text}` is no actor"))??;
        let agents: Vec<PrincipalName> = names.collect::<Result<_, _>>()?;
        Ok(if agents.is_empty() { Self::Principal(subject) } else { Self::Through { subject, agents } })
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_place_are_refused() {
        let long = "x".repeat(NAME_LIMIT_BYTES + 1);
        for text in ["", ".", "..", "-x", "a/b", "a:b", "a~b", "a b", "ä", "a\n", &long] {
            assert!(text.parse::<SessionName>().is_err(), "{text}");
        }
        for text in ["claim-99", "a", "9", "ann@example.org", &"x".repeat(NAME_LIMIT_BYTES)] {
            assert!(text.parse::<SessionName>().is_ok(), "{text}");
        }
    }

    #[test]
    fn ids_read_back_what_they_wrote() {
        let session: SessionId = "ann:claim-99".parse().unwrap();
        assert_eq!(serde_json::to_string(&session).unwrap(), "\"ann:claim-99\"");
        let call = CallId([7; 16]);
        assert_eq!(call.to_string().parse::<CallId>().unwrap(), call);
        assert!("+0000000000000000000000000000000".parse::<CallId>().is_err());
        for text in ["gateway", "principal/ann", "principal/ann>planner>payer"] {
            assert_eq!(text.parse::<Actor>().unwrap().to_string(), text);
        }
        for text in ["", "ann", "principal/", "principal/ann>", "principal/ann>>x", "gateway>x"] {
            assert!(text.parse::<Actor>().is_err(), "{text}");
        }
    }
}
