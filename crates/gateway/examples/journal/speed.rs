//! What a durable record costs, and how long a start takes.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::Thread;
use std::time::Instant;

use portcullis::clock::SystemClock;
use portcullis::journal::bookmark::Pace;
use portcullis::journal::postgres::address::Address;
use portcullis::journal::postgres::{Options, PostgresEngine};
use portcullis::journal::show::{Reader, Selection};
use portcullis::journal::sqlite::SqliteEngine;
use portcullis::journal::{Engine, Job, StoreFault, verify};
use portcullis_domain::admission::Command;
use portcullis_domain::event::Event;
use portcullis_domain::journal::Draft;
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;
use portcullis_testkit::postgres::Postgres;

use crate::work;

/// The length of the body of every entry.
const BODY_BYTES: usize = 1_024;
/// How many sessions are in use at a time.
const SESSIONS: u64 = 1_000;
/// How many calls wait for the writer at a time while a journal is filled.
const FILL_BATCH: usize = 32;
/// How many calls go to one session.
const CALLS_PER_SESSION: u64 = 10;

/// Calls in batches of exactly so many: half of the records admit, half settle.
pub(crate) fn speed(data: &Path, records: u64, batches: &[u64]) -> Result<(), String> {
    println!("batch   records   writer µs   all threads µs   wall µs   log MiB");
    for &batch in batches {
        let folder = data.join(batch.to_string());
        let engine = begin(&folder)?;
        let (writer, all, began) = (processor_ns(Some("journal")), processor_ns(None), now());
        let (rounds, _) = calls(engine.as_ref(), 0, records / 2, batch);
        let each = |total: u64| to_f64(total) / 1e3 / to_f64(rounds * batch);
        let wall = u64::try_from(began.elapsed().as_nanos()).unwrap();
        println!(
            "{batch:5} {:9} {:11.2} {:16.2} {:9.2} {:9.1}",
            rounds * batch,
            each(processor_ns(Some("journal")) - writer),
            each(processor_ns(None) - all),
            each(wall),
            to_f64(fs::metadata(folder.join("journal.sqlite-wal")).map_or(0, |file| file.len())) / 1_048_576.0,
        );
        engine.close();
    }
    Ok(())
}

/// The same on a database that is started for it. Rounds are timed from the moment at which all of a batch waits.
pub(crate) fn cluster(data: &Path, records: u64, batches: &[u64]) -> Result<(), String> {
    let server = Postgres::start()?;
    println!("batch   records   writer µs   all threads µs   database µs   wall µs   wall µs per batch");
    let address = Address::parse(&server.url())?;
    let told = Box::new(|fault: &StoreFault| println!("the engine has ended: {fault}"));
    let engine = PostgresEngine::open(&address, data, Options::default(), Arc::new(SystemClock), told);
    let engine = engine.map_err(|fault| fault.to_string())?;
    configure(&engine);
    let mut first = 0;
    for &batch in batches {
        let (writer, all, database) = (processor_ns(Some("journal")), processor_ns(None), database_ns(&server));
        let (rounds, wall) = calls(&engine, first, records / 2, batch);
        first += records / 2 + batch;
        let each = |total: u64| to_f64(total) / 1e3 / to_f64(rounds * batch);
        println!(
            "{batch:5} {:9} {:11.2} {:16.2} {:13.2} {:9.2} {:19.2}",
            rounds * batch,
            each(processor_ns(Some("journal")) - writer),
            each(processor_ns(None) - all),
            each(database_ns(&server) - database),
            each(wall),
            to_f64(wall) / 1e3 / to_f64(rounds),
        );
    }
    engine.close();
    Ok(())
}

/// The processor time of all processes of the server, in nanoseconds.
fn database_ns(server: &Postgres) -> u64 {
    let parent = server.process_id().unwrap().to_string();
    let stats = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("stat"));
    let ticks = stats.filter_map(|path| {
        let stat = fs::read_to_string(path).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let [_, of, _, _, _, _, _, _, _, _, _, user, system, ..] = fields.as_slice() else { return None };
        (*of == parent).then(|| user.parse::<u64>().unwrap() + system.parse::<u64>().unwrap())
    });
    ticks.sum::<u64>() * 10_000_000
}

/// Makes a journal of so many entries, with so many calls in each session and bookmarks at that pace, and tells how long callers waited.
pub(crate) fn fill(data: &Path, entries: u64, calls_per_session: u64, pace: Pace) -> Result<(), String> {
    let engine = work::open_paced(data, pace).map_err(|fault| fault.to_string())?;
    configure(engine.as_ref());
    let sessions = entries / (2 * calls_per_session + 1);
    let (ticks, began) = (processor_ticks(), now());
    let mut walls = Vec::new();
    let within = |number: u64| number / (SESSIONS * calls_per_session) * SESSIONS + number % SESSIONS;
    for start in (0..sessions * calls_per_session).step_by(FILL_BATCH) {
        let numbers = start..start + u64::try_from(FILL_BATCH).unwrap();
        let admits = numbers.clone().map(|number| work::admit(number, within(number), BODY_BYTES)).collect();
        walls.push(round(engine.as_ref(), admits));
        walls.push(round(engine.as_ref(), numbers.map(|number| work::settle(number, BODY_BYTES)).collect()));
    }
    println!("filled in {} ms, of processor time {} ms", began.elapsed().as_millis(), (processor_ticks() - ticks) * 10);
    walls.sort_unstable();
    let at = |share: usize| walls.get((walls.len() - 1) * share / 10_000).unwrap() / 1_000;
    println!(
        "batches of {FILL_BATCH} in µs: half {}, 99 % {}, 99.9 % {}, all {}",
        at(5_000),
        at(9_900),
        at(9_990),
        at(10_000)
    );
    timed("close", || engine.close());
    Ok(())
}

