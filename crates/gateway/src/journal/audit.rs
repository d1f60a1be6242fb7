//! What is checked of a journal, row by row, wherever the rows come from.
//!
//! One finding does not hide the next: after a broken link the audit goes on from the entry that is there. Memory grows with the number of streams, as that of a
//! running gateway does, and not with the number of entries.

use std::collections::HashMap;

use portcullis_domain::digest::Digest;
use portcullis_domain::event::Event;
use portcullis_domain::journal::checkpoint::{Checkpoint, Verifier};
use portcullis_domain::journal::merkle::{self, Tree};
use portcullis_domain::journal::{Entry, Head, StreamId, chain};
use portcullis_domain::world::World;
use serde::Serialize;

use crate::journal::fault::StoreFault;
use crate::journal::vault::{Salt, Vault};

/// How many problems are told one by one.
const PROBLEMS_LIMIT: usize = 100;

/// What an audit has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many entries there are.
    pub entries: u64,
    /// How many streams.
    pub streams: u64,
    /// How many sessions, once all entries are replayed.
    pub sessions: u64,
    /// How many bodies were opened and are what their entries name.
    pub bodies: u64,
    /// How many streams were erased: their chains hold, and their bodies can't be read by anybody.
    pub erased: u64,
    /// How many checkpoints are signed by this journal's key over exactly the entries before them.
    pub checkpoints: u64,
    /// How many entries no checkpoint covers yet.
    pub unsealed: u64,
    /// The root of the tree over all entries, in hexadecimal.
    pub root: String,
    /// How many entries the head covers that somebody else has kept, if one was given and all of them are here.
    pub head: Option<u64>,
    /// What outsiders verify checkpoints with, as `name+hash+key`.
    pub verifier: String,
    /// What could not be checked, and why.
    pub notes: Vec<String>,
    /// What is not as it should be. Nothing here means that the journal is whole.
    pub problems: Vec<String>,
}

/// Where a row says that its entry belongs.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Its number among all entries.
    pub position: u64,
    /// The number of its stream.
    pub stream: u64,
    /// Its number in the stream.
    pub seq: u64,
}

/// An audit under way. It is given all streams first, then entries and checkpoints in order.
pub struct Audit {
    report: Report,
    verifier: Verifier,
    vault: Option<Vault>,
    streams: HashMap<u64, Stream>,
    tree: Tree,
    world: World,
    sealed: u64,
    untold: u64,
    /// The head that somebody else has kept, until as many entries were seen.
    expected: Option<Checkpoint>,
    /// Once the tree differs from what was signed, it differs from everything that was signed later.
    differs: bool,
}

#[derive(PartialEq, Eq)]
struct Stream {
    id: StreamId,
    head: Head,
    salt: Option<Salt>,
}

impl Audit {
    /// An audit of checkpoints with this key, and of bodies where the vault is known.
    #[must_use]
    pub fn new(verifier: Verifier, vault: Result<Vault, StoreFault>) -> Self {
        let mut report = Report { verifier: verifier.to_string(), ..Report::default() };
        let vault = vault.map_err(|fault| report.notes.push(format!("bodies were not opened: {fault}"))).ok();
        Self {
            report,
            verifier,
            vault,
            streams: HashMap::new(),
            tree: Tree::default(),
            world: World::default(),
            sealed: 0,
            untold: 0,
            expected: None,
            differs: false,
        }
    }

    /// Takes in a head that somebody else has kept: the journal must contain all that it was signed over.
    pub fn expect(&mut self, note: &str) {
        match self.verifier.open(note) {
            Ok(checkpoint) => self.expected = Some(checkpoint),
            Err(problem) => self.problem(format!("the given head: {problem}")),
        }
        self.compare();
    }

    /// Compares the tree with the head, once it is as large as that.
    fn compare(&mut self) {
        let Some(head) = self.expected.take_if(|head| head.size == self.tree.size()) else { return };
        if head.root == self.tree.root() {
            self.report.head = Some(head.size);
        } else {
            self.problem(format!("the first {} entries are not those that the given head was signed over", head.size));
        }
    }

    /// Takes in a stream.
    pub fn stream(&mut self, number: u64, name: &str, salt: Option<Salt>) {
        self.report.streams += 1;
        self.report.erased += u64::from(salt.is_none());
        match name.parse() {
            Ok(id) => {
                self.streams.insert(number, Stream { id, head: Head::START, salt });
            }
            Err(problem) => self.problem(format!("stream {number}: {problem}")),
        }
    }

