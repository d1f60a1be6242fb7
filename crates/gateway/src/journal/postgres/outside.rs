//! Reading a journal beside all gateways that write it: to check the whole of it, and to show it.

use std::collections::VecDeque;
use std::path::Path;

use bytes::Bytes;
use portcullis_domain::journal::StreamId;
use tokio_postgres::Client;

use crate::journal::audit::{Audit, Report};
use crate::journal::engine::Stored;
use crate::journal::fault::StoreFault;
use crate::journal::files::{DataDirectory, VAULT_FILE};
use crate::journal::page::{PAGE, Page, Span, StreamRow};
use crate::journal::postgres::address::Address;
use crate::journal::postgres::connect::Connector;
use crate::journal::postgres::link::{read_entries, read_streams};
use crate::journal::postgres::read::Reader;
use crate::journal::postgres::schema::{self, from_sql, to_sql};
use crate::journal::postgres::trouble::Trouble;
use crate::journal::show::{Entries, Row, Selection, Source};
use crate::journal::vault::Vault;

/// Checks the journal in that database, with the secrets in that data directory: every chain, every checkpoint, every body, that it can be replayed, and that it contains
/// what `head` was signed over, if one is given. It blocks.
///
/// # Errors
///
/// When there is no journal, or it can't be read at all. What is wrong with what can be read stands in the report.
pub fn verify(address: &Address, directory: &Path, head: Option<&str>) -> Result<Report, StoreFault> {
    let directory = DataDirectory::look(directory);
    let vault = directory.secret(VAULT_FILE).map(|secret| Vault::new(&secret));
    let mut audit = Audit::new(directory.signer()?.verifier(), vault);
    if let Some(note) = head {
        audit.expect(note);
    }
    let connector = Connector::new(address.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StoreFault::Unusable(format!("can't start the reader: {error}")))?;
    runtime.block_on(async {
        let connected = connector.connect(None).await?;
        schema::expect(&connected.client).await?;
        read(&connected.client, &mut audit).await
    })?;
    Ok(audit.finish())
}

/// One pass over everything, as it was when it began.
async fn read(client: &Client, audit: &mut Audit) -> Result<(), Trouble> {
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    pass(client, audit).await?;
    client.batch_execute("COMMIT").await?;
    Ok(())
}

/// One pass over everything, within the transaction that is open.
pub(super) async fn pass(client: &Client, audit: &mut Audit) -> Result<(), Trouble> {
    for (number, name, salt) in streams(client).await? {
        audit.stream(number, &name, salt);
    }
    let mut after = Some(0);
    while let Some(position) = after {
        let page = page(client, position).await?;
        after = page.last;
        page.check(audit);
    }
    let head = client.query_one("SELECT position, root FROM portcullis.head", &[]).await?;
    let (position, root): (i64, Vec<u8>) = (head.try_get(0)?, head.try_get(1)?);
    if !audit.is_at(from_sql(position), &root) {
        audit.problem("the head of the log is not that of its entries".to_owned());
    }
    Ok(())
}

/// All streams.
pub(super) async fn streams(client: &Client) -> Result<Vec<StreamRow>, Trouble> {
    let rows = client.query("SELECT number, name, salt FROM portcullis.streams ORDER BY number", &[]).await?;
    read_streams(&rows)
}

/// The page after that position.
pub(super) async fn page(client: &Client, after: u64) -> Result<Page, Trouble> {
    let select = "SELECT position, stream, seq, bytes FROM portcullis.entries WHERE position > $1
                  ORDER BY position LIMIT $2";
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let entries = read_entries(&client.query(select, &[&to_sql(after), &limit]).await?)?;
    let Span { bodies, checkpoints, last } = Span::of(after, &entries);
    let select = "SELECT number, sealed FROM portcullis.bodies WHERE number >= $1 AND number < $2 ORDER BY number";
    let rows = client.query(select, &[&to_sql(bodies.start), &to_sql(bodies.end)]).await?;
    let bodies = rows.iter().map(|row| Ok((from_sql(row.try_get(0)?), row.try_get(1)?)));
    let bodies = bodies.collect::<Result<_, Trouble>>()?;
    let select = "SELECT size, note FROM portcullis.checkpoints WHERE size >= $1 AND size < $2 ORDER BY size";
    let rows = client.query(select, &[&to_sql(checkpoints.start), &to_sql(checkpoints.end)]).await?;
    let checkpoints = rows.iter().map(|row| Ok((from_sql(row.try_get(0)?), row.try_get(1)?)));
    let checkpoints = checkpoints.collect::<Result<_, Trouble>>()?;
    Ok(Page { entries, bodies, checkpoints, last })
}

/// A journal that is read and not written.
pub struct Outside {
    reader: Reader,
}

impl Outside {
    /// Opens the journal in that database, with the secrets in that data directory. It blocks.
    ///
    /// # Errors
    ///
    /// When there is none, or it can't be read.
    pub fn open(address: &Address, directory: &Path) -> Result<Self, StoreFault> {
        let secret = DataDirectory::look(directory).secret(VAULT_FILE);
        let reader = Reader::new(Connector::new(address.clone())?, secret.ok().map(|secret| Vault::new(&secret)))?;
        reader.ask(async |_| Ok(()))?;
        Ok(Self { reader })
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
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut notes: Vec<String> = self.reader.ask(async |connected| {
            let select = "SELECT note FROM portcullis.checkpoints ORDER BY size DESC LIMIT $1";
            let rows = connected.client.query(select, &[&limit]).await?;
            rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
        })?;
        notes.reverse();
        Ok(notes)
    }
}

impl Source for Outside {
    fn page(&self, wanted: &Selection, after: u64, length: i64) -> Result<VecDeque<Row>, StoreFault> {
        let from = to_sql(wanted.from);
        let stream = wanted.stream.as_ref().map(ToString::to_string);
        self.reader.ask(async |connected| {
            let rows = if let Some(stream) = &stream {
                let select = "SELECT position, seq, bytes FROM portcullis.entries
                              WHERE stream = (SELECT number FROM portcullis.streams WHERE name = $1)
                              AND seq > $2 AND position >= $3 ORDER BY seq LIMIT $4";
                connected.client.query(select, &[stream, &to_sql(after), &from, &length]).await?
            } else {
                let select = "SELECT position, seq, bytes FROM portcullis.entries WHERE position >= $1
                              ORDER BY position LIMIT $2";
                connected.client.query(select, &[&from, &length]).await?
            };
            let read = |row: &tokio_postgres::Row| {
                let stored = Stored { position: from_sql(row.try_get(0)?), bytes: row.try_get(2)? };
                Ok(Row { seq: from_sql(row.try_get(1)?), stored })
            };
            rows.iter().map(read).collect()
        })
    }

    fn body(&self, stream: &StreamId, position: u64, index: usize) -> Result<Option<Bytes>, StoreFault> {
        self.reader.body(stream, position, index)
    }

    fn head(&self) -> Result<Option<String>, StoreFault> {
        self.reader.ask(async |connected| {
            let select = "SELECT note FROM portcullis.checkpoints ORDER BY size DESC LIMIT 1";
            let row = connected.client.query_opt(select, &[]).await?;
            Ok(row.map(|row| row.try_get(0)).transpose()?)
        })
    }
}
