//! The one source of randomness: the system's generator.

use aws_lc_rs::rand;
use portcullis_domain::ids::CallId;
use portcullis_domain::refusal::{Code, Refusal};

/// The system has no randomness to give, so nothing that must be unguessable can be made.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct NoEntropy;

impl From<NoEntropy> for Refusal {
    fn from(fault: NoEntropy) -> Self {
        Self::new(Code::StoreUnavailable, "the gateway can't make ids at the moment").because(fault.to_string())
    }
}

/// So many random bytes.
///
/// # Errors
///
/// When the system has none to give.
#[expect(clippy::disallowed_methods, reason = "this is the one source that all others ask")]
pub fn bytes<const LENGTH: usize>() -> Result<[u8; LENGTH], NoEntropy> {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes).map_err(|_| NoEntropy)?;
    Ok(bytes)
}

/// A new call id.
///
/// # Errors
///
/// When the system has no randomness to give.
pub fn new_call() -> Result<CallId, NoEntropy> {
    bytes().map(CallId)
}
