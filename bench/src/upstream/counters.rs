//! What the upstream counts.

use std::sync::atomic::AtomicU64;

#[derive(Default)]
pub(super) struct Counters {
    /// Measured calls answered: what a peer claims to have forwarded is checked against it.
    pub(super) served: AtomicU64,
    /// Transport sessions opened; their number is their id.
    pub(super) sessions: AtomicU64,
}
