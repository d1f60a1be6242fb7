//! An MCP server as a child process, over its standard input and output.
//!
//! The child is started when it is first needed and again when it has ended, after a pause that grows. Requests and answers are matched by id, so that calls run side by side.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use portcullis_domain::ids::ServerName;
use portcullis_interop::mcp::Version;
use portcullis_interop::mcp::egress::{self, Inbound, Outcome, Outgoing, Peer};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::Instant;

use crate::reply::{ToolAnswer, UpstreamFault};
use crate::upstreams::client::ANSWER_LIMIT_BYTES;
use crate::upstreams::egress::{ToolCall, ToolServer, Waiting};
use crate::upstreams::tool::wire::{self, Askable, CLIENT, garbled};

/// How long a call may take where the configuration does not say.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may take to answer the first question, before it is greeted in the older way.
const DISCOVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may take to be ready.
const GREET_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause between two starts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often it is looked whether those who wait have their answers, before a program is ended.
const DRAIN_PAUSE: Duration = Duration::from_millis(20);
/// The gateway's own program, which is the guard's as well. The link stays good when the file is replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// A program that serves MCP on its standard input and output.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program and its arguments; no shell is involved.
    pub argv: Vec<String>,
    /// All variables that it gets.
    pub environment: BTreeMap<String, String>,
    /// The directory that it runs in.
    pub directory: PathBuf,
}

/// A server that is a program.
pub struct StdioToolServer {
    name: ServerName,
    program: Program,
    timeout: Duration,
    /// The running child, and when the next may be started. Held while one starts, so that only one does.
    running: Mutex<Running>,
    has_changed: Arc<AtomicBool>,
}

#[derive(Default)]
struct Running {
    /// Nothing is started any more.
    is_stopped: bool,
    child: Option<Arc<Child>>,
    failures: u32,
    not_before: Option<Instant>,
}

/// A child that was greeted.
struct Child {
    peer: Peer<'static>,
    line: Arc<Line>,
}

/// The pipe to a child and back.
struct Line {
    /// None once it is closed. Held while a message is written.
    input: Arc<Mutex<Option<ChildStdin>>>,
    stage: watch::Sender<Stage>,
    next_id: AtomicU64,
    /// Who waits for which answer; none once the child has ended. Held only to insert and remove.
    waiting: SyncMutex<Option<HashMap<u64, oneshot::Sender<Outcome>>>>,
}

/// How far a line has come. It only goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    /// Nothing is asked any more; those who wait get their answers.
    Closing,
    /// Nothing is written any more.
    Closed,
}

impl StdioToolServer {
    /// The server that this program is; nothing is started yet. Without a timeout, a call may take a minute.
    #[must_use]
    pub fn new(name: &ServerName, program: Program, timeout: Option<Duration>) -> Self {
        Self {
            name: name.clone(),
            program,
            timeout: timeout.unwrap_or(TIMEOUT),
            running: Mutex::new(Running::default()),
            has_changed: Arc::new(AtomicBool::new(false)),
        }
    }

    /// The running child; starts one where there is none.
    async fn child(&self) -> Result<Arc<Child>, UpstreamFault> {
        let mut running = self.running.lock().await;
        if running.is_stopped {
            return Err(UpstreamFault::Unreachable("the server is not configured any more".to_owned()));
        }
        if let Some(child) = running.child.as_ref().filter(|child| child.line.is_open()) {
            return Ok(child.clone());
        }
        if let Some(not_before) = running.not_before.filter(|not_before| *not_before > now()) {
            let wait = not_before.saturating_duration_since(now());
            return Err(UpstreamFault::Unreachable(format!(
                "the program has ended and is started again in {} ms",
                wait.as_millis()
            )));
        }
        let started = self.start().await;
        let pause = (FIRST_PAUSE * 2_u32.saturating_pow(running.failures.min(10))).min(LONGEST_PAUSE);
        running.not_before = Some(now() + pause);
        running.failures = if started.is_ok() { running.failures.min(1) } else { running.failures.saturating_add(1) };
        running.child = None;
        let child = Arc::new(started?);
        running.child = Some(child.clone());
        Ok(child)
    }

