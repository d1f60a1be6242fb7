//! Checking a whole journal, offline or beside the gateway that writes it.
//!
//! It reads one consistent state and writes nothing. While it reads, the gateway's log can't be emptied and grows; that is all the gateway notices.

use std::iter::Peekable;
use std::path::Path;

use rusqlite::{Connection, Row};

use crate::journal::audit::{Audit, Place, Report};
use crate::journal::fault::StoreFault;
use crate::journal::files::{DataDirectory, VAULT_FILE};
use crate::journal::sequencer::BODIES_LIMIT;
use crate::journal::sqlite::schema::{self, from_sql};
use crate::journal::vault::Vault;

/// Checks the journal in that data directory: every chain, every checkpoint, every body, and that it can be replayed.
///
/// # Errors
///
/// When there is no journal, or it can't be read at all. What is wrong with what can be read stands in the report.
pub fn verify(path: &Path) -> Result<Report, StoreFault> {
    verify_against(path, None)
}

/// The same, and that the journal contains all that `head` was signed over: a checkpoint, as a note, that somebody else has kept. A journal whose end was cut off together with its
/// checkpoints is whole in itself; only this finds it.
///
/// # Errors
///
/// As for [`verify`].
pub fn verify_against(path: &Path, head: Option<&str>) -> Result<Report, StoreFault> {
    let directory = DataDirectory::look(path);
    let connection = schema::open_reader(&directory.file(schema::FILE))?;
    let vault = directory.secret(VAULT_FILE).map(|secret| Vault::new(&secret));
    let mut audit = Audit::new(directory.signer()?.verifier(), vault);
    if let Some(note) = head {
        audit.expect(note);
    }
    // Everything below sees the journal as it was at this moment.
    let snapshot = connection.unchecked_transaction()?;
    pass(&snapshot, &mut audit)?;
    Ok(audit.finish())
}

/// One pass over everything.
///
/// # Errors
///
/// When it can't be read at all. What is wrong with what can be read is told to the audit.
pub fn pass(connection: &Connection, audit: &mut Audit) -> Result<(), StoreFault> {
    let read = read_streams(connection, audit)
        .and_then(|()| read_entries(connection, audit))
        .and_then(|()| compare_places(connection, audit));
    if let Err(StoreFault::Damaged(problem)) = read {
        audit.problem(format!("the file can't be read any further: {problem}"));
        return Ok(());
    }
    read
}

fn read_streams(connection: &Connection, audit: &mut Audit) -> Result<(), StoreFault> {
    let mut statement = connection.prepare("SELECT number, name, salt FROM streams ORDER BY number")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        audit.stream(from_sql(row.get(0)?), &name, row.get(2)?);
    }
    Ok(())
}

/// One pass over three tables that are all in the order of positions.
fn read_entries(connection: &Connection, audit: &mut Audit) -> Result<(), StoreFault> {
    let mut checkpoints = connection.prepare("SELECT size, note FROM checkpoints ORDER BY size")?;
    let mut checkpoints = checkpoints.query_map([], numbered::<String>)?.peekable();
    let mut bodies = connection.prepare("SELECT number, sealed FROM bodies ORDER BY number")?;
    let mut bodies = bodies.query_map([], numbered::<Vec<u8>>)?.peekable();
    let mut entries = connection.prepare("SELECT position, stream, seq, bytes FROM entries ORDER BY position")?;
    let mut rows = entries.query([])?;
    while let Some(row) = rows.next()? {
        let place =
            Place { position: from_sql(row.get(0)?), stream: from_sql(row.get(1)?), seq: from_sql(row.get(2)?) };
        while let Some((size, note)) = next_below(&mut checkpoints, place.position)? {
            audit.checkpoint(size, &note);
        }
        let bytes = row.get_ref(3)?.as_blob().map_err(|error| StoreFault::Damaged(error.to_string()))?;
        let digests = audit.entry(place, bytes).map_or_else(Vec::new, |entry| entry.bodies);
        let first = place.position.saturating_mul(BODIES_LIMIT);
        for (number, digest) in (first..).zip(digests) {
            strays(audit, &mut bodies, number)?;
            let sealed = next_below(&mut bodies, number + 1)?.map(|(_, sealed)| sealed);
            audit.body(place, number, digest, sealed);
        }
    }
    strays(audit, &mut bodies, u64::MAX)?;
    while let Some((size, note)) = next_below(&mut checkpoints, u64::MAX)? {
        audit.checkpoint(size, &note);
    }
    Ok(())
}

/// What is read by stream must find every entry, and no other.
fn compare_places(connection: &Connection, audit: &mut Audit) -> Result<(), StoreFault> {
    let mut misfiled = connection.prepare(
        "SELECT position FROM (
            SELECT position, stream, seq FROM entries WHERE position <= (SELECT position FROM placed)
            UNION ALL SELECT position, stream, seq FROM places
         ) GROUP BY position, stream, seq HAVING count(*) <> 2 LIMIT 1",
    )?;
    let mut rows = misfiled.query([])?;
    if let Some(row) = rows.next()? {
        audit.problem(format!("entry {} can't be found by its stream", from_sql(row.get(0)?)));
    }
    Ok(())
}

/// Bodies before that number, all of whose entries are done with.
fn strays<I>(audit: &mut Audit, bodies: &mut Peekable<I>, before: u64) -> Result<(), StoreFault>
where
    I: Iterator<Item = rusqlite::Result<(u64, Vec<u8>)>>,
{
    while let Some((number, _)) = next_below(bodies, before)? {
        audit.problem(format!("body {number} belongs to no entry"));
    }
    Ok(())
}

fn next_below<T, I>(rows: &mut Peekable<I>, limit: u64) -> Result<Option<(u64, T)>, StoreFault>
where
    I: Iterator<Item = rusqlite::Result<(u64, T)>>,
{
    let row = rows.next_if(|row| row.as_ref().map_or(true, |(number, _)| *number < limit));
    row.transpose().map_err(StoreFault::from)
}

fn numbered<T: rusqlite::types::FromSql>(row: &Row<'_>) -> rusqlite::Result<(u64, T)> {
    Ok((from_sql(row.get(0)?), row.get(1)?))
}
