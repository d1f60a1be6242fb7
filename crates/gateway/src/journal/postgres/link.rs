//! Every statement that the writer speaks, on its one connection.
//!
//! A batch costs two round trips: statements that need nothing of one another's answers are sent together, in order.

use std::time::Duration;

use portcullis_domain::digest::Digest;
use portcullis_domain::ids::GatewayId;
use tokio_postgres::{Client, Row, Statement};

use crate::journal::audit::Place;
use crate::journal::decider::Batch;
use crate::journal::page::StreamRow;
use crate::journal::postgres::connect::{Connected, Connector, Listener};
use crate::journal::postgres::members::Member;
use crate::journal::postgres::schema::{self, from_sql, to_sql};
use crate::journal::postgres::trouble::Trouble;
use crate::journal::vault::Salt;

/// How many entries are read at a time.
pub const PAGE: i64 = 4_096;
/// How long a gateway that has stopped in the middle of a transaction may keep all others from writing. The server ends it then, and its batch with it.
const HELD_LIMIT: Duration = Duration::from_secs(5);
/// How long rows of gateways that have ended are kept: until then one that was only cut off can learn whether its last batch was committed.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

// What a batch is written with.
pub(super) const ADD_STREAMS: &str =
    "INSERT INTO portcullis.streams (number, name, salt) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])";
pub(super) const ADD_ENTRIES: &str = "INSERT INTO portcullis.entries (position, stream, seq, bytes)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[])";
pub(super) const ADD_BODIES: &str =
    "INSERT INTO portcullis.bodies (number, sealed) SELECT * FROM unnest($1::bigint[], $2::bytea[])";
pub(super) const ADD_CHECKPOINT: &str = "INSERT INTO portcullis.checkpoints (size, note) VALUES ($1, $2)";
pub(super) const MOVE_HEAD: &str = "UPDATE portcullis.head SET position = $1, root = $2, sealed = $3";

/// Nobody waits for who looks, so that it may take its time between two pages.
const BEGIN_LOOK: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0";

/// The end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// How many entries there are.
    pub position: u64,
    /// The root of the tree over them.
    pub root: Digest,
    /// How many the last checkpoint covers.
    pub sealed: u64,
}

/// Where memory ends: what is asked for is what comes after it.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// How many entries are in memory.
    pub entries: u64,
    /// How many streams.
    pub streams: u64,
}

/// What others have written.
#[derive(Default)]
pub struct News {
    /// Streams that began.
    pub streams: Vec<StreamRow>,
    /// Entries in order, at most [`PAGE`].
    pub entries: Vec<(Place, Vec<u8>)>,
}

/// What a transaction begins with.
pub struct Found {
    /// The end of the log.
    pub head: LogHead,
    /// What is not in memory yet.
    pub news: News,
    /// The gateways that have not ended, and this one in any case.
    pub members: Vec<Member>,
}

/// What a transaction ends with, beside the batch.
pub struct Ending<'a> {
    /// The head as it is from then on.
    pub head: LogHead,
    /// How long this gateway is believed to live without another word.
    pub lease: Duration,
    /// Gateways that are found dead.
    pub lost: &'a [GatewayId],
    /// Whether others live who want to be told.
    pub is_heard: bool,
    /// Whether this is the last that is heard of this gateway.
    pub is_last: bool,
}

/// The writer's connection.
pub struct Link {
    connected: Connected,
    connector: Connector,
    listener: Listener,
    statements: Statements,
}

struct Statements {
    lock: Statement,
    head: Statement,
    streams: Statement,
    entries: Statement,
    members: Statement,
    add_streams: Statement,
    add_entries: Statement,
    add_bodies: Statement,
    add_checkpoint: Statement,
    move_head: Statement,
    renew: Statement,
    bury: Statement,
    notify: Statement,
}

impl Link {
    /// Connects and gets everything ready.
    ///
    /// # Errors
    ///
    /// When the database is away, must not be used, or has another version of the tables.
    pub async fn open(connector: &Connector, listener: Listener) -> Result<Self, Trouble> {
        let connected = connector.connect(Some(listener.clone())).await?;
        schema::expect(&connected.client).await?;
        let settings = format!(
            "SET idle_in_transaction_session_timeout = {}; SET statement_timeout = 0; SET lock_timeout = 0;
             LISTEN portcullis_journal",
            HELD_LIMIT.as_millis()
        );
        connected.client.batch_execute(&settings).await?;
        let statements = Statements::prepare(&connected.client).await?;
        Ok(Self { connected, connector: connector.clone(), listener, statements })
    }

