//! A database for a test, engines that are opened on it, and what is judged of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_testkit::oracle::{Derived, Oracle};
use portcullis_testkit::postgres::Postgres;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::clock::Clock;
use crate::journal::audit::Report;
use crate::journal::bookmark::Pace;
use crate::journal::conformance::scene::{Opened, TurnedClock};
use crate::journal::engine::OnFault;
use crate::journal::fault::StoreFault;
use crate::journal::files::{DataDirectory, SIGNER_FILE, VAULT_FILE};
use crate::journal::handle::Journal;
use crate::journal::postgres::address::Address;
use crate::journal::postgres::outside::{Outside, verify};
use crate::journal::postgres::{Options, PostgresEngine};
use crate::journal::show::Selection;

/// Nobody is found dead while a test runs, and nobody gives up.
pub(super) const PATIENT: Options =
    Options { lease: Duration::from_secs(600), outage: Duration::from_secs(60), pace: Pace::USUAL };

/// A server, and the folders of the gateways that use it.
pub(super) struct Clustered {
    pub(super) server: Postgres,
    folder: TempDir,
}

/// An engine while it is open.
pub(super) struct OpenEngine {
    pub(super) engine: Arc<PostgresEngine>,
    pub(super) journal: Journal,
    faults: Arc<Mutex<Vec<String>>>,
    judge: Box<dyn Fn() -> (Report, Derived) + Send + Sync>,
}

impl Clustered {
    /// A server, or none on a machine without PostgreSQL that somebody watches.
    pub(super) fn new() -> Option<Self> {
        Self::on(Postgres::start())
    }

    #[expect(clippy::disallowed_methods, reason = "a missing tool is a failure where nobody watches")]
    pub(super) fn on(server: Result<Postgres, String>) -> Option<Self> {
        match server {
            Ok(server) => Some(Self { server, folder: tempfile::tempdir().unwrap() }),
            Err(problem) if std::env::var_os("CI").is_some() => panic!("{problem}"),
            Err(problem) => {
                eprintln!("skipped: {problem}");
                None
            }
        }
    }

    /// The data directory of a gateway.
    pub(super) fn path(&self, gateway: &str) -> PathBuf {
        self.folder.path().join(gateway)
    }

    pub(super) fn address(&self) -> Address {
        Address::parse(&self.server.url()).unwrap()
    }

    pub(super) fn open(&self, clock: Arc<TurnedClock>) -> Box<dyn Opened> {
        Box::new(self.engine("a", PATIENT, clock).unwrap())
    }

    /// The engine of a gateway. The first has the secrets; the others get copies.
    pub(super) fn engine(
        &self,
        gateway: &str,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<OpenEngine, StoreFault> {
        if gateway != "a" {
            self.copy_secrets(gateway);
        }
        self.engine_at(&self.address(), gateway, options, clock)
    }

    /// The same, on another way to the database and with the secrets that are there.
    pub(super) fn engine_at(
        &self,
        address: &Address,
        gateway: &str,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<OpenEngine, StoreFault> {
        let faults = Arc::new(Mutex::new(Vec::new()));
        let told = faults.clone();
        let on_fault: OnFault = Box::new(move |fault| told.lock().unwrap().push(fault.to_string()));
        let engine = Arc::new(PostgresEngine::open(address, &self.path(gateway), options, clock, on_fault)?);
        let (address, path) = (self.address(), self.path("a"));
        let judge = Box::new(move || judge(&address, &path));
        Ok(OpenEngine { journal: Journal::new(engine.clone()), engine, faults, judge })
    }

    pub(super) fn copy_secrets(&self, gateway: &str) {
        std::fs::create_dir_all(self.path(gateway)).unwrap();
        for name in [VAULT_FILE, SIGNER_FILE] {
            let (from, to) = (self.path("a").join(name), self.path(gateway).join(name));
            if from.exists() {
                std::fs::copy(from, to).unwrap();
            }
        }
    }

    /// A connection that no engine knows of.
    pub(super) async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.server.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Has the whole store judged.
    pub(super) fn judge(&self) -> Derived {
        tokio::task::block_in_place(|| judge(&self.address(), &self.path("a"))).1
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
        tokio::task::block_in_place(|| {
            let (report, _) = (self.judge)();
            assert_eq!(report.unsealed, 0, "the end seals everything");
        });
    }
}

/// Has the whole store judged, by what the gateway offers to its operators and by the oracle, which must agree.
fn judge(address: &Address, path: &Path) -> (Report, Derived) {
    let report = verify(address, path, None).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.notes, Vec::<String>::new());
    let outside = Outside::open(address, path).unwrap();
    let all = Selection { stream: None, from: 1, limit: usize::MAX };
    let entries: Vec<_> =
        outside.entries(all).map(|stored| stored.map(|stored| (stored.position, stored.bytes)).unwrap()).collect();
    let verifier = DataDirectory::look(path).signer().unwrap().verifier();
    let derived = Oracle::check(entries, &outside.checkpoints(usize::MAX).unwrap(), &verifier).unwrap();
    assert_eq!((derived.entries, derived.root.to_string()), (report.entries, report.root.clone()));
    (report, derived)
}