    async fn start(&self) -> Result<Child, UpstreamFault> {
        let mut command = Command::new(OWN_PROGRAM);
        command.arg("guard").arg("--").args(&self.program.argv);
        command.env_clear().envs(&self.program.environment).current_dir(&self.program.directory);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let unreachable =
            |error: std::io::Error| UpstreamFault::Unreachable(format!("can't start the program: {error}"));
        let mut process = command.spawn().map_err(unreachable)?;
        let (Some(input), Some(output), Some(errors)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(UpstreamFault::Unreachable("the program has no pipes".to_owned()));
        };
        let line = Arc::new(Line {
            input: Arc::new(Mutex::new(Some(input))),
            stage: watch::Sender::new(Stage::Open),
            next_id: AtomicU64::new(1),
            waiting: SyncMutex::new(Some(HashMap::new())),
        });
        tokio::spawn(log_errors(self.name.clone(), errors));
        tokio::spawn(read_answers(line.clone(), output, self.has_changed.clone()));
        let (name, has_changed, ended) = (self.name.clone(), self.has_changed.clone(), line.clone());
        let patience = self.timeout;
        tokio::spawn(async move {
            let status = tokio::select! {
                status = process.wait() => status,
                () = ended.drained(patience) => {
                    // A message that the program does not read is given up; the guard then sees the end of its input and ends the program.
                    ended.stage.send_replace(Stage::Closed);
                    drop(ended.input.lock().await.take());
                    process.wait().await
                }
            };
            tracing::info!(server = %name, status = ?status.ok().and_then(|status| status.code()), "the server's program has ended");
            ended.end();
            has_changed.store(true, Ordering::Release);
        });
        let mut unready = Unready(Some(line.clone()));
        let greeted = tokio::time::timeout(GREET_TIMEOUT, greet(line)).await;
        let late = |_| Err(UpstreamFault::Unreachable("the program was not ready in time".to_owned()));
        let child = greeted.unwrap_or_else(late)?;
        unready.0 = None;
        Ok(child)
    }
}

impl Askable for StdioToolServer {
    /// A program has what it needs in its environment.
    async fn ask(
        &self,
        _shown: Option<&HeaderValue>,
        request: impl Fn(&Peer<'_>, u64) -> Outgoing + Send + Sync,
    ) -> Result<Outcome, UpstreamFault> {
        let child = self.child().await?;
        let asked = child.line.ask(|id| request(&child.peer, id));
        tokio::time::timeout(self.timeout, asked).await.unwrap_or(Err(UpstreamFault::TimedOut(self.timeout.as_secs())))
    }
}

impl ToolServer for StdioToolServer {
    fn list(&self) -> Waiting<'_, Bytes> {
        Box::pin(async {
            self.has_changed.store(false, Ordering::Release);
            wire::list(self).await
        })
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> Waiting<'a, ToolAnswer> {
        Box::pin(wire::call(self, call))
    }

    fn has_changed(&self) -> bool {
        self.has_changed.load(Ordering::Acquire)
    }

    fn stop(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            let mut running = self.running.lock().await;
            running.is_stopped = true;
            if let Some(child) = running.child.take() {
                child.line.close();
            }
        })
    }
}

/// Finds out which era the server speaks, and begins accordingly.
async fn greet(line: Arc<Line>) -> Result<Child, UpstreamFault> {
    let discovered = tokio::time::timeout(DISCOVER_TIMEOUT, line.ask(|id| egress::discover(id, CLIENT))).await;
    let discovered = discovered.ok().transpose()?;
    let greeting = egress::read_discovery(200, discovered.as_ref()).map_err(|refusal| garbled(&refusal))?;
    if let Some(greeting) = greeting {
        return Ok(Child { peer: Peer { client: CLIENT, version: greeting.version, session: None }, line });
    }
    let outcome = line.ask(|id| egress::initialize(id, CLIENT)).await?;
    let greeting = egress::read_initialized(&outcome).map_err(|refusal| garbled(&refusal))?;
    let peer = Peer { client: CLIENT, version: greeting.version, session: None };
    line.write(&peer.initialized().body).await.map_err(|error| UpstreamFault::Broken(error.to_string()))?;
    Ok(Child { peer, line })
}

