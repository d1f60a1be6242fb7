//! Folding the write-ahead log back into the file, beside the writer.
//!
//! SQLite's log begins anew only when all of it is folded back at the moment of a write. Under steady load the folder always ends a little behind, so
//! it does the bulk, then what was written meanwhile, and tells the writer, which does the little that is left between two transactions.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use crate::journal::fault::StoreFault;
use crate::journal::sqlite::schema;

/// The thread that folds. It ends with this value.
pub struct Folder {
    due: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Folder {
    /// Starts the thread for the file at `path`. It sets `is_nearly_done` when little is left, for the writer to do.
    ///
    /// # Errors
    ///
    /// When the thread can't be started.
    pub fn start(path: PathBuf, is_nearly_done: Arc<AtomicBool>) -> Result<Self, StoreFault> {
        let (sender, due) = sync_channel(1);
        let work = move || fold_when_due(&path, &due, &is_nearly_done);
        let thread = std::thread::Builder::new().name("journal-fold".to_owned()).spawn(work);
        let thread = thread.map_err(|error| StoreFault::Unusable(format!("can't start a thread: {error}")))?;
        Ok(Self { due: Some(sender), thread: Some(thread) })
    }

    /// Says that there is something to fold.
    pub fn is_due(&self) {
        // A fold that is under way or already due is enough.
        let _ = self.due.as_ref().map(|due| due.try_send(()));
    }
}

impl Drop for Folder {
    /// Nothing touches the file any more once the writer has let go of it.
    fn drop(&mut self) {
        self.due = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Folds the log back whenever it is due, until the writer is gone. A fold that fails is tried again with the next one: nothing is lost, the log only grows.
fn fold_when_due(path: &Path, due: &Receiver<()>, is_nearly_done: &AtomicBool) {
    let mut connection = None;
    while due.recv().is_ok() {
        let opened = connection.take().map_or_else(|| schema::open_folder(path), Ok);
        match opened.and_then(fold_twice) {
            Ok(opened) => {
                connection = Some(opened);
                is_nearly_done.store(true, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "could not fold the journal's log back"),
        }
    }
}

fn fold_twice(connection: Connection) -> Result<Connection, StoreFault> {
    schema::fold(&connection)?;
    schema::fold(&connection)?;
    Ok(connection)
}
