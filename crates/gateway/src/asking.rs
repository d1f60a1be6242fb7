//! Who asks, and in which session: what every call carries from its door to its settlement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_domain::authority::{Authority, Chain};
use portcullis_domain::call::Door;
use portcullis_domain::ids::SessionId;
use portcullis_domain::session::Origin;

use crate::credential::OwnToken;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Asking {
    /// On whose authority.
    pub authority: Authority,
    /// The session; its owner is who asks.
    pub session: SessionId,
    /// Whether the caller named the session.
    pub origin: Origin,
    /// The language.
    pub door: Door,
    /// What the request may have done.
    pub effect: Effect,
    /// The token of their issuer that they came with, if they did.
    pub token: Option<Arc<OwnToken>>,
}

impl Asking {
    /// On whose behalf it is asked: the owner of the session, and the agents that act for them.
    #[must_use]
    pub fn chain(&self) -> Chain<'_> {
        self.authority.chain(&self.session.owner)
    }
}

/// Whether a request may have had an effect that lasts, as far as this process has seen. All clones say the same.
#[derive(Debug, Clone, Default)]
pub struct Effect {
    is_possible: Arc<AtomicBool>,
}

impl Effect {
    /// Something that has an effect begins.
    pub fn begin(&self) {
        self.is_possible.store(true, Ordering::SeqCst);
    }

    /// What had begun has certainly not been done.
    pub fn undo(&self) {
        self.is_possible.store(false, Ordering::SeqCst);
    }

    /// Whether something may have been done.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.is_possible.load(Ordering::SeqCst)
    }
}
