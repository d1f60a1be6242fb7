//! Making bookmarks while the gateway works, beside the writer.
//!
//! The writer's world can't be copied without holding up calls, and a second one that is kept up with it would cost its memory all the time. So the keeper does what a start
//! does: it reads the last bookmark and the entries since then, with all checks, makes the next bookmark, and lets go of all of it. It waits for nothing that calls
//! need, and nobody waits for it: its thread runs where processors have nothing else to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::journal::bookmark::Bookmarks;
use crate::journal::decider::Memory;
use crate::journal::fault::StoreFault;

/// The least that a thread can be given.
const LOWEST_PRIORITY: i32 = 19;

/// Reads what a start would read, from the bookmark on if there is one. It gives up with [`StoreFault::Closed`] once that is true.
pub type Read = Box<dyn Fn(&AtomicBool) -> Result<Memory, StoreFault> + Send>;

/// The thread that makes bookmarks. It ends with this value.
pub struct Keeper {
    due: Option<SyncSender<()>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    every: u64,
    /// How many entries there were when a bookmark was due, or how many the one covers that was there at the start.
    marked: u64,
}

impl Keeper {
    /// Starts the thread of an engine that has this in memory.
    ///
    /// # Errors
    ///
    /// When the thread can't be started.
    pub fn start(bookmarks: Arc<Bookmarks>, memory: &Memory, read: Read) -> Result<Self, StoreFault> {
        let (every, marked) = (bookmarks.pace().every, memory.tree.size() - bookmarks.lacks(memory));
        let is_over = Arc::new(AtomicBool::new(false));
        let (sender, due) = sync_channel(1);
        let over = is_over.clone();
        let work = move || keep_when_due(&bookmarks, &read, &due, &over);
        let thread = std::thread::Builder::new().name("journal-keeper".to_owned()).spawn(work);
        let thread = thread.map_err(|error| StoreFault::Unusable(format!("can't start a thread: {error}")))?;
        Ok(Self { due: Some(sender), is_over, thread: Some(thread), every, marked })
    }

    /// Takes in what the store has.
    pub fn reached(&mut self, memory: &Memory) {
        let size = memory.tree.size();
        if size.saturating_sub(self.marked) >= self.every.max(memory.streams.count()) {
            self.marked = size;
            // One that is being made or already due is enough.
            let _ = self.due.as_ref().map(|due| due.try_send(()));
        }
    }
}

impl Drop for Keeper {
    /// What is being read is left; a file that is being written is finished.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.due = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn keep_when_due(bookmarks: &Bookmarks, read: &Read, due: &Receiver<()>, is_over: &AtomicBool) {
    // On Linux this is about the calling thread and those that it starts. Where it is refused, bookmarks are made all the same.
    let _ = rustix::process::nice(LOWEST_PRIORITY);
    while due.recv().is_ok() {
        match read(is_over) {
            Ok(memory) => bookmarks.keep(&memory),
            Err(StoreFault::Closed) => return,
            Err(fault) => tracing::error!(%fault, "the journal could not be read for a bookmark of it"),
        }
    }
}
