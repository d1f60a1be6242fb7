//! Rebuilding memory from the file, with every chain checked on the way.
//!
//! What a start takes on trust is that the bytes of an entry are in canonical form: they are those that were written, as the chains and the last checkpoint say.
//! Whoever verifies the journal checks the form too.

use portcullis_domain::event::Event;
use portcullis_domain::journal::checkpoint::{Checkpoint, Verifier};
use portcullis_domain::journal::{Broken, Entry, Head};
use rusqlite::{Connection, OptionalExtension as _};

use crate::journal::fault::StoreFault;
use crate::journal::files::{SIGNER_FILE, VAULT_FILE};
use crate::journal::sequencer::{BODIES_LIMIT, Memory};
use crate::journal::sqlite::decode::{self, Decoded};
use crate::journal::sqlite::schema::{from_sql, to_sql};
use crate::journal::vault::{Salt, Vault};

/// Reads all entries in order and applies them.
///
/// # Errors
///
/// When an entry is missing or altered, the journal is shorter than its last checkpoint or differs from it, or was written with other keys.
pub fn load(connection: &Connection, vault: &Vault, verifier: &Verifier) -> Result<Memory, StoreFault> {
    let mut memory = Memory::default();
    let sealed = last_checkpoint(connection, verifier)?;
    load_streams(connection, &mut memory)?;
    decode::each(connection, &mut |decoded| {
        take(&mut memory, decoded)?;
        is_sealed(&memory, sealed)
    })?;
    let (size, there) = (sealed.map_or(0, |checkpoint| checkpoint.size), memory.tree.size());
    if there < size {
        return Err(StoreFault::Damaged(format!("{size} entries were signed, and {there} are there")));
    }
    memory.sealed = size;
    check_vault(connection, vault)?;
    Ok(memory)
}

fn load_streams(connection: &Connection, memory: &mut Memory) -> Result<(), StoreFault> {
    let mut statement = connection.prepare("SELECT number, name, salt FROM streams ORDER BY number")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let number = from_sql(row.get(0)?);
        let stream = memory.streams.begin(name.parse().map_err(StoreFault::Damaged)?, row.get(2)?);
        if stream.number != number {
            return Err(StoreFault::Damaged(format!("stream {} is missing", stream.number)));
        }
    }
    Ok(())
}

/// Takes in the next entry, if it is that.
fn take(memory: &mut Memory, decoded: Decoded) -> Result<(), StoreFault> {
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
fn is_sealed(memory: &Memory, sealed: Option<Checkpoint>) -> Result<(), StoreFault> {
    match sealed {
        Some(Checkpoint { size, root }) if size == memory.tree.size() && root != memory.tree.root() => {
            Err(StoreFault::Damaged(format!("the first {size} entries are not those that were signed")))
        }
        Some(_) | None => Ok(()),
    }
}

fn last_checkpoint(connection: &Connection, verifier: &Verifier) -> Result<Option<Checkpoint>, StoreFault> {
    let mut statement = connection.prepare("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1")?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (size, note): (i64, String) = (row.get(0)?, row.get(1)?);
    let checkpoint = verifier.open(&note).map_err(|problem| {
        StoreFault::Damaged(format!(
            "the last checkpoint was altered, or was signed with another `{SIGNER_FILE}`: {problem}"
        ))
    })?;
    if to_sql(checkpoint.size) != size {
        return Err(StoreFault::Damaged("the last checkpoint is not the one that was signed".to_owned()));
    }
    Ok(Some(checkpoint))
}

/// Opens the last body that can still be opened: what would be encrypted with another key from here on could not be read with the right one later.
fn check_vault(connection: &Connection, vault: &Vault) -> Result<(), StoreFault> {
    let last = connection.query_row(
        "SELECT bodies.number, bodies.sealed, entries.bytes, streams.salt
         FROM bodies JOIN entries ON entries.position = bodies.number / ?1 JOIN streams ON streams.number = entries.stream
         WHERE streams.salt IS NOT NULL ORDER BY bodies.number DESC LIMIT 1",
        [to_sql(BODIES_LIMIT)],
        |row| Ok((from_sql(row.get(0)?), row.get(1)?, row.get::<_, Vec<u8>>(2)?, row.get::<_, Salt>(3)?)),
    );
    let Some((number, sealed, bytes, salt)) = last.optional()? else { return Ok(()) };
    let entry = Entry::<Event>::decode(&bytes).map_err(StoreFault::Damaged)?;
    let place = usize::try_from(number % BODIES_LIMIT).unwrap_or(usize::MAX);
    let opened = entry.bodies.get(place).map(|digest| vault.stream_key(&salt)?.open(number, *digest, sealed));
    match opened {
        Some(Ok(_)) => Ok(()),
        Some(Err(_)) | None => {
            Err(StoreFault::Damaged(format!("the last body was altered, or was encrypted with another `{VAULT_FILE}`")))
        }
    }
}
