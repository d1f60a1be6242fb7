//! Opening the store, and reading beside the writer.

use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use bytes::Bytes;
use portcullis_domain::event::Event;
use portcullis_domain::identity::Keys;
use portcullis_domain::ids::TenantName;
use portcullis_domain::journal::checkpoint::{Signer, Verifier};
use portcullis_domain::journal::{Entry, StreamId};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::clock::Clock;
use crate::journal::engine::{Engine, Job, Stored};
use crate::journal::fault::StoreFault;
use crate::journal::files::DataDirectory;
use crate::journal::sequencer::{BODIES_LIMIT, Disk, Message, Sequencer};
use crate::journal::sqlite::schema::{self, from_sql, to_sql};
use crate::journal::sqlite::{disk, load};
use crate::journal::vault::{Salt, Vault};

/// How many decisions may wait for the writer.
const QUEUE_LIMIT: usize = 16_384;
/// The name that checkpoints are signed under.
const ORIGIN: &str = "portcullis";
/// The file with the secret that bodies are encrypted under.
pub const VAULT_FILE: &str = "vault.key";
/// The file with the seed of the key that signs checkpoints.
pub const SIGNER_FILE: &str = "journal.key";

/// The embedded engine.
pub struct SqliteEngine {
    queue: SyncSender<Message>,
    keys: Arc<ArcSwap<Keys>>,
    /// One reader at a time; held for one query.
    reader: Mutex<Connection>,
    vault: Vault,
    verifier: Verifier,
    writer: Mutex<Option<JoinHandle<()>>>,
    _directory: DataDirectory,
}

/// What is called when the engine ends by a fault.
pub type OnFault = Box<dyn FnOnce(&StoreFault) + Send>;

/// What stands between the sequencer and SQLite; tests put faults there.
pub type Wrap = Box<dyn FnOnce(Box<dyn Disk>) -> Box<dyn Disk>>;

impl SqliteEngine {
    /// Opens the store in that directory, rebuilds the world, and starts the writer.
    ///
    /// # Errors
    ///
    /// When the directory is in use, or what is in it is not what was written.
    pub fn open(path: &Path, clock: Arc<dyn Clock>, on_fault: OnFault) -> Result<Self, StoreFault> {
        Self::open_wrapped(path, clock, on_fault, Box::new(|disk| disk))
    }

    /// The same, with something between the sequencer and the disk.
    ///
    /// # Errors
    ///
    /// As [`SqliteEngine::open`].
    pub fn open_wrapped(path: &Path, clock: Arc<dyn Clock>, on_fault: OnFault, wrap: Wrap) -> Result<Self, StoreFault> {
        let directory = DataDirectory::open(path)?;
        let vault_secret = directory.secret(VAULT_FILE)?;
        let signer = signer(&directory)?;
        let file = directory.file(schema::FILE);
        let connection = schema::open_writer(&file)?;
        let vault = Vault::new(&vault_secret);
        let memory = load::load(&connection, &vault, &signer.verifier())?;
        let keys = Arc::new(ArcSwap::from_pointee(memory.world.identity.clone()));
        let verifier = signer.verifier();
        let sequencer = Sequencer {
            memory,
            disk: wrap(Box::new(disk::SqliteDisk::new(connection, file.clone())?)),
            vault,
            signer,
            clock,
            tenant: default_tenant()?,
            keys: keys.clone(),
            on_fault,
        };
        let (queue, waiting) = sync_channel(QUEUE_LIMIT);
        let writer = std::thread::Builder::new().name("journal".to_owned()).spawn(move || sequencer.run(&waiting));
        let writer = writer.map_err(|error| StoreFault::Unusable(format!("can't start a thread: {error}")))?;
        Ok(Self {
            queue,
            keys,
            reader: Mutex::new(schema::open_reader(&file)?),
            vault: Vault::new(&vault_secret),
            verifier,
            writer: Mutex::new(Some(writer)),
            _directory: directory,
        })
    }

    /// Writes what waits, signs a last checkpoint and ends the writer. It blocks until that is done.
    pub fn close(&self) {
        let _ = self.queue.send(Message::Stop);
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }

    /// What checkpoints are verified with.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    fn with_reader<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreFault>) -> Result<T, StoreFault> {
        read(&self.reader.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine for SqliteEngine {
    fn submit(&self, job: Box<dyn Job>) {
        let (job, fault) = match self.queue.try_send(Message::Job(job)) {
            Ok(()) => return,
            Err(TrySendError::Full(Message::Job(job))) => (job, StoreFault::Busy),
            Err(TrySendError::Disconnected(Message::Job(job))) => (job, StoreFault::Closed),
            Err(TrySendError::Full(Message::Stop) | TrySendError::Disconnected(Message::Stop)) => return,
        };
        job.finish(Err(fault));
    }

    fn entries(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Stored>, StoreFault> {
        self.with_reader(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT position, bytes FROM entries WHERE stream = (SELECT number FROM streams WHERE name = ?1) AND seq > ?2 ORDER BY seq LIMIT ?3",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![stream.to_string(), to_sql(after), limit], |row| {
                Ok(Stored { position: from_sql(row.get(0)?), bytes: row.get(1)? })
            })?;
            rows.collect::<Result<_, _>>().map_err(StoreFault::from)
        })
    }

    fn body(&self, stream: &StreamId, position: u64, index: usize) -> Result<Option<Bytes>, StoreFault> {
        let found = self.with_reader(|connection| read_body(connection, stream, position, index))?;
        let Some((salt, bytes, number, sealed)) = found else { return Ok(None) };
        let entry = Entry::<Event>::decode(&bytes).map_err(StoreFault::Damaged)?;
        let Some(digest) = entry.bodies.get(index) else { return Ok(None) };
        let opened = self.vault.stream_key(&salt)?.open(number, *digest, sealed)?;
        Ok(Some(opened.into()))
    }

    fn keys(&self) -> Arc<Keys> {
        self.keys.load_full()
    }
}

type Found = (Salt, Vec<u8>, u64, Vec<u8>);

/// The stream's salt, the entry, and the encrypted body; none where the stream is erased or there is no such body.
fn read_body(
    connection: &Connection,
    stream: &StreamId,
    position: u64,
    index: usize,
) -> Result<Option<Found>, StoreFault> {
    let number = position * BODIES_LIMIT + u64::try_from(index).unwrap_or(BODIES_LIMIT);
    let mut statement = connection.prepare_cached(
        "SELECT streams.salt, entries.bytes, bodies.sealed FROM entries
         JOIN streams ON streams.number = entries.stream JOIN bodies ON bodies.number = ?3
         WHERE entries.position = ?2 AND streams.name = ?1 AND streams.salt IS NOT NULL",
    )?;
    let row = statement.query_row(params![stream.to_string(), to_sql(position), to_sql(number)], |row| {
        Ok((row.get(0)?, row.get(1)?, number, row.get(2)?))
    });
    row.optional().map_err(StoreFault::from)
}

/// The signer of the store in that directory.
///
/// # Errors
///
/// When its key can't be read.
pub fn signer(directory: &DataDirectory) -> Result<Signer, StoreFault> {
    Signer::new(ORIGIN, &directory.secret(SIGNER_FILE)?).map_err(StoreFault::Unusable)
}

fn default_tenant() -> Result<TenantName, StoreFault> {
    "default".parse().map_err(StoreFault::Unusable)
}
