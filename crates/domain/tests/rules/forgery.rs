//! Whatever is done to a journal after it was written is found: within a stream by its chain, over all streams by the checkpoint.

use portcullis_domain::digest::Digest;
use portcullis_domain::event::Event;
use portcullis_domain::ids::Actor;
use portcullis_domain::journal::checkpoint::{Checkpoint, Signer};
use portcullis_domain::journal::merkle::{Tree, leaf};
use portcullis_domain::journal::{Draft, Entry, Head, StreamId, chain};
use portcullis_domain::session::event::Closed;
use portcullis_domain::time::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;

use super::engine::Engine;
use super::steps::{Step, config, started, steps, take};

type Entries = Vec<Vec<u8>>;

/// What somebody does who can write to the store and does not have the signing key.
#[derive(Debug, Clone)]
enum Forgery {
    /// Flips bits of one byte.
    Alter { entry: Index, byte: Index, mask: u8 },
    /// Swaps two entries.
    Reorder { first: Index, second: Index },
    /// Takes one entry out.
    Remove { entry: Index },
    /// Puts a copy of an entry elsewhere.
    Duplicate { entry: Index, to: Index },
    /// Puts in an entry that has the right number and follows the one before it.
    Insert { at: Index },
    /// Changes an entry and chains all that follow anew.
    Rewrite { entry: Index },
    /// Adds an entry that follows the last one.
    Append,
    /// Cuts off the end.
    Truncate { length: Index },
}

fn forgery() -> impl Strategy<Value = Forgery> {
    let index = any::<Index>;
    prop_oneof![
        6 => (index(), index(), 1..=u8::MAX).prop_map(|(entry, byte, mask)| Forgery::Alter { entry, byte, mask }),
        2 => (index(), index()).prop_map(|(first, second)| Forgery::Reorder { first, second }),
        1 => index().prop_map(|entry| Forgery::Remove { entry }),
        1 => (index(), index()).prop_map(|(entry, to)| Forgery::Duplicate { entry, to }),
        1 => index().prop_map(|at| Forgery::Insert { at }),
        1 => index().prop_map(|entry| Forgery::Rewrite { entry }),
        1 => Just(Forgery::Append),
        1 => index().prop_map(|length| Forgery::Truncate { length }),
    ]
}

impl Forgery {
    /// The entries of one stream, or of all, after it.
    fn apply(&self, mut entries: Entries) -> Entries {
        let length = entries.len();
        match self {
            Self::Alter { entry, byte, mask } => {
                let bytes = &mut entries[entry.index(length)];
                let byte = byte.index(bytes.len());
                bytes[byte] ^= mask;
            }
            Self::Reorder { first, second } => entries.swap(first.index(length), second.index(length)),
            Self::Remove { entry } => drop(entries.remove(entry.index(length))),
            Self::Duplicate { entry, to } => entries.insert(to.index(length + 1), entries[entry.index(length)].clone()),
            Self::Insert { at } => {
                let at = at.index(length);
                let placed = follower(&entries[at]);
                entries.insert(at + 1, placed);
            }
            Self::Rewrite { entry } => rewrite(&mut entries, entry.index(length)),
            Self::Append => entries.push(follower(&entries[length - 1])),
            Self::Truncate { length: kept } => entries.truncate(kept.index(length)),
        }
        entries
    }
}

/// A well-made entry behind the one of these bytes.
fn follower(bytes: &[u8]) -> Vec<u8> {
    let last = Entry::<Event>::decode(bytes).unwrap();
    let head = Head { seq: last.seq, digest: Digest::of(bytes) };
    let event = Event::SessionClosed(Closed {});
    let draft = Draft { stream: last.stream, actor: Actor::Gateway, event, bodies: vec![] };
    Entry::place(draft, head, &last.tenant, last.at).0.encode().unwrap()
}

/// Gives the entry of that index another time, and all of its stream that follow the digests that fit.
fn rewrite(entries: &mut Entries, index: usize) {
    let stream = Entry::<Event>::decode(&entries[index]).unwrap().stream;
    let mut prev = None;
    for (number, bytes) in entries.iter_mut().enumerate().skip(index) {
        let mut entry = Entry::<Event>::decode(bytes).unwrap();
        if entry.stream != stream {
            continue;
        }
        if number == index {
            entry.at = Timestamp(entry.at.0 + 1);
        }
        entry.prev = prev.unwrap_or(entry.prev);
        *bytes = entry.encode().unwrap();
        prev = Some(Digest::of(bytes));
    }
}

fn journal(steps: &[Step]) -> Engine {
    let mut engine = started();
    for step in steps {
        take(&mut engine, step);
    }
    engine
}

fn bytes(engine: &Engine) -> Entries {
    engine.written.iter().map(|written| written.bytes.clone()).collect()
}

fn is_chained(stream: &StreamId, entries: &Entries, head: Head) -> Result<(), chain::Broken> {
    chain::verify::<Event>(stream, entries.iter().map(Vec::as_slice), head)
}

