//! Bookmarks: the world as it was after some entry, kept in a file, so that a start reads only what comes after it.
//!
//! A bookmark is a cache and never truth. It says what the entries before it say, and nothing that the store keeps encrypted: the world is made of entries, which
//! never hold a body, and the salts of streams are read from the store at every start, so that who destroys one has destroyed the key. It is used only if all of this holds, and thrown
//! away otherwise, with a line in the log: it is whole, which an HMAC under the data directory's secret says; the rules that made it are those that are built in; the streams have the names
//! that they had; and the entry that it ends with is there, in its place, with that digest. A journal that was restored from a copy, or is another one, has no such entry. What comes
//! after is read and checked as ever, up to the last checkpoint, whose root the tree must have. If anything of that fails, the whole journal is read, and that alone decides.
//!
//! What is before a bookmark is not looked at by a start: that its bytes are still there and unaltered is what `portcullis journal verify` proves, which knows no bookmarks.

use std::fs;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use portcullis_domain::digest::Digest;
use portcullis_domain::journal::Head;
use portcullis_domain::journal::merkle::Tree;
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;
use serde::{Deserialize, Serialize};

use crate::journal::audit::Place;
use crate::journal::decider::Memory;
use crate::journal::fault::StoreFault;
use crate::journal::files::{DataDirectory, VAULT_FILE};
use crate::journal::streams::Streams;

/// The file within the data directory.
pub const FILE: &str = "journal.bookmark";
/// After how many entries a bookmark is made while the gateway works; with more streams than this, after as many entries as there are streams, so that what it
/// costs, which grows with the streams, stays a small part of what the entries cost.
pub const EVERY_ENTRIES: u64 = 100_000;
/// How many entries a bookmark must spare the next start to be worth making at a start or at an end.
pub const WORTH_ENTRIES: u64 = 10_000;

/// The version of the file's form.
const FORMAT: u32 = 1;
/// A digest of the rules that are built in.
const RULES: &str = env!("PORTCULLIS_RULES");
/// What the key of the HMAC is derived for.
const PURPOSE: &[u8] = b"portcullis bookmark\n";
/// The length of the HMAC at the end of the file.
const TAG_BYTES: usize = 32;

/// How often bookmarks are made.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// As [`EVERY_ENTRIES`].
    pub every: u64,
    /// As [`WORTH_ENTRIES`].
    pub worth: u64,
}

impl Pace {
    /// How often they are made wherever nobody says otherwise.
    pub const USUAL: Self = Self { every: EVERY_ENTRIES, worth: WORTH_ENTRIES };
}

/// The one bookmark of a data directory. The newer replaces the older.
pub struct Bookmarks {
    directory: DataDirectory,
    key: hmac::Key,
    pace: Pace,
    /// How many entries the one that is there covers, as whoever has read or written the file last has seen it; 0 without one. Where that is out of date, a
    /// bookmark is made too early or too late.
    covered: AtomicU64,
}

/// A bookmark that is whole and was made by these rules.
pub struct Bookmark(Content<World>);

/// The first line of the file.
#[derive(Serialize, Deserialize)]
struct Label {
    format: u32,
    rules: String,
}

/// The rest of it, but for the HMAC.
#[derive(Serialize, Deserialize)]
struct Content<W> {
    tree: Tree,
    last_at: Timestamp,
    /// The digest of the streams' names, in the order of their numbers.
    names: Digest,
    /// Where each stream ends.
    heads: Vec<Head>,
    world: W,
}

impl Bookmarks {
    /// The bookmarks of a data directory that has its secrets.
    ///
    /// # Errors
    ///
    /// When the secret can't be read.
    pub fn new(directory: &DataDirectory, pace: Pace) -> Result<Self, StoreFault> {
        let secret = Digest::of_parts(&[PURPOSE, &directory.secret(VAULT_FILE)?]);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
        Ok(Self { directory: DataDirectory::look(directory.path()), key, pace, covered: AtomicU64::new(0) })
    }

    /// How often they are made.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// The bookmark that is there, unless it can't be used.
    #[must_use]
    pub fn read(&self) -> Option<Bookmark> {
        let bytes = match fs::read(self.directory.file(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                self.discard(&error.to_string());
                return None;
            }
        };
        match self.open(&bytes) {
            Ok(content) => {
                self.covered.store(content.tree.size(), Ordering::Relaxed);
                Some(Bookmark(content))
            }
            Err(because) => {
                self.discard(&because);
                None
            }
        }
    }

