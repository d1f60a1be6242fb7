//! Who asks, and in which session: what every call carries from its door to its settlement.

use portcullis_domain::call::Door;
use portcullis_domain::ids::{KeyId, SessionId};
use portcullis_domain::session::Origin;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The key that was presented.
    pub key: KeyId,
    /// The session; its owner is who asks.
    pub session: SessionId,
    /// Whether the caller named the session.
    pub origin: Origin,
    /// The language.
    pub door: Door,
}
