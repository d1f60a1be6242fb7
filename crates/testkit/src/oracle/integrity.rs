//! What the bytes alone show: nothing is missing, nothing was changed, and every checkpoint is true.

use std::collections::{BTreeMap, HashMap};

use portcullis_domain::digest::Digest;
use portcullis_domain::event::Event;
use portcullis_domain::journal::checkpoint::{Checkpoint, Verifier};
use portcullis_domain::journal::merkle::{Tree, leaf};
use portcullis_domain::journal::{Entry, Head, StreamId, chain};

/// The position of the first entry.
const FIRST_POSITION: u64 = 1;

/// What was read so far.
pub(super) struct Integrity {
    next_position: u64,
    tree: Tree,
    /// By the stream's name as it stands in the entry, so that it need not be read again for every one.
    streams: HashMap<String, (StreamId, Head)>,
    counts: BTreeMap<String, u64>,
    /// The checkpoints that are not reached yet, the smallest last.
    checkpoints: Vec<Checkpoint>,
}

impl Integrity {
    pub(super) fn new(notes: &[String], verifier: &Verifier, faults: &mut Vec<String>) -> Self {
        let mut checkpoints: Vec<Checkpoint> = Vec::new();
        for (number, note) in notes.iter().enumerate() {
            match verifier.open(note) {
                Ok(checkpoint) => {
                    if let Some(last) = checkpoints.last().filter(|last| last.size > checkpoint.size) {
                        let (size, before) = (checkpoint.size, last.size);
                        faults.push(format!(
                            "checkpoint {number} covers {size} entries, fewer than the {before} of one before it"
                        ));
                    }
                    checkpoints.push(checkpoint);
                }
                Err(problem) => faults.push(format!("checkpoint {number}: {problem}")),
            }
        }
        checkpoints.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.size));
        let mut integrity = Self {
            next_position: FIRST_POSITION,
            tree: Tree::default(),
            streams: HashMap::new(),
            counts: BTreeMap::new(),
            checkpoints,
        };
        integrity.compare(faults);
        integrity
    }

    /// The entry of these bytes, if it can be read at all; faults are told and reading goes on behind them.
    pub(super) fn read(&mut self, position: u64, bytes: &[u8], faults: &mut Vec<String>) -> Option<Entry<Event>> {
        if position != self.next_position {
            faults.push(format!("position {position} stands where {} should be", self.next_position));
        }
        self.next_position = position.saturating_add(1);
        self.tree.push(leaf(bytes));
        self.compare(faults);
        let entry = self.follow(bytes);
        if let Some(kind) = member(bytes, "\"event\":{\"type\":\"") {
            match self.counts.get_mut(kind) {
                Some(count) => *count += 1,
                None => drop(self.counts.insert(kind.to_owned(), 1)),
            }
        }
        match entry {
            Ok(entry) => Some(entry),
            Err(problem) => {
                faults.push(format!("position {position}: {problem}"));
                self.skip(bytes)
            }
        }
    }

    fn follow(&mut self, bytes: &[u8]) -> Result<Entry<Event>, String> {
        let name = member(bytes, "\"stream\":\"").ok_or("its bytes name no stream")?;
        if !self.streams.contains_key(name) {
            self.streams.insert(name.to_owned(), (name.parse()?, Head::START));
        }
        let Some((stream, head)) = self.streams.get_mut(name) else {
            return Err("its bytes name no stream".to_owned());
        };
        let (entry, next) = chain::follow::<Event>(stream, *head, bytes).map_err(|broken| broken.to_string())?;
        *head = next;
        Ok(entry)
    }

    /// Behind a broken place the chain begins anew, so that one fault is told once.
    fn skip(&mut self, bytes: &[u8]) -> Option<Entry<Event>> {
        let entry = Entry::<Event>::decode(bytes).ok()?;
        let head = Head { seq: entry.seq, digest: Digest::of(bytes) };
        self.streams.insert(entry.stream.to_string(), (entry.stream.clone(), head));
        Some(entry)
    }

    fn compare(&mut self, faults: &mut Vec<String>) {
        while let Some(checkpoint) = self.checkpoints.pop_if(|checkpoint| checkpoint.size == self.tree.size()) {
            if checkpoint.root != self.tree.root() {
                let size = checkpoint.size;
                faults.push(format!(
                    "the first {size} entries are not those that the checkpoint of {size} entries was signed for"
                ));
            }
        }
    }

    pub(super) fn end(&self, faults: &mut Vec<String>) {
        for checkpoint in self.checkpoints.iter().rev() {
            let (size, there) = (checkpoint.size, self.tree.size());
            faults
                .push(format!("a checkpoint was signed for {size} entries, and there are {there}: the end is missing"));
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.tree.size()
    }

    pub(super) fn root(&self) -> Digest {
        self.tree.root()
    }

    pub(super) fn heads(&self) -> BTreeMap<StreamId, Head> {
        self.streams.values().cloned().collect()
    }

    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.clone()
    }
}

/// The text between the first `start` and the next quotation mark. What stands before these members in canonical bytes has no quotation marks of
/// its own, so that the first is the right one; where bytes are not canonical, the chain says so.
fn member<'a>(bytes: &'a [u8], start: &str) -> Option<&'a str> {
    let (_, rest) = std::str::from_utf8(bytes).ok()?.split_once(start)?;
    rest.split_once('"').map(|(text, _)| text)
}
