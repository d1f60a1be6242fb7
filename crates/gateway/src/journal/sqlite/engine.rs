//! Opening the store, and reading beside the writer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use portcullis_domain::ids::TenantName;
use portcullis_domain::journal::StreamId;
use portcullis_domain::journal::checkpoint::Verifier;
use portcullis_domain::time::Timestamp;
use rusqlite::Connection;

use crate::clock::Clock;
use crate::doorway::Doorway;
use crate::journal::bookmark::{Bookmarks, Pace};
use crate::journal::decider::{Decider, Memory};
use crate::journal::engine::{Engine, Job, OnFault, Stored};
use crate::journal::fault::StoreFault;
use crate::journal::files::{DataDirectory, SIGNER_FILE, VAULT_FILE};
use crate::journal::keeper::Keeper;
use crate::journal::sequencer::{Disk, Message, Sequencer};
use crate::journal::sqlite::load::Source;
use crate::journal::sqlite::{disk, read, schema};
use crate::journal::vault::{Keyring, Vault};
use tokio::sync::watch;

/// How many decisions may wait for the writer.
pub(super) const QUEUE_LIMIT: usize = 16_384;

/// The embedded engine.
pub struct SqliteEngine {
    queue: SyncSender<Message>,
    doorway: Arc<watch::Sender<Arc<Doorway>>>,
    /// One reader at a time; held for one query.
    reader: Mutex<Connection>,
    vault: Vault,
    verifier: Verifier,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What stands between the sequencer and SQLite; tests put faults there.
pub type Wrap = Box<dyn FnOnce(Box<dyn Disk>) -> Box<dyn Disk>>;

impl SqliteEngine {
    /// Opens the store in that directory, rebuilds the world, and starts the writer.
    ///
    /// # Errors
    ///
    /// When the directory is in use, or what is in it is not what was written.
    pub fn open(path: &Path, clock: Arc<dyn Clock>, on_fault: OnFault) -> Result<Self, StoreFault> {
        Self::open_wrapped(path, clock, on_fault, Box::new(|disk| disk), Pace::USUAL)
    }

    /// The same, with something between the sequencer and the disk, and bookmarks at that pace.
    ///
    /// # Errors
    ///
    /// As [`SqliteEngine::open`].
    pub fn open_wrapped(
        path: &Path,
        clock: Arc<dyn Clock>,
        on_fault: OnFault,
        wrap: Wrap,
        pace: Pace,
    ) -> Result<Self, StoreFault> {
        let directory = DataDirectory::open(path)?;
        directory.make_secret(VAULT_FILE, schema::FILE)?;
        directory.make_secret(SIGNER_FILE, schema::FILE)?;
        let vault = Vault::new(&directory.secret(VAULT_FILE)?);
        let signer = directory.signer()?;
        let verifier = signer.verifier();
        let file = directory.file(schema::FILE);
        let connection = schema::open_writer(&file)?;
        let bookmarks = Arc::new(Bookmarks::new(&directory, pace)?);
        let memory =
            Source { connection: &connection, vault: &vault, verifier: &verifier }.load(&bookmarks, &|| false)?;
        let disk = wrap(Box::new(disk::SqliteDisk::new(connection, file.clone())?));
        if !bookmarks.is_there() {
            bookmarks.keep_if_worth(&memory);
        }
        let reader = Mutex::new(schema::open_reader(&file)?);
        let again = Again { file, vault: vault.clone(), verifier: verifier.clone(), bookmarks: bookmarks.clone() };
        let keeper = Keeper::start(bookmarks.clone(), &memory, Box::new(move |is_over| again.load(is_over)))?;
        let doorway = Arc::new(watch::Sender::new(Arc::new(Doorway::of(&memory.world))));
        let decider = Decider {
            memory,
            keyring: Keyring::new(vault.clone()),
            signer,
            tenant: default_tenant()?,
            gateway: None,
            sealed_at: Timestamp::default(),
        };
        let sequencer = Sequencer { decider, disk, keeper, clock, doorway: doorway.clone() };
        let (queue, waiting) = sync_channel(QUEUE_LIMIT);
        let work = move || run(sequencer, &waiting, on_fault, &bookmarks, directory);
        let writer = std::thread::Builder::new().name("journal".to_owned()).spawn(work);
        let writer = writer.map_err(|error| StoreFault::Unusable(format!("can't start a thread: {error}")))?;
        Ok(Self { queue, doorway, reader, vault, verifier, writer: Mutex::new(Some(writer)) })
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
        read::entries(&self.reader.lock().unwrap_or_else(PoisonError::into_inner), stream, after, limit)
    }

    fn body(&self, stream: &StreamId, position: u64, index: usize) -> Result<Option<Bytes>, StoreFault> {
        read::body(&self.reader.lock().unwrap_or_else(PoisonError::into_inner), &self.vault, stream, position, index)
    }

    fn doorway(&self) -> watch::Receiver<Arc<Doorway>> {
        self.doorway.subscribe()
    }
}

/// What a start reads, to be read beside the writer.
struct Again {
    file: PathBuf,
    vault: Vault,
    verifier: Verifier,
    bookmarks: Arc<Bookmarks>,
}

impl Again {
    fn load(&self, is_over: &AtomicBool) -> Result<Memory, StoreFault> {
        let connection = schema::open_reader(&self.file)?;
        let source = Source { connection: &connection, vault: &self.vault, verifier: &self.verifier };
        source.load(&self.bookmarks, &|| is_over.load(Ordering::Relaxed))
    }
}

/// The writer's thread. The directory is its own until it has ended, so that nobody else opens the store before.
fn run(
    sequencer: Sequencer,
    queue: &Receiver<Message>,
    on_fault: OnFault,
    bookmarks: &Bookmarks,
    _directory: DataDirectory,
) {
    // A panic is a bug of ours in the middle of a decision: as after a failed write, nobody can say what memory is worth.
    let outcome = catch_unwind(AssertUnwindSafe(|| sequencer.run(queue)));
    match outcome.unwrap_or_else(|_| Err(StoreFault::Failed("the writer panicked".to_owned()))) {
        Ok(memory) => bookmarks.keep_if_worth(&memory),
        Err(fault) => on_fault(&fault),
    }
}

fn default_tenant() -> Result<TenantName, StoreFault> {
    "default".parse().map_err(StoreFault::Unusable)
}
