//! What callers see of a store.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_domain::admission::{Command, Verdict};
use portcullis_domain::event::Event;
use portcullis_domain::identity::Keys;
use portcullis_domain::journal::{Draft, Entry, StreamId};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;
use tokio::sync::{oneshot, watch};

use crate::doorway::Doorway;
use crate::journal::engine::{Engine, Job, Stored};
use crate::journal::fault::StoreFault;

/// The journal, whatever engine keeps it.
#[derive(Clone)]
pub struct Journal {
    engine: Arc<dyn Engine>,
}

/// An entry with its place among all entries.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Its number among all entries.
    pub position: u64,
    /// The entry.
    pub entry: Entry<Event>,
}

impl Placed {
    /// Reads an entry as it was stored.
    ///
    /// # Errors
    ///
    /// When it is no entry.
    pub fn read(stored: &Stored) -> Result<Self, StoreFault> {
        let position = stored.position;
        let entry = Entry::decode(&stored.bytes);
        let entry = entry.map_err(|problem| StoreFault::Damaged(format!("entry {position}: {problem}")))?;
        Ok(Self { position, entry })
    }
}

impl Journal {
    /// The journal that this engine keeps.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Decides a command. The answer is given once everything that it rests on is durable.
    ///
    /// # Errors
    ///
    /// When the store failed: then it is not known whether the entries are there.
    pub async fn execute<C: Command>(&self, command: C) -> Result<C::Answer, StoreFault> {
        let (sender, receiver) = oneshot::channel();
        self.engine.submit(Box::new(Decision { command, answer: None, sender }));
        receiver.await.unwrap_or(Err(StoreFault::Closed))
    }

    /// Reads the world as of the last durable entry before the answer.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl Fn(&World) -> T + Send + 'static,
    ) -> Result<T, StoreFault> {
        self.execute(Question(question)).await
    }

    /// Entries of a stream after the one of that number, in order, at most `limit`.
    ///
    /// # Errors
    ///
    /// When the store can't be read or holds something that is no entry.
    pub async fn entries(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Placed>, StoreFault> {
        let (engine, stream) = (self.engine.clone(), stream.clone());
        let read = move || engine.entries(&stream, after, limit)?.iter().map(Placed::read).collect();
        blocking(read).await
    }

    /// One body of an entry.
    ///
    /// # Errors
    ///
    /// When the store can't be read or holds other bytes than were written.
    pub async fn body(&self, stream: &StreamId, position: u64, index: usize) -> Result<Option<Bytes>, StoreFault> {
        let (engine, stream) = (self.engine.clone(), stream.clone());
        blocking(move || engine.body(&stream, position, index)).await
    }

    /// The keys that callers are recognised by.
    #[must_use]
    pub fn keys(&self) -> Arc<Keys> {
        self.engine.doorway().borrow().keys.clone()
    }

    /// What doors must know, now and whenever it changes.
    #[must_use]
    pub fn doorway(&self) -> watch::Receiver<Arc<Doorway>> {
        self.engine.doorway()
    }
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreFault> + Send + 'static,
) -> Result<T, StoreFault> {
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(StoreFault::Failed(error.to_string())))
}

/// A command on its way through the writer, with the answer that waits for the disk.
struct Decision<C: Command> {
    command: C,
    answer: Option<C::Answer>,
    sender: oneshot::Sender<Result<C::Answer, StoreFault>>,
}

impl<C: Command> Job for Decision<C> {
    fn decide(&mut self, world: &World, at: Timestamp) -> Vec<Draft<Event>> {
        let Verdict { answer, drafts } = self.command.decide(world, at);
        self.answer = Some(answer);
        drafts
    }

    fn finish(self: Box<Self>, outcome: Result<(), StoreFault>) {
        let Self { answer, sender, .. } = *self;
        // A caller that has left does not wait for the answer any more; what was decided stays decided.
        let _ = sender.send(outcome.and_then(|()| answer.ok_or(StoreFault::Closed)));
    }
}

/// A look at the world, as a command that changes nothing.
struct Question<F>(F);

impl<T: Send + 'static, F: Fn(&World) -> T + Send + 'static> Command for Question<F> {
    type Answer = T;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<T> {
        Verdict::unchanged((self.0)(world))
    }
}
