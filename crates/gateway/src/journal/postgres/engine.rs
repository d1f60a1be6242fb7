//! Opening the store, and what callers hand to the writer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use portcullis_domain::ids::{CallId, GatewayId, TenantName};
use portcullis_domain::journal::StreamId;
use portcullis_domain::journal::checkpoint::Verifier;
use portcullis_domain::time::Timestamp;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

use crate::clock::Clock;
use crate::doorway::Doorway;
use crate::entropy;
use crate::journal::bookmark::Bookmarks;
use crate::journal::decider::{Decider, Memory};
use crate::journal::engine::{Engine, Job, OnFault, Stored};
use crate::journal::fault::StoreFault;
use crate::journal::files::DataDirectory;
use crate::journal::keeper::Keeper;
use crate::journal::postgres::address::Address;
use crate::journal::postgres::connect::{Connector, Listener};
use crate::journal::postgres::follow::load;
use crate::journal::postgres::keys::{self, Secrets};
use crate::journal::postgres::link::Link;
use crate::journal::postgres::members::Members;
use crate::journal::postgres::options::Options;
use crate::journal::postgres::read::Reader;
use crate::journal::postgres::renew::Renewal;
use crate::journal::postgres::schema;
use crate::journal::postgres::trouble::{ANSWER_LIMIT, Trouble, within};
use crate::journal::postgres::writer::{Ahead, Writer};
use crate::journal::vault::Keyring;
use tokio::sync::watch;

