//! The official clients against the binary, with the official sample server behind it, over standard input and output and over HTTP, and the official Agent2Agent libraries of both versions as clients and as agents.
//!
//! The clients and what they must be able to do are in `tests/clients`; `cargo xtask test` installs their libraries and runs these tests with the others.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_testkit::http::Client;
use portcullis_testkit::process::ChildProcess;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{Gateway, LIMIT, free_port};
use crate::issuer::{TestIssuer, TokenKey};
use crate::scene::{MODEL_KEY, Scene, Setup, Upstream, tools_client};

/// The variable by which `cargo xtask` says where the libraries are.
const VARIABLE: &str = "PORTCULLIS_CLIENTS";
/// Both of its ways in have the same tools; they differ in how the gateway reaches them.
const SERVERS: [&str; 2] = ["everything", "remote"];

/// The bindings of Agent2Agent, and those of HTTP/1.
const BINDINGS: &[&str] = &["JSONRPC", "HTTP+JSON", "GRPC"];
const WITHOUT_GRPC: &[&str] = &["JSONRPC", "HTTP+JSON"];

const RULES: &str = r#"
permit (principal, action, resource);
@message("Limit Exceeded. Escalate to Manager.")
forbid (principal, action in [Action::"everything__get-sum", Action::"remote__get-sum"], resource)
when { context.arguments.a.greaterThan(decimal("10000.0")) };
"#;

#[expect(clippy::disallowed_methods, reason = "where the libraries are is known to whoever runs the tests")]
pub(crate) fn libraries() -> PathBuf {
    let folder =
        std::env::var_os(VARIABLE).unwrap_or_else(|| panic!("`{VARIABLE}` is not set: run `cargo xtask test`"));
    PathBuf::from(folder)
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients")
}

/// The gateway, the sample server that it reaches over HTTP, and the model.
struct Stage {
    gateway: Gateway,
    everything: ChildProcess,
    everything_port: u16,
    _model: Upstream,
    folder: TempDir,
}

impl Stage {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = libraries().join("servers/node_modules/@modelcontextprotocol/server-everything/dist/index.js");
        assert!(program.is_file(), "{} is missing: run `cargo xtask clients`", program.display());
        let everything_port = free_port();
        let everything = serve(everything_port, &folder.path().join("everything.log")).await;
        let model = Upstream::model(&["scripted"]).await;
        let setup = Setup {
            principals: "{ ann: {}, poor: {} }",
            servers: format!(
                "{{ everything: {{ command: [node, '{}'] }}, remote: {{ url: 'http://127.0.0.1:{everything_port}/mcp' }} }}\n  session_tools: true",
                program.display()
            ),
            ledger: "{ budgets: { poor: { usd: 0.000001 } } }",
            ..Setup::default()
        };
        let gateway = Gateway::start(&setup.config(&model.url, ""), &[("rules.cedar", RULES)]).await;
        gateway.keep_secret(MODEL_KEY);
        Self { gateway, everything, everything_port, _model: model, folder }
    }

    /// Runs a client to its end, which must be a good one, and so many of its checks must have been made.
    async fn play(&self, mut command: Command, variables: &[(&str, &str)], checks: usize) {
        let key = self.gateway.key("ann").await;
        command
            .env("PORTCULLIS_URL", self.gateway.url())
            .env("PORTCULLIS_KEY", key)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(variables.iter().copied());
        let output = tokio::process::Command::from(command).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{variables:?}\n{said}{}", String::from_utf8_lossy(&output.stderr));
        let made = said.lines().filter(|line| line.starts_with("ok ")).count();
        assert!(made >= checks, "only {made} checks were made\n{said}");
    }

    /// Runs an MCP client against both ways to the sample server.
    async fn play_tools(&self, command: impl Fn(&Path) -> Command, checks: usize) {
        for server in SERVERS {
            let denied = format!("{server}__get-sum");
            let arguments = json!({"a": 50_000, "b": 1}).to_string();
            let variables = [("PORTCULLIS_SERVER", server), ("DENIED_TOOL", &denied), ("DENIED_ARGS", &arguments)];
            self.play(command(self.folder.path()), &variables, checks).await;
        }
        let refused = self.gateway.refused();
        assert!(refused.iter().any(|refused| refused.message == "Limit Exceeded. Escalate to Manager."), "{refused:?}");
    }
}

