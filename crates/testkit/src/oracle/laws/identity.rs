//! The laws of keys, and of those for whom an issuer vouches.

use portcullis_domain::authority::Credential;
use portcullis_domain::event::CallAdmitted;
use portcullis_domain::identity::event::{
    KeyCreated, KeyLimited, KeyRestored, KeyRevoked, KeyWithdrawn, PrincipalSeen,
};
use portcullis_domain::identity::key::DECLARED_PREFIX;
use portcullis_domain::ids::{Actor, PrincipalName};
use portcullis_domain::time::Timestamp;

use super::Laws;

impl Laws {
    pub(super) fn key_created(&mut self, event: &KeyCreated) {
        let is_new = self.world.identity.find(&event.key).is_none();
        self.must(is_new, || format!("key `{}` was issued before", event.key));
    }

    pub(super) fn key_revoked(&mut self, event: &KeyRevoked) {
        let is_held =
            self.world.identity.find(&event.key).is_some_and(|key| key.revoked_at.is_none() || key.is_withdrawn);
        self.must(is_held, || format!("key `{}` was not issued, or was taken back before", event.key));
    }

    pub(super) fn key_withdrawn(&mut self, event: &KeyWithdrawn) {
        let is_held = self.world.identity.find(&event.key).is_some_and(|key| key.revoked_at.is_none());
        let is_declared = event.key.as_str().starts_with(DECLARED_PREFIX);
        self.must(is_held && is_declared, || format!("key `{}` did not stand in a configuration", event.key));
    }

    /// What a person has taken back, nobody's configuration gives back.
    pub(super) fn key_restored(&mut self, event: &KeyRestored) {
        let is_withdrawn = self.world.identity.find(&event.key).is_some_and(|key| key.is_withdrawn);
        self.must(is_withdrawn, || format!("key `{}` was not withdrawn", event.key));
    }

    /// Whose the credential is that a call was admitted with.
    pub(super) fn holder(&mut self, event: &CallAdmitted, at: Timestamp) -> Option<PrincipalName> {
        let (call, authority) = (event.call, &event.authority);
        let credential = &authority.credential;
        self.must(authority.expires_at.is_none_or(|expiry| at < expiry), || {
            format!("call {call} was admitted on an authority that had run out")
        });
        match credential {
            Credential::Key(name) => {
                let Some(key) = self.world.identity.find(name).cloned() else {
                    self.problems.push(format!("call {call} was admitted with key `{name}`, which was never issued"));
                    return None;
                };
                self.must(key.is_live(at), || {
                    format!("call {call} was admitted with key `{name}`, which was taken back or had run out")
                });
                self.must(key.scope.has_capability(&event.capability), || {
                    format!("call {call} was admitted with key `{name}`, which is not for it")
                });
                Some(key.principal)
            }
            Credential::Vouched { .. } => {
                let holder = self.world.identity.vouched(credential).map(|seen| seen.principal.clone());
                self.must(holder.is_some(), || {
                    format!("call {call} was admitted with `{credential}`, which nobody has vouched for")
                });
                holder
            }
        }
    }

    pub(super) fn key_limited(&mut self, event: &KeyLimited) {
        let key = self.world.identity.find(&event.key);
        let is_sooner = key.is_some_and(|key| key.expires_at.is_none_or(|before| event.expires_at < before));
        self.must(is_sooner, || format!("key `{}` was not issued, or ended before", event.key));
    }

    pub(super) fn principal_seen(&mut self, event: &PrincipalSeen, actor: &Actor) {
        let credential = event.profile.credential(&event.issuer, &event.principal);
        let is_new = credential.is_ok_and(|credential| self.world.identity.vouched(&credential).is_none());
        self.must(is_new, || format!("`{}` was seen so before", event.principal));
        self.must(*actor == Actor::Principal(event.principal.clone()), || {
            format!("that `{}` was seen is blamed on another one", event.principal)
        });
    }
}
