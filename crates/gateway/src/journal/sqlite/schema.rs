//! The tables, and how the file is opened.
//!
//! Entries and bodies are numbered by position, so that writing is appending; what is read by stream goes through one narrow index. A body's number is its entry's position
//! times [`BODIES_LIMIT`] plus its place in the entry.
//!
//! [`BODIES_LIMIT`]: crate::journal::sequencer::BODIES_LIMIT

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::journal::fault::StoreFault;

/// The file within the data directory.
pub const FILE: &str = "journal.sqlite";

/// The version of the tables, kept as SQLite's `user_version`.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE streams (
        number INTEGER PRIMARY KEY,
        name   TEXT NOT NULL UNIQUE,
        salt   BLOB                   -- NULL once the stream is erased
    ) STRICT;
    CREATE TABLE entries (
        position INTEGER PRIMARY KEY,
        stream   INTEGER NOT NULL REFERENCES streams (number),
        seq      INTEGER NOT NULL,
        bytes    BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX entries_by_stream ON entries (stream, seq);
    CREATE TABLE bodies (
        number INTEGER PRIMARY KEY,
        sealed BLOB NOT NULL
    ) STRICT;
    CREATE TABLE checkpoints (
        size INTEGER PRIMARY KEY,
        note TEXT NOT NULL
    ) STRICT;
";

/// How long the other connection is waited for; only checkpoints of the log ever make it wait.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

impl From<rusqlite::Error> for StoreFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Opens the file for the one writer and makes the tables where there are none.
///
/// # Errors
///
/// When it can't be opened, or was written by another version.
pub fn open_writer(path: &Path) -> Result<Connection, StoreFault> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // NORMAL would lose what was acknowledged when the power fails.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    // The log is folded back by another connection, so that no caller waits for it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        0 => {
            let tables = format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;");
            connection.execute_batch(&tables)?;
        }
        VERSION => {}
        other => return Err(another_version(other)),
    }
    Ok(connection)
}

/// Opens the file for reading, beside the writer.
///
/// # Errors
///
/// When there is no store, or it was written by another version.
pub fn open_reader(path: &Path) -> Result<Connection, StoreFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let missing = |_| StoreFault::Unusable(format!("there is no journal at `{}`", path.display()));
    let connection = Connection::open_with_flags(path, flags).map_err(missing)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    match connection.pragma_query_value(None, "user_version", |row| row.get(0))? {
        VERSION => Ok(connection),
        other => Err(another_version(other)),
    }
}

fn another_version(version: i64) -> StoreFault {
    StoreFault::Unusable(format!("the journal has version {version}; this gateway reads version {VERSION}"))
}

/// A number as SQLite keeps it. Positions and numbers stay far below 2⁶³.
#[must_use]
pub fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number as it was kept.
#[must_use]
pub fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
