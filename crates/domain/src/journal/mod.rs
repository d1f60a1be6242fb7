//! Journal: the one append-only record that everything else is derived from.
//!
//! Owns the form of an entry and its canonical bytes, the chain of each stream, the Merkle tree over all entries and the signed
//! checkpoint of its head. It does not know what entries say: it is generic over the event, so that no pillar stands above it.
//! It never writes anywhere: the engines of the shell do that.
//!
//! Start with [`entry`], then [`chain`] (an altered, reordered or missing entry is found), [`merkle`] (RFC 9162) and
//! [`checkpoint`] (C2SP tlog-checkpoint, signed as a C2SP signed-note).

pub mod body;
pub mod chain;
pub mod checkpoint;
pub mod entry;
pub mod head;
pub mod merkle;
pub mod stream;

pub use body::Body;
pub use chain::Broken;
pub use entry::{Draft, Entry};
pub use head::Head;
pub use stream::StreamId;
