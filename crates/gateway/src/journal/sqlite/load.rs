//! Rebuilding memory from the file, with every chain checked on the way.
//!
//! What a start takes on trust is that the bytes of an entry are in canonical form: they are those that were written, as the chains and the last checkpoint say.
//! Whoever verifies the journal checks the form too.

use portcullis_domain::event::Event;
use portcullis_domain::journal::Entry;
use portcullis_domain::journal::checkpoint::{Checkpoint, Verifier};
use rusqlite::{Connection, OptionalExtension as _};

use crate::journal::audit::Place;
use crate::journal::bookmark::{Bookmark, Bookmarks};
use crate::journal::fault::StoreFault;
use crate::journal::files::VAULT_FILE;
use crate::journal::replay::{is_sealed, open_checkpoint, take};
use crate::journal::sequencer::{BODIES_LIMIT, Memory};
use crate::journal::sqlite::decode;
use crate::journal::sqlite::schema::{from_sql, to_sql};
use crate::journal::streams::Streams;
use crate::journal::vault::{Salt, Vault};

/// What memory is rebuilt from.
pub struct Source<'a> {
    /// The file.
    pub connection: &'a Connection,
    /// Opens bodies.
    pub vault: &'a Vault,
    /// Opens checkpoints.
    pub verifier: &'a Verifier,
}

impl Source<'_> {
    /// Reads entries in order and applies them: those after the bookmark, if there is one that the journal goes on from, and all of them otherwise. Gives up with
    /// [`StoreFault::Closed`] once `is_over` says so.
    ///
    /// # Errors
    ///
    /// When an entry is missing or altered, the journal is shorter than its last checkpoint or differs from it, or was written with other keys.
    pub fn load(&self, bookmarks: &Bookmarks, is_over: &dyn Fn() -> bool) -> Result<Memory, StoreFault> {
        let memory = match bookmarks.read() {
            Some(bookmark) => match self.replay(Some(bookmark), is_over) {
                Err(fault) if !matches!(fault, StoreFault::Closed) => {
                    // Whether it is the bookmark or the journal that is wrong only the whole journal can tell.
                    bookmarks.discard(&fault.to_string());
                    self.replay(None, is_over)?
                }
                replayed => replayed?,
            },
            None => self.replay(None, is_over)?,
        };
        check_vault(self.connection, self.vault)?;
        Ok(memory)
    }

    fn replay(&self, bookmark: Option<Bookmark>, is_over: &dyn Fn() -> bool) -> Result<Memory, StoreFault> {
        // In this order nothing is missed that somebody writes meanwhile: entries come with their streams, and are signed later.
        let sealed = last_checkpoint(self.connection, self.verifier)?;
        let last = last_position(self.connection)?;
        let streams = load_streams(self.connection)?;
        let mut memory = match bookmark {
            Some(bookmark) => {
                let last = entry(self.connection, bookmark.position())?;
                bookmark.open(streams, last)?
            }
            None => Memory { streams, ..Memory::default() },
        };
        is_sealed(&memory, sealed)?;
        decode::each(self.connection, memory.tree.size() + 1..=last, &mut |decoded| {
            take(&mut memory, decoded)?;
            if is_over() {
                return Err(StoreFault::Closed);
            }
            is_sealed(&memory, sealed)
        })?;
        let (size, there) = (sealed.map_or(0, |checkpoint| checkpoint.size), memory.tree.size());
        if there < size {
            return Err(StoreFault::Damaged(format!("{size} entries were signed, and {there} are there")));
        }
        memory.sealed = size;
        Ok(memory)
    }
}

fn last_position(connection: &Connection) -> Result<u64, StoreFault> {
    Ok(from_sql(connection.query_row("SELECT coalesce(max(position), 0) FROM entries", [], |row| row.get(0))?))
}

fn entry(connection: &Connection, position: u64) -> Result<Option<(Place, Vec<u8>)>, StoreFault> {
    let mut statement = connection.prepare("SELECT stream, seq, bytes FROM entries WHERE position = ?1")?;
    let row = statement.query_row([to_sql(position)], |row| {
        let place = Place { position, stream: from_sql(row.get(0)?), seq: from_sql(row.get(1)?) };
        Ok((place, row.get(2)?))
    });
    row.optional().map_err(StoreFault::from)
}

fn load_streams(connection: &Connection) -> Result<Streams, StoreFault> {
    let mut streams = Streams::default();
    let mut statement = connection.prepare("SELECT number, name, salt FROM streams ORDER BY number")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let number = from_sql(row.get(0)?);
        let stream = streams.begin(name.parse().map_err(StoreFault::Damaged)?, row.get(2)?);
        if stream.number != number {
            return Err(StoreFault::Damaged(format!("stream {} is missing", stream.number)));
        }
    }
    Ok(streams)
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