/// The sample server over HTTP, at loopback only.
async fn serve(port: u16, log: &Path) -> ChildProcess {
    let package = libraries().join("servers/node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let mut command = Command::new("node");
    command
        .arg("-r")
        .arg(sources().join("servers/loopback.cjs"))
        .arg(package)
        .arg("streamableHttp")
        .env("PORT", port.to_string());
    let mut everything = ChildProcess::spawn(command, log).unwrap();
    let client = Client::new(&format!("http://127.0.0.1:{port}"));
    let is_there = || async { client.get("/mcp").await.is_ok() };
    everything.wait_until("the sample server listens", LIMIT, is_there).await.unwrap();
    everything
}

/// The official agents of both versions behind a gateway.
struct AgentStage {
    gateway: Gateway,
    _agents: Vec<ChildProcess>,
    folder: TempDir,
}

impl AgentStage {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut agents = Vec::new();
        for (name, environment, grpc_port) in [
            ("new", "a2a10", None),
            ("old", "a2a03", None),
            ("newgrpc", "a2a10", Some(free_port())),
            ("oldgrpc", "a2a03", Some(free_port())),
        ] {
            let (agent, url) = serve_agent(environment, name, grpc_port, folder.path()).await;
            let port = grpc_port.map(|port| format!(", grpc_port: {port}")).unwrap_or_default();
            agents.push((name, agent, format!("replicas: ['{url}']{port}")));
        }
        Self::of(folder, agents).await
    }

    /// The agent that the TypeScript library makes.
    async fn typescript() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = node_a2a(folder.path(), "a2ajs10", "agent.mjs");
        command.arg(port.to_string());
        let (agent, url) = listening(command, port, &folder.path().join("js.log")).await;
        Self::of(folder, vec![("js", agent, format!("replicas: ['{url}']"))]).await
    }

    /// An agent of 0.3 that has HTTP+JSON alone.
    async fn old_rest() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = python("a2a03", "a2a03_agent.py");
        command.args([port.to_string().as_str(), "HTTP+JSON"]).env("PYTHONDONTWRITEBYTECODE", "1");
        let (agent, url) = listening(command, port, &folder.path().join("rest.log")).await;
        Self::of(folder, vec![("rest", agent, format!("replicas: ['{url}']"))]).await
    }

    async fn of(folder: TempDir, agents: Vec<(&str, ChildProcess, String)>) -> Self {
        let setup = Setup { models: "{}".to_owned(), servers: "{}".to_owned(), ..Setup::default() };
        let table = |(name, _, how): &(&str, _, String)| format!("{name}: {{ protocol: a2a, {how} }}");
        let tables: Vec<String> = agents.iter().map(table).collect();
        let agents = agents.into_iter().map(|(_, agent, _)| agent).collect();
        let tables = format!("  agents: {{ {} }}\n", tables.join(", "));
        let config = setup.config("", "").replace("policy:", &format!("{tables}policy:"));
        let everything = "permit (principal, action, resource);";
        let gateway = Gateway::start(&config, &[("rules.cedar", everything)]).await;
        Self { gateway, _agents: agents, folder }
    }

    /// Runs a client against all agents of the Python library, by these bindings.
    async fn play(&self, bindings: &[&str], client: impl Fn(&Path) -> Command, checks: usize) {
        self.play_at(&["new", "old", "newgrpc", "oldgrpc"], bindings, client, checks).await;
    }

    async fn play_at(&self, agents: &[&str], bindings: &[&str], client: impl Fn(&Path) -> Command, checks: usize) {
        let (key, other) = (self.gateway.key("ann").await, self.gateway.key("bob").await);
        for (agent, binding) in agents.iter().flat_map(|agent| bindings.iter().map(move |binding| (agent, binding))) {
            let mut command = client(self.folder.path());
            command
                .env("PORTCULLIS_URL", self.gateway.url())
                .env("PORTCULLIS_KEY", &key)
                .env("PORTCULLIS_OTHER_KEY", &other)
                .env("PORTCULLIS_AGENT", agent)
                .env("PORTCULLIS_BINDING", binding)
                .env("PYTHONDONTWRITEBYTECODE", "1");
            let output = tokio::process::Command::from(command).output().await.unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{agent} by {binding}\n{said}{errors}\n{}", self.gateway.log());
            let made = said.lines().filter(|line| line.starts_with("ok ")).count();
            assert!(made >= checks, "{agent} by {binding}: only {made} checks were made\n{said}");
        }
    }
}

