//! Rebuilding memory from the file, with every chain checked on the way.

use std::collections::HashMap;

use portcullis_domain::digest::Digest;
use portcullis_domain::event::Event;
use portcullis_domain::journal::checkpoint::Verifier;
use portcullis_domain::journal::merkle::{self, Tree};
use portcullis_domain::journal::{Entry, Head, StreamId, chain};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;
use rusqlite::{Connection, OptionalExtension as _};

use crate::journal::fault::StoreFault;
use crate::journal::files::{SIGNER_FILE, VAULT_FILE};
use crate::journal::sequencer::{BODIES_LIMIT, Memory, OpenStream};
use crate::journal::sqlite::schema::{from_sql, to_sql};
use crate::journal::vault::{Salt, Vault};

/// Reads all entries in order and applies them.
///
/// # Errors
///
/// When an entry is missing or altered, or the journal is shorter than its last checkpoint or differs from it.
pub fn load(connection: &Connection, vault: &Vault, verifier: &Verifier) -> Result<Memory, StoreFault> {
    let mut memory = Memory {
        world: World::default(),
        streams: HashMap::new(),
        tree: Tree::default(),
        sealed: 0,
        last_at: Timestamp::default(),
    };
    let last = last_checkpoint(connection, verifier)?;
    let names = load_streams(connection, vault, &mut memory)?;
    let mut statement = connection.prepare("SELECT position, stream, seq, bytes FROM entries ORDER BY position")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (position, number, seq): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let bytes = row.get_ref(3)?.as_blob().map_err(|error| StoreFault::Damaged(error.to_string()))?;
        take(&mut memory, &names, (from_sql(position), from_sql(number), from_sql(seq)), bytes)?;
        if let Some((size, root)) = last
            && size == memory.tree.size()
            && root != memory.tree.root()
        {
            return Err(StoreFault::Damaged(format!("the first {size} entries are not those that were signed")));
        }
    }
    let sealed = last.map_or(0, |(size, _)| size);
    if memory.tree.size() < sealed {
        return Err(StoreFault::Damaged(format!("{sealed} entries were signed, and {} are there", memory.tree.size())));
    }
    memory.sealed = sealed;
    check_vault(connection, vault)?;
    Ok(memory)
}

type Names = HashMap<u64, StreamId>;

fn load_streams(connection: &Connection, vault: &Vault, memory: &mut Memory) -> Result<Names, StoreFault> {
    let mut names = Names::new();
    let mut statement = connection.prepare("SELECT number, name, salt FROM streams")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (number, name): (i64, String) = (row.get(0)?, row.get(1)?);
        let salt: Option<Salt> = row.get(2)?;
        let key = salt.map(|salt| vault.stream_key(&salt)).transpose()?;
        let id: StreamId = name.parse().map_err(StoreFault::Damaged)?;
        names.insert(from_sql(number), id.clone());
        memory.streams.insert(id, OpenStream { number: from_sql(number), head: Head::START, key });
    }
    Ok(names)
}

fn take(
    memory: &mut Memory,
    names: &Names,
    (position, number, seq): (u64, u64, u64),
    bytes: &[u8],
) -> Result<(), StoreFault> {
    let expected = memory.tree.size() + 1;
    if position != expected {
        return Err(StoreFault::Damaged(format!("entry {expected} of the journal is missing")));
    }
    let stream = names.get(&number).and_then(|id| memory.streams.get_mut(id).map(|stream| (id, stream)));
    let Some((id, stream)) = stream else {
        return Err(StoreFault::Damaged(format!("entry {position} belongs to no stream")));
    };
    let (entry, head) =
        chain::follow::<Event>(id, stream.head, bytes).map_err(|broken| StoreFault::Damaged(broken.to_string()))?;
    if head.seq != seq {
        return Err(StoreFault::Damaged(format!(
            "entry {position} is filed as number {seq} of its stream `{id}`, and says {}",
            head.seq
        )));
    }
    stream.head = head;
    memory.tree.push(merkle::leaf(bytes));
    memory.world.apply(&entry);
    memory.last_at = entry.at;
    Ok(())
}

fn last_checkpoint(connection: &Connection, verifier: &Verifier) -> Result<Option<(u64, Digest)>, StoreFault> {
    let mut statement = connection.prepare("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1")?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (size, note): (i64, String) = (row.get(0)?, row.get(1)?);
    let checkpoint = verifier.open(&note).map_err(|problem| {
        StoreFault::Damaged(format!(
            "the last checkpoint was altered, or was signed with another `{SIGNER_FILE}`: {problem}"
        ))
    })?;
    if to_sql(checkpoint.size) != size {
        return Err(StoreFault::Damaged("the last checkpoint is not the one that was signed".to_owned()));
    }
    Ok(Some((checkpoint.size, checkpoint.root)))
}

/// Opens the last body that can still be opened: what would be encrypted with another key from here on could not be read with the right one later.
fn check_vault(connection: &Connection, vault: &Vault) -> Result<(), StoreFault> {
    let last = connection.query_row(
        "SELECT bodies.number, bodies.sealed, entries.bytes, streams.salt
         FROM bodies JOIN entries ON entries.position = bodies.number / ?1 JOIN streams ON streams.number = entries.stream
         WHERE streams.salt IS NOT NULL ORDER BY bodies.number DESC LIMIT 1",
        [to_sql(BODIES_LIMIT)],
        |row| Ok((from_sql(row.get(0)?), row.get(1)?, row.get::<_, Vec<u8>>(2)?, row.get::<_, Salt>(3)?)),
    );
    let Some((number, sealed, bytes, salt)) = last.optional()? else { return Ok(()) };
    let entry = Entry::<Event>::decode(&bytes).map_err(StoreFault::Damaged)?;
    let place = usize::try_from(number % BODIES_LIMIT).unwrap_or(usize::MAX);
    let opened = entry.bodies.get(place).map(|digest| vault.stream_key(&salt)?.open(number, *digest, sealed));
    match opened {
        Some(Ok(_)) => Ok(()),
        Some(Err(_)) | None => {
            Err(StoreFault::Damaged(format!("the last body was altered, or was encrypted with another `{VAULT_FILE}`")))
        }
    }
}
