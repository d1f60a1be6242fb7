//! Gateway-issued keys: `pcs_<id>_<secret>`, with an id that may be shown and a secret of 256 bits.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::authority::Credential;
use crate::digest::Digest;
use crate::identity::event::{
    KeyCreated, KeyLimited, KeyRestored, KeyRevoked, KeyWithdrawn, PrincipalSeen, SigningRotated,
};
use crate::identity::scope::Scope;
use crate::identity::vouched::{Seen, Vouched};
use crate::ids::{KeyId, PrincipalName};
use crate::time::Timestamp;

/// What keys begin with, so that scanners for leaked secrets can find them.
pub const PREFIX: &str = "pcs_";

/// What the ids of keys begin with that stand in the configuration. No issued key's does.
pub const DECLARED_PREFIX: &str = "file-";

/// An issued key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Whose it is.
    pub principal: PrincipalName,
    /// The digest of the whole key.
    pub secret: Digest,
    /// When it was issued.
    pub created_at: Timestamp,
    /// When it stops being valid by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was to stop as it was issued: one that was replaced ends earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_until: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// Whether it was taken back only because it did not stand in the configuration any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_withdrawn: bool,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Scope::is_everything")]
    pub scope: Scope,
}

impl Key {
    /// Whether it is the key that the configuration means, and ends when it says there. One that was replaced may end earlier than it was declared to.
    #[must_use]
    pub fn is_as_declared(&self, wanted: &KeyCreated) -> bool {
        let ends = [self.issued_until, self.expires_at].contains(&wanted.expires_at);
        self.is_the_one_declared(wanted) && ends
    }

    /// Whether it is that key, whenever it ends.
    #[must_use]
    pub fn is_the_one_declared(&self, wanted: &KeyCreated) -> bool {
        self.secret == wanted.secret && self.principal == wanted.principal && self.scope == wanted.scope
    }

    /// Whether the key is valid at that time.
    #[must_use]
    pub fn is_live(&self, at: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expiry| at < expiry)
    }
}

/// A key as a caller presents it: its id, and the digest of all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// The public part.
    pub id: KeyId,
    /// The digest of the whole key.
    pub secret: Digest,
}

impl Presented {
    /// Reads a key of the form `pcs_<id>_<secret>`; none for anything else.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (id, _) = text.strip_prefix(PREFIX)?.split_once('_')?;
        Some(Self { id: id.parse().ok()?, secret: Digest::of(text.as_bytes()) })
    }

    /// The text of a new key from 6 random bytes for its id and 32 for its secret.
    #[must_use]
    pub fn issue(id: [u8; 6], secret: [u8; 32]) -> String {
        let mut digits = [0; 12];
        let id = crate::digest::hex(&id, &mut digits);
        format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret))
    }
}

/// Which of its own keys a gateway signs with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signing {
    /// How often there was another one.
    pub generation: u32,
    /// Since when it is this one; none where there was no other.
    pub since: Option<Timestamp>,
}

impl Signing {
    fn is_first(&self) -> bool {
        *self == Self::default()
    }
}

/// All keys that were ever issued, the principals that issuers vouch for, and which keys the gateways themselves sign with: what doors know by heart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    keys: BTreeMap<KeyId, Key>,
    #[serde(default, skip_serializing_if = "Vouched::is_empty")]
    vouched: Vouched,
    #[serde(default, skip_serializing_if = "Signing::is_first")]
    signing: Signing,
}

impl Keys {
    /// The principal that the presented key stands for, if the key is known and valid at that time.
    ///
    /// Secrets are compared in constant time, and an unknown id costs the same comparison.
    #[must_use]
    pub fn authenticate(&self, presented: &Presented, at: Timestamp) -> Option<&PrincipalName> {
        let key = self.keys.get(&presented.id);
        let expected = key.map_or(Digest::ZERO, |key| key.secret);
        let is_equal = verify_slices_are_equal(&expected.0, &presented.secret.0).is_ok();
        key.filter(|key| is_equal && key.is_live(at)).map(|key| &key.principal)
    }

