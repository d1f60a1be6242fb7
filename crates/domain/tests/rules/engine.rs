//! An engine without a disk: it decides in order, gives every draft its place, applies it, and can forget what was not yet durable.

use std::collections::BTreeMap;

use portcullis_domain::admission::{Command, Recover};
use portcullis_domain::digest::Digest;
use portcullis_domain::event::Event;
use portcullis_domain::ids::TenantName;
use portcullis_domain::journal::{Entry, Head, StreamId, chain};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;

/// One entry as it was written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) entry: Entry<Event>,
    pub(super) bytes: Vec<u8>,
}

/// The world, and the entries that made it.
#[derive(Default)]
pub(super) struct Engine {
    pub(super) world: World,
    pub(super) written: Vec<Written>,
    heads: BTreeMap<StreamId, Head>,
    /// How many entries were acknowledged.
    durable: usize,
    /// Microseconds; one more with every command.
    pub(super) now: u64,
}

impl Engine {
    pub(super) fn run<C: Command>(&mut self, command: &C) -> C::Answer {
        self.now += 1;
        let verdict = command.decide(&self.world, Timestamp(self.now));
        let tenant: TenantName = "default".parse().unwrap();
        for draft in verdict.drafts {
            let head = self.heads.entry(draft.stream.clone()).or_insert(Head::START);
            let (entry, _) = Entry::place(draft, *head, &tenant, Timestamp(self.now));
            let bytes = entry.encode().unwrap();
            *head = Head { seq: entry.seq, digest: Digest::of(&bytes) };
            self.world.apply(&entry);
            self.written.push(Written { entry, bytes });
        }
        verdict.answer
    }

    /// From here on, everything that was written is durable and its answers are out.
    pub(super) fn sync(&mut self) {
        self.durable = self.written.len();
    }

    /// Throws everything away but the entries, the last batch perhaps too, and starts again.
    pub(super) fn crash(&mut self, is_batch_lost: bool) {
        if is_batch_lost {
            self.written.truncate(self.durable);
        }
        (self.world, self.heads) = replay(&self.written);
        self.run(&Recover);
        self.sync();
    }

    /// The bytes of every stream's entries, with its head.
    pub(super) fn streams(&self) -> Vec<(StreamId, Vec<Vec<u8>>, Head)> {
        let of = |stream: &StreamId| {
            let entries = self.written.iter().filter(|written| written.entry.stream == *stream);
            entries.map(|written| written.bytes.clone()).collect()
        };
        self.heads.iter().map(|(stream, head)| (stream.clone(), of(stream), *head)).collect()
    }
}

/// What the bytes alone say.
pub(super) fn replay(written: &[Written]) -> (World, BTreeMap<StreamId, Head>) {
    let (mut world, mut heads) = (World::default(), BTreeMap::new());
    for Written { entry, bytes } in written {
        let head = heads.entry(entry.stream.clone()).or_insert(Head::START);
        let (entry, next) = chain::follow::<Event>(&entry.stream, *head, bytes).unwrap();
        *head = next;
        world.apply(&entry);
    }
    (world, heads)
}
