//! The one writer of the embedded engine. It takes all that waits, decides in order on the world in memory, writes one transaction, and answers all.
//!
//! Deciding runs ahead of the disk within one batch only: the second decision of a batch sees the first, and neither answer leaves before both are durable. If the
//! write fails, nobody can know whether it is there, so the sequencer ends with everything it has in memory.

use std::collections::HashMap;
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
use portcullis_domain::journal::{Draft, Entry, Head, StreamId};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;

use crate::clock::Clock;
use crate::journal::engine::Job;
use crate::journal::fault::StoreFault;
use crate::journal::files::random;
use crate::journal::vault::{Salt, StreamKey, Vault};

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

/// What the writer keeps of a stream.
pub struct OpenStream {
    /// Its number in the store.
    pub number: u64,
    /// Its last entry.
    pub head: Head,
    /// Its key; none after its erasure.
    pub key: Option<StreamKey>,
}

/// All that the entries make, as it is rebuilt at a start.
pub struct Memory {
    /// The state.
    pub world: World,
    /// The streams by name.
    pub streams: HashMap<StreamId, OpenStream>,
    /// The tree over all entries.
    pub tree: Tree,
    /// How many entries the last checkpoint covers.
    pub sealed: u64,
    /// When that checkpoint was signed.
    pub sealed_at: Timestamp,
    /// The time of the last entry.
    pub last_at: Timestamp,
}

/// The writer with everything it owns. It lives on a thread of its own.
pub struct Sequencer {
    /// What is decided on.
    pub memory: Memory,
    /// Where entries go.
    pub disk: Box<dyn Disk>,
    /// Makes the keys of streams.
    pub vault: Vault,
    /// Signs checkpoints.
    pub signer: Signer,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Whose entries these are.
    pub tenant: TenantName,
    /// Read by the doors; written here, after the entries that change it are durable.
    pub keys: Arc<ArcSwap<Keys>>,
    /// Told when the engine ends by a fault.
    pub on_fault: Box<dyn FnOnce(&StoreFault) + Send>,
}

/// What comes to the writer.
pub enum Message {
    /// A decision to be made.
    Job(Box<dyn Job>),
    /// The end, once everything before it is written.
    Stop,
}

impl Sequencer {
    /// Works until it is told to stop or the disk fails.
    pub fn run(mut self, queue: &Receiver<Message>) {
        loop {
            let Some((mut jobs, is_last)) = self.wait(queue) else { return };
            let outcome = self.write(&mut jobs, is_last);
            for job in jobs {
                job.finish(outcome.clone());
            }
            match outcome {
                Ok(()) if is_last => return,
                Ok(()) => {}
                Err(fault) => return (self.on_fault)(&fault),
            }
        }
    }

    /// All that waits; nothing but a due checkpoint after a while of silence; none when nobody can send any more.
    fn wait(&self, queue: &Receiver<Message>) -> Option<(Vec<Box<dyn Job>>, bool)> {
        let mut jobs = Vec::new();
        let is_sealed = self.memory.sealed == self.memory.tree.size();
        let patience = if is_sealed { Duration::from_secs(3_600) } else { Duration::from_micros(SEAL_INTERVAL_US) };
        match queue.recv_timeout(patience) {
            Ok(Message::Job(job)) => jobs.push(job),
            Ok(Message::Stop) => return Some((jobs, true)),
            Err(RecvTimeoutError::Timeout) => return Some((jobs, false)),
            Err(RecvTimeoutError::Disconnected) => return None,
        }
        while jobs.len() < BATCH_LIMIT {
            match queue.try_recv() {
                Ok(Message::Job(job)) => jobs.push(job),
                Ok(Message::Stop) => return Some((jobs, true)),
                Err(_) => break,
            }
        }
        Some((jobs, false))
    }

    fn write(&mut self, jobs: &mut [Box<dyn Job>], is_last: bool) -> Result<(), StoreFault> {
        // Time in the journal never runs backwards, whatever the machine's clock does.
        let at = self.clock.now().max(self.memory.last_at);
        let mut batch = Batch::default();
        let mut keys_changed = false;
        let is_idle = jobs.is_empty();
        for job in jobs {
            for draft in job.decide(&self.memory.world, at) {
                keys_changed |= matches!(draft.event, Event::KeyCreated(_) | Event::KeyRevoked(_));
                self.place(draft, at, &mut batch)?;
            }
        }
        self.seal(at, is_last || is_idle, &mut batch);
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
        if !self.memory.streams.contains_key(&draft.stream) {
            self.begin(&draft.stream, batch)?;
        }
        let Some(stream) = self.memory.streams.get_mut(&draft.stream) else { return Err(StoreFault::Closed) };
        let (entry, bodies) = Entry::place(draft, stream.head, &self.tenant, at);
        let bytes = entry.encode().map_err(StoreFault::Failed)?;
        let position = self.memory.tree.size() + 1;
        for (index, body) in (0..BODIES_LIMIT).zip(&bodies) {
            let number = position * BODIES_LIMIT + index;
            if let Some(key) = &stream.key {
                batch.bodies.push((number, key.seal(number, body.digest(), body.bytes())?));
            }
        }
        stream.head = Head { seq: entry.seq, digest: Digest::of(&bytes) };
        self.memory.tree.push(merkle::leaf(&bytes));
        batch.entries.push((position, stream.number, entry.seq, bytes));
        self.memory.world.apply(&entry);
        self.memory.last_at = at;
        Ok(())
    }

    fn begin(&mut self, id: &StreamId, batch: &mut Batch) -> Result<(), StoreFault> {
        let number = u64::try_from(self.memory.streams.len()).unwrap_or(u64::MAX) + 1;
        let mut salt = [0; 32];
        random(&mut salt)?;
        let stream = OpenStream { number, head: Head::START, key: Some(self.vault.stream_key(&salt)?) };
        self.memory.streams.insert(id.clone(), stream);
        batch.streams.push((number, id.clone(), salt));
        Ok(())
    }

    /// Adds a signed checkpoint when there are entries without one and either nothing else is to be done or the last one is old.
    fn seal(&mut self, at: Timestamp, is_idle: bool, batch: &mut Batch) {
        let size = self.memory.tree.size();
        let is_due = at.0.saturating_sub(self.memory.sealed_at.0) >= SEAL_INTERVAL_US;
        if size > self.memory.sealed && (is_idle || is_due) {
            let checkpoint = Checkpoint { size, root: self.memory.tree.root() };
            batch.checkpoint = Some((size, self.signer.sign(&checkpoint)));
            self.memory.sealed_at = at;
        }
    }
}
