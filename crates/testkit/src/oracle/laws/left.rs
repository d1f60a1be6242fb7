//! What calls have left behind, reckoned from the entries alone.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_domain::authority::{Authority, Credential};
use portcullis_domain::call::Capability;
use portcullis_domain::ids::{KeyId, PrincipalName, SessionId};

type Name = (SessionId, Capability, String);

/// What calls have left behind, reckoned by itself.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) open: BTreeMap<Name, (Authority, Option<PrincipalName>)>,
    pub(super) halted: BTreeSet<Name>,
}

impl Left {
    fn halt(&mut self, is_halted: impl Fn(&SessionId, &Authority, Option<&PrincipalName>) -> bool) {
        let halted = self
            .open
            .iter()
            .filter(|((session, ..), (authority, callee))| is_halted(session, authority, callee.as_ref()));
        self.halted.extend(halted.map(|(name, _)| name.clone()));
    }

    pub(super) fn disabled(&mut self, principal: &PrincipalName) {
        self.halt(|session, authority, callee| {
            callee == Some(principal) || authority.chain(&session.owner).principals().any(|acting| acting == principal)
        });
    }

    pub(super) fn key_ended(&mut self, key: &KeyId) {
        let credential = Credential::Key(key.clone());
        self.halt(|_, authority, _| authority.credential == credential);
    }
}