/// Times one start of the journal that is there, and its end.
pub(crate) fn start(data: &Path) -> Result<(), String> {
    let opened = timed("start", || work::open(data)).map_err(|fault| fault.to_string())?;
    tell_memory();
    timed("close", || opened.close());
    Ok(())
}

/// Times what reads all of it.
pub(crate) fn read(data: &Path) -> Result<(), String> {
    let report = timed("verify", || verify(data)).map_err(|fault| fault.to_string())?;
    println!("{report:?}");
    let reader = Reader::open(data).map_err(|fault| fault.to_string())?;
    timed("read", || reader.entries(Selection { stream: None, from: 1, limit: usize::MAX }).count());
    tell_memory();
    Ok(())
}

fn tell_memory() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let told = status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS"));
    println!("{}", told.collect::<Vec<_>>().join(" "));
}

fn begin(folder: &Path) -> Result<Arc<SqliteEngine>, String> {
    let engine = work::open(folder).map_err(|fault| fault.to_string())?;
    configure(engine.as_ref());
    Ok(engine)
}

fn configure(engine: &dyn Engine) {
    let left = Left::new(2);
    engine.submit(Box::new(Asked(work::configure(), left.clone())));
    engine.submit(Box::new(Asked(work::issue(0), left.clone())));
    left.wait();
}

/// Admits and settles so many calls in batches of exactly that size; how many batches it took, and how long they took in nanoseconds.
fn calls(engine: &dyn Engine, first: u64, count: u64, batch: u64) -> (u64, u64) {
    let (mut rounds, mut wall) = (0, 0);
    for start in (first..first + count).step_by(usize::try_from(batch).unwrap()) {
        let numbers = start..start + batch;
        wall += round(engine, numbers.clone().map(|number| work::admit(number, session(number), BODY_BYTES)).collect());
        wall += round(engine, numbers.map(|number| work::settle(number, BODY_BYTES)).collect());
        rounds += 2;
    }
    (rounds, wall)
}

/// One batch: while the writer is held up, all of it comes to wait. How long it takes from then on, in nanoseconds.
fn round<C: Command>(engine: &dyn Engine, commands: Vec<C>) -> u64 {
    let left = Left::new(commands.len());
    let barrier = (commands.len() > 1).then(|| Arc::new(Barrier::new(2)));
    if let Some(barrier) = &barrier {
        engine.submit(Box::new(Hold(barrier.clone())));
        barrier.wait();
    }
    let mut began = now();
    for command in commands {
        engine.submit(Box::new(Asked(command, left.clone())));
    }
    if let Some(barrier) = barrier {
        barrier.wait();
        began = now();
    }
    left.wait();
    u64::try_from(began.elapsed().as_nanos()).unwrap()
}

/// How many answers are still to come, and who waits for the last one.
struct Left(AtomicUsize, Thread);

impl Left {
    fn new(count: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(count), std::thread::current()))
    }

    fn wait(&self) {
        while self.0.load(Ordering::Acquire) > 0 {
            std::thread::park();
        }
    }
}

struct Asked<C>(C, Arc<Left>);

impl<C: Command> Job for Asked<C> {
    fn decide(&mut self, world: &World, at: Timestamp) -> Vec<Draft<Event>> {
        self.0.decide(world, at).drafts
    }

    fn finish(self: Box<Self>, outcome: Result<(), StoreFault>) {
        outcome.unwrap();
        if self.1.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.1.1.unpark();
        }
    }
}

/// Keeps the writer waiting from its first meeting at the barrier to the second.
struct Hold(Arc<Barrier>);

impl Job for Hold {
    fn decide(&mut self, _: &World, _: Timestamp) -> Vec<Draft<Event>> {
        self.0.wait();
        self.0.wait();
        Vec::new()
    }

    fn finish(self: Box<Self>, _: Result<(), StoreFault>) {}
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (began, used) = (now(), processor_ticks());
    let outcome = work();
    println!("{what}: {} ms, of processor time {} ms", began.elapsed().as_millis(), (processor_ticks() - used) * 10);
    outcome
}

/// The processor time of the process in hundredths of a second, that of threads which have ended included.
fn processor_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[expect(clippy::disallowed_methods, reason = "it measures how long things take")]
fn now() -> Instant {
    Instant::now()
}

/// The processor time of the thread of that name, or of all threads that live, in nanoseconds.
fn processor_ns(name: Option<&str>) -> u64 {
    let read = |path: std::path::PathBuf| fs::read_to_string(path).unwrap_or_default();
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let wanted = tasks.filter(|task| name.is_none_or(|name| read(task.join("comm")).trim() == name));
    wanted
        .map(|task| read(task.join("schedstat")).split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0))
        .sum()
}

#[expect(clippy::cast_precision_loss, reason = "these are figures for a reader")]
fn to_f64(number: u64) -> f64 {
    number as f64
}

/// Sessions take turns, and after a few calls each others follow.
fn session(number: u64) -> u64 {
    number / (SESSIONS * CALLS_PER_SESSION) * SESSIONS + number % SESSIONS
}
