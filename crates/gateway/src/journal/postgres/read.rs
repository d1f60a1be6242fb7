//! Finding entries and bodies, beside the writer, on a few connections of its own.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use portcullis_domain::event::Event;
use portcullis_domain::journal::{Entry, StreamId};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::journal::decider::BODIES_LIMIT;
use crate::journal::engine::Stored;
use crate::journal::fault::StoreFault;
use crate::journal::postgres::connect::{Connected, Connector};
use crate::journal::postgres::link::salt_of;
use crate::journal::postgres::schema::{self, from_sql, to_sql};
use crate::journal::postgres::trouble::{Trouble, within};
use crate::journal::vault::Vault;

/// The most connections at a time.
const CONNECTIONS_LIMIT: usize = 4;
/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Reads, from any thread that may block.
pub struct Reader {
    /// Moves the connections' bytes on a thread of its own. There until the end.
    runtime: Option<Runtime>,
    connector: Connector,
    /// Connections that nobody uses just now; held to take or put back one.
    idle: Mutex<Vec<Connected>>,
    permits: Semaphore,
    vault: Option<Vault>,
}

impl Reader {
    /// A reader that connects when something is asked. Without the vault it opens no bodies.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn new(connector: Connector, vault: Option<Vault>) -> Result<Self, StoreFault> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("journal-read")
            .enable_all()
            .build()
            .map_err(|error| StoreFault::Unusable(format!("can't start the reader: {error}")))?;
        let permits = Semaphore::new(CONNECTIONS_LIMIT);
        Ok(Self { runtime: Some(runtime), connector, idle: Mutex::new(Vec::new()), permits, vault })
    }

    /// Asks on some connection. One that has been idle may have ended without anybody noticing: then the next is tried, and a new one at last.
    ///
    /// # Errors
    ///
    /// When the database is away or says no.
    pub fn ask<T>(&self, question: impl AsyncFn(&Connected) -> Result<T, Trouble>) -> Result<T, StoreFault> {
        let Some(runtime) = &self.runtime else { return Err(StoreFault::Closed) };
        runtime.block_on(async {
            let _permit = self.permits.acquire().await.map_err(|_| StoreFault::Closed)?;
            loop {
                let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let is_new = idle.is_none();
                let connected = match idle {
                    Some(connected) => connected,
                    None => self.connect().await?,
                };
                match within(ANSWER_LIMIT, question(&connected)).await {
                    Err(Trouble::Away(_)) if !is_new => {}
                    Err(Trouble::Away(problem)) => return Err(StoreFault::Away(problem)),
                    outcome => {
                        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connected);
                        return outcome.map_err(StoreFault::from);
                    }
                }
            }
        })
    }

    async fn connect(&self) -> Result<Connected, StoreFault> {
        let connect = async {
            let connected = self.connector.connect(None).await?;
            schema::expect(&connected.client).await?;
            Ok::<_, Trouble>(connected)
        };
        within(ANSWER_LIMIT, connect).await.map_err(StoreFault::from)
    }

    /// The entries of a stream after the one of that number, at most `limit`, in order.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub fn entries(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Stored>, StoreFault> {
        let (name, after, limit) = (stream.to_string(), to_sql(after), i64::try_from(limit).unwrap_or(i64::MAX));
        let select = "SELECT position, bytes FROM portcullis.entries
                      WHERE stream = (SELECT number FROM portcullis.streams WHERE name = $1) AND seq > $2
                      ORDER BY seq LIMIT $3";
        self.ask(async |connected| {
            let rows = connected.client.query(select, &[&name, &after, &limit]).await?;
            let stored =
                rows.iter().map(|row| Ok(Stored { position: from_sql(row.try_get(0)?), bytes: row.try_get(1)? }));
            stored.collect()
        })
    }

    /// A body of the entry at that position of that stream; none where there is none or the stream is erased.
    ///
    /// # Errors
    ///
    /// When the database is away, or the body is missing or is not what the entry names.
    pub fn body(&self, stream: &StreamId, position: u64, index: usize) -> Result<Option<Bytes>, StoreFault> {
        let number = position.saturating_mul(BODIES_LIMIT).saturating_add(u64::try_from(index).unwrap_or(BODIES_LIMIT));
        let (name, at, sealed) = (stream.to_string(), to_sql(position), to_sql(number));
        let select = "SELECT s.salt, e.bytes, b.sealed
                      FROM portcullis.entries e JOIN portcullis.streams s ON s.number = e.stream
                           LEFT JOIN portcullis.bodies b ON b.number = $3
                      WHERE e.position = $2 AND s.name = $1";
        let found = self.ask(async |connected| {
            let row = connected.client.query_opt(select, &[&name, &at, &sealed]).await?;
            let read = |row: tokio_postgres::Row| {
                Ok((
                    row.try_get::<_, Option<Vec<u8>>>(0)?,
                    row.try_get::<_, Vec<u8>>(1)?,
                    row.try_get::<_, Option<Vec<u8>>>(2)?,
                ))
            };
            row.map(read).transpose()
        })?;
        let Some((Some(salt), bytes, sealed)) = found else { return Ok(None) };
        let entry = Entry::<Event>::decode(&bytes).map_err(StoreFault::Damaged)?;
        let Some(digest) = entry.bodies.get(index) else { return Ok(None) };
        let sealed = sealed.ok_or_else(|| StoreFault::Damaged(format!("body {number} is missing")))?;
        let vault = self
            .vault
            .as_ref()
            .ok_or_else(|| StoreFault::Unusable("there is no vault to open bodies with".to_owned()))?;
        Ok(Some(vault.stream_key(&salt_of(&salt)?)?.open(number, *digest, sealed)?.into()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Dropped where it may not be waited for, a runtime panics.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