    /// The key of that id.
    #[must_use]
    pub fn find(&self, id: &KeyId) -> Option<&Key> {
        self.keys.get(id)
    }

    /// What is known of whoever comes with what an issuer vouches for.
    #[must_use]
    pub fn vouched(&self, credential: &Credential) -> Option<&Arc<Seen>> {
        self.vouched.find(credential)
    }

    /// Takes in that an issuer has described a principal.
    pub fn seen(&mut self, event: &PrincipalSeen, at: Timestamp) {
        self.vouched.seen(event, at);
    }

    /// All keys, in order of their ids.
    pub fn all(&self) -> impl Iterator<Item = (&KeyId, &Key)> {
        self.keys.iter()
    }

    /// Which key the gateways sign with.
    #[must_use]
    pub fn signing(&self) -> Signing {
        self.signing
    }

    /// Takes in that the gateways sign with another key.
    pub fn signing_rotated(&mut self, event: &SigningRotated, at: Timestamp) {
        self.signing = Signing { generation: event.generation, since: Some(at) };
    }

    /// Takes in that a key was issued.
    pub fn created(&mut self, event: &KeyCreated, at: Timestamp) {
        let key = Key {
            principal: event.principal.clone(),
            secret: event.secret,
            created_at: at,
            expires_at: event.expires_at,
            issued_until: event.expires_at,
            revoked_at: None,
            is_withdrawn: false,
            scope: event.scope.clone(),
        };
        self.keys.insert(event.key.clone(), key);
    }

    /// Takes in that a key ends by itself.
    pub fn limited(&mut self, event: &KeyLimited) {
        if let Some(key) = self.keys.get_mut(&event.key) {
            key.expires_at = Some(key.expires_at.map_or(event.expires_at, |before| before.min(event.expires_at)));
        }
    }

    /// Takes in that a key was taken back.
    pub fn revoked(&mut self, event: &KeyRevoked, at: Timestamp) {
        if let Some(key) = self.keys.get_mut(&event.key) {
            key.revoked_at.get_or_insert(at);
            key.is_withdrawn = false;
        }
    }

    /// Takes in that a key does not stand in the configuration any more.
    pub fn withdrawn(&mut self, event: &KeyWithdrawn, at: Timestamp) {
        if let Some(key) = self.keys.get_mut(&event.key) {
            key.is_withdrawn = key.revoked_at.is_none();
            key.revoked_at.get_or_insert(at);
        }
    }

    /// Takes in that a key stands there again.
    pub fn restored(&mut self, event: &KeyRestored) {
        if let Some(key) = self.keys.get_mut(&event.key).filter(|key| key.is_withdrawn) {
            (key.is_withdrawn, key.revoked_at) = (false, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_opens_and_only_while_it_is_live() {
        let text = Presented::issue([1; 6], [2; 32]);
        let presented = Presented::read(&text).unwrap();
        let mut keys = Keys::default();
        let created = KeyCreated {
            key: presented.id.clone(),
            principal: "ann".parse().unwrap(),
            secret: presented.secret,
            expires_at: Some(Timestamp(100)),
            scope: Scope::default(),
        };
        keys.created(&created, Timestamp(1));
        let opens = |keys: &Keys, text: &str, at| {
            Presented::read(text).is_some_and(|key| keys.authenticate(&key, Timestamp(at)).is_some())
        };
        assert!(opens(&keys, &text, 99));
        assert!(!opens(&keys, &text, 100));
        for altered in
            [format!("{text}x"), text.replace("AgIC", "AgID"), text.to_uppercase(), "pcs_0000_x".into(), String::new()]
        {
            assert!(!opens(&keys, &altered, 50), "{altered}");
        }
        keys.revoked(&KeyRevoked { key: presented.id }, Timestamp(60));
        assert!(!opens(&keys, &text, 61));
    }
}
