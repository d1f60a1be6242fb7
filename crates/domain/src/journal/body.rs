//! Bodies: prompts, arguments and results. They lie beside the entries under their digest, so that they can be erased and the chain stays valid.

use bytes::Bytes;

use crate::digest::Digest;

/// Bytes with their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    digest: Digest,
    bytes: Bytes,
}

impl Body {
    /// The body of these bytes. Hashing happens here, where the caller is, and not in the writer.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { digest: Digest::of(&bytes), bytes }
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}