fn checkpoint(entries: &Entries) -> Checkpoint {
    let mut tree = Tree::default();
    entries.iter().for_each(|bytes| tree.push(leaf(bytes)));
    Checkpoint { size: tree.size(), root: tree.root() }
}

#[test]
fn a_forged_stream_does_not_lead_to_its_head() {
    proptest!(config(8), |(steps in steps(), which in any::<Index>(), forgery in forgery())| {
        let streams = journal(&steps).streams();
        let (stream, entries, head) = &streams[which.index(streams.len())];
        prop_assert_eq!(is_chained(stream, entries, *head), Ok(()));
        let forged = forgery.apply(entries.clone());
        prop_assert!(forged == *entries || is_chained(stream, &forged, *head).is_err(), "{:?}", forgery);
    });
}

#[test]
fn an_entry_of_another_form_is_refused_even_where_the_head_fits() {
    let engine = started();
    let (stream, entries, _) = engine.streams().remove(0);
    let last = Entry::<Event>::decode(entries.last().unwrap()).unwrap();
    let text = |entry: Entry<Event>| String::from_utf8(entry.encode().unwrap()).unwrap();
    let as_it_is = text(last.clone());
    let other = StreamId::Session("ann:claim-1".parse().unwrap());
    for (bytes, problem) in [
        (as_it_is.replace("\"seq\"", " \"seq\""), "its bytes are not canonical"),
        (as_it_is.replace("\"v\":1,", "\"v\":1,\"w\":1,"), "its bytes are not canonical"),
        (as_it_is.replace("\"v\":1", "\"v\":2"), "version 2 of an entry is not known here"),
        (text(Entry { seq: last.seq + 1, ..last.clone() }), "it says that its number is"),
        (text(Entry { stream: other, ..last.clone() }), "it says that it belongs to `session/ann:claim-1`"),
        (text(Entry { prev: Digest::ZERO, ..last.clone() }), "it does not follow the entry before it"),
    ] {
        let mut forged = entries.clone();
        *forged.last_mut().unwrap() = bytes.clone().into_bytes();
        let head = Head { seq: last.seq, digest: Digest::of(bytes.as_bytes()) };
        let broken = is_chained(&stream, &forged, head).unwrap_err();
        assert_eq!((broken.seq, broken.problem.contains(problem)), (last.seq, true), "{broken}");
    }
}

#[test]
fn the_entries_of_one_stream_are_not_those_of_another() {
    proptest!(config(1), |(steps in steps(), which in any::<(Index, Index)>())| {
        let streams = journal(&steps).streams();
        let (stream, ..) = &streams[which.0.index(streams.len())];
        let (other, entries, head) = &streams[which.1.index(streams.len())];
        prop_assert!(stream == other || is_chained(stream, entries, *head).is_err());
    });
}

#[test]
fn a_forged_journal_is_not_that_of_its_checkpoint() {
    proptest!(config(4), |(steps in steps(), forgery in forgery())| {
        let entries = bytes(&journal(&steps));
        let forged = forgery.apply(entries.clone());
        prop_assert!(forged == entries || checkpoint(&forged) != checkpoint(&entries), "{:?}", forgery);
    });
}

#[test]
fn streams_that_change_places_or_are_dropped_keep_their_chains_and_break_the_checkpoint() {
    proptest!(config(2), |(steps in steps(), order in any::<Index>())| {
        let engine = journal(&steps);
        let mut streams = engine.streams();
        let count = streams.len();
        streams.rotate_left(order.index(count));
        for (stream, entries, head) in &streams {
            prop_assert_eq!(is_chained(stream, entries, *head), Ok(()));
        }
        let known = checkpoint(&bytes(&engine));
        let regrouped: Entries = streams.iter().flat_map(|(_, entries, _)| entries.clone()).collect();
        prop_assert!(regrouped == bytes(&engine) || checkpoint(&regrouped) != known);
        let dropped: Entries = streams.iter().skip(1).flat_map(|(_, entries, _)| entries.clone()).collect();
        prop_assert_ne!(checkpoint(&dropped), known);
    });
}

#[test]
fn an_altered_checkpoint_does_not_open() {
    let any_letter = any::<char>();
    proptest!(config(4), |(seed in any::<[u8; 32]>(), size in 0..100_u64, at in any::<Index>(), letter in any_letter)| {
        let signer = Signer::new("portcullis.example/journal", &seed).unwrap();
        let checkpoint = Checkpoint { size, root: Digest::of(&seed) };
        let note = signer.sign(&checkpoint);
        prop_assert_eq!(signer.verifier().open(&note), Ok(checkpoint));
        let mut letters: Vec<char> = note.chars().collect();
        let at = at.index(letters.len());
        prop_assume!(letters[at] != letter);
        letters[at] = letter;
        let altered: String = letters.iter().collect();
        prop_assert!(signer.verifier().open(&altered).is_err(), "{}", altered);
        letters.truncate(at);
        let cut: String = letters.iter().collect();
        prop_assert!(signer.verifier().open(&cut).is_err(), "{}", cut);
    });
}
