//! Where it happens: a folder, the servers behind the gateway, and the gateway's process, one after the other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use portcullis_testkit::http::Client;
use portcullis_testkit::model::{self, ModelOptions};
use portcullis_testkit::process::{ChildProcess, listen};
use portcullis_testkit::tool_server::{self, Era, ToolServerOptions};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::gateway::{LIMIT, free_port, portcullis, processor_ticks};
use crate::scene::TOOLS_WAIT_S;

/// The servers of tools, by the names that the configuration gives them: over HTTP in the modern and in the older way, and a child process.
pub(super) const SERVERS: [&str; 3] = [MODERN, LEGACY, CHILD];
pub(super) const MODERN: &str = "modern";
pub(super) const LEGACY: &str = "legacy";
pub(super) const CHILD: &str = "claims";

/// Who calls. The budget of the last one is soon exhausted.
pub(super) const PRINCIPALS: [&str; 3] = ["ann", "bob", POOR];
pub(super) const POOR: &str = "poor";
/// Keys come and go for them.
pub(super) const GUEST: &str = "guest";

/// Amounts above it are denied.
pub(super) const LIMIT_OF_AMOUNTS: u64 = 10_000;

/// How often it is looked whether the gateway is ready; what a start took is known that exactly.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How long a tick of the processor's clock is (`USER_HZ` is 100 on every Linux).
const MS_OF_TICK: u64 = 10;

const RULES: &str = r#"
@id("everything")
permit (principal, action, resource) unless { principal == Principal::"guest" };

@id("models")
permit (principal == Principal::"guest", action == Action::"call_model", resource);

@id("payments")
@message("Limit Exceeded. Escalate to Manager.")
forbid (principal, action == Action::"claims__approve_payment", resource)
when { context.arguments.amount.greaterThan(decimal("10000.0")) };

@id("modern-records")
@message("Limit Exceeded. Escalate to Manager.")
forbid (principal, action == Action::"modern__record", resource)
when { context.arguments.value.greaterThan(decimal("10000.0")) };

@id("legacy-records")
@message("Limit Exceeded. Escalate to Manager.")
forbid (principal, action == Action::"legacy__record", resource)
when { context.arguments.value.greaterThan(decimal("10000.0")) };
"#;

/// A folder with a data directory in it, and the servers.
pub(super) struct Site {
    folder: TempDir,
    port: u16,
    /// With `{PORT}` where the port stands.
    configuration: String,
    /// Ended when it is dropped.
    _servers: JoinSet<()>,
}

/// A gateway's process.
pub(super) struct Started {
    process: ChildProcess,
    at: Instant,
}

impl Site {
    /// A new folder and new servers.
    pub(super) async fn build() -> Self {
        let folder = tempfile::Builder::new().prefix("portcullis-crash-").tempdir().unwrap();
        let mut servers = JoinSet::new();
        let (listener, model) = listen().await.unwrap();
        let options = ModelOptions { record: Some(folder.path().join("model")), ..ModelOptions::default() };
        servers.spawn(async move { model::serve(listener, options).await.unwrap() });
        let mut urls = Vec::new();
        for (name, era) in [(MODERN, Era::Stateless), (LEGACY, Era::Sessions)] {
            let (listener, url) = listen().await.unwrap();
            let effects = folder.path().join(name);
            let options =
                ToolServerOptions { era, effects, key: None, is_events: era == Era::Sessions, is_counting: false };
            servers.spawn(async move { tool_server::serve(listener, options).await.unwrap() });
            urls.push(url);
        }
        let configuration = configuration(folder.path(), &model, &urls[0], &urls[1]);
        std::fs::write(folder.path().join("rules.cedar"), RULES).unwrap();
        let mut site = Self { folder, port: 0, configuration, _servers: servers };
        site.move_away();
        site
    }

    /// Takes another port, as when somebody else has taken this one while no gateway had it.
    pub(super) fn move_away(&mut self) {
        self.port = free_port();
        let configuration = self.configuration.replace("{PORT}", &self.port.to_string());
        std::fs::write(self.file("portcullis.yaml"), configuration).unwrap();
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client without a key.
    pub(super) fn stranger(&self) -> Client {
        Client::new(&format!("http://127.0.0.1:{}", self.port))
    }

    /// A client with the administrator's key.
    pub(super) fn admin(&self) -> Client {
        self.stranger().with_key(std::fs::read_to_string(self.file("data/admin.key")).unwrap().trim())
    }

    /// A command of the gateway's binary.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        portcullis(self.folder.path(), arguments)
    }

    #[expect(clippy::disallowed_methods, reason = "how long a start takes is what is measured")]
    pub(super) fn start(&self) -> Started {
        let at = Instant::now();
        let process = ChildProcess::spawn(self.command(&["up"]), &self.file("log")).unwrap();
        Started { process, at }
    }

    /// Waits until it takes calls. Returns how long that took since it was started.
    pub(super) async fn ready(&self, started: &mut Started) -> Result<Duration, String> {
        let client = self.stranger();
        while !client.get("/readyz").await.is_ok_and(|answer| answer.status == 200) {
            let ended = started.process.ended().unwrap();
            if ended.is_some() || started.at.elapsed() > LIMIT {
                return Err(format!("it does not start, {ended:?}; its log ends with:\n{}", self.end_of_log()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(started.at.elapsed())
    }

    /// The last lines that gateways have written.
    pub(super) fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(self.file("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Keeps the folder and says where it is.
    pub(super) fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

/// The configuration of a gateway between these servers. The child process is a program with a child of its own that does not listen to anybody: it must
/// not be left behind either.
fn configuration(folder: &Path, model: &str, modern: &str, legacy: &str) -> String {
    let script = r#"tail -f "$1" >/dev/null & exec "$2" demo part claims --payments "$1""#;
    let payments = folder.join(CHILD);
    std::fs::write(&payments, "").unwrap();
    let command = serde_json::json!(["sh", "-c", script, "sh", payments, env!("CARGO_BIN_EXE_portcullis")]);
    format!(
        "server: {{ listen: '127.0.0.1:{{PORT}}' }}\n\
         journal: {{ store: 'sqlite:data' }}\n\
         identity: {{ principals: {{ ann: {{}}, bob: {{}}, {POOR}: {{}}, {GUEST}: {{}} }} }}\n\
         registry:\n\
         \x20 tools_wait_s: {TOOLS_WAIT_S}\n\
         \x20 models:\n\
         \x20   scripted: {{ base_url: '{model}/v1', price: {{ input: 1.00, output: 2.00 }}, max_output_tokens: 200 }}\n\
         \x20 servers:\n\
         \x20   {MODERN}: {{ url: '{modern}/mcp' }}\n\
         \x20   {LEGACY}: {{ url: '{legacy}/mcp' }}\n\
         \x20   {CHILD}: {{ command: {command} }}\n\
         policy: {{ files: [rules.cedar] }}\n\
         ledger: {{ budgets: {{ {POOR}: {{ usd: 0.01 }}, ann: {{ usd: 1000 }} }}, session: {{ usd: 100 }} }}\n"
    )
}

impl Started {
    /// How much processor time it has used so far.
    pub(super) fn effort(&self) -> Duration {
        Duration::from_millis(processor_ticks(self.process.id()) * MS_OF_TICK)
    }

    /// Ends it as the system does when there is no memory left.
    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        self.process.ended().unwrap().is_some()
    }

    /// Asks it to end, and waits until it has.
    pub(super) async fn stop(&mut self) -> Result<(), String> {
        self.process.terminate().unwrap();
        let status = self.process.wait_for_end(LIMIT).await?;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}")) }
    }
}