/// Runs the command line client of Agent2Agent; what it prints, or that it failed and why. It asks for the card without saying in which version, so its URL does.
async fn a2acli(stage: &AgentStage, key: &str, agent: &str, transport: &str, words: &[&str]) -> Result<Value, String> {
    let mut command = tokio::process::Command::new(libraries().join("a2acli/bin/a2acli"));
    let card = format!("{}/a2a/{agent}/.well-known/agent-card.json?A2A-Version=1.0", stage.gateway.url());
    command.args(["--output", "json", "--compact", "--agent-card", &card, "--bearer", key, "--transport", transport]);
    // Neither the user's settings nor those of the folder count.
    command.args(words).current_dir(stage.folder.path()).env("HOME", stage.folder.path());
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(said + &String::from_utf8_lossy(&output.stderr));
    }
    let lines = said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")));
    Ok(Value::Array(lines.collect()))
}

/// By gRPC it is called at a port of its own.
async fn serve_agent(environment: &str, name: &str, grpc_port: Option<u16>, folder: &Path) -> (ChildProcess, String) {
    let port = free_port();
    let mut command = python(environment, &format!("{environment}_agent.py"));
    command.arg(port.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(grpc_port.map(|port| port.to_string()));
    listening(command, port, &folder.join(format!("{name}.log"))).await
}

/// An agent, once it listens at that port, and where it does.
async fn listening(command: Command, port: u16, log: &Path) -> (ChildProcess, String) {
    let mut agent = ChildProcess::spawn(command, log).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let client = Client::new(&url);
    let is_there = || async { client.get("/.well-known/agent-card.json").await.is_ok() };
    agent.wait_until("the agent listens", LIMIT, is_there).await.unwrap();
    (agent, url)
}

pub(crate) fn python(environment: &str, script: &str) -> Command {
    let mut command = Command::new(libraries().join(environment).join("bin/python"));
    command.arg(sources().join("python").join(script));
    command
}

/// A script of Agent2Agent, which has libraries of its own.
fn node_a2a(folder: &Path, environment: &str, script: &str) -> Command {
    let folder = folder.join(environment);
    if !folder.exists() {
        std::fs::create_dir(&folder).unwrap();
        let modules = libraries().join(environment).join("node_modules");
        std::os::unix::fs::symlink(modules, folder.join("node_modules")).unwrap();
    }
    for (from, file) in [(environment, script), ("a2ajs", "harness.mjs")] {
        std::fs::copy(sources().join(from).join(file), folder.join(file)).unwrap();
    }
    let mut command = Command::new("node");
    command.arg(folder.join(script));
    command
}

/// Modules are looked for beside the script, so the scripts are copied to where the modules can be as well.
pub(crate) fn node(folder: &Path, script: &str) -> Command {
    for file in ["mcp1.mjs", "mcp2.mjs", "elicit.mjs", "elicit1.mjs", "elicit2.mjs", "scenario.mjs"] {
        std::fs::copy(sources().join("ts").join(file), folder.join(file)).unwrap();
    }
    if !folder.join("node_modules").exists() {
        std::os::unix::fs::symlink(libraries().join("ts/node_modules"), folder.join("node_modules")).unwrap();
    }
    let mut command = Command::new("node");
    command.arg(folder.join(script));
    command
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_python_client_of_openai_works() {
    let stage = Stage::start().await;
    let poor = stage.gateway.key("poor").await;
    let prompt = r#"CALL weather {"city":"Chicago"}"#;
    let variables = [("PORTCULLIS_POOR_KEY", poor.as_str()), ("TOOL_PROMPT", prompt)];
    stage.play(python("mcp2", "openai_check.py"), &variables, 41).await;
    stage.gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_python_client_of_mcp_1_works() {
    let stage = Stage::start().await;
    stage.play_tools(|_| python("mcp1", "mcp1_check.py"), 26).await;
    stage.gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_python_client_of_mcp_gets_itself_a_token() {
    let key = Arc::new(TokenKey::new("key-1", "ES256"));
    let issuer = TestIssuer::start(key).await;
    let table = issuer
        .table(", audiences: ['http://127.0.0.1:{PORT}/mcp'], roles: { claim: roles, map: { adjusters: [junior] } }");
    let principals = format!("{{}}, issuers_allowed: [127.0.0.1], issuers: {{ corp: {{ {table} }} }}");
    let scene = Scene::of(&Setup { principals: Box::leak(principals.into_boxed_str()), ..Setup::default() }).await;
    let mut command = python("mcp1", "mcp1_oauth_check.py");
    command.env("PORTCULLIS_URL", scene.gateway.url()).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = tokio::process::Command::from(command).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}\n{}", scene.gateway.log());
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 5, "{said}");
    scene.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_python_client_of_mcp_2_works() {
    let stage = Stage::start().await;
    stage.play_tools(|_| python("mcp2", "mcp2_check.py"), 73).await;
    stage.gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_python_server_of_mcp_2_knows_every_session_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = python("mcp2", "mcp2_counter.py");
    command.arg(port.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut server = ChildProcess::spawn(command, &folder.path().join("counter.log")).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let is_there = || async { Client::new(&url).get("/mcp").await.is_ok() };
    server.wait_until("the server listens", LIMIT, is_there).await.unwrap();
    let servers = format!("{{ own: {{ url: '{url}/mcp', session: per_session }} }}");
    let setup = Setup { models: "{}".to_owned(), servers, ..Setup::default() };
    let gateway =
        Gateway::start(&setup.config("", ""), &[("rules.cedar", "permit (principal, action, resource);")]).await;
    let client = gateway.client("ann").await;
    for (session, expected) in [("a", "1 of 1"), ("b", "1 of 2"), ("a", "2 of 2"), ("b", "2 of 2"), ("a", "3 of 2")] {
        let mut tools = tools_client(&client, "/mcp", Some(session));
        assert_eq!(tools.call_tool("own__count", "{}", None).await.unwrap().text, expected);
    }
    gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_typescript_sdk_1_works() {
    let stage = Stage::start().await;
    stage.play_tools(|folder| node(folder, "mcp1.mjs"), 26).await;
    stage.gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_typescript_client_2_works() {
    let stage = Stage::start().await;
    stage.play_tools(|folder| node(folder, "mcp2.mjs"), 49).await;
    stage.gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_python_client_of_a2a_1_0_works() {
    let stage = AgentStage::start().await;
    stage.play(BINDINGS, |_| python("a2a10", "a2a10_check.py"), 29).await;
    stage.gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_python_library_of_a2a_1_0_verifies_cards_and_is_told_news() {
    let folder = tempfile::tempdir().unwrap();
    let (_agent, url) = serve_agent("a2a10", "a2a10", None, folder.path()).await;
    // The public half of the key that the agent signs its card with.
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "agent-1", "x": x}]});
    let server = ", public_url: 'http://127.0.0.1:{PORT}', push_allowed: ['127.0.0.1']";
    let setup = Setup { server, models: "{}".to_owned(), servers: "{}".to_owned(), ..Setup::default() };
    let agents = format!("  agents: {{ new: {{ protocol: a2a, replicas: ['{url}'], card_keys: '{keys}' }} }}\n");
    let config = setup.config("", "").replace("policy:", &format!("{agents}policy:"));
    let gateway = Gateway::start(&config, &[("rules.cedar", "permit (principal, action, resource);")]).await;
    let key = gateway.key("ann").await;
    for binding in ["JSONRPC", "HTTP+JSON"] {
        let mut command = python("a2a10", "a2a10_push_check.py");
        command
            .env("PORTCULLIS_URL", gateway.url())
            .env("PORTCULLIS_KEY", &key)
            .env("PORTCULLIS_AGENT", "new")
            .env("PORTCULLIS_BINDING", binding)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let output = tokio::process::Command::from(command).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{binding}\n{said}{errors}\n{}", gateway.log());
        assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 10, "{said}");
    }
    gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_python_client_of_a2a_0_3_works() {
    let stage = AgentStage::start().await;
    stage.play(BINDINGS, |_| python("a2a03", "a2a03_check.py"), 25).await;
    stage.gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_typescript_client_of_a2a_1_0_works() {
    let stage = AgentStage::start().await;
    stage.play(BINDINGS, |folder| node_a2a(folder, "a2ajs10", "check.mjs"), 10).await;
    stage.gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_typescript_client_of_a2a_0_3_works() {
    let stage = AgentStage::start().await;
    stage.play(BINDINGS, |folder| node_a2a(folder, "a2ajs03", "check.mjs"), 10).await;
    stage.gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn an_agent_by_the_typescript_library_works_behind_the_gateway() {
    let stage = AgentStage::typescript().await;
    for environment in ["a2ajs10", "a2ajs03"] {
        stage.play_at(&["js"], BINDINGS, |folder| node_a2a(folder, environment, "check.mjs"), 10).await;
    }
    stage.gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn an_agent_of_0_3_that_has_http_json_alone_works_behind_the_gateway() {
    let stage = AgentStage::old_rest().await;
    stage.play_at(&["rest"], WITHOUT_GRPC, |_| python("a2a10", "a2a10_check.py"), 29).await;
    stage.play_at(&["rest"], WITHOUT_GRPC, |_| python("a2a03", "a2a03_check.py"), 25).await;
    stage.gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_command_line_client_of_a2a_works() {
    let stage = AgentStage::start().await;
    let (key, other) = (stage.gateway.key("ann").await, stage.gateway.key("bob").await);
    for (agent, transport) in [("new", "jsonrpc"), ("new", "rest"), ("old", "jsonrpc"), ("old", "rest")] {
        let run = async |key: &str, words: &[&str]| a2acli(&stage, key, agent, transport, words).await;
        let card = run(&key, &["card", "get", "--validate"]).await.unwrap();
        assert!(card.to_string().contains("adjuster"));
        let sent = run(&key, &["send", "hello"]).await.unwrap();
        assert!(sent.to_string().contains("echo hello"), "{sent}");
        let streamed = run(&key, &["send", "hello", "--stream"]).await.unwrap();
        assert!(streamed.to_string().contains("echo hello"), "{streamed}");
        let waiting = run(&key, &["send", "wait"]).await.unwrap();
        let task = waiting.pointer("/0/task").or(waiting.pointer("/0")).unwrap();
        let (id, context) = (task["id"].as_str().unwrap(), task["contextId"].as_str().unwrap());
        assert_eq!(task["status"]["state"], "TASK_STATE_INPUT_REQUIRED");
        let got = run(&key, &["task", "get", id]).await.unwrap();
        assert!(got.to_string().contains("TASK_STATE_INPUT_REQUIRED"));
        let listed = run(&key, &["task", "list", "--context-id", context]).await;
        match listed {
            Ok(listed) => assert!(agent == "new" && listed.to_string().contains(id), "{listed}"),
            // Version 0.3 has no such method.
            Err(refused) => assert!(agent == "old" && refused.contains("-32004"), "{refused}"),
        }
        for words in [["task", "get", id], ["task", "cancel", id], ["task", "subscribe", id]] {
            let refused = run(&other, &words).await.unwrap_err();
            assert!(refused.contains("-32001") || refused.to_lowercase().contains("not found"), "{refused}");
        }
        let done = run(&key, &["send", "more", "--task-id", id, "--context-id", context]).await.unwrap();
        assert!(done.to_string().contains("TASK_STATE_COMPLETED"), "{done}");
        let over = run(&key, &["task", "cancel", id]).await.unwrap_err();
        assert!(over.to_lowercase().contains("cancel"), "{over}");
        let nobody = run("pk_nothing", &["task", "get", id]).await.unwrap_err();
        assert!(nobody.contains("401") || nobody.to_lowercase().contains("auth"), "{nobody}");
    }
    stage.gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_sample_server_may_be_restarted_at_any_time() {
    let mut stage = Stage::start().await;
    let client = stage.gateway.client("ann").await;
    let mut calls = tools_client(&client, "/mcp/remote", None);
    let echo = r#"{"message":"hi"}"#;
    assert_eq!(calls.call_tool("echo", echo, None).await.unwrap().text, "Echo: hi");
    stage.everything.kill().unwrap();
    let lost = calls.call_tool("echo", echo, None).await.unwrap();
    assert!(lost.is_error, "{lost:?}");
    stage.everything = serve(stage.everything_port, &stage.folder.path().join("everything.log")).await;
    assert_eq!(calls.call_tool("echo", echo, None).await.unwrap().text, "Echo: hi");
    stage.gateway.finish().await;
}
