//! The one writer of the embedded engine. It takes all that waits, decides in order on the world in memory, writes one transaction, and answers all.
//!
//! Deciding runs ahead of the disk within one batch only: the second decision of a batch sees the first, and neither answer leaves before both are durable. If the
//! write fails, nobody can know whether it is there, so the sequencer ends with everything it has in memory.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_domain::digest::Digest;
use portcullis_domain::event::Event;
use portcullis_domain::identity::Keys;
use portcullis_domain::ids::TenantName;
use portcullis_domain::journal::checkpoint::{Checkpoint, Signer};
use portcullis_domain::journal::merkle::{self, Tree};
use portcullis_domain::journal::{Body, Draft, Entry, Head, StreamId};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;

use crate::clock::Clock;
use crate::entropy;
use crate::journal::engine::Job;
use crate::journal::fault::StoreFault;
use crate::journal::streams::{OpenStream, Streams};
use crate::journal::vault::{Keyring, Salt, StreamKey};

/// The most decisions in one transaction.
const BATCH_LIMIT: usize = 256;
/// How many bodies an entry can have: their numbers follow from the entry's position.
pub const BODIES_LIMIT: u64 = 8;
/// How long an entry waits at most before a signed checkpoint covers it.
const SEAL_INTERVAL_US: u64 = 1_000_000;

/// What is written in one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    /// Streams that begin: number, name, salt.
    pub streams: Vec<(u64, StreamId, Salt)>,
    /// Entries: position, number of the stream, number in the stream, bytes.
    pub entries: Vec<(u64, u64, u64, Vec<u8>)>,
    /// Bodies: number, encrypted bytes.
    pub bodies: Vec<(u64, Vec<u8>)>,
    /// A signed checkpoint: how many entries it covers, the note.
    pub checkpoint: Option<(u64, String)>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.checkpoint.is_none()
    }
}

/// Where batches go.
pub trait Disk: Send {
    /// Writes all of it durably, or fails. After a failure it may be there or not.
    ///
    /// # Errors
    ///
    /// What went wrong.
    fn append(&mut self, batch: &Batch) -> Result<(), StoreFault>;
}

/// All that the entries make, as it is rebuilt at a start.
#[derive(Default)]
pub struct Memory {
    /// The state.
    pub world: World,
    /// The streams.
    pub streams: Streams,
    /// The tree over all entries.
    pub tree: Tree,
    /// How many entries the last checkpoint covers.
    pub sealed: u64,
    /// The time of the last entry.
    pub last_at: Timestamp,
}

/// The writer with everything it owns. It lives on a thread of its own.
pub struct Sequencer {
    /// What is decided on.
    pub memory: Memory,
    /// Where entries go.
    pub disk: Box<dyn Disk>,
    /// The keys of streams.
    pub keyring: Keyring,
    /// Signs checkpoints.
    pub signer: Signer,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Whose entries these are.
    pub tenant: TenantName,
    /// Read by the doors; written here, after the entries that change it are durable.
    pub keys: Arc<ArcSwap<Keys>>,
    /// What the clock said when the last checkpoint was signed; the beginning of time at a start, so that what the last process left without one is
    /// signed at once.
    pub sealed_at: Timestamp,
}

/// What comes to the writer.
pub enum Message {
    /// A decision to be made.
    Job(Box<dyn Job>),
    /// The end, once everything before it is written.
    Stop,
}

impl Sequencer {
    /// Works until it is told to stop or nobody is left to tell it.
    ///
    /// # Errors
    ///
    /// When the disk failed. Memory may then differ from it, so nothing more is decided.
    pub fn run(mut self, queue: &Receiver<Message>) -> Result<(), StoreFault> {
        loop {
            let (mut jobs, is_last) = self.wait(queue);
            let outcome = self.write(&mut jobs, is_last);
            for job in jobs {
                job.finish(outcome.clone());
            }
            if is_last || outcome.is_err() {
                return outcome;
            }
        }
    }

    /// All that waits, and whether it is the last; nothing when a checkpoint is due.
    fn wait(&self, queue: &Receiver<Message>) -> (Vec<Box<dyn Job>>, bool) {
        let mut jobs = Vec::new();
        match queue.recv_timeout(self.patience()) {
            Ok(Message::Job(job)) => jobs.push(job),
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return (jobs, true),
            Err(RecvTimeoutError::Timeout) => return (jobs, false),
        }
        while jobs.len() < BATCH_LIMIT {
            match queue.try_recv() {
                Ok(Message::Job(job)) => jobs.push(job),
                Ok(Message::Stop) => return (jobs, true),
                Err(_) => break,
            }
        }
        (jobs, false)
    }

