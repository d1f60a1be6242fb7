//! The chain of a stream: every entry names the digest of the one before it.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::journal::entry::Entry;
use crate::journal::head::Head;
use crate::journal::stream::StreamId;

/// Where and how a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The stream.
    pub stream: StreamId,
    /// The number of the entry that should be there.
    pub seq: u64,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "stream `{}`, entry {}: {}", self.stream, self.seq, self.problem)
    }
}

/// Checks that `bytes` are the entry of `stream` that follows `head`, and reads it.
///
/// # Errors
///
/// What is wrong: bytes that are no canonical entry, another stream or number, or another entry before it.
pub fn follow<E: Serialize + DeserializeOwned>(
    stream: &StreamId,
    head: Head,
    bytes: &[u8],
) -> Result<(Entry<E>, Head), Broken> {
    let seq = head.seq + 1;
    let broken = |problem: String| Broken { stream: stream.clone(), seq, problem };
    let entry = Entry::<E>::decode(bytes).map_err(broken)?;
    if entry.encode().as_deref() != Ok(bytes) {
        return Err(broken("its bytes are not canonical".to_owned()));
    }
    if entry.stream != *stream {
        return Err(broken(format!("it says that it belongs to `{}`", entry.stream)));
    }
    if entry.seq != seq {
        return Err(broken(format!("it says that its number is {}", entry.seq)));
    }
    if entry.prev != head.digest {
        return Err(broken("it does not follow the entry before it".to_owned()));
    }
    Ok((entry, Head { seq, digest: Digest::of(bytes) }))
}

/// Checks a whole stream from its start to the head that is known from elsewhere, as from a checkpoint or a copy.
///
/// # Errors
///
/// The first entry that is not what it should be; a stream that ends before or behind `expected`.
pub fn verify<'a, E: Serialize + DeserializeOwned>(
    stream: &StreamId,
    entries: impl IntoIterator<Item = &'a [u8]>,
    expected: Head,
) -> Result<(), Broken> {
    let mut head = Head::START;
    for bytes in entries {
        head = follow::<E>(stream, head, bytes)?.1;
    }
    if head == expected {
        return Ok(());
    }
    let problem = if head.seq < expected.seq { "it is missing" } else { "it is not the head that is known" };
    Err(Broken {
        stream: stream.clone(),
        seq: head.seq.min(expected.seq) + u64::from(head.seq < expected.seq),
        problem: problem.to_owned(),
    })
}
