//! The streams that there are, as the writer keeps them in memory.

use std::collections::HashMap;

use portcullis_domain::digest::Digest;
use portcullis_domain::journal::{Head, StreamId};

use crate::journal::vault::Salt;

/// What the writer keeps of a stream.
pub struct OpenStream {
    /// Its name.
    pub id: StreamId,
    /// Its number in the store, from 1 in the order in which streams began.
    pub number: u64,
    /// Its last entry.
    pub head: Head,
    /// What its key is made of; none after its erasure.
    pub salt: Option<Salt>,
}

/// All streams, by name and by number.
#[derive(Default)]
pub struct Streams {
    open: Vec<OpenStream>,
    /// Where in `open` each one is.
    places: HashMap<StreamId, usize>,
}

impl Streams {
    /// The stream of that name.
    pub fn find(&mut self, id: &StreamId) -> Option<&mut OpenStream> {
        self.places.get(id).and_then(|place| self.open.get_mut(*place))
    }

    /// The stream of that number.
    pub fn numbered(&mut self, number: u64) -> Option<&mut OpenStream> {
        self.open.get_mut(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        u64::try_from(self.open.len()).unwrap_or(u64::MAX)
    }

    /// Where each one ends, in the order of their numbers.
    pub fn heads(&self) -> impl Iterator<Item = Head> {
        self.open.iter().map(|stream| stream.head)
    }

    /// The digest of the names of the first so many.
    #[must_use]
    pub fn names(&self, count: usize) -> Digest {
        let mut names = String::new();
        for stream in self.open.iter().take(count) {
            names.push_str(&stream.id.to_string());
            names.push('\n');
        }
        Digest::of(names.as_bytes())
    }

    /// Takes in where the first ones end, as [`Streams::heads`] has told it.
    pub fn go_on_from(&mut self, heads: &[Head]) {
        for (stream, head) in self.open.iter_mut().zip(heads) {
            stream.head = *head;
        }
    }

    /// Takes in a stream without entries, which gets the next number.
    pub fn begin(&mut self, id: StreamId, salt: Option<Salt>) -> &mut OpenStream {
        let place = self.open.len();
        self.places.insert(id.clone(), place);
        let number = u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1);
        self.open.push_mut(OpenStream { id, number, head: Head::START, salt })
    }
}
