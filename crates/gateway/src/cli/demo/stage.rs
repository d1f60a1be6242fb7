//! The processes and the files of one demo.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use portcullis_domain::digest::Digest;
use portcullis_testkit::http::Client;
use portcullis_testkit::process::{self, ChildProcess};
use serde_json::json;

use crate::assemble::ADMIN_KEY_FILE;
use crate::cli::demo::template;
use crate::cli::demo::trouble::{differs, unanswered};
use crate::cli::exit::Exit;
use crate::clock::{Clock as _, SystemClock};
use crate::entropy;

/// The principal that the agent acts as.
pub(super) const JUNIOR: &str = "junior";
/// Somebody else.
pub(super) const MANAGER: &str = "manager";
/// The data directory, as the configuration calls it.
const DATA: &str = "data";
/// How long a process may take to be there.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long the next step of the story may take.
pub(super) const STEP_LIMIT: Duration = Duration::from_secs(30);
/// How long the gateway may take to stop when it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Everything that must be stopped in the end, and the way to it.
pub(super) struct Stage {
    directory: PathBuf,
    is_temporary: bool,
    program: PathBuf,
    gateway_port: u16,
    model_port: u16,
    model_key: String,
    /// Where the agent's two replicas listen.
    replica_ports: [u16; 2],
    gateway: Option<ChildProcess>,
    model: Option<ChildProcess>,
}

impl Stage {
    /// Makes the directory and writes the files; nothing is started yet.
    pub(super) fn new(directory: Option<&Path>) -> Result<Self, Exit> {
        let system = |error: std::io::Error| Exit::system(format!("can't prepare the demo: {error}"));
        let program = std::env::current_exe().map_err(system)?;
        let (path, is_temporary) = match directory {
            Some(directory) => (directory.to_owned(), false),
            None => (std::env::temp_dir().join(format!("portcullis-demo-{}", secret(4)?)), true),
        };
        make_directory(&path).map_err(|error| Exit::io(format!("can't use `{}`: {error}", path.display())))?;
        let stage = Self {
            directory: path.canonicalize().map_err(system)?,
            is_temporary,
            program,
            gateway_port: process::free_port().map_err(system)?,
            model_port: process::free_port().map_err(system)?,
            model_key: format!("sk-{}", secret(16)?),
            replica_ports: [process::free_port().map_err(system)?, process::free_port().map_err(system)?],
            gateway: None,
            model: None,
        };
        stage.write_files().map_err(|error| Exit::io(format!("can't write the demo's files: {error}")))?;
        Ok(stage)
    }

    fn write_files(&self) -> std::io::Result<()> {
        let [first, second] = self.replica_ports.map(replica_url);
        let values = [
            ("CLAIMS_LISTEN", format!("127.0.0.1:{}", self.gateway_port)),
            ("CLAIMS_MODEL_URL", format!("{}/v1", self.model_url())),
            ("CLAIMS_MODEL_KEY", self.model_key.clone()),
            ("CLAIMS_PROGRAM", self.program.display().to_string()),
            ("CLAIMS_ADJUSTER_1", first),
            ("CLAIMS_ADJUSTER_2", second),
        ];
        let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
        fs::create_dir(self.file("policies"))?;
        fs::write(self.file("policies/claims.cedar"), template::POLICIES)?;
        write_secret(&self.config(), &template::fill(template::CONFIG, &values))?;
        write_secret(&self.file("model.key"), &format!("{}\n", self.model_key))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.file("portcullis.yaml")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.file(DATA)
    }

    /// What the claims server has paid.
    pub(super) fn payments(&self) -> PathBuf {
        self.file("payments.jsonl")
    }

