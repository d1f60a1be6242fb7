//! The tables, and how the file is opened.
//!
//! Entries and bodies are numbered by position, so that writing is appending. A body's number is its entry's position times [`BODIES_LIMIT`] plus its place in the entry.
//!
//! What is read by stream goes through the table `places`, which follows some hundred entries behind: calls of many sessions come in turns, so an index that was kept up
//! with every batch would change a page for every entry. `placed` says how far it has come; whoever reads looks through the entries after that.
//!
//! [`BODIES_LIMIT`]: crate::journal::sequencer::BODIES_LIMIT

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::journal::fault::StoreFault;

/// The file within the data directory.
pub const FILE: &str = "journal.sqlite";

/// The version of the tables, kept as SQLite's `user_version`.
pub const VERSION: i64 = 2;

const TABLES: &str = "
    CREATE TABLE streams (
        number INTEGER PRIMARY KEY,
        name   TEXT NOT NULL UNIQUE,
        salt   BLOB                   -- NULL once the stream is erased
    ) STRICT;
    CREATE TABLE entries (
        position INTEGER PRIMARY KEY,
        stream   INTEGER NOT NULL,
        seq      INTEGER NOT NULL,
        bytes    BLOB NOT NULL
    ) STRICT;
    CREATE TABLE places (
        stream   INTEGER NOT NULL,
        seq      INTEGER NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (stream, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE placed (
        position INTEGER NOT NULL     -- the last entry that is in `places`; one row
    ) STRICT;
    INSERT INTO placed (position) VALUES (0);
    CREATE TABLE bodies (
        number INTEGER PRIMARY KEY,
        sealed BLOB NOT NULL
    ) STRICT;
    CREATE TABLE checkpoints (
        size INTEGER PRIMARY KEY,
        note TEXT NOT NULL
    ) STRICT;
";

/// To what size a log that had to grow beyond it is cut back when it begins anew.
const LOG_LIMIT_BYTES: i64 = 32 << 20;
/// How long another connection is waited for; only a log that is being recovered or emptied ever makes one wait.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

impl From<rusqlite::Error> for StoreFault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Opens the file for the one writer and makes the tables where there are none.
///
/// # Errors
///
/// When it can't be opened, is no journal, or was written by another version.
pub fn open_writer(path: &Path) -> Result<Connection, StoreFault> {
    // SQLite would make it readable for all; its other files take their permissions from this one.
    let made = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    made.map_err(|error| StoreFault::Unusable(format!("can't open `{}`: {error}", path.display())))?;
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    if version(&connection, path)? == 0 {
        let tables = format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;");
        connection.execute_batch(&tables)?;
    }
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreFault::Unusable(format!("`{}` can't have a write-ahead log", path.display())));
    }
    // NORMAL would lose what was acknowledged when the power fails.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    // The log is folded back by another connection, so that no caller waits for it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -2_048)?;
    connection.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES)?;
    Ok(connection)
}

/// Opens the file for reading, beside the writer.
///
/// # Errors
///
/// When there is no journal, or it was written by another version.
pub fn open_reader(path: &Path) -> Result<Connection, StoreFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let missing = |_| StoreFault::Unusable(format!("there is no journal at `{}`", path.display()));
    let connection = Connection::open_with_flags(path, flags).map_err(missing)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    match version(&connection, path)? {
        0 => Err(no_journal(path, "it is empty")),
        _ => Ok(connection),
    }
}

/// Opens the file for folding its log back, beside the writer.
///
/// # Errors
///
/// When it can't be opened.
pub fn open_folder(path: &Path) -> Result<Connection, StoreFault> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Folds back as much of the log as was there when it began and as nobody reads any more.
///
/// # Errors
///
/// When it can't be read, written or synced. Nothing is lost: the log stays.
pub fn fold(connection: &Connection) -> Result<(), StoreFault> {
    let mut statement = connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?;
    statement.query_row([], |_| Ok(())).map_err(StoreFault::from)
}

/// Folds all of the log back and empties it, while nobody writes or reads.
///
/// # Errors
///
/// As [`fold`].
pub fn fold_whole(connection: &Connection) -> Result<(), StoreFault> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(StoreFault::from)
}

/// The version of the tables: the one that is known here, or 0 where there is nothing yet.
fn version(connection: &Connection, path: &Path) -> Result<i64, StoreFault> {
    let not_sqlite = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => no_journal(path, "it is no SQLite file"),
        _ => StoreFault::from(error),
    };
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(not_sqlite)?;
    match version {
        VERSION => Ok(VERSION),
        0 => {
            let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables == 0 { Ok(0) } else { Err(no_journal(path, "it has tables of something else")) }
        }
        other => {
            let found = format!("`{}` has version {other}; this gateway reads version {VERSION}", path.display());
            Err(StoreFault::Unusable(found))
        }
    }
}

fn no_journal(path: &Path, because: &str) -> StoreFault {
    StoreFault::Unusable(format!("`{}` is no journal: {because}", path.display()))
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