    /// Another connection in place of one that was lost, with nothing open on it.
    ///
    /// # Errors
    ///
    /// As [`Link::open`]; then the one that was lost is still there.
    pub async fn open_again(&mut self) -> Result<(), Trouble> {
        *self = Self::open(&self.connector, self.listener.clone()).await?;
        Ok(())
    }

    /// Enters this gateway among those that live.
    ///
    /// # Errors
    ///
    /// When the database says so.
    pub async fn enter(&self, lease: Duration) -> Result<(), Trouble> {
        let insert = "INSERT INTO portcullis.gateways (id, lease_until)
                      VALUES ($1, clock_timestamp() + $2::float8 * interval '1 second')";
        self.connected.client.execute(insert, &[&self.listener.me.as_str(), &lease.as_secs_f64()]).await?;
        let forget = "DELETE FROM portcullis.gateways
                      WHERE ended_at < clock_timestamp() - $1::float8 * interval '1 second'";
        self.connected.client.execute(forget, &[&FORGET_AFTER.as_secs_f64()]).await?;
        Ok(())
    }

    /// Begins a transaction that holds the head: what is found is the truth until it ends. Statements after the first see what was committed before the lock was
    /// granted, since each has a snapshot of its own.
    ///
    /// # Errors
    ///
    /// When the database says so.
    pub async fn lock(&self, known: Known) -> Result<Found, Trouble> {
        let client = &self.connected.client;
        // Polled in this order for the first time, they are sent in this order.
        let (begun, head, streams, entries, members) = tokio::join!(
            biased;
            client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
            client.query_one(&self.statements.lock, &[]),
            self.streams(known.streams),
            self.more(known.entries),
            self.members(),
        );
        begun?;
        Ok(Found { head: read_head(&head?)?, news: News { streams: streams?, entries: entries? }, members: members? })
    }

    /// Looks at the log as it is at one moment, without keeping anybody from writing. It stays so until [`Link::end`].
    ///
    /// # Errors
    ///
    /// When the database says so.
    pub async fn look(&self, known: Known) -> Result<(LogHead, News), Trouble> {
        let client = &self.connected.client;
        let (begun, head, streams, entries) = tokio::join!(
            biased;
            client.batch_execute(BEGIN_LOOK),
            client.query_one(&self.statements.head, &[]),
            self.streams(known.streams),
            self.more(known.entries),
        );
        begun?;
        Ok((read_head(&head?)?, News { streams: streams?, entries: entries? }))
    }

    /// The entries that follow, within the transaction that is open.
    ///
    /// # Errors
    ///
    /// When the database says so.
    pub async fn more(&self, after: u64) -> Result<Vec<(Place, Vec<u8>)>, Trouble> {
        read_entries(&self.connected.client.query(&self.statements.entries, &[&to_sql(after), &PAGE]).await?)
    }

    async fn streams(&self, after: u64) -> Result<Vec<StreamRow>, Trouble> {
        read_streams(&self.connected.client.query(&self.statements.streams, &[&to_sql(after)]).await?)
    }

    async fn members(&self) -> Result<Vec<Member>, Trouble> {
        let rows = self.connected.client.query(&self.statements.members, &[&self.listener.me.as_str()]).await?;
        rows.iter().map(read_member).collect()
    }

    /// The last checkpoint: how many entries it covers, the note.
    ///
    /// # Errors
    ///
    /// When the database says so.
    pub async fn last_checkpoint(&self) -> Result<Option<(u64, String)>, Trouble> {
        let last = "SELECT size, note FROM portcullis.checkpoints ORDER BY size DESC LIMIT 1";
        let row = self.connected.client.query_opt(last, &[]).await?;
        row.map(|row| Ok((from_sql(row.try_get(0)?), row.try_get(1)?))).transpose()
    }

    /// Ends a transaction in which nothing was written.
    ///
    /// # Errors
    ///
    /// When the database says so.
    pub async fn end(&self) -> Result<(), Trouble> {
        Ok(self.connected.client.batch_execute("COMMIT").await?)
    }

