//! The gateway as a process: started, killed, stopped, and judged by what it has written.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use portcullis_domain::event::{CallRefused, CallSettled, Event, Judged};
use portcullis_domain::journal::Entry;
use portcullis_domain::journal::checkpoint::Signer;
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::oracle::{Derived, Oracle};
use portcullis_testkit::process::{ChildProcess, wait_until};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// How long a condition is waited for before a test fails. Nothing takes that long on a machine that does nothing else.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// How often a start is tried again when somebody else took the port first.
const STARTS_LIMIT: usize = 5;
/// The name that checkpoints are signed under.
pub(crate) const ORIGIN: &str = "portcullis";

/// A running gateway with its files. [`Gateway::finish`] must be called at the end of every test.
pub(crate) struct Gateway {
    folder: TempDir,
    port: u16,
    process: ChildProcess,
    environment: Vec<(String, String)>,
    /// Texts that may stand in no file of the gateway's. Locked to add and to read, never across a wait.
    secrets: Mutex<Vec<String>>,
    is_finished: bool,
}

impl Gateway {
    /// Starts a gateway with this configuration, in which `{PORT}` stands for its port, and these files beside it.
    pub(crate) async fn start(config: &str, files: &[(&str, &str)]) -> Self {
        Self::start_with(config, files, &[]).await
    }

    /// The same, with variables of the environment.
    pub(crate) async fn start_with(config: &str, files: &[(&str, &str)], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut failure = String::new();
        for _ in 0..STARTS_LIMIT {
            let port = free_port();
            std::fs::write(folder.path().join("portcullis.yaml"), config.replace("{PORT}", &port.to_string())).unwrap();
            let mut process = spawn(folder.path(), &environment);
            match ready(&mut process, port).await {
                Ok(()) => {
                    let secrets = Mutex::new(Vec::new());
                    let started = Self { folder, port, process, environment, secrets, is_finished: false };
                    started.keep_secret(&started.admin_key());
                    return started;
                }
                Err(problem) if problem.contains("can't listen") => failure = problem,
                Err(problem) => panic!("{problem}"),
            }
        }
        panic!("{failure}");
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A file beside its configuration.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it has logged, over all its lives.
    pub(crate) fn log(&self) -> String {
        self.process.output()
    }

    /// Its process.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// A client without a key.
    pub(crate) fn stranger(&self) -> Client {
        Client::new(&self.url())
    }

    /// A client with the administrator's key.
    pub(crate) fn admin(&self) -> Client {
        self.stranger().with_key(&self.admin_key())
    }

    /// The administrator's key.
    pub(crate) fn admin_key(&self) -> String {
        std::fs::read_to_string(self.file("data/admin.key")).unwrap().trim().to_owned()
    }

    /// A new key for the principal.
    pub(crate) async fn key(&self, principal: &str) -> String {
        let answer = self.admin().post("/api/v1/identity/keys", &json!({"principal": principal})).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        let key = answer.json()["key"].as_str().unwrap().to_owned();
        self.keep_secret(&key);
        key
    }

    /// A client with a new key of the principal.
    pub(crate) async fn client(&self, principal: &str) -> Client {
        self.stranger().with_key(&self.key(principal).await)
    }

    /// From now on this text may stand in no file of the gateway's.
    pub(crate) fn keep_secret(&self, text: &str) {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }

    /// Writes the configuration anew, as an editor does: a new file takes the place of the old one.
    pub(crate) fn configure(&self, config: &str) {
        self.replace("portcullis.yaml", &config.replace("{PORT}", &self.port.to_string()));
    }

    /// Replaces a file beside the configuration.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let new = self.file(&format!("{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.file(name)).unwrap();
    }

    /// Waits until `text` stands in the log so many times.
    pub(crate) async fn wait_for_log(&self, text: &str, times: usize) {
        let is_there = || async { self.log().matches(text).count() >= times };
        let waited = wait_until(&format!("the log says `{text}` {times} times"), LIMIT, is_there).await;
        waited.unwrap_or_else(|problem| panic!("{problem}\n{}", self.log()));
    }

