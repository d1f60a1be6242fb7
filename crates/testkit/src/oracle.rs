//! The oracle: it reads a whole journal as it was stored, checks all that can be checked, and says what follows from it.
//!
//! It judges what a store holds after a test, a crash or a fault was done to it. Of the bytes it checks that no entry is missing
//! among all and within its stream, that every chain holds, that bytes are canonical, and that every signed checkpoint is
//! true ([`integrity`]). Of what they say it checks that no law was broken at any moment, by reckoning on its own beside the
//! rules that wrote them ([`laws`]). What it finds is told with the entry's position, so that it can be looked at.
//!
//! What it can't see: entries that were never written, bodies, and whether a tool call that policy denied inside a model's answer
//! was made nevertheless by other ways, since no entry names its arguments in the form in which they were judged.

mod integrity;
mod laws;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use portcullis_domain::digest::Digest;
use portcullis_domain::event::Outcome;
use portcullis_domain::ids::CallId;
use portcullis_domain::journal::checkpoint::Verifier;
use portcullis_domain::journal::{Head, StreamId};
use portcullis_domain::refusal::Code;
use portcullis_domain::world::World;

use integrity::Integrity;
use laws::Laws;

/// How many faults are told; a broken journal has one behind every entry.
const FAULTS_LIMIT: usize = 50;

/// Reads journals.
pub struct Oracle;

/// What follows from a journal without faults.
#[derive(Debug)]
pub struct Derived {
    /// The state of everything.
    pub world: World,
    /// How many entries there are.
    pub entries: u64,
    /// The root of the tree over all of them.
    pub root: Digest,
    /// The end of every stream.
    pub heads: BTreeMap<StreamId, Head>,
    /// How many entries there are of every type, as in `call.admitted`.
    pub counts: BTreeMap<String, u64>,
    /// The calls that were admitted, settled or not.
    pub admitted: HashSet<CallId>,
    /// The calls that were settled, and how they ended.
    pub settled: HashMap<CallId, Outcome>,
    /// The calls that were refused, and why.
    pub refused: HashMap<CallId, Code>,
}

impl Oracle {
    /// Judges a journal: its entries in the order of their positions, and its checkpoints in the order in which they were published.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in sentences for a person; the first [`FAULTS_LIMIT`] of them.
    pub fn check(
        entries: impl IntoIterator<Item = (u64, Vec<u8>)>,
        checkpoints: &[String],
        verifier: &Verifier,
    ) -> Result<Derived, Vec<String>> {
        let mut faults = Vec::new();
        let mut integrity = Integrity::new(checkpoints, verifier, &mut faults);
        let mut laws = Laws::default();
        for (position, bytes) in entries {
            if let Some(entry) = integrity.read(position, &bytes, &mut faults) {
                laws.take(position, &entry, &mut faults);
            }
            if faults.len() >= FAULTS_LIMIT {
                faults.truncate(FAULTS_LIMIT);
                faults.push("there may be more, but these are enough".to_owned());
                return Err(faults);
            }
        }
        integrity.end(&mut faults);
        // What is reckoned together at the end is of no use beside what was wrong before.
        if faults.is_empty() {
            laws.end(&mut faults);
        }
        if faults.is_empty() { Ok(derived(integrity, laws)) } else { Err(faults) }
    }
}

fn derived(integrity: Integrity, laws: Laws) -> Derived {
    let mut derived = Derived {
        entries: integrity.size(),
        root: integrity.root(),
        heads: integrity.heads(),
        counts: integrity.counts(),
        admitted: HashSet::new(),
        settled: HashMap::new(),
        refused: HashMap::new(),
        world: laws.world,
    };
    for (call, fate) in laws.calls {
        match fate {
            laws::Fate::Refused { code, .. } => drop(derived.refused.insert(call, code)),
            laws::Fate::Open { .. } => drop(derived.admitted.insert(call)),
            laws::Fate::Settled { outcome, .. } => {
                derived.admitted.insert(call);
                derived.settled.insert(call, outcome);
            }
        }
    }
    derived
}
