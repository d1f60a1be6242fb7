//! A store in a folder of its own, opened as often as a test wants and judged whenever it is closed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use portcullis_testkit::oracle::{Derived, Oracle};
use tempfile::TempDir;

use crate::journal::bookmark::Pace;
use crate::journal::conformance::scene::{Opened, TurnedClock};
use crate::journal::fault::StoreFault;
use crate::journal::files::DataDirectory;
use crate::journal::handle::Journal;
use crate::journal::show::{Reader, Selection};
use crate::journal::sqlite::SqliteEngine;
use crate::journal::sqlite::engine::Wrap;
use crate::journal::verify::verify;

/// All entries of all streams.
pub(super) const ALL: Selection = Selection { stream: None, from: 1, limit: usize::MAX };

pub(super) struct Embedded {
    /// The data directory, which the engine makes.
    data: PathBuf,
    /// Where it lies, if nobody else looks after that.
    _folder: Option<TempDir>,
}

/// The engine while it is open.
pub(super) struct OpenEngine {
    pub(super) engine: Arc<SqliteEngine>,
    pub(super) journal: Journal,
    path: PathBuf,
    faults: Arc<Mutex<Vec<String>>>,
}

impl Embedded {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { data: folder.path().join("data"), _folder: Some(folder) }
    }

    /// With that data directory.
    pub(super) fn in_folder(data: PathBuf) -> Self {
        Self { data, _folder: None }
    }

    /// The data directory, which the engine makes.
    pub(super) fn path(&self) -> PathBuf {
        self.data.clone()
    }

    pub(super) fn open(&self, clock: Arc<TurnedClock>) -> Box<dyn Opened> {
        Box::new(self.open_wrapped(clock, Box::new(|disk| disk)).unwrap())
    }

    pub(super) fn open_wrapped(&self, clock: Arc<TurnedClock>, wrap: Wrap) -> Result<OpenEngine, StoreFault> {
        self.open_as(clock, wrap, Pace::USUAL)
    }

    /// With the machine's disk, and bookmarks at that pace.
    pub(super) fn open_paced(&self, clock: Arc<TurnedClock>, pace: Pace) -> Result<OpenEngine, StoreFault> {
        self.open_as(clock, Box::new(|disk| disk), pace)
    }

    fn open_as(&self, clock: Arc<TurnedClock>, wrap: Wrap, pace: Pace) -> Result<OpenEngine, StoreFault> {
        let faults = Arc::new(Mutex::new(Vec::new()));
        let told = faults.clone();
        let on_fault = Box::new(move |fault: &StoreFault| told.lock().unwrap().push(fault.to_string()));
        let engine = Arc::new(SqliteEngine::open_wrapped(&self.path(), clock, on_fault, wrap, pace)?);
        Ok(OpenEngine { journal: Journal::new(engine.clone()), engine, path: self.path(), faults })
    }

    /// Opens the store with the machine's disk, does nothing and says why it did not work.
    pub(super) fn refusal(&self) -> Option<StoreFault> {
        self.open_wrapped(TurnedClock::new(), Box::new(|disk| disk)).err()
    }
}

impl OpenEngine {
    /// What was told when the engine ended by a fault.
    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }
}

impl Opened for OpenEngine {
    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn close(self: Box<Self>) {
        self.engine.close();
        assert_eq!(self.faults(), Vec::<String>::new());
        judge(&self.path);
        assert_eq!(verify(&self.path).unwrap().unsealed, 0, "the end seals everything");
    }
}

/// Has the whole store judged, by what the gateway offers to its operators and by the oracle, which must agree.
pub(super) fn judge(path: &Path) -> Derived {
    let report = verify(path).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.notes, Vec::<String>::new());
    let reader = Reader::open(path).unwrap();
    let entries = reader.entries(ALL).map(|stored| stored.map(|stored| (stored.position, stored.bytes)).unwrap());
    let verifier = DataDirectory::look(path).signer().unwrap().verifier();
    let derived = Oracle::check(entries, &reader.checkpoints(usize::MAX).unwrap(), &verifier).unwrap();
    assert_eq!((derived.entries, derived.root.to_string()), (report.entries, report.root));
    assert_eq!(u64::try_from(derived.heads.len()).unwrap(), report.streams);
    assert_eq!(verifier.to_string(), report.verifier);
    derived
}