/// How many decisions may wait for the writer.
const QUEUE_LIMIT: usize = 16_384;
/// The cluster engine, as one gateway has it.
pub struct PostgresEngine {
    queue: mpsc::Sender<Box<dyn Job>>,
    stop: Arc<Notify>,
    doorway: Arc<watch::Sender<Arc<Doorway>>>,
    reader: Reader,
    verifier: Verifier,
    me: GatewayId,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl PostgresEngine {
    /// Connects to the store, makes or checks its tables and the secrets in the data directory, rebuilds the world, and starts the writer. It blocks.
    ///
    /// # Errors
    ///
    /// When the directory is in use, the database can't be reached or must not be used, or what is in it is not what was written.
    pub fn open(
        address: &Address,
        directory: &Path,
        options: Options,
        clock: Arc<dyn Clock>,
        on_fault: OnFault,
    ) -> Result<Self, StoreFault> {
        let directory = DataDirectory::open(directory)?;
        let connector = Connector::new(address.clone())?;
        let me = new_gateway()?;
        let (queue, waiting) = mpsc::channel(QUEUE_LIMIT);
        let stop = Arc::new(Notify::new());
        let (opened, opening) = sync_channel(1);
        let start = Start { connector: connector.clone(), options, me: me.clone(), clock, stop: stop.clone() };
        let work = move || {
            let run = || start.run(&directory, waiting, |handed| drop(opened.send(handed)));
            // A panic is a bug of ours in the middle of a decision: as after a failed write, nobody can say what memory is worth.
            let outcome = catch_unwind(AssertUnwindSafe(run));
            if let Err(fault) = outcome.unwrap_or_else(|_| Err(StoreFault::Failed("the writer panicked".to_owned()))) {
                on_fault(&fault);
            }
        };
        let writer = std::thread::Builder::new().name("journal".to_owned()).spawn(work);
        let writer = writer.map_err(|error| StoreFault::Unusable(format!("can't start a thread: {error}")))?;
        let handed = opening.recv().map_err(|_| StoreFault::Failed("the writer did not start".to_owned()))??;
        let reader = Reader::new(connector, Some(handed.secrets.vault()))?;
        let verifier = handed.secrets.signer.verifier();
        Ok(Self { queue, stop, doorway: handed.doorway, reader, verifier, me, writer: Mutex::new(Some(writer)) })
    }

    /// Writes what waits, signs a last checkpoint, ends this gateway's lease and the writer. It blocks until that is done.
    pub fn close(&self) {
        self.stop.notify_one();
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

    /// What reads beside the writer.
    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// This run of this gateway.
    #[must_use]
    pub fn gateway(&self) -> &GatewayId {
        &self.me
    }
}

impl Drop for PostgresEngine {
    fn drop(&mut self) {
        // Nobody is left who could close it: the writer ends by itself.
        self.stop.notify_one();
    }
}

impl Engine for PostgresEngine {
    fn submit(&self, job: Box<dyn Job>) {
        let (job, fault) = match self.queue.try_send(job) {
            Ok(()) => return,
            Err(TrySendError::Full(job)) => (job, StoreFault::Busy),
            Err(TrySendError::Closed(job)) => (job, StoreFault::Closed),
        };
        job.finish(Err(fault));
    }

    fn entries(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Stored>, StoreFault> {
        self.reader.entries(stream, after, limit)
    }

    fn body(&self, stream: &StreamId, position: u64, index: usize) -> Result<Option<Bytes>, StoreFault> {
        self.reader.body(stream, position, index)
    }

    fn doorway(&self) -> watch::Receiver<Arc<Doorway>> {
        self.doorway.subscribe()
    }
}

/// What the writer's thread begins with.
struct Start {
    connector: Connector,
    options: Options,
    me: GatewayId,
    clock: Arc<dyn Clock>,
    stop: Arc<Notify>,
}

/// What it hands back once the store is open.
struct Handed {
    secrets: Secrets,
    doorway: Arc<watch::Sender<Arc<Doorway>>>,
}

impl Start {
    fn run(
        self,
        directory: &DataDirectory,
        queue: mpsc::Receiver<Box<dyn Job>>,
        hand: impl FnOnce(Result<Handed, StoreFault>),
    ) -> Result<(), StoreFault> {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                hand(Err(StoreFault::Unusable(format!("can't start the writer: {error}"))));
                return Ok(());
            }
        };
        runtime.block_on(async {
            let stop = self.stop.clone();
            match self.open(directory).await {
                Ok((writer, secrets)) => {
                    hand(Ok(Handed { secrets, doorway: writer.doorway.clone() }));
                    writer.run(queue, stop).await
                }
                Err(trouble) => {
                    hand(Err(trouble.into()));
                    Ok(())
                }
            }
        })
    }

    async fn open(self, directory: &DataDirectory) -> Result<(Writer, Secrets), Trouble> {
        let connected = self.connector.connect(None).await?;
        schema::lock(&connected.client).await?;
        schema::migrate(&connected.client).await?;
        let secrets = keys::open(&connected.client, directory).await?;
        let verifier = secrets.signer.verifier();
        let changed = Arc::new(Notify::new());
        let listener = Listener { me: self.me.clone(), changed: changed.clone() };
        let mut link = Link::open(&self.connector, listener).await?;
        // Before the lock is given back: whoever copies the journal looks for gateways under it.
        link.enter(self.options.lease).await?;
        schema::unlock(&connected.client).await?;
        drop(connected);
        let renewal = Renewal { connector: self.connector.clone(), me: self.me.clone(), lease: self.options.lease };
        let bookmarks = Arc::new(Bookmarks::new(directory, self.options.pace)?);
        let memory = renewal.during(load(&mut link, &verifier, &bookmarks, &|| false)).await?;
        if !bookmarks.is_there() {
            bookmarks.keep_if_worth(&memory);
        }
        let again = Again {
            connector: self.connector.clone(),
            me: self.me.clone(),
            verifier: verifier.clone(),
            bookmarks: bookmarks.clone(),
        };
        let keeper = Keeper::start(bookmarks.clone(), &memory, Box::new(move |is_over| again.load(is_over)))?;
        let doorway = Arc::new(watch::Sender::new(Arc::new(Doorway::of(&memory.world))));
        let members = Members::new(self.me.clone(), self.options.lease);
        let writer = Writer {
            decider: decider(memory, &secrets, directory, &self.me)?,
            connector: self.connector,
            options: self.options,
            me: self.me,
            clock: self.clock,
            doorway,
            verifier,
            changed,
            members,
            link: Some(link),
            ahead: Ahead::default(),
            bookmarks,
            keeper,
        };
        Ok((writer, secrets))
    }
}

/// What a start reads, to be read beside the writer on a connection of its own.
struct Again {
    connector: Connector,
    me: GatewayId,
    verifier: Verifier,
    bookmarks: Arc<Bookmarks>,
}

impl Again {
    fn load(&self, is_over: &AtomicBool) -> Result<Memory, StoreFault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreFault::Failed(format!("can't start a reader: {error}")))?;
        let loaded = runtime.block_on(async {
            let listener = Listener { me: self.me.clone(), changed: Arc::new(Notify::new()) };
            let mut link = within(ANSWER_LIMIT, Link::open(&self.connector, listener)).await?;
            load(&mut link, &self.verifier, &self.bookmarks, &|| is_over.load(Ordering::Relaxed)).await
        });
        loaded.map_err(StoreFault::from)
    }
}

fn decider(
    memory: Memory,
    secrets: &Secrets,
    directory: &DataDirectory,
    me: &GatewayId,
) -> Result<Decider, StoreFault> {
    let tenant: TenantName = "default".parse().map_err(StoreFault::Unusable)?;
    Ok(Decider {
        memory,
        keyring: Keyring::new(secrets.vault()),
        signer: directory.signer()?,
        tenant,
        gateway: Some(me.clone()),
        sealed_at: Timestamp::default(),
    })
}

fn new_gateway() -> Result<GatewayId, StoreFault> {
    CallId(entropy::bytes()?).to_string().parse().map_err(StoreFault::Failed)
}