impl Line {
    fn is_open(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Nothing is asked any more; the program is ended when those who wait have their answers.
    fn close(&self) {
        self.stage.send_replace(Stage::Closing);
    }

    async fn is_at(&self, stage: Stage) {
        // The sender is our own: it can't be gone.
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }

    /// Resolves when the line is closed and nobody waits any more, or has waited for `patience`.
    async fn drained(&self, patience: Duration) {
        self.is_at(Stage::Closing).await;
        let is_waited_on = || {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.as_ref().is_some_and(|waiting| !waiting.is_empty())
        };
        let drained = async {
            while is_waited_on() {
                tokio::time::sleep(DRAIN_PAUSE).await;
            }
        };
        let _ = tokio::time::timeout(patience, drained).await;
    }

    /// Nobody gets an answer any more.
    fn end(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    async fn ask(self: &Arc<Self>, request: impl FnOnce(u64) -> Outgoing) -> Result<Outcome, UpstreamFault> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        match &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(waiting) => drop(waiting.insert(id, sender)),
            None => return Err(UpstreamFault::Unreachable("the program has ended".to_owned())),
        }
        let _forget = Forget { line: self, id };
        self.write(&request(id).body).await.map_err(|error| UpstreamFault::Broken(error.to_string()))?;
        receiver.await.map_err(|_| UpstreamFault::Broken("the program has ended".to_owned()))
    }

    /// Writes a message. Who leaves before it is their turn has sent nothing; from then on a task writes it to its end, since half a message would spoil the next.
    async fn write(self: &Arc<Self>, message: &str) -> std::io::Result<()> {
        let mut input = self.input.clone().lock_owned().await;
        let (line, message) = (self.clone(), format!("{message}\n"));
        let written = tokio::spawn(async move {
            let broken = || Err(std::io::ErrorKind::BrokenPipe.into());
            let Some(input) = input.as_mut() else { return broken() };
            let write = async {
                input.write_all(message.as_bytes()).await?;
                input.flush().await
            };
            tokio::select! {
                written = write => written,
                () = line.is_at(Stage::Closed) => broken(),
            }
        });
        written.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    fn answer(&self, id: u64, outcome: Outcome) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.as_mut().and_then(|waiting| waiting.remove(&id)) {
            let _ = sender.send(outcome);
        }
    }
}

/// A program that is being greeted. If that fails or is given up, the program is ended.
struct Unready(Option<Arc<Line>>);

impl Drop for Unready {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            line.close();
        }
    }
}

/// Takes back the place of somebody who does not wait any more.
struct Forget<'a> {
    line: &'a Line,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = &mut *self.line.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            waiting.remove(&self.id);
        }
    }
}

async fn read_answers(line: Arc<Line>, output: ChildStdout, has_changed: Arc<AtomicBool>) {
    let mut output = BufReader::new(output);
    let mut buffer = Vec::new();
    let limit = u64::try_from(ANSWER_LIMIT_BYTES).unwrap_or(u64::MAX);
    loop {
        buffer.clear();
        let read = (&mut output).take(limit).read_until(b'\n', &mut buffer).await;
        if !matches!(read, Ok(1..)) || !buffer.ends_with(b"\n") {
            break;
        }
        match Inbound::read(buffer.trim_ascii()) {
            Ok(Inbound::Answer { id, outcome }) => {
                if let Some(id) = id.and_then(|id| id.as_raw().parse().ok()) {
                    line.answer(id, outcome);
                }
            }
            Ok(Inbound::Notification { method, .. }) => {
                if method == "notifications/tools/list_changed" {
                    has_changed.store(true, Ordering::Release);
                }
            }
            Ok(Inbound::Request { id, method, .. }) => {
                let peer = Peer { client: CLIENT, version: Version::NEWEST_LEGACY, session: None };
                if line.write(&peer.reply(&id, &method).body).await.is_err() {
                    break;
                }
            }
            // Programs that print other things to their output are common; they are no messages.
            Err(_) if buffer.trim_ascii().is_empty() => {}
            Err(refusal) => tracing::debug!(%refusal, "the server's program wrote something that is no message"),
        }
    }
    line.end();
}

/// What the program writes to its standard error goes to the log.
async fn log_errors(name: ServerName, errors: ChildStderr) {
    let mut lines = BufReader::new(errors).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        tracing::debug!(server = %name, %text, "from the server's program");
    }
}

#[expect(clippy::disallowed_methods, reason = "pauses between starts are measured by a clock that never jumps")]
fn now() -> Instant {
    Instant::now()
}
