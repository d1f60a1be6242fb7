//! The end of a stream.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The end of a stream so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of the last entry; 0 before the first.
    pub seq: u64,
    /// The digest of the last entry; [`Digest::ZERO`] before the first.
    pub digest: Digest,
}

impl Head {
    /// The head of a stream without entries.
    pub const START: Self = Self { seq: 0, digest: Digest::ZERO };
}
