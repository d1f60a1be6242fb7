//! A whole journal is carried from one kind of store to the other and back, and nothing half is left behind wherever it ends.

use std::path::Path;

use portcullis_domain::session::Expected;

use crate::journal::audit::Report;
use crate::journal::conformance::scene::{Opened as _, Seen, Step, TurnedClock, WORKLOAD, put};
use crate::journal::copy::{Copied, Site, copy};
use crate::journal::fault::StoreFault;
use crate::journal::files::{DataDirectory, SIGNER_FILE, VAULT_FILE};
use crate::journal::handle::Journal;
use crate::journal::page::PAGE;
use crate::journal::postgres::address::Address;
use crate::journal::postgres::tests::clustered::{Clustered, PATIENT};
use crate::journal::postgres::tests::proxy::{Cut, Proxy};
use crate::journal::postgres::{copy as database, outside};
use crate::journal::sqlite::copy as embedded;
use crate::journal::sqlite::{SqliteEngine, schema};
use crate::journal::table::Store;
use crate::journal::verify::verify;

/// More than one page of entries.
const VALUES: usize = PAGE + 50;

struct Desk {
    database: Clustered,
    clock: std::sync::Arc<TurnedClock>,
}

impl Desk {
    fn new() -> Option<Self> {
        Some(Self { database: Clustered::new()?, clock: TurnedClock::new() })
    }

    fn directory(&self, name: &str) -> Site {
        let directory = self.database.path(name);
        Site { store: Store::Sqlite(directory.clone()), directory }
    }

    fn at(&self, address: Address, name: &str) -> Site {
        Site { store: Store::Postgres(Box::new(address)), directory: self.database.path(name) }
    }

    fn cluster(&self, name: &str) -> Site {
        self.at(self.database.address(), name)
    }

    fn embedded(&self, name: &str) -> (std::sync::Arc<SqliteEngine>, Journal) {
        let on_fault = Box::new(|fault: &StoreFault| panic!("{fault}"));
        let engine = SqliteEngine::open(&self.database.path(name), self.clock.clone(), on_fault).unwrap();
        let engine = std::sync::Arc::new(engine);
        (engine.clone(), Journal::new(engine))
    }

    /// An embedded journal with a little of everything, and what can be seen of it.
    async fn fill(&self, name: &str) -> Seen {
        let (engine, journal) = self.embedded(name);
        for step in WORKLOAD {
            step.run(&journal).await.unwrap();
        }
        for number in 0..VALUES {
            let value = format!("value {number}");
            journal.execute(put("claim-7", "step", Expected::Anything, &value)).await.unwrap().unwrap();
        }
        Step::Recover.run(&journal).await.unwrap();
        let seen = Seen::of(&journal).await;
        engine.close();
        seen
    }
}

async fn carry(from: &Site, to: &Site) -> Result<Copied, StoreFault> {
    let (from, to) = (from.clone(), to.clone());
    tokio::task::spawn_blocking(move || copy(&from, &to, &["admin.key"])).await.unwrap()
}

async fn refused(from: &Site, to: &Site, expected: &str) {
    match carry(from, to).await {
        Err(StoreFault::Unusable(problem)) => assert!(problem.contains(expected), "{problem}"),
        other => panic!("{other:?}, not `{expected}`"),
    }
}

fn whole(report: &Report) -> String {
    assert_eq!((&report.problems, &report.notes), (&Vec::new(), &Vec::new()));
    report.root.clone()
}

