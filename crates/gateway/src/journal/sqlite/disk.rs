//! Batches into SQLite, one transaction each.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::{Connection, params};

use crate::journal::fault::StoreFault;
use crate::journal::sequencer::{Batch, Disk};
use crate::journal::sqlite::schema::to_sql;

/// After how many entries the write-ahead log is folded back into the file.
const FOLD_AFTER_ENTRIES: usize = 4_096;

/// The writing connection.
pub struct SqliteDisk {
    connection: Connection,
    since_fold: usize,
    fold: SyncSender<()>,
}

impl SqliteDisk {
    /// Takes over the writing connection of the file at `path`.
    ///
    /// # Errors
    ///
    /// When the thread that folds the log can't be started.
    pub fn new(connection: Connection, path: PathBuf) -> Result<Self, StoreFault> {
        let (fold, due) = sync_channel(1);
        let folder =
            std::thread::Builder::new().name("journal-fold".to_owned()).spawn(move || fold_when_due(&path, &due));
        folder.map_err(|error| StoreFault::Unusable(format!("can't start a thread: {error}")))?;
        Ok(Self { connection, since_fold: 0, fold })
    }
}

impl Disk for SqliteDisk {
    fn append(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        let transaction = self.connection.unchecked_transaction()?;
        if !batch.streams.is_empty() {
            let mut insert =
                transaction.prepare_cached("INSERT INTO streams (number, name, salt) VALUES (?1, ?2, ?3)")?;
            for (number, id, salt) in &batch.streams {
                insert.execute(params![to_sql(*number), id.to_string(), salt])?;
            }
        }
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO entries (position, stream, seq, bytes) VALUES (?1, ?2, ?3, ?4)")?;
            for (position, stream, seq, bytes) in &batch.entries {
                insert.execute(params![to_sql(*position), to_sql(*stream), to_sql(*seq), bytes])?;
            }
            let mut insert = transaction.prepare_cached("INSERT INTO bodies (number, sealed) VALUES (?1, ?2)")?;
            for (number, sealed) in &batch.bodies {
                insert.execute(params![to_sql(*number), sealed])?;
            }
        }
        if let Some((size, note)) = &batch.checkpoint {
            let mut insert = transaction.prepare_cached("INSERT INTO checkpoints (size, note) VALUES (?1, ?2)")?;
            insert.execute(params![to_sql(*size), note])?;
        }
        transaction.commit()?;
        self.since_fold += batch.entries.len();
        if self.since_fold >= FOLD_AFTER_ENTRIES {
            self.since_fold = 0;
            // A fold that is under way or already due is enough.
            let _ = self.fold.try_send(());
        }
        Ok(())
    }
}

/// Folds the log back whenever it is due, until the writer is gone. A fold that fails is tried again with the next one: nothing is lost, the log only grows.
fn fold_when_due(path: &std::path::Path, due: &Receiver<()>) {
    let mut connection = None;
    while due.recv().is_ok() {
        if connection.is_none() {
            connection = Connection::open(path)
                .and_then(|opened| opened.busy_timeout(std::time::Duration::from_secs(1)).map(|()| opened))
                .ok();
        }
        let Some(opened) = &connection else { continue };
        if let Err(error) = opened.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            tracing::warn!(%error, "could not fold the journal's log back");
            connection = None;
        }
    }
}