    /// Writes the batch and commits. After an error it may be there or not; [`Link::lock`] on another connection waits until that is certain, and then
    /// [`Member::written_to`] of this gateway tells.
    ///
    /// # Errors
    ///
    /// When the database says so.
    pub async fn commit(&self, batch: &Batch, ending: &Ending<'_>) -> Result<(), Trouble> {
        let outcomes = tokio::join!(
            biased;
            self.add_streams(batch),
            self.add_entries(batch),
            self.add_bodies(batch),
            self.add_checkpoint(batch),
            self.move_head(ending),
            self.bury(ending),
            self.notify(batch, ending),
            self.renew(ending),
            self.end(),
        );
        // A statement that fails makes those after it fail too, and COMMIT a rollback that says nothing: the first error counts.
        outcomes.0?;
        outcomes.1?;
        outcomes.2?;
        outcomes.3?;
        outcomes.4?;
        outcomes.5?;
        outcomes.6?;
        outcomes.7?;
        outcomes.8
    }

    async fn add_streams(&self, batch: &Batch) -> Result<(), Trouble> {
        if batch.streams.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i64> = batch.streams.iter().map(|(number, ..)| to_sql(*number)).collect();
        let names: Vec<String> = batch.streams.iter().map(|(_, name, _)| name.to_string()).collect();
        let salts: Vec<&[u8]> = batch.streams.iter().map(|(.., salt)| salt.as_slice()).collect();
        self.connected.client.execute(&self.statements.add_streams, &[&numbers, &names, &salts]).await?;
        Ok(())
    }

    async fn add_entries(&self, batch: &Batch) -> Result<(), Trouble> {
        if batch.entries.is_empty() {
            return Ok(());
        }
        let positions: Vec<i64> = batch.entries.iter().map(|(position, ..)| to_sql(*position)).collect();
        let streams: Vec<i64> = batch.entries.iter().map(|(_, stream, ..)| to_sql(*stream)).collect();
        let seqs: Vec<i64> = batch.entries.iter().map(|(_, _, seq, _)| to_sql(*seq)).collect();
        let bytes: Vec<&[u8]> = batch.entries.iter().map(|(.., bytes)| bytes.as_slice()).collect();
        let add = &self.statements.add_entries;
        self.connected.client.execute(add, &[&positions, &streams, &seqs, &bytes]).await?;
        Ok(())
    }

    async fn add_bodies(&self, batch: &Batch) -> Result<(), Trouble> {
        if batch.bodies.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i64> = batch.bodies.iter().map(|(number, _)| to_sql(*number)).collect();
        let sealed: Vec<&[u8]> = batch.bodies.iter().map(|(_, sealed)| sealed.as_slice()).collect();
        self.connected.client.execute(&self.statements.add_bodies, &[&numbers, &sealed]).await?;
        Ok(())
    }

    async fn add_checkpoint(&self, batch: &Batch) -> Result<(), Trouble> {
        let Some((size, note)) = &batch.checkpoint else { return Ok(()) };
        self.connected.client.execute(&self.statements.add_checkpoint, &[&to_sql(*size), note]).await?;
        Ok(())
    }

    async fn move_head(&self, ending: &Ending<'_>) -> Result<(), Trouble> {
        let LogHead { position, root, sealed } = ending.head;
        let (position, root, sealed) = (to_sql(position), root.0.as_slice(), to_sql(sealed));
        self.connected.client.execute(&self.statements.move_head, &[&position, &root, &sealed]).await?;
        Ok(())
    }

    async fn bury(&self, ending: &Ending<'_>) -> Result<(), Trouble> {
        if ending.lost.is_empty() {
            return Ok(());
        }
        let lost: Vec<&str> = ending.lost.iter().map(GatewayId::as_str).collect();
        self.connected.client.execute(&self.statements.bury, &[&lost]).await?;
        Ok(())
    }

    async fn notify(&self, batch: &Batch, ending: &Ending<'_>) -> Result<(), Trouble> {
        if !ending.is_heard || batch.entries.is_empty() {
            return Ok(());
        }
        self.connected.client.query(&self.statements.notify, &[&self.listener.me.as_str()]).await?;
        Ok(())
    }

