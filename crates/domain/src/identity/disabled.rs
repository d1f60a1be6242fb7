//! Principals that may not act: users, services and agents alike, by themselves or for anybody else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::authority::Chain;
use crate::call::Capability;
use crate::ids::PrincipalName;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// All that are disabled, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    principals: BTreeMap<PrincipalName, Timestamp>,
}

impl Disabled {
    /// Whether everybody on the chain may act.
    ///
    /// # Errors
    ///
    /// [`Code::Unauthenticated`], with the first who may not.
    pub fn check(&self, chain: Chain<'_>) -> Result<(), Refusal> {
        if self.principals.is_empty() {
            return Ok(());
        }
        chain.principals().try_for_each(|principal| self.check_one(principal))
    }

    /// Whether the principal may act.
    ///
    /// # Errors
    ///
    /// [`Code::Unauthenticated`].
    pub fn check_one(&self, principal: &PrincipalName) -> Result<(), Refusal> {
        if self.principals.contains_key(principal) {
            return Err(Refusal::new(Code::Unauthenticated, format!("`{principal}` is disabled")));
        }
        Ok(())
    }

    /// Whether a principal may be called as what stands there: whoever may not act is given nothing to do either.
    ///
    /// # Errors
    ///
    /// [`Code::Forbidden`]: whoever calls has done nothing wrong.
    pub fn check_callee(&self, callee: &PrincipalName, called: &Capability) -> Result<(), Refusal> {
        if self.principals.contains_key(callee) {
            let message = format!("`{}` is disabled and may not be called", called.name);
            return Err(Refusal::new(Code::Forbidden, message).because(format!("principal `{callee}` is disabled")));
        }
        Ok(())
    }

    /// Since when the principal is disabled.
    #[must_use]
    pub fn since(&self, principal: &PrincipalName) -> Option<Timestamp> {
        self.principals.get(principal).copied()
    }

    /// All that are disabled, in order of their names.
    pub fn all(&self) -> impl Iterator<Item = (&PrincipalName, Timestamp)> {
        self.principals.iter().map(|(principal, since)| (principal, *since))
    }

    /// Takes in that a principal was disabled.
    pub fn disabled(&mut self, principal: &PrincipalName, at: Timestamp) {
        self.principals.entry(principal.clone()).or_insert(at);
    }

    /// Takes in that a principal may act again.
    pub fn enabled(&mut self, principal: &PrincipalName) {
        self.principals.remove(principal);
    }
}