fn secrets(directory: &Path) -> Vec<Vec<u8>> {
    [VAULT_FILE, SIGNER_FILE].iter().map(|name| std::fs::read(directory.join(name)).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_journal_goes_to_a_database_and_back_and_is_the_same_and_goes_on() {
    let Some(desk) = Desk::new() else { return };
    let seen = desk.fill("one").await;
    let (one, cluster, back) = (desk.directory("one"), desk.cluster("a"), desk.directory("back"));
    std::fs::write(one.directory.join("admin.key"), "the administrator's").unwrap();
    let copied = carry(&one, &cluster).await.unwrap();
    assert_eq!(copied.files, [VAULT_FILE, SIGNER_FILE, "admin.key"]);
    assert_eq!(secrets(&one.directory), secrets(&cluster.directory));
    assert_eq!(whole(&copied.report), whole(&verify(&one.directory).unwrap()));
    refused(&one, &cluster, "has a journal").await;

    let opened = desk.database.engine("a", PATIENT, desk.clock.clone()).unwrap();
    assert_eq!(Seen::of(&opened.journal).await, seen);
    Step::Open("claim-8").run(&opened.journal).await.unwrap();
    let seen = Seen::of(&opened.journal).await;
    refused(&cluster, &back, "runs on the source").await;
    Box::new(opened).close();

    let copied = carry(&cluster, &back).await.unwrap();
    assert_eq!(whole(&copied.report), whole(&verify(&back.directory).unwrap()));
    refused(&cluster, &back, "has a journal already").await;
    let (engine, journal) = desk.embedded("back");
    assert_eq!(Seen::of(&journal).await, seen);
    Step::Open("claim-9").run(&journal).await.unwrap();
    refused(&back, &desk.directory("further"), "in use by another gateway").await;
    engine.close();
    whole(&verify(&back.directory).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_that_ends_in_the_middle_leaves_nothing_and_is_made_again() {
    let Some(desk) = Desk::new() else { return };
    desk.fill("one").await;
    let one = desk.directory("one");
    let origin = embedded::Origin::open(&DataDirectory::look(&one.directory)).unwrap();
    let (streams, page) = (origin.streams().unwrap(), origin.page(0).unwrap());
    // Dropped after each step, as when the process was killed there.
    for steps in 0..3 {
        std::fs::create_dir_all(desk.database.path("back")).unwrap();
        let mut target = database::Target::begin(&desk.database.address()).await.unwrap();
        let begun = embedded::Target::begin(&desk.database.path("back")).unwrap();
        if steps > 0 {
            target.add_streams(&streams).await.unwrap();
            begun.add_streams(&streams).unwrap();
        }
        if steps > 1 {
            target.add(page.clone()).await.unwrap();
            begun.add(&page).unwrap();
        }
    }
    let back = desk.directory("back");
    assert!(verify(&back.directory).is_err(), "what is not whole has no name");
    assert_eq!(whole(&carry(&one, &back).await.unwrap().report), whole(&verify(&one.directory).unwrap()));
    for cut in [Cut::Before, Cut::After] {
        let proxy = Proxy::start(desk.database.server.port()).await;
        proxy.plan(cut, 0, false);
        let lost = carry(&one, &desk.at(proxy.address(), "a")).await;
        assert!(matches!(lost, Err(StoreFault::Away(_))) && proxy.has_cut(), "{lost:?}");
        if cut == Cut::After {
            refused(&one, &desk.cluster("a"), "has a journal").await;
        }
    }
    let (address, directory) = (desk.database.address(), desk.database.path("a"));
    let report =
        tokio::task::spawn_blocking(move || outside::verify(&address, &directory, None).unwrap()).await.unwrap();
    assert_eq!(whole(&report), whole(&verify(&one.directory).unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_must_not_be_copied_is_refused() {
    let Some(desk) = Desk::new() else { return };
    desk.fill("one").await;
    let one = desk.directory("one");
    refused(&one, &one, "the same store").await;
    refused(&desk.directory("nothing"), &desk.cluster("a"), "there is no journal").await;
    assert!(!desk.database.path("nothing").exists(), "a look makes nothing");
    std::fs::create_dir_all(desk.database.path("other")).unwrap();
    std::fs::write(desk.database.path("other").join(VAULT_FILE), [7; 32]).unwrap();
    refused(&one, &desk.cluster("other"), "is not the one of the source").await;

    let (engine, journal) = desk.embedded("open");
    for step in [Step::Configure(1_000), Step::Issue(1), Step::Admit(1, "claim-1", 400)] {
        step.run(&journal).await.unwrap();
    }
    engine.close();
    refused(&desk.directory("open"), &desk.cluster("b"), "1 call(s) were in flight").await;

    let connection = rusqlite::Connection::open(one.directory.join(schema::FILE)).unwrap();
    connection.execute("UPDATE bodies SET sealed = x'00' WHERE number = (SELECT max(number) FROM bodies)", []).unwrap();
    let broken = carry(&one, &desk.cluster("c")).await;
    assert!(
        matches!(&broken, Err(StoreFault::Damaged(problem)) if problem.contains("the source is broken")),
        "{broken:?}"
    );
    connection.pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    refused(&one, &desk.cluster("d"), "has version").await;
    // Nothing of all that has left anything.
    desk.fill("two").await;
    carry(&desk.directory("two"), &desk.cluster("a")).await.unwrap();
}