    /// Throws the bookmark away that can't be used.
    pub fn discard(&self, because: &str) {
        tracing::warn!(because, "the bookmark of the journal can't be used: the whole journal is read");
        self.covered.store(0, Ordering::Relaxed);
        // One that can't be removed is thrown away again at the next start.
        let _ = fs::remove_file(self.directory.file(FILE));
    }

    /// Whether there is one that could be used so far.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.covered.load(Ordering::Relaxed) > 0
    }

    /// How many entries the bookmark that is there does not cover.
    #[must_use]
    pub fn lacks(&self, memory: &Memory) -> u64 {
        memory.tree.size().saturating_sub(self.covered.load(Ordering::Relaxed))
    }

    /// Makes a bookmark if a start would be spared much by it. Without one nothing is lost but time: that it can't be made is told to the log.
    pub fn keep_if_worth(&self, memory: &Memory) {
        if self.lacks(memory) >= self.pace.worth {
            self.keep(memory);
        }
    }

    /// Makes a bookmark of memory, all of which must be durable.
    pub fn keep(&self, memory: &Memory) {
        match self.write(memory) {
            Ok(()) => self.covered.store(memory.tree.size(), Ordering::Relaxed),
            Err(fault) => tracing::warn!(%fault, "no bookmark of the journal could be made"),
        }
    }

    fn write(&self, memory: &Memory) -> Result<(), StoreFault> {
        let heads: Vec<Head> = memory.streams.heads().collect();
        let content = Content {
            tree: memory.tree.clone(),
            last_at: memory.last_at,
            names: memory.streams.names(heads.len()),
            heads,
            world: &memory.world,
        };
        let failed = |error: serde_json::Error| StoreFault::Failed(error.to_string());
        let mut bytes = serde_json::to_vec(&Label { format: FORMAT, rules: RULES.to_owned() }).map_err(failed)?;
        bytes.push(b'\n');
        serde_json::to_writer(&mut bytes, &content).map_err(failed)?;
        self.directory.keep(FILE, &self.sign(bytes))
    }

    /// The bytes of a whole bookmark that says this.
    pub(super) fn sign(&self, mut told: Vec<u8>) -> Vec<u8> {
        let tag = hmac::sign(&self.key, &told);
        told.extend_from_slice(tag.as_ref());
        told
    }

    fn open(&self, bytes: &[u8]) -> Result<Content<World>, String> {
        let parts = bytes.len().checked_sub(TAG_BYTES).and_then(|length| bytes.split_at_checked(length));
        let (told, tag) = parts.ok_or("it was cut off")?;
        hmac::verify(&self.key, told, tag).map_err(|_| "it was altered, or made with another secret")?;
        let mut lines = told.splitn(2, |byte| *byte == b'\n');
        let (Some(label), Some(content)) = (lines.next(), lines.next()) else {
            return Err("it has no label".to_owned());
        };
        let label: Label = serde_json::from_slice(label).map_err(|error| error.to_string())?;
        if (label.format, label.rules.as_str()) != (FORMAT, RULES) {
            return Err("another version of the gateway has made it".to_owned());
        }
        serde_json::from_slice(content).map_err(|error| error.to_string())
    }
}

impl Bookmark {
    /// The position of the entry that it ends with.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.0.tree.size()
    }

    /// Memory as it was after that entry, with the streams that the store has now, none of which has an end yet. `last` is what the store has at that position.
    ///
    /// # Errors
    ///
    /// What the store has otherwise.
    pub fn open(self, mut streams: Streams, last: Option<(Place, Vec<u8>)>) -> Result<Memory, StoreFault> {
        let Content { tree, last_at, names, heads, world } = self.0;
        let position = tree.size();
        let Some((place, bytes)) = last.filter(|(place, _)| place.position == position) else {
            return Err(StoreFault::Damaged(format!("there is no entry {position}, with which it ends")));
        };
        if usize::try_from(streams.count()).unwrap_or(usize::MAX) < heads.len() || streams.names(heads.len()) != names {
            return Err(StoreFault::Damaged("the journal has other streams".to_owned()));
        }
        streams.go_on_from(&heads);
        let is_head = |end: Head| end == Head { seq: place.seq, digest: Digest::of(&bytes) };
        if !streams.numbered(place.stream).is_some_and(|stream| is_head(stream.head)) {
            return Err(StoreFault::Damaged(format!("entry {position}, with which it ends, is another one")));
        }
        Ok(Memory { world, streams, tree, sealed: 0, last_at })
    }
}
