//! One entry, and the bytes that stand for it.
//!
//! The canonical bytes are the entry as JSON without spaces, members in the order of [`Entry`], numbers as integers. They are stored and hashed as
//! they are; whoever verifies checks that reading and writing them again gives the same bytes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{Actor, TenantName};
use crate::journal::body::Body;
use crate::journal::head::Head;
use crate::journal::stream::StreamId;
use crate::time::Timestamp;

/// The version of the canonical form.
pub const VERSION: u8 = 1;

/// Something that is to be journaled, before it has its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft<E> {
    /// Where it belongs.
    pub stream: StreamId,
    /// Who caused it.
    pub actor: Actor,
    /// What happened.
    pub event: E,
    /// What it refers to by digest, to be kept beside it.
    pub bodies: Vec<Body>,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<E> {
    /// The version of the form.
    pub v: u8,
    /// The stream that it belongs to.
    pub stream: StreamId,
    /// Its number within the stream, from 1.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Whose data it is.
    pub tenant: TenantName,
    /// Who caused it.
    pub actor: Actor,
    /// What happened.
    pub event: E,
    /// The digests of its bodies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bodies: Vec<Digest>,
    /// The digest of the stream's entry before, or of nothing.
    pub prev: Digest,
}

impl<E: Serialize + DeserializeOwned> Entry<E> {
    /// Gives a draft its place behind `head`.
    #[must_use]
    pub fn place(draft: Draft<E>, head: Head, tenant: &TenantName, at: Timestamp) -> (Self, Vec<Body>) {
        let entry = Self {
            v: VERSION,
            stream: draft.stream,
            seq: head.seq + 1,
            at,
            tenant: tenant.clone(),
            actor: draft.actor,
            event: draft.event,
            bodies: draft.bodies.iter().map(Body::digest).collect(),
            prev: head.digest,
        };
        (entry, draft.bodies)
    }

    /// The canonical bytes.
    ///
    /// # Errors
    ///
    /// Only when the event itself can't be written as JSON, as with a map whose keys are no text.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::with_capacity(512);
        serde_json::to_writer(&mut bytes, self).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    ///
    /// A sentence on what can't be read, an unknown version included.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let entry: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if entry.v != VERSION {
            return Err(format!("version {} of an entry is not known here", entry.v));
        }
        Ok(entry)
    }
}
