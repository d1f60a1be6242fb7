//! Making entries, one after the other, and noting which of them were acknowledged.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use portcullis::journal::{Journal, StoreFault, verify};

use crate::work;

/// How many sessions the commands go to.
pub(crate) const SESSIONS: u64 = 5;

/// The four kinds of command take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Put,
    Admit,
    Settle,
    Issue,
}

pub(crate) fn kind(number: u64) -> Kind {
    match number % 4 {
        0 => Kind::Put,
        1 => Kind::Admit,
        2 => Kind::Settle,
        _ => Kind::Issue,
    }
}

pub(crate) fn write(data: &Path, acknowledged: &Path, count: u64) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let engine = work::open(data).map_err(|fault| fault.to_string())?;
    let journal = Journal::new(engine.clone());
    let mut notes = OpenOptions::new().create(true).append(true).open(acknowledged).unwrap();
    let outcome = runtime.block_on(async {
        journal.execute(work::configure()).await?;
        let _ = journal.execute(work::issue(0)).await?;
        // Beyond everything that an earlier run has begun: every command makes an entry.
        let first = 4 * verify(data)?.entries;
        for number in first..first + count {
            run(&journal, number).await?;
            notes.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        Ok::<_, StoreFault>(())
    });
    engine.close();
    outcome.map_err(|fault| fault.to_string())
}

async fn run(journal: &Journal, number: u64) -> Result<(), StoreFault> {
    match kind(number) {
        Kind::Put => drop(journal.execute(work::put(number, number % SESSIONS, 100)).await?.unwrap()),
        Kind::Admit => drop(journal.execute(work::admit(number, number % SESSIONS, 100)).await?.unwrap()),
        Kind::Settle => drop(journal.execute(work::settle(number - 1, 100)).await?.unwrap()),
        Kind::Issue => journal.execute(work::issue(number)).await?.unwrap(),
    }
    Ok(())
}
