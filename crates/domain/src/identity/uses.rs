//! When keys were used last, as far as calls that were admitted tell. Nothing is written for it: the entries of calls name the credential.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::authority::Credential;
use crate::ids::KeyId;
use crate::time::Timestamp;

/// The last call on the authority of each key, whoever made it for its owner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uses(BTreeMap<KeyId, Timestamp>);

impl Uses {
    /// Takes in that a call was admitted.
    pub fn used(&mut self, credential: &Credential, at: Timestamp) {
        let Credential::Key(key) = credential else { return };
        match self.0.get_mut(key) {
            Some(last) => *last = at.max(*last),
            None => drop(self.0.insert(key.clone(), at)),
        }
    }

    /// Whether no key was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the key was used last.
    #[must_use]
    pub fn last(&self, key: &KeyId) -> Option<Timestamp> {
        self.0.get(key).copied()
    }
}
