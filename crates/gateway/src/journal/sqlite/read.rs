//! Finding entries and bodies, beside the writer.

use bytes::Bytes;
use portcullis_domain::event::Event;
use portcullis_domain::journal::{Entry, StreamId};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::journal::engine::Stored;
use crate::journal::fault::StoreFault;
use crate::journal::sequencer::BODIES_LIMIT;
use crate::journal::sqlite::schema::{from_sql, to_sql};
use crate::journal::vault::{Salt, Vault};

/// The entries of the stream named ?1 after number ?2 and from position ?3 on, at most ?4 of them: those that are filed, and those that are not yet.
/// In a stream, the order of positions is that of numbers.
pub const BY_STREAM: &str = "
    WITH wanted AS MATERIALIZED (SELECT number FROM streams WHERE name = ?1)
    SELECT position, seq, bytes FROM entries WHERE position IN (
        SELECT position FROM places
        WHERE stream = (SELECT number FROM wanted) AND seq > ?2 AND position >= ?3 ORDER BY seq LIMIT ?4
    )
    UNION ALL
    SELECT position, seq, bytes FROM entries
    WHERE position > (SELECT position FROM placed) AND position >= ?3
        AND stream = (SELECT number FROM wanted) AND seq > ?2
    ORDER BY 1 LIMIT ?4
";

/// The entries of a stream after the one of that number, at most `limit`, in order.
///
/// # Errors
///
/// When the file can't be read.
pub fn entries(
    connection: &Connection,
    stream: &StreamId,
    after: u64,
    limit: usize,
) -> Result<Vec<Stored>, StoreFault> {
    let mut statement = connection.prepare_cached(BY_STREAM)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![stream.to_string(), to_sql(after), 1, limit], |row| {
        Ok(Stored { position: from_sql(row.get(0)?), bytes: row.get(2)? })
    })?;
    rows.collect::<Result<_, _>>().map_err(StoreFault::from)
}

/// A body of the entry at that position of that stream; none where there is none or the stream is erased.
///
/// # Errors
///
/// When the file can't be read, or the body is missing or is not what the entry names.
pub fn body(
    connection: &Connection,
    vault: &Vault,
    stream: &StreamId,
    position: u64,
    index: usize,
) -> Result<Option<Bytes>, StoreFault> {
    let number = position.saturating_mul(BODIES_LIMIT).saturating_add(u64::try_from(index).unwrap_or(BODIES_LIMIT));
    let mut statement = connection.prepare_cached(
        "SELECT streams.salt, entries.bytes, bodies.sealed
         FROM entries JOIN streams ON streams.number = entries.stream LEFT JOIN bodies ON bodies.number = ?3
         WHERE entries.position = ?2 AND streams.name = ?1",
    )?;
    let found = statement.query_row(params![stream.to_string(), to_sql(position), to_sql(number)], |row| {
        Ok((row.get::<_, Option<Salt>>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Option<Vec<u8>>>(2)?))
    });
    let Some((Some(salt), bytes, sealed)) = found.optional()? else { return Ok(None) };
    let entry = Entry::<Event>::decode(&bytes).map_err(StoreFault::Damaged)?;
    let Some(digest) = entry.bodies.get(index) else { return Ok(None) };
    let sealed = sealed.ok_or_else(|| StoreFault::Damaged(format!("body {number} is missing")))?;
    Ok(Some(vault.stream_key(&salt)?.open(number, *digest, sealed)?.into()))
}
