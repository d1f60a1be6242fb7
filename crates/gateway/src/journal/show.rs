//! Reading a journal from outside, beside the gateway that writes it: entries in order, and bodies on demand.

use std::collections::VecDeque;
use std::path::Path;

use bytes::Bytes;
use portcullis_domain::journal::StreamId;
use rusqlite::{Connection, params};

use crate::journal::engine::Stored;
use crate::journal::fault::StoreFault;
use crate::journal::files::{DataDirectory, VAULT_FILE};
use crate::journal::sqlite::read;
use crate::journal::sqlite::read::BY_STREAM;
use crate::journal::sqlite::schema::{self, from_sql, to_sql};
use crate::journal::vault::Vault;

/// How many entries are in memory at a time.
const PAGE: usize = 256;

/// Which entries are wanted.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Those of one stream, or of all.
    pub stream: Option<StreamId>,
    /// Those from this position on; the first is 1.
    pub from: u64,
    /// At most so many.
    pub limit: usize,
}

/// Where entries and bodies are read from, whatever keeps them.
pub trait Source {
    /// The entries that are wanted and come after the one of that number in its stream, where one stream is wanted; at most `length`.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    fn page(&self, wanted: &Selection, after: u64, length: i64) -> Result<VecDeque<Row>, StoreFault>;

    /// A body of an entry by its place in the entry's list; none where there is none or the stream is erased.
    ///
    /// # Errors
    ///
    /// When the key can't be read, or the body is missing or is not what the entry names.
    fn body(&self, stream: &StreamId, position: u64, index: usize) -> Result<Option<Bytes>, StoreFault>;

    /// The last signed checkpoint, as a note.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    fn head(&self) -> Result<Option<String>, StoreFault>;
}

/// An embedded journal that is read and not written.
pub struct Reader {
    connection: Connection,
    vault: Result<Vault, StoreFault>,
}

impl Reader {
    /// Opens the journal in that data directory.
    ///
    /// # Errors
    ///
    /// When there is none, or it can't be read.
    pub fn open(path: &Path) -> Result<Self, StoreFault> {
        let directory = DataDirectory::look(path);
        let connection = schema::open_reader(&directory.file(schema::FILE))?;
        let vault = directory.secret(VAULT_FILE).map(|secret| Vault::new(&secret));
        Ok(Self { connection, vault })
    }

    /// The entries that are wanted, as they were stored, in the order of their positions. What is written meanwhile is seen too.
    #[must_use]
    pub fn entries(&self, wanted: Selection) -> Entries<'_> {
        Entries::of(self, wanted)
    }

    /// The last signed checkpoints as notes, at most `limit`, the oldest first.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub fn checkpoints(&self, limit: usize) -> Result<Vec<String>, StoreFault> {
        let mut statement =
            self.connection.prepare_cached("SELECT note FROM checkpoints ORDER BY size DESC LIMIT ?1")?;
        let notes = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| row.get(0))?;
        let mut notes: Vec<String> = notes.collect::<Result<_, _>>()?;
        notes.reverse();
        Ok(notes)
    }
}

impl Source for Reader {
    fn head(&self) -> Result<Option<String>, StoreFault> {
        Ok(self.checkpoints(1)?.pop())
    }

    fn page(&self, wanted: &Selection, after: u64, length: i64) -> Result<VecDeque<Row>, StoreFault> {
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Row {
                seq: from_sql(row.get(1)?),
                stored: Stored { position: from_sql(row.get(0)?), bytes: row.get(2)? },
            })
        };
        let connection = &self.connection;
        let from = to_sql(wanted.from);
        let page: rusqlite::Result<_> = if let Some(stream) = &wanted.stream {
            let mut statement = connection.prepare_cached(BY_STREAM)?;
            statement.query_map(params![stream.to_string(), to_sql(after), from, length], row)?.collect()
        } else {
            let mut statement = connection.prepare_cached(
                "SELECT position, seq, bytes FROM entries WHERE position >= ?1 ORDER BY position LIMIT ?2",
            )?;
            statement.query_map(params![from, length], row)?.collect()
        };
        page.map_err(StoreFault::from)
    }

    fn body(&self, stream: &StreamId, position: u64, index: usize) -> Result<Option<Bytes>, StoreFault> {
        let vault = self.vault.as_ref().map_err(Clone::clone)?;
        read::body(&self.connection, vault, stream, position, index)
    }
}

/// Entries, read page by page. A page that can't be read ends them.
pub struct Entries<'a> {
    source: &'a dyn Source,
    /// What is still to come: `from` and `limit` move on with every page.
    wanted: Selection,
    /// Of one stream: the number in it of the last entry that was read.
    after: u64,
    page: VecDeque<Row>,
}

/// An entry with its number in its stream.
pub struct Row {
    /// The number.
    pub seq: u64,
    /// The entry.
    pub stored: Stored,
}

impl Iterator for Entries<'_> {
    type Item = Result<Stored, StoreFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && let Err(fault) = self.turn()
        {
            self.wanted.limit = 0;
            return Some(Err(fault));
        }
        self.page.pop_front().map(|row| Ok(row.stored))
    }
}

impl<'a> Entries<'a> {
    /// The entries of that source that are wanted.
    #[must_use]
    pub fn of(source: &'a dyn Source, wanted: Selection) -> Self {
        Self { source, wanted, after: 0, page: VecDeque::new() }
    }

    fn turn(&mut self) -> Result<(), StoreFault> {
        let length = self.wanted.limit.min(PAGE);
        if length == 0 {
            return Ok(());
        }
        self.page = self.source.page(&self.wanted, self.after, i64::try_from(length).unwrap_or(i64::MAX))?;
        self.wanted.limit -= self.page.len();
        match self.page.back() {
            Some(last) => (self.wanted.from, self.after) = (last.stored.position + 1, last.seq),
            None => self.wanted.limit = 0,
        }
        Ok(())
    }
}
