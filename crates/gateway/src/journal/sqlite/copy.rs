//! An embedded journal as one side of a copy.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, params};

use crate::journal::audit::Place;
use crate::journal::fault::StoreFault;
use crate::journal::files::DataDirectory;
use crate::journal::page::{PAGE, Page, Span, StreamRow};
use crate::journal::sqlite::disk::{FILE_ENTRIES, WAS_FILED};
use crate::journal::sqlite::schema::{self, from_sql, to_sql};

/// What a copy is called until it is whole.
const UNFINISHED: &str = "journal.sqlite.copy";

/// Makes sure that there is a journal, without making one.
///
/// # Errors
///
/// When there is none that can be read here.
pub fn expect(directory: &Path) -> Result<(), StoreFault> {
    schema::open_reader(&directory.join(schema::FILE)).map(drop)
}

/// A journal that is read. Whoever has the directory's lock knows that nobody writes it.
pub struct Origin {
    connection: Connection,
}

impl Origin {
    /// Opens the journal in that directory.
    ///
    /// # Errors
    ///
    /// When there is none that can be read here.
    pub fn open(directory: &DataDirectory) -> Result<Self, StoreFault> {
        Ok(Self { connection: schema::open_reader(&directory.file(schema::FILE))? })
    }

    /// All streams.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub fn streams(&self) -> Result<Vec<StreamRow>, StoreFault> {
        let mut statement = self.connection.prepare("SELECT number, name, salt FROM streams ORDER BY number")?;
        let rows = statement.query_map([], |row| Ok((from_sql(row.get(0)?), row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The page after that position.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn page(&self, after: u64) -> Result<Page, StoreFault> {
        let cached = |sql| self.connection.prepare_cached(sql);
        let select = "SELECT position, stream, seq, bytes FROM entries WHERE position > ?1 ORDER BY position LIMIT ?2";
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let entries =
            cached(select)?.query_map(params![to_sql(after), limit], entry)?.collect::<Result<Vec<_>, _>>()?;
        let Span { bodies, checkpoints, last } = Span::of(after, &entries);
        let select = "SELECT number, sealed FROM bodies WHERE number >= ?1 AND number < ?2 ORDER BY number";
        let range = params![to_sql(bodies.start), to_sql(bodies.end)];
        let numbered = |row: &Row<'_>| Ok((from_sql(row.get(0)?), row.get(1)?));
        let bodies = cached(select)?.query_map(range, numbered)?.collect::<Result<_, _>>()?;
        let select = "SELECT size, note FROM checkpoints WHERE size >= ?1 AND size < ?2 ORDER BY size";
        let range = params![to_sql(checkpoints.start), to_sql(checkpoints.end)];
        let sized = |row: &Row<'_>| Ok((from_sql(row.get(0)?), row.get(1)?));
        let checkpoints = cached(select)?.query_map(range, sized)?.collect::<Result<_, _>>()?;
        Ok(Page { entries, bodies, checkpoints, last })
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<(Place, Vec<u8>)> {
    let place = Place { position: from_sql(row.get(0)?), stream: from_sql(row.get(1)?), seq: from_sql(row.get(2)?) };
    Ok((place, row.get(3)?))
}

/// A journal that is being written, under another name until it is whole.
pub struct Target {
    connection: Connection,
    directory: PathBuf,
}

impl Target {
    /// Begins a new one; what is left of a copy that was not finished is thrown away. Whoever copies has the directory's lock.
    ///
    /// # Errors
    ///
    /// When there is a journal.
    pub fn begin(directory: &Path) -> Result<Self, StoreFault> {
        // A log that was left behind would be read into whatever has its file's name.
        for name in [schema::FILE.to_owned(), format!("{}-wal", schema::FILE), format!("{}-shm", schema::FILE)] {
            if directory.join(&name).exists() {
                let problem =
                    format!("`{}` has a journal already, or what is left of one: `{name}`", directory.display());
                return Err(StoreFault::Unusable(problem));
            }
        }
        for name in [UNFINISHED.to_owned(), format!("{UNFINISHED}-wal"), format!("{UNFINISHED}-shm")] {
            match std::fs::remove_file(directory.join(&name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreFault::Unusable(format!("can't remove `{name}`: {error}")));
                }
                Ok(()) | Err(_) => {}
            }
        }
        let connection = schema::open_writer(&directory.join(UNFINISHED))?;
        Ok(Self { connection, directory: directory.to_owned() })
    }

    /// Writes the streams.
    ///
    /// # Errors
    ///
    /// When they can't be written.
    pub fn add_streams(&self, streams: &[StreamRow]) -> Result<(), StoreFault> {
        let transaction = self.connection.unchecked_transaction()?;
        let mut insert = transaction.prepare("INSERT INTO streams (number, name, salt) VALUES (?1, ?2, ?3)")?;
        for (number, name, salt) in streams {
            insert.execute(params![to_sql(*number), name, salt])?;
        }
        drop(insert);
        Ok(transaction.commit()?)
    }

    /// Writes a page.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn add(&self, page: &Page) -> Result<(), StoreFault> {
        let transaction = self.connection.unchecked_transaction()?;
        let cached = |sql| transaction.prepare_cached(sql);
        for (place, bytes) in &page.entries {
            let values = params![to_sql(place.position), to_sql(place.stream), to_sql(place.seq), bytes];
            cached("INSERT INTO entries (position, stream, seq, bytes) VALUES (?1, ?2, ?3, ?4)")?.execute(values)?;
        }
        for (number, sealed) in &page.bodies {
            cached("INSERT INTO bodies (number, sealed) VALUES (?1, ?2)")?.execute(params![to_sql(*number), sealed])?;
        }
        for (size, note) in &page.checkpoints {
            cached("INSERT INTO checkpoints (size, note) VALUES (?1, ?2)")?.execute(params![to_sql(*size), note])?;
        }
        cached(FILE_ENTRIES)?.execute([])?;
        cached(WAS_FILED)?.execute([])?;
        Ok(transaction.commit()?)
    }

    /// Makes one file of it.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn finish(&self) -> Result<(), StoreFault> {
        schema::fold_whole(&self.connection)
    }

    /// What has been written.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Gives it its name.
    ///
    /// # Errors
    ///
    /// When that can't be made durable.
    pub fn commit(self) -> Result<(), StoreFault> {
        let Self { connection, directory } = self;
        connection.close().map_err(|(_, error)| StoreFault::from(error))?;
        let name = || {
            std::fs::rename(directory.join(UNFINISHED), directory.join(schema::FILE))?;
            std::fs::File::open(&directory)?.sync_all()
        };
        name().map_err(|error: std::io::Error| StoreFault::Failed(format!("can't name the copy: {error}")))
    }
}