    /// How long nothing needs to be done if nothing comes.
    fn patience(&self) -> Duration {
        if self.memory.sealed == self.memory.tree.size() {
            return Duration::from_secs(3_600);
        }
        let passed = self.since_seal_us(self.clock.now()).unwrap_or(SEAL_INTERVAL_US);
        Duration::from_micros(SEAL_INTERVAL_US.saturating_sub(passed))
    }

    /// How long ago the last checkpoint was signed; none when the clock has been turned back since.
    fn since_seal_us(&self, now: Timestamp) -> Option<u64> {
        now.0.checked_sub(self.sealed_at.0)
    }

    fn write(&mut self, jobs: &mut [Box<dyn Job>], is_last: bool) -> Result<(), StoreFault> {
        let now = self.clock.now();
        // Time in the journal never runs backwards, whatever the machine's clock does.
        let at = now.max(self.memory.last_at);
        let mut batch = Batch::default();
        let mut keys_changed = false;
        let is_idle = jobs.is_empty();
        for job in jobs {
            for draft in job.decide(&self.memory.world, at) {
                keys_changed |= matches!(draft.event, Event::KeyCreated(_) | Event::KeyRevoked(_));
                self.place(draft, at, &mut batch)?;
            }
        }
        self.seal(now, is_last || is_idle, &mut batch);
        if !batch.is_empty() {
            self.disk.append(&batch)?;
        }
        if let Some((size, _)) = batch.checkpoint {
            self.memory.sealed = size;
        }
        if keys_changed {
            self.keys.store(Arc::new(self.memory.world.identity.clone()));
        }
        Ok(())
    }

    /// Gives a draft its place, and takes it into memory.
    fn place(&mut self, draft: Draft<Event>, at: Timestamp, batch: &mut Batch) -> Result<(), StoreFault> {
        let stream = match self.memory.streams.find(&draft.stream) {
            Some(stream) => stream,
            None => begin(&mut self.memory.streams, &draft.stream, batch)?,
        };
        let (entry, bodies) = Entry::place(draft, stream.head, &self.tenant, at);
        let bytes = entry.encode().map_err(StoreFault::Failed)?;
        let position = self.memory.tree.size() + 1;
        if let (Some(salt), [_, ..]) = (&stream.salt, bodies.as_slice()) {
            seal_bodies(self.keyring.key(stream.number, salt)?, position, &bodies, batch)?;
        }
        stream.head = Head { seq: entry.seq, digest: Digest::of(&bytes) };
        self.memory.tree.push(merkle::leaf(&bytes));
        batch.entries.push((position, stream.number, entry.seq, bytes));
        self.memory.world.apply(&entry);
        self.memory.last_at = at;
        Ok(())
    }

    /// Adds a signed checkpoint when there are entries without one and either nothing else is to be done or the last one is old.
    fn seal(&mut self, now: Timestamp, is_idle: bool, batch: &mut Batch) {
        let size = self.memory.tree.size();
        let is_due = self.since_seal_us(now).is_none_or(|passed| passed >= SEAL_INTERVAL_US);
        if size > self.memory.sealed && (is_idle || is_due) {
            let checkpoint = Checkpoint { size, root: self.memory.tree.root() };
            batch.checkpoint = Some((size, self.signer.sign(&checkpoint)));
            self.sealed_at = now;
        }
    }
}

fn begin<'a>(streams: &'a mut Streams, id: &StreamId, batch: &mut Batch) -> Result<&'a mut OpenStream, StoreFault> {
    let salt = entropy::bytes()?;
    let stream = streams.begin(id.clone(), Some(salt));
    batch.streams.push((stream.number, id.clone(), salt));
    Ok(stream)
}

fn seal_bodies(key: &StreamKey, position: u64, bodies: &[Body], batch: &mut Batch) -> Result<(), StoreFault> {
    let numbers = position * BODIES_LIMIT..(position + 1) * BODIES_LIMIT;
    if bodies.len() > numbers.clone().count() {
        return Err(StoreFault::Failed(format!("an entry has at most {BODIES_LIMIT} bodies, not {}", bodies.len())));
    }
    for (number, body) in numbers.zip(bodies) {
        batch.bodies.push((number, key.seal(number, body.digest(), body.bytes())?));
    }
    Ok(())
}
