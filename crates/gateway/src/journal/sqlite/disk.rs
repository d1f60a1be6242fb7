//! Batches into SQLite, one transaction each.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, params};

use crate::journal::fault::StoreFault;
use crate::journal::sequencer::{Batch, Disk};
use crate::journal::sqlite::fold::Folder;
use crate::journal::sqlite::schema::{self, to_sql};

/// After how many entries the write-ahead log is folded back into the file.
const FOLD_AFTER_ENTRIES: usize = 4_096;
/// After how many entries they are filed by stream: few enough that a reader looks through those that are not in no time.
const FILE_AFTER_ENTRIES: usize = 512;

/// Files by stream what is not yet.
pub(super) const FILE_ENTRIES: &str = "
    INSERT INTO places (stream, seq, position)
    SELECT stream, seq, position FROM entries WHERE position > (SELECT position FROM placed) ORDER BY stream, seq
";
/// Notes that all of it is.
pub(super) const WAS_FILED: &str = "UPDATE placed SET position = (SELECT coalesce(max(position), 0) FROM entries)";

/// The writing connection.
pub struct SqliteDisk {
    connection: Connection,
    since_fold: usize,
    /// How many entries are not yet filed by stream, those of an earlier process aside.
    unfiled: usize,
    folder: Folder,
    /// Set by the folder when little of the log is left; taken back here.
    is_nearly_folded: Arc<AtomicBool>,
}

impl SqliteDisk {
    /// Takes over the writing connection of the file at `path`.
    ///
    /// # Errors
    ///
    /// When the log that is there can't be folded back, or the thread that does it later can't be started.
    pub fn new(connection: Connection, path: PathBuf) -> Result<Self, StoreFault> {
        // If the last process ended because syncing the log failed, what we read of it may never have reached the disk, and
        // no later sync of the same pages would say so. Written to the file and synced there, it has.
        schema::fold_whole(&connection)?;
        let is_nearly_folded = Arc::new(AtomicBool::new(false));
        let folder = Folder::start(path, is_nearly_folded.clone())?;
        Ok(Self { connection, since_fold: 0, unfiled: 0, folder, is_nearly_folded })
    }

    /// Writes the batch; with it goes what is not yet filed by stream, if there is much of it or nothing else to do.
    fn write(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        self.unfiled += batch.entries.len();
        let cached = |sql| self.connection.prepare_cached(sql);
        cached("BEGIN IMMEDIATE")?.execute([])?;
        for (number, id, salt) in &batch.streams {
            let mut insert = cached("INSERT INTO streams (number, name, salt) VALUES (?1, ?2, ?3)")?;
            insert.execute(params![to_sql(*number), id.to_string(), salt])?;
        }
        let mut insert = cached("INSERT INTO entries (position, stream, seq, bytes) VALUES (?1, ?2, ?3, ?4)")?;
        for (position, stream, seq, bytes) in &batch.entries {
            insert.execute(params![to_sql(*position), to_sql(*stream), to_sql(*seq), bytes])?;
        }
        let mut insert = cached("INSERT INTO bodies (number, sealed) VALUES (?1, ?2)")?;
        for (number, sealed) in &batch.bodies {
            insert.execute(params![to_sql(*number), sealed])?;
        }
        if let Some((size, note)) = &batch.checkpoint {
            cached("INSERT INTO checkpoints (size, note) VALUES (?1, ?2)")?.execute(params![to_sql(*size), note])?;
        }
        if self.unfiled >= FILE_AFTER_ENTRIES || batch.entries.is_empty() {
            cached(FILE_ENTRIES)?.execute([])?;
            cached(WAS_FILED)?.execute([])?;
            self.unfiled = 0;
        }
        // A transaction that was left open by an error ends with the connection: after a failure nothing more is written.
        cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

impl Disk for SqliteDisk {
    fn append(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        self.write(batch)?;
        self.since_fold += batch.entries.len();
        if self.since_fold >= FOLD_AFTER_ENTRIES {
            self.since_fold = 0;
            self.folder.is_due();
        }
        if self.is_nearly_folded.swap(false, Ordering::Relaxed) {
            // While nothing is written all of it can be folded, so that the log begins anew with the next batch.
            if let Err(error) = schema::fold(&self.connection) {
                tracing::warn!(%error, "could not fold the rest of the journal's log back");
            }
        }
        Ok(())
    }
}
