//! The tables, which are those of the embedded engine with one row more: the head. Whoever writes holds its lock.
//!
//! Migrations go forward only. They are embedded here, applied by whichever gateway comes first, one at a time under a lock of their own, and recorded.

use tokio_postgres::Client;

use crate::journal::fault::StoreFault;
use crate::journal::postgres::trouble::Trouble;

/// The number of the lock that migrations and first keys are made under.
const SETUP_LOCK: i64 = 0x706f_7274_6375_6c6c;

/// What each version adds, the first being 1.
const MIGRATIONS: [&str; 2] = ["
    CREATE TABLE portcullis.streams (
        number bigint PRIMARY KEY,
        name   text   NOT NULL UNIQUE,
        salt   bytea                   -- NULL once the stream is erased
    );
    CREATE TABLE portcullis.entries (
        position bigint PRIMARY KEY,
        stream   bigint NOT NULL,
        seq      bigint NOT NULL,
        bytes    bytea  NOT NULL
    );
    CREATE UNIQUE INDEX entries_by_stream ON portcullis.entries (stream, seq);
    CREATE TABLE portcullis.bodies (
        number bigint PRIMARY KEY,
        sealed bytea  NOT NULL
    );
    -- What is encrypted does not get smaller.
    ALTER TABLE portcullis.bodies ALTER COLUMN sealed SET STORAGE EXTERNAL;
    CREATE TABLE portcullis.checkpoints (
        size bigint PRIMARY KEY,
        note text   NOT NULL
    );
    -- The end of the log: how many entries there are, the root of the tree over them, how many the last checkpoint covers.
    CREATE TABLE portcullis.head (
        one      boolean PRIMARY KEY DEFAULT true CHECK (one),
        position bigint  NOT NULL,
        root     bytea   NOT NULL,
        sealed   bigint  NOT NULL
    ) WITH (fillfactor = 10);
    INSERT INTO portcullis.head (position, root, sealed) VALUES (0, sha256(''), 0);
    -- Every run of a gateway: until when it is believed to live, and the last entry of the last batch that it has committed.
    CREATE TABLE portcullis.gateways (
        id          text        PRIMARY KEY,
        lease_until timestamptz NOT NULL,
        written_to  bigint      NOT NULL DEFAULT 0,
        started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at    timestamptz
    ) WITH (fillfactor = 50);
    -- What tells whether a gateway has the same secrets as the others; never the secrets.
    CREATE TABLE portcullis.secrets (
        name        text  PRIMARY KEY,
        fingerprint bytea NOT NULL
    );
", "
    -- Which gateway does for a session what only one may do; as long as that gateway has not ended.
    CREATE TABLE portcullis.session_leases (
        session text PRIMARY KEY,
        gateway text NOT NULL
    );
"];

/// Takes the lock that a store is set up under. It is released by [`unlock`] or with the connection.
///
/// # Errors
///
/// When the database says so.
pub async fn lock(client: &Client) -> Result<(), Trouble> {
    client.execute("SELECT pg_advisory_lock($1)", &[&SETUP_LOCK]).await?;
    Ok(())
}

/// Releases it.
///
/// # Errors
///
/// When the database says so.
pub async fn unlock(client: &Client) -> Result<(), Trouble> {
    client.execute("SELECT pg_advisory_unlock($1)", &[&SETUP_LOCK]).await?;
    Ok(())
}

/// The version that the database has; 0 where there is nothing yet.
///
/// # Errors
///
/// When it is newer than what is known here, or can't be read.
pub async fn version(client: &Client) -> Result<usize, Trouble> {
    let there = client.query_one("SELECT to_regclass('portcullis.migrations') IS NOT NULL", &[]).await?;
    if !there.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let row = client.query_one("SELECT coalesce(max(version), 0) FROM portcullis.migrations", &[]).await?;
    let version: i32 = row.try_get(0)?;
    let known = MIGRATIONS.len();
    match usize::try_from(version) {
        Ok(version) if version <= known => Ok(version),
        Ok(_) | Err(_) => Err(Trouble::Fatal(StoreFault::Unusable(format!(
            "the journal in the database has version {version}; this gateway reads up to version {known}: a newer gateway has been here, so use that one"
        )))),
    }
}

/// The version of the tables that is known here.
pub const VERSION: usize = MIGRATIONS.len();

/// Brings the tables to the version that is known here, and says which one they had. The lock must be held.
///
/// # Errors
///
/// When they are newer, or the database refuses; then nothing has changed.
pub async fn migrate(client: &Client) -> Result<usize, Trouble> {
    let from = version(client).await?;
    for (number, statements) in (1..).zip(MIGRATIONS).skip(from) {
        let begin = if number == 1 {
            "CREATE SCHEMA IF NOT EXISTS portcullis;
             CREATE TABLE portcullis.migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());"
        } else {
            ""
        };
        let transaction = format!(
            "BEGIN; {begin} {statements} INSERT INTO portcullis.migrations (version) VALUES ({number}); COMMIT;"
        );
        client.batch_execute(&transaction).await?;
        tracing::info!(version = number, "the tables of the journal were made");
    }
    Ok(from)
}

/// Makes sure that there is a journal, without making one.
///
/// # Errors
///
/// When there is none, or it is of another version.
pub async fn expect(client: &Client) -> Result<(), Trouble> {
    match version(client).await? {
        version if version == MIGRATIONS.len() => Ok(()),
        0 => Err(Trouble::Fatal(StoreFault::Unusable("there is no journal in the database".to_owned()))),
        version => Err(Trouble::Fatal(StoreFault::Unusable(format!(
            "the journal in the database has version {version}; start a gateway of this version first, which brings it up to date"
        )))),
    }
}

/// A number as PostgreSQL keeps it. Positions and numbers stay far below 2⁶³.
#[must_use]
pub fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number as it was kept.
#[must_use]
pub fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
