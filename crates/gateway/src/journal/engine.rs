//! What an engine is: a few methods that every store passes the same conformance suite with.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_domain::event::Event;
use portcullis_domain::journal::{Draft, StreamId};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;

use crate::doorway::Doorway;
use crate::journal::fault::StoreFault;
use tokio::sync::watch;

/// A decision that waits for its turn.
pub trait Job: Send {
    /// Decides on the world as it is now. An engine may call it again after a conflict; the last verdict counts.
    fn decide(&mut self, world: &World, at: Timestamp) -> Vec<Draft<Event>>;

    /// Gives the answer away: the entries are durable, or it is not known whether they are. A job that is dropped without this was met by the end of the
    /// engine, which its caller takes for [`StoreFault::Closed`].
    fn finish(self: Box<Self>, outcome: Result<(), StoreFault>);
}

/// What is called when an engine ends by a fault.
pub type OnFault = Box<dyn FnOnce(&StoreFault) + Send>;

/// An entry as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number among all entries, from 1.
    pub position: u64,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
}

/// A store of entries with the world that they make.
pub trait Engine: Send + Sync {
    /// Puts a decision into the queue. When there is no place in it, or no writer, it is finished at once with that fault.
    fn submit(&self, job: Box<dyn Job>);

    /// The entries of a stream after the one of that number, at most `limit`, in order. It blocks on the disk.
    ///
    /// # Errors
    ///
    /// When the store can't be read.
    fn entries(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Stored>, StoreFault>;

    /// A body of an entry by its place in the entry's list; none where it was erased or never kept. It blocks on the disk.
    ///
    /// # Errors
    ///
    /// When the store can't be read, or the bytes are not those that the entry names.
    fn body(&self, stream: &StreamId, position: u64, index: usize) -> Result<Option<Bytes>, StoreFault>;

    /// What doors must know, as of the last durable entry.
    fn doorway(&self) -> watch::Receiver<Arc<Doorway>>;
}
