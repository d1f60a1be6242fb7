//! Whether a store has all that was acknowledged and is sound, as it was found and once it has been opened again.

use std::collections::HashSet;
use std::path::Path;

use portcullis::journal::files::DataDirectory;
use portcullis::journal::show::{Reader, Selection};
use portcullis::journal::{Journal, Placed, verify};
use portcullis_domain::admission::Recover;
use portcullis_domain::digest::Digest;
use portcullis_testkit::oracle::{Derived, Oracle};

use crate::work;
use crate::write::{Kind, kind};

pub(crate) fn check(data: &Path, acknowledged: &Path) -> Result<(), String> {
    let notes = std::fs::read_to_string(acknowledged).unwrap_or_default();
    // A line that the writer did not finish was not noted.
    let whole = notes.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let numbers: Vec<u64> = whole.lines().map(|line| line.parse().unwrap()).collect();
    if !numbers.is_empty() {
        are_there(&numbers, data)?;
    }
    let engine = work::open(data).map_err(|fault| format!("does not open: {fault}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let journal = Journal::new(engine.clone());
    let open = runtime
        .block_on(async { (journal.execute(Recover).await, journal.read(|world| world.open_calls.len()).await) });
    engine.close();
    let (Ok(_), Ok(0)) = open else { return Err(format!("does not recover: {open:?}")) };
    are_there(&numbers, data)
}

fn are_there(numbers: &[u64], data: &Path) -> Result<(), String> {
    let (derived, bodies) = judge(data)?;
    for number in numbers {
        let is_there = match kind(*number) {
            Kind::Put => bodies.contains(&work::body(*number, 100).digest()),
            Kind::Admit => derived.admitted.contains(&work::call(*number)),
            Kind::Settle => derived.settled.contains_key(&work::call(*number - 1)),
            Kind::Issue => derived.world.identity.find(&work::key(*number)).is_some(),
        };
        if !is_there {
            return Err(format!("command {number} was acknowledged and is not there"));
        }
    }
    Ok(())
}

/// What the oracle derives, and the digests of all bodies, every one of which was opened.
fn judge(data: &Path) -> Result<(Derived, HashSet<Digest>), String> {
    let report = verify(data).map_err(|fault| format!("can't be verified: {fault}"))?;
    if !report.problems.is_empty() || !report.notes.is_empty() {
        return Err(format!("{:?} {:?}", report.problems, report.notes));
    }
    let reader = Reader::open(data).map_err(|fault| fault.to_string())?;
    let (mut stored, mut bodies) = (Vec::new(), HashSet::new());
    for entry in reader.entries(Selection { stream: None, from: 1, limit: usize::MAX }) {
        let entry = entry.map_err(|fault| fault.to_string())?;
        bodies.extend(Placed::read(&entry).map_err(|fault| fault.to_string())?.entry.bodies);
        stored.push((entry.position, entry.bytes));
    }
    let verifier = DataDirectory::look(data).signer().map_err(|fault| fault.to_string())?.verifier();
    let checkpoints = reader.checkpoints(usize::MAX).map_err(|fault| fault.to_string())?;
    let derived = Oracle::check(stored, &checkpoints, &verifier).map_err(|faults| faults.join("; "))?;
    Ok((derived, bodies))
}