    /// Checks that an entry is the next one of its stream and of the journal.
    pub fn entry(&mut self, place: Place, bytes: &[u8]) -> Option<Entry<Event>> {
        let position = place.position;
        let expected = self.tree.size() + 1;
        if position != expected && !self.differs {
            self.differs = true;
            self.problem(format!("entry {expected} of the journal is missing; the next one is {position}"));
        }
        self.report.entries += 1;
        self.tree.push(merkle::leaf(bytes));
        self.compare();
        let Some(stream) = self.streams.get_mut(&place.stream) else {
            self.problem(format!("entry {position} belongs to no stream"));
            return None;
        };
        let found = chain::follow::<Event>(&stream.id, stream.head, bytes);
        let (entry, broken) = match found {
            Ok((entry, head)) => {
                stream.head = head;
                (Some(entry), None)
            }
            Err(broken) => {
                let entry = Entry::<Event>::decode(bytes).ok();
                let seq = entry.as_ref().map_or(stream.head.seq + 1, |entry| entry.seq);
                stream.head = Head { seq, digest: Digest::of(bytes) };
                (entry, Some(format!("entry {position}: {broken}")))
            }
        };
        let filed =
            (stream.head.seq != place.seq).then(|| format!("entry {position} is filed as number {}", place.seq));
        broken.into_iter().chain(filed).for_each(|problem| self.problem(problem));
        self.world.apply(entry.as_ref()?);
        entry
    }

    /// Checks that a body of an entry is there, opens, and is the one that the entry names.
    pub fn body(&mut self, place: Place, number: u64, digest: Digest, sealed: Option<Vec<u8>>) {
        let Some(salt) = self.streams.get(&place.stream).and_then(|stream| stream.salt) else { return };
        let Some(sealed) = sealed else {
            return self.problem(format!("body {number} of entry {} is missing", place.position));
        };
        let Some(vault) = &self.vault else { return };
        match vault.stream_key(&salt).and_then(|key| key.open(number, digest, sealed)) {
            Ok(_) => self.report.bodies += 1,
            Err(fault) => self.problem(format!("entry {}: {fault}", place.position)),
        }
    }

    /// Checks a checkpoint, once all entries that it covers were given.
    pub fn checkpoint(&mut self, size: u64, note: &str) {
        let checkpoint = match self.verifier.open(note) {
            Ok(checkpoint) if checkpoint.size == size => checkpoint,
            Ok(other) => return self.problem(format!("checkpoint {size} was signed for {} entries", other.size)),
            Err(problem) => return self.problem(format!("checkpoint {size}: {problem}")),
        };
        self.sealed = size;
        if self.differs {
            return;
        }
        if self.tree.size() == size && self.tree.root() == checkpoint.root {
            self.report.checkpoints += 1;
            return;
        }
        self.differs = true;
        if self.tree.size() < size {
            self.problem(format!("{size} entries were signed, and {} are there", self.tree.size()));
        } else {
            self.problem(format!("the first {size} entries are not those that were signed"));
        }
    }

    /// Whether so many entries were given, with that root.
    #[must_use]
    pub fn is_at(&self, size: u64, root: &[u8]) -> bool {
        (self.tree.size(), self.tree.root().0.as_slice()) == (size, root)
    }

    /// How many entries were given, and the root of the tree over them.
    #[must_use]
    pub fn head(&self) -> (u64, Digest) {
        (self.tree.size(), self.tree.root())
    }

    /// The state that the entries make.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Whether both have seen the same journal: the same entries, streams with the same heads and keys, the same world.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.head() == other.head() && self.streams == other.streams && self.world == other.world
    }

    /// Adds something that is not as it should be.
    pub fn problem(&mut self, problem: String) {
        if self.report.problems.len() < PROBLEMS_LIMIT {
            self.report.problems.push(problem);
        } else {
            self.untold += 1;
        }
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Report {
        if let Some(head) = self.expected.take() {
            let there = self.report.entries;
            self.problem(format!(
                "the given head was signed over {} entries, and {there} are there: the rest was cut off",
                head.size
            ));
        }
        self.report.sessions = u64::try_from(self.world.session.all().count()).unwrap_or(u64::MAX);
        self.report.unsealed = self.report.entries.saturating_sub(self.sealed);
        self.report.root = self.tree.root().to_string();
        if self.untold > 0 {
            self.report.problems.push(format!("and {} more", self.untold));
        }
        self.report
    }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::journal::checkpoint::Signer;

    use super::*;

    #[test]
    fn a_head_over_other_entries_is_found() {
        let signer = Signer::new("portcullis", &[7; 32]).unwrap();
        let check = |size: u64, root: Digest, expected: &str| {
            let mut audit = Audit::new(signer.verifier(), Err(StoreFault::Unusable("no key".to_owned())));
            audit.expect(&signer.sign(&Checkpoint { size, root }));
            // It belongs to no stream, which is another problem, and it is an entry all the same.
            audit.entry(Place { position: 1, stream: 1, seq: 1 }, b"an entry");
            let report = audit.finish();
            assert_eq!(report.head.is_some(), expected.is_empty(), "{report:?}");
            assert!(report.problems.join("; ").contains(expected), "{report:?}");
        };
        check(0, Digest::of(b""), "");
        check(1, merkle::leaf(b"an entry"), "");
        check(0, Digest::of(b"x"), "the first 0 entries are not those that the given head was signed over");
        check(1, merkle::leaf(b"another"), "the first 1 entries are not those that the given head was signed over");
        check(2, Digest::of(b""), "was signed over 2 entries, and 1 are there: the rest was cut off");
    }
}