    async fn renew(&self, ending: &Ending<'_>) -> Result<(), Trouble> {
        let (lease, written_to) = (ending.lease.as_secs_f64(), to_sql(ending.head.position));
        let renew = &self.statements.renew;
        self.connected
            .client
            .execute(renew, &[&self.listener.me.as_str(), &lease, &written_to, &ending.is_last])
            .await?;
        Ok(())
    }
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            lock: client.prepare("SELECT position, root, sealed FROM portcullis.head FOR UPDATE").await?,
            head: client.prepare("SELECT position, root, sealed FROM portcullis.head").await?,
            streams: client
                .prepare("SELECT number, name, salt FROM portcullis.streams WHERE number > $1 ORDER BY number")
                .await?,
            entries: client
                .prepare(
                    "SELECT position, stream, seq, bytes FROM portcullis.entries WHERE position > $1
                     ORDER BY position LIMIT $2",
                )
                .await?,
            members: client
                .prepare(
                    "SELECT id, (extract(epoch FROM lease_until) * 1000000)::bigint,
                            (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, ended_at IS NOT NULL, written_to
                     FROM portcullis.gateways WHERE ended_at IS NULL OR id = $1",
                )
                .await?,
            add_streams: client.prepare(ADD_STREAMS).await?,
            add_entries: client.prepare(ADD_ENTRIES).await?,
            add_bodies: client.prepare(ADD_BODIES).await?,
            add_checkpoint: client.prepare(ADD_CHECKPOINT).await?,
            move_head: client.prepare(MOVE_HEAD).await?,
            renew: client
                .prepare(
                    "UPDATE portcullis.gateways
                     SET lease_until = clock_timestamp() + $2::float8 * interval '1 second', written_to = $3,
                         ended_at = CASE WHEN $4::boolean THEN clock_timestamp() END
                     WHERE id = $1",
                )
                .await?,
            bury: client
                .prepare("UPDATE portcullis.gateways SET ended_at = clock_timestamp() WHERE id = ANY($1::text[])")
                .await?,
            notify: client.prepare("SELECT pg_notify('portcullis_journal', $1)").await?,
        })
    }
}

fn read_head(row: &Row) -> Result<LogHead, Trouble> {
    let root: Vec<u8> = row.try_get(1)?;
    let root = root.try_into().map_err(|_| {
        Trouble::Fatal(crate::journal::fault::StoreFault::Damaged(
            "the root of the log does not have 32 bytes".to_owned(),
        ))
    })?;
    Ok(LogHead { position: from_sql(row.try_get(0)?), root: Digest(root), sealed: from_sql(row.try_get(2)?) })
}

/// Streams as they are stored.
///
/// # Errors
///
/// When a row is none.
pub fn read_streams(rows: &[Row]) -> Result<Vec<StreamRow>, Trouble> {
    let read = |row: &Row| {
        let salt: Option<Vec<u8>> = row.try_get(2)?;
        let salt = salt.map(|salt| salt_of(&salt)).transpose()?;
        Ok((from_sql(row.try_get(0)?), row.try_get(1)?, salt))
    };
    rows.iter().map(read).collect()
}

/// A salt as it was kept.
///
/// # Errors
///
/// When it has another length.
pub fn salt_of(bytes: &[u8]) -> Result<Salt, crate::journal::fault::StoreFault> {
    let damaged = |_| crate::journal::fault::StoreFault::Damaged("a salt does not have 32 bytes".to_owned());
    bytes.try_into().map_err(damaged)
}

/// Entries as they were stored.
///
/// # Errors
///
/// When the rows are not of that table.
pub fn read_entries(rows: &[Row]) -> Result<Vec<(Place, Vec<u8>)>, Trouble> {
    let read = |row: &Row| {
        let place = Place {
            position: from_sql(row.try_get(0)?),
            stream: from_sql(row.try_get(1)?),
            seq: from_sql(row.try_get(2)?),
        };
        Ok((place, row.try_get(3)?))
    };
    rows.iter().map(read).collect()
}

fn read_member(row: &Row) -> Result<Member, Trouble> {
    let id: String = row.try_get(0)?;
    Ok(Member {
        id: id.parse().map_err(crate::journal::fault::StoreFault::Damaged)?,
        lease_until_us: row.try_get(1)?,
        now_us: row.try_get(2)?,
        has_ended: row.try_get(3)?,
        written_to: from_sql(row.try_get(4)?),
    })
}
