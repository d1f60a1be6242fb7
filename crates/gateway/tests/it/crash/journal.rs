//! What is on disk: the journal by SQL, the effects of tools, the requests that the model got.

use std::collections::HashMap;
use std::path::Path;

use portcullis_domain::digest::Digest;
use portcullis_domain::event::Event;
use portcullis_domain::ids::{CallId, SessionId};
use portcullis_domain::journal::checkpoint::Signer;
use portcullis_domain::journal::{Entry, StreamId};
use portcullis_domain::refusal::Code;
use portcullis_testkit::effects;
use portcullis_testkit::oracle::{Derived, Oracle};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::site::{CHILD, SERVERS};
use crate::gateway::LIMIT;

/// The name that checkpoints are signed under.
const ORIGIN: &str = "portcullis";

/// The journal as it was stored.
pub(super) struct Stored {
    pub(super) entries: Vec<(u64, Vec<u8>)>,
    pub(super) checkpoints: Vec<String>,
}

impl Stored {
    /// Reads the journal of that data directory, all at one moment.
    pub(super) fn read(data: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut store = Connection::open_with_flags(data.join("journal.sqlite"), flags)?;
        store.busy_timeout(LIMIT)?;
        let moment = store.transaction()?;
        let mut entries = moment.prepare("SELECT position, bytes FROM entries ORDER BY position")?;
        let entries = entries.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))?;
        let entries: Vec<(i64, Vec<u8>)> = entries.collect::<Result<_, _>>()?;
        let mut notes = moment.prepare("SELECT note FROM checkpoints ORDER BY size")?;
        let checkpoints = notes.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let unsigned = |(position, bytes): (i64, Vec<u8>)| (u64::try_from(position).unwrap_or(0), bytes);
        Ok(Self { entries: entries.into_iter().map(unsigned).collect(), checkpoints })
    }

    /// What follows from it; or what is wrong with it.
    pub(super) fn derive(&self, data: &Path) -> Result<Derived, Vec<String>> {
        let seed = std::fs::read(data.join("journal.key")).map_err(|error| vec![error.to_string()])?;
        let verifier = Signer::new(ORIGIN, &seed).map_err(|problem| vec![problem])?.verifier();
        Oracle::check(self.entries.iter().cloned(), &self.checkpoints, &verifier)
    }
}

/// Keeps the journal's writer waiting for as long as it is held, as a disk does that hangs: what the gateway gives away meanwhile, it gives away too soon.
pub(super) struct Stall(Connection);

impl Stall {
    pub(super) fn begin(data: &Path) -> rusqlite::Result<Self> {
        let store = Connection::open(data.join("journal.sqlite"))?;
        // Whoever is the last to leave would fold the log back, and spare the next start from finding it.
        store.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        store.busy_timeout(LIMIT)?;
        store.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Self(store))
    }

    /// Lets go, with nothing written.
    pub(super) fn end(self) -> rusqlite::Result<()> {
        self.0.execute_batch("ROLLBACK")
    }
}

/// The journal by what callers and servers know of it.
#[derive(Default)]
pub(super) struct Index {
    /// Calls that were admitted, by the digest of what was forwarded.
    pub(super) admitted: HashMap<Digest, Vec<CallId>>,
    /// Why calls were refused, by the digest of what would have been forwarded.
    pub(super) refused: HashMap<Digest, Vec<Code>>,
    /// Values of scratchpads by session, key and version.
    pub(super) values: HashMap<(SessionId, String, u64), Digest>,
}

impl Index {
    pub(super) fn of(stored: &Stored) -> Result<Self, String> {
        let mut index = Self::default();
        for (_, bytes) in &stored.entries {
            index.take(Entry::decode(bytes)?);
        }
        Ok(index)
    }

    fn take(&mut self, entry: Entry<Event>) {
        let Some(body) = entry.bodies.first().copied() else { return };
        match (entry.event, entry.stream) {
            (Event::CallAdmitted(event), _) => self.admitted.entry(body).or_default().push(event.call),
            (Event::CallRefused(event), _) => self.refused.entry(body).or_default().push(event.code),
            (Event::StatePut(event), StreamId::Session(session)) => {
                self.values.insert((session, event.key.to_string(), event.version), body);
            }
            _ => {}
        }
    }
}

/// How often tools ran, by server and id.
pub(super) fn effects_in(folder: &Path) -> Result<HashMap<(&'static str, String), usize>, String> {
    let mut ran = HashMap::new();
    for server in SERVERS {
        let member = if server == CHILD { "claim_id" } else { "id" };
        for line in effects::lines(&folder.join(server)).map_err(|error| error.to_string())? {
            let effect: Value = serde_json::from_str(&line).map_err(|error| format!("`{line}`: {error}"))?;
            let id = effect[member].as_str().ok_or_else(|| format!("`{line}` has no `{member}`"))?;
            *ran.entry((server, id.to_owned())).or_default() += 1;
        }
    }
    Ok(ran)
}

/// How often the model got a request, by its digest.
pub(super) fn requests_in(folder: &Path) -> Result<HashMap<Digest, usize>, String> {
    #[derive(Deserialize)]
    struct Line {
        body: Box<RawValue>,
    }
    let mut requests = HashMap::new();
    for line in effects::lines(&folder.join("model")).map_err(|error| error.to_string())? {
        let line: Line = serde_json::from_str(&line).map_err(|error| format!("`{line}`: {error}"))?;
        *requests.entry(Digest::of(line.body.get().as_bytes())).or_default() += 1;
    }
    Ok(requests)
}