    pub(super) fn key_file(&self, principal: &str) -> PathBuf {
        self.file(&format!("{principal}.key"))
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn gateway_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway_port)
    }

    pub(super) fn model_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.model_port)
    }

    /// The key that only the gateway and the model know.
    pub(super) fn model_key(&self) -> &str {
        &self.model_key
    }

    /// This program with these arguments, which does not outlive the demo. It has a process group of its own: what is typed at the terminal reaches the demo alone, which
    /// then stops the others in order.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["demo", "part", "bound", "--"]).arg(&self.program).args(arguments);
        command.current_dir(&self.directory).process_group(0);
        command
    }

    /// Starts the model and waits until it answers.
    pub(super) async fn start_model(&mut self) -> Result<u32, Exit> {
        let port = self.model_port.to_string();
        let command = self.command(&["demo", "part", "model", "--port", &port, "--key-file", "model.key"]);
        let model = ChildProcess::spawn(command, &self.file("model.log")).map_err(Exit::system)?;
        let model = self.model.insert(model);
        let client = Client::new(&format!("http://127.0.0.1:{port}"));
        let ready = || async { client.get("/__requests").await.is_ok() };
        model.wait_until("the model listens", START_LIMIT, ready).await.map_err(Exit::negative)?;
        Ok(model.id())
    }

    /// Where the agent's replicas listen.
    pub(super) fn replica_ports(&self) -> [u16; 2] {
        self.replica_ports
    }

    /// Starts the gateway and waits until it takes calls; its id, and how long that took in milliseconds.
    pub(super) async fn start_gateway(&mut self) -> Result<(u32, u64), Exit> {
        let begun = SystemClock.now().0;
        let config = self.config();
        let command = self.command(&["up", "--config", &config.display().to_string()]);
        let gateway = ChildProcess::spawn(command, &self.file("gateway.log")).map_err(Exit::system)?;
        let client = Client::new(&self.gateway_url());
        let gateway = self.gateway.insert(gateway);
        let ready = || async { client.get("/readyz").await.is_ok_and(|answer| answer.status == 200) };
        gateway.wait_until("the gateway is ready", START_LIMIT, ready).await.map_err(Exit::negative)?;
        Ok((gateway.id(), SystemClock.now().0.saturating_sub(begun) / 1_000))
    }

    /// Kills the gateway (SIGKILL); its id.
    pub(super) fn kill_gateway(&mut self) -> Result<u32, Exit> {
        let mut gateway = self.gateway.take().ok_or_else(|| differs("the gateway does not run"))?;
        gateway.kill().map_err(|error| Exit::system(format!("can't kill the gateway: {error}")))?;
        Ok(gateway.id())
    }

    /// Stops the model where it is, so that no answer comes until it goes on.
    pub(super) fn pause_model(&mut self, is_paused: bool) -> Result<(), Exit> {
        let model = self.model.as_mut().ok_or_else(|| differs("the model does not run"))?;
        let signalled = if is_paused { model.pause() } else { model.resume() };
        signalled.map_err(|error| Exit::system(format!("can't stop the model: {error}")))
    }

    /// Has the gateway issue a key, and keeps it in a file for its owner only.
    pub(super) async fn issue_key(&self, principal: &str) -> Result<(), Exit> {
        let admin = self.client_of(&self.data().join(ADMIN_KEY_FILE))?;
        let answer = admin.post("/api/v1/identity/keys", &json!({"principal": principal})).await;
        let answer = answer.and_then(portcullis_testkit::http::Answer::accepted).map_err(unanswered)?.json();
        let key = answer.get("key").and_then(serde_json::Value::as_str).ok_or_else(|| differs("no key was issued"))?;
        let written = write_secret(&self.key_file(principal), &format!("{key}\n"));
        written.map_err(|error| Exit::io(format!("can't write a key file: {error}")))
    }

    /// A client of the gateway with that principal's key.
    pub(super) fn client(&self, principal: &str) -> Result<Client, Exit> {
        self.client_of(&self.key_file(principal))
    }

    fn client_of(&self, key_file: &Path) -> Result<Client, Exit> {
        let key = fs::read_to_string(key_file);
        let key = key.map_err(|error| Exit::io(format!("can't read `{}`: {error}", key_file.display())))?;
        Ok(Client::new(&self.gateway_url()).with_key(key.trim()))
    }

    /// A client of the model itself, past the gateway.
    pub(super) fn model_client(&self) -> Client {
        Client::new(&self.model_url())
    }

    /// Stops everything: the gateway in order, so that it stops its own children, the model at once.
    pub(super) async fn close(&mut self) {
        self.close_gateway().await;
        self.model = None;
    }

    /// Asks the gateway to stop (SIGTERM) and waits until it has.
    pub(super) async fn close_gateway(&mut self) {
        if let Some(mut gateway) = self.gateway.take() {
            let _ = gateway.terminate();
            // One that does not stop is killed when it is dropped.
            let _ = gateway.wait_for_end(STOP_LIMIT).await;
        }
    }

    /// Takes away what nobody asked to keep.
    pub(super) fn clear(&self, is_kept: bool) -> Result<(), Exit> {
        if !self.is_temporary || is_kept {
            return Ok(());
        }
        let removed = fs::remove_dir_all(&self.directory);
        removed.map_err(|error| Exit::io(format!("can't remove `{}`: {error}", self.directory.display())))
    }
}

/// Makes the directory for its owner only. One that is there already must be empty: the journal of another run would tell another story.
fn make_directory(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    match fs::read_dir(path)?.next() {
        Some(_) => Err(std::io::Error::other("it is not empty")),
        None => Ok(()),
    }
}

/// Where a replica is asked.
pub(super) fn replica_url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// That many bytes nobody can guess, in hexadecimal.
fn secret(length: usize) -> Result<String, Exit> {
    let bytes = entropy::bytes::<32>().map_err(|error| Exit::system(error.to_string()))?;
    Ok(Digest(bytes).to_string().chars().take(2 * length).collect())
}