    /// Sends the signal by which operators ask for a reload, and waits until it was done. Files are watched as well, so that the first reload to end may have
    /// begun before the files were as they are now; the second has not.
    pub(crate) async fn reload(&self) {
        const SAID: &str = "the configuration was taken in";
        for _ in 0..2 {
            let before = self.log().matches(SAID).count();
            signal(self.process.id(), rustix::process::Signal::HUP);
            self.wait_for_log(SAID, before + 1).await;
        }
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
    }

    /// Starts it again, with the same files and at the same port.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(self.folder.path(), &self.environment);
        ready(&mut self.process, self.port).await.unwrap();
    }

    /// Asks it to end and does not wait.
    pub(crate) fn terminate(&mut self) {
        self.process.terminate().unwrap();
    }

    /// Asks it to end and waits until it has, without an error.
    pub(crate) async fn stop(&mut self) {
        self.process.terminate().unwrap();
        let status = self.process.wait_for_end(LIMIT).await.unwrap();
        assert!(status.success(), "it ended with {status}\n{}", self.log());
    }

    /// Ends the test: stops the gateway and judges all that it has written.
    pub(crate) async fn finish(mut self) -> Derived {
        self.stop().await;
        self.is_finished = true;
        let derived = self.judge();
        let open: Vec<_> = derived.admitted.iter().filter(|call| !derived.settled.contains_key(*call)).collect();
        assert!(open.is_empty(), "calls were admitted and never settled: {open:?}\n{}", self.log());
        self.expect_no_secrets();
        derived
    }

    /// What follows from the journal as it lies on disk; fails when anything is wrong with it.
    pub(crate) fn judge(&self) -> Derived {
        let store = self.store();
        let mut notes = store.prepare("SELECT note FROM checkpoints ORDER BY size").unwrap();
        let notes: Vec<String> = notes.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let seed = std::fs::read(self.file("data/journal.key")).unwrap();
        let verifier = Signer::new(ORIGIN, &seed).unwrap().verifier();
        Oracle::check(read_entries(&store), &notes, &verifier).unwrap_or_else(|faults| panic!("{}", faults.join("\n")))
    }

    /// All entries so far.
    pub(crate) fn entries(&self) -> Vec<Entry<Event>> {
        read_entries(&self.store()).into_iter().map(|(_, bytes)| Entry::decode(&bytes).unwrap()).collect()
    }

    /// The events of a session, by its id as in `ann:claim-99`.
    pub(crate) fn events(&self, session: &str) -> Vec<Event> {
        let stream = format!("session/{session}").parse().unwrap();
        self.entries().into_iter().filter(|entry| entry.stream == stream).map(|entry| entry.event).collect()
    }

    /// All calls of the session that were settled.
    pub(crate) fn settled(&self, session: &str) -> Vec<CallSettled> {
        let settled = |event| if let Event::CallSettled(settled) = event { Some(settled) } else { None };
        self.events(session).into_iter().filter_map(settled).collect()
    }

    /// All calls that were refused, in any stream.
    pub(crate) fn refused(&self) -> Vec<CallRefused> {
        let refused =
            |entry: Entry<Event>| if let Event::CallRefused(refused) = entry.event { Some(refused) } else { None };
        self.entries().into_iter().filter_map(refused).collect()
    }

    /// All tool calls in answers of models of the session, as they were judged.
    pub(crate) fn judged(&self, session: &str) -> Vec<Judged> {
        self.settled(session).into_iter().flat_map(|settled| settled.judged).collect()
    }

    /// The end of a test that has judged what became of the journal by itself.
    pub(crate) async fn finish_elsewhere(mut self) {
        self.stop().await;
        self.is_finished = true;
    }

    /// Runs a command of the same binary beside it.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = portcullis(self.folder.path(), arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        tokio::process::Command::from(command).output().await.unwrap()
    }

    fn store(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let store = Connection::open_with_flags(self.file("data/journal.sqlite"), flags).unwrap();
        store.busy_timeout(LIMIT).unwrap();
        store
    }

    /// No key and no credential of an upstream stands in the log or in any file of the data directory but the one made for it.
    pub(crate) fn expect_no_secrets(&self) {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let data = std::fs::read_dir(self.file("data")).unwrap().map(|entry| entry.unwrap().path());
        let files = data.filter(|path| !path.ends_with("admin.key")).chain([self.file("log")]);
        for path in files {
            let bytes = std::fs::read(&path).unwrap();
            for secret in &secrets {
                let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!is_there, "`{secret}` stands in {}", path.display());
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log());
        } else {
            assert!(self.is_finished, "a test ended without `finish`, so that nobody has judged its journal");
        }
    }
}

