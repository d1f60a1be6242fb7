//! What every engine does between taking decisions out of its queue and writing: it decides in order on the world in memory, gives drafts their places,
//! encrypts bodies, and signs. The result is a batch, and memory is ahead of the store by exactly that batch until it is written.

use portcullis_domain::digest::Digest;
use portcullis_domain::event::Event;
use portcullis_domain::ids::{GatewayId, TenantName};
use portcullis_domain::journal::checkpoint::{Checkpoint, Signer};
use portcullis_domain::journal::merkle::{self, Tree};
use portcullis_domain::journal::{Body, Draft, Entry, Head, StreamId};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;

use crate::doorway::Doorway;
use crate::entropy;
use crate::journal::engine::Job;
use crate::journal::fault::StoreFault;
use crate::journal::streams::{OpenStream, Streams};
use crate::journal::vault::{Keyring, Salt, StreamKey};

/// The most decisions in one transaction.
pub const BATCH_LIMIT: usize = 256;
/// How many bodies an entry can have: their numbers follow from the entry's position.
pub const BODIES_LIMIT: u64 = 8;
/// How long an entry waits at most before a signed checkpoint covers it.
pub const SEAL_INTERVAL_US: u64 = 1_000_000;

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
    /// Whether an entry changes the keys that callers are recognised by.
    pub changes_doorway: bool,
}

impl Batch {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.checkpoint.is_none()
    }
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

/// Memory, and what is needed to go on from it.
pub struct Decider {
    /// What is decided on.
    pub memory: Memory,
    /// The keys of streams.
    pub keyring: Keyring,
    /// Signs checkpoints.
    pub signer: Signer,
    /// Whose entries these are.
    pub tenant: TenantName,
    /// Written into the calls that are admitted, where several gateways share the journal.
    pub gateway: Option<GatewayId>,
    /// What the clock said when the last checkpoint was signed; the beginning of time at a start, so that what the last process left without one is
    /// signed at once.
    pub sealed_at: Timestamp,
}

impl Decider {
    /// The time of entries that are decided now. It never runs backwards, whatever the machine's clock does.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Timestamp {
        now.max(self.memory.last_at)
    }

    /// Decides jobs one after the other and takes what they decide into memory and into the batch.
    ///
    /// # Errors
    ///
    /// When an entry can't be placed. Memory then has a part of a decision, and nothing more may be decided on it.
    pub fn decide(&mut self, jobs: &mut [Box<dyn Job>], now: Timestamp, batch: &mut Batch) -> Result<(), StoreFault> {
        let at = self.at(now);
        jobs.iter_mut().try_for_each(|job| {
            let drafts = job.decide(&self.memory.world, at);
            self.take(drafts, at, batch)
        })
    }

    /// Gives drafts their places, and takes them into memory and into the batch.
    ///
    /// # Errors
    ///
    /// As [`Decider::decide`].
    pub fn take(&mut self, drafts: Vec<Draft<Event>>, at: Timestamp, batch: &mut Batch) -> Result<(), StoreFault> {
        drafts.into_iter().try_for_each(|draft| self.place(draft, at, batch))
    }

    fn place(&mut self, mut draft: Draft<Event>, at: Timestamp, batch: &mut Batch) -> Result<(), StoreFault> {
        if let Event::CallAdmitted(admitted) = &mut draft.event {
            admitted.gateway.clone_from(&self.gateway);
        }
        if let Event::RequestTaken(taken) = &mut draft.event {
            taken.gateway.clone_from(&self.gateway);
        }
        batch.changes_doorway |= Doorway::changes_by(&draft.event);
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

    /// How many entries no checkpoint covers yet.
    #[must_use]
    pub fn unsealed(&self) -> u64 {
        self.memory.tree.size().saturating_sub(self.memory.sealed)
    }

    /// How long ago the last checkpoint was signed; none when the clock has been turned back since.
    #[must_use]
    pub fn since_seal_us(&self, now: Timestamp) -> Option<u64> {
        now.0.checked_sub(self.sealed_at.0)
    }

    /// Adds a signed checkpoint when there are entries without one and either nothing else is to be done or the last one is old.
    pub fn seal(&mut self, now: Timestamp, is_idle: bool, batch: &mut Batch) {
        let is_due = self.since_seal_us(now).is_none_or(|passed| passed >= SEAL_INTERVAL_US);
        if self.unsealed() > 0 && (is_idle || is_due) {
            let checkpoint = Checkpoint { size: self.memory.tree.size(), root: self.memory.tree.root() };
            batch.checkpoint = Some((checkpoint.size, self.signer.sign(&checkpoint)));
            self.sealed_at = now;
        }
    }

    /// Takes in that a batch is durable.
    pub fn was_written(&mut self, batch: &Batch) {
        if let Some((size, _)) = batch.checkpoint {
            self.memory.sealed = size;
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
