//! The write-ahead log does not grow for ever.

use std::fs;

use crate::journal::sequencer::{Batch, Disk as _};
use crate::journal::sqlite::disk::SqliteDisk;
use crate::journal::sqlite::schema;

/// How many batches it may take; with a folder that works it takes some hundred.
const BATCHES_LIMIT: u64 = 3_000;
const ENTRIES_PER_BATCH: u64 = 64;

#[test]
fn the_log_begins_anew_under_steady_load() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(schema::FILE);
    let mut disk = SqliteDisk::new(schema::open_writer(&file).unwrap(), file).unwrap();
    let mut written = 0;
    for batch in 0..BATCHES_LIMIT {
        let positions = batch * ENTRIES_PER_BATCH + 1..=(batch + 1) * ENTRIES_PER_BATCH;
        let entries = positions.map(|position| (position, 1, position, vec![7; 500])).collect();
        disk.append(&Batch { entries, streams: first_stream(batch), ..Batch::default() }).unwrap();
        written += ENTRIES_PER_BATCH * 500;
        let log = fs::metadata(folder.path().join("journal.sqlite-wal")).unwrap().len();
        if log < written / 2 {
            return;
        }
    }
    panic!("{written} bytes of entries were written, and none of the log was used again");
}

fn first_stream(batch: u64) -> Vec<(u64, portcullis_domain::journal::StreamId, [u8; 32])> {
    if batch == 0 { vec![(1, portcullis_domain::journal::StreamId::Control, [0; 32])] } else { Vec::new() }
}