/// A command in `folder` that does not see the variables of whoever runs the tests.
pub(crate) fn portcullis(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments).current_dir(folder);
    for name in ["PORTCULLIS_CONFIG", "PORTCULLIS_URL", "PORTCULLIS_KEY_FILE", "PORTCULLIS_LOG", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// Runs a command of the binary in `folder` to its end.
pub(crate) async fn run(folder: &Path, arguments: &[&str]) -> Output {
    tokio::process::Command::from(portcullis(folder, arguments)).output().await.unwrap()
}

/// Sends a signal to a process that a test has started.
pub(crate) fn signal(process: u32, signal: rustix::process::Signal) {
    let id = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    rustix::process::kill_process(id, signal).unwrap();
}

/// Whether there is a process of that id. One that has ended and was not waited for yet does not count.
pub(crate) fn runs(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Processor time of a process so far, in ticks: user and system (proc(5), fields 14 and 15 of `stat`).
pub(crate) fn processor_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// A loopback port that is free now, and that no connection takes.
pub(crate) fn free_port() -> u16 {
    portcullis_testkit::process::free_port().unwrap()
}

/// Ends everything that runs there; once it returns, all sockets are closed. A runtime can't be waited for on a thread of another one.
pub(crate) fn end(runtime: Runtime) {
    std::thread::spawn(move || drop(runtime)).join().unwrap();
}

/// Listens at that port, once whoever was there before has let go of it.
pub(crate) async fn listen_at(port: u16) -> TcpListener {
    let listener = Mutex::new(None);
    let is_free = || async {
        let bound = TcpListener::bind(("127.0.0.1", port)).await.ok();
        let is_bound = bound.is_some();
        *listener.lock().unwrap() = bound;
        is_bound
    };
    wait_until("the port is free", LIMIT, is_free).await.unwrap();
    listener.into_inner().unwrap().unwrap()
}

/// Starts the gateway whose configuration lies in `folder`.
pub(crate) fn spawn(folder: &Path, environment: &[(String, String)]) -> ChildProcess {
    let mut command = portcullis(folder, &["up"]);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    ChildProcess::spawn(command, &folder.join("log")).unwrap()
}

/// Waits until it answers.
///
/// # Errors
///
/// A sentence with the end of its log when it does not.
pub(crate) async fn ready(process: &mut ChildProcess, port: u16) -> Result<(), String> {
    let client = Client::new(&format!("http://127.0.0.1:{port}"));
    // In clear, a gateway that speaks TLS says so as soon as it listens.
    let is_there = |answer: &Answer| answer.status == 200 || answer.text().contains("this port speaks TLS");
    let is_ready = || async { client.get("/readyz").await.is_ok_and(|answer| is_there(&answer)) };
    process.wait_until("the gateway is ready", LIMIT, is_ready).await
}

fn read_entries(store: &Connection) -> Vec<(u64, Vec<u8>)> {
    let mut entries = store.prepare("SELECT position, bytes FROM entries ORDER BY position").unwrap();
    let entry = |row: &rusqlite::Row<'_>| Ok((u64::try_from(row.get::<_, i64>(0)?).unwrap(), row.get(1)?));
    entries.query_map([], entry).unwrap().map(Result::unwrap).collect()
}
