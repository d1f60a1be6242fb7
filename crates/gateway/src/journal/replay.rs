//! Taking entries into memory as they were stored, at a start and wherever others write too: each must be the next one of its stream and of the journal.

use portcullis_domain::digest::Digest;
use portcullis_domain::event::Event;
use portcullis_domain::journal::checkpoint::{Checkpoint, Verifier};
use portcullis_domain::journal::{Broken, Entry, Head, merkle};

use crate::journal::audit::Place;
use crate::journal::decider::Memory;
use crate::journal::fault::StoreFault;
use crate::journal::files::SIGNER_FILE;

/// An entry with all that can be known of it alone.
pub struct Decoded {
    /// Where it is filed.
    pub place: Place,
    /// What it says.
    pub entry: Entry<Event>,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its bytes as a leaf of the tree.
    pub leaf: Digest,
}

/// Reads and hashes an entry, which is most of the work and needs to know nothing of other entries.
///
/// # Errors
///
/// When it is no entry.
pub fn decode((place, bytes): (Place, Vec<u8>)) -> Result<Decoded, StoreFault> {
    let entry = Entry::decode(&bytes);
    let entry =
        entry.map_err(|problem| StoreFault::Damaged(format!("entry {} of the journal: {problem}", place.position)))?;
    Ok(Decoded { place, entry, digest: Digest::of(&bytes), leaf: merkle::leaf(&bytes) })
}

/// Takes in the next entry, if it is that.
///
/// # Errors
///
/// What is wrong with it.
pub fn take(memory: &mut Memory, decoded: Decoded) -> Result<(), StoreFault> {
    let Decoded { place, entry, digest, leaf } = decoded;
    let expected = memory.tree.size() + 1;
    if place.position != expected {
        return Err(StoreFault::Damaged(format!("entry {expected} of the journal is missing")));
    }
    let Some(stream) = memory.streams.numbered(place.stream) else {
        return Err(StoreFault::Damaged(format!("entry {expected} belongs to no stream")));
    };
    let seq = stream.head.seq + 1;
    let problem = if entry.stream != stream.id {
        Some(format!("it says that it belongs to `{}`", entry.stream))
    } else if entry.seq != seq {
        Some(format!("it says that its number is {}", entry.seq))
    } else if entry.prev != stream.head.digest {
        Some("it does not follow the entry before it".to_owned())
    } else {
        (place.seq != seq).then(|| format!("it is filed as number {}", place.seq))
    };
    if let Some(problem) = problem {
        let broken = Broken { stream: stream.id.clone(), seq, problem };
        return Err(StoreFault::Damaged(format!("entry {expected} of the journal: {broken}")));
    }
    stream.head = Head { seq, digest };
    memory.tree.push(leaf);
    memory.world.apply(&entry);
    memory.last_at = entry.at;
    Ok(())
}

/// Once all entries that were signed are there, they must be those that were signed.
///
/// # Errors
///
/// When they are others.
pub fn is_sealed(memory: &Memory, sealed: Option<Checkpoint>) -> Result<(), StoreFault> {
    match sealed {
        Some(Checkpoint { size, root }) if size == memory.tree.size() && root != memory.tree.root() => {
            Err(StoreFault::Damaged(format!("the first {size} entries are not those that were signed")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Reads the last checkpoint, which is filed under that size.
///
/// # Errors
///
/// When it was altered, is another one, or was signed with another key.
pub fn open_checkpoint(verifier: &Verifier, size: u64, note: &str) -> Result<Checkpoint, StoreFault> {
    let checkpoint = verifier.open(note).map_err(|problem| {
        StoreFault::Damaged(format!(
            "the last checkpoint was altered, or was signed with another `{SIGNER_FILE}`: {problem}"
        ))
    })?;
    if checkpoint.size != size {
        return Err(StoreFault::Damaged("the last checkpoint is not the one that was signed".to_owned()));
    }
    Ok(checkpoint)
}
