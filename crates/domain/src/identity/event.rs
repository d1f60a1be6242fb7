//! What the journal says about keys.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::identity::scope::Scope;
use crate::ids::{IssuerName, KeyId, PrincipalName};
use crate::profile::Profile;
use crate::time::Timestamp;

/// A key was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCreated {
    /// Its public part.
    pub key: KeyId,
    /// Whose it is.
    pub principal: PrincipalName,
    /// The digest of the whole key as it was handed out. The key has 256 random bits, so one round of hashing is enough.
    pub secret: Digest,
    /// When it stops being valid by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Scope::is_everything")]
    pub scope: Scope,
}

/// A key ends by itself at that time, or earlier where it did so before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLimited {
    /// Its public part.
    pub key: KeyId,
    /// When it stops being valid.
    pub expires_at: Timestamp,
}

/// A key was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRevoked {
    /// Its public part.
    pub key: KeyId,
}

/// A key of the configuration does not stand there any more: it opens nothing until it stands there again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyWithdrawn {
    /// Its public part.
    pub key: KeyId,
}

/// A key of the configuration stands there again, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRestored {
    /// Its public part.
    pub key: KeyId,
}

/// An issuer describes a principal as it was not described before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalSeen {
    /// Who vouches.
    pub issuer: IssuerName,
    /// Whom it describes.
    pub principal: PrincipalName,
    /// What it says.
    pub profile: Profile,
}

/// A principal may not act any more, by itself or for anybody else: what it has under way is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalDisabled {
    /// Who.
    pub principal: PrincipalName,
    /// Why, in words for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A principal may act again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalEnabled {
    /// Who.
    pub principal: PrincipalName,
}

/// The gateways of this journal sign with another key, derived with this number; what the one before has signed counts until it has run out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningRotated {
    /// The number: one more than before.
    pub generation: u32,
}
