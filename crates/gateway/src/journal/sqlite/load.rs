//! Rebuilding memory from the file, with every chain checked on the way.
//!
//! What a start takes on trust is that the bytes of an entry are in canonical form: they are those that were written, as the chains and the last checkpoint say.
//! Whoever verifies the journal checks the form too.

use portcullis_domain::event::Event;
use portcullis_domain::journal::Entry;
use portcullis_domain::journal::checkpoint::{Checkpoint, Verifier};
use rusqlite::{Connection, OptionalExtension as _};

use crate::journal::fault::StoreFault;
use crate::journal::files::VAULT_FILE;
use crate::journal::replay::{is_sealed, open_checkpoint, take};
use crate::journal::sequencer::{BODIES_LIMIT, Memory};
use crate::journal::sqlite::decode;
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

fn last_checkpoint(connection: &Connection, verifier: &Verifier) -> Result<Option<Checkpoint>, StoreFault> {
    let mut statement = connection.prepare("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1")?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (size, note): (i64, String) = (row.get(0)?, row.get(1)?);
    open_checkpoint(verifier, from_sql(size), &note).map(Some)
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
