//! A gateway with a scripted model and a tool server behind it.

use std::path::PathBuf;

use portcullis_testkit::http::Client;
use portcullis_testkit::model::{self, ModelOptions};
use portcullis_testkit::oracle::Derived;
use portcullis_testkit::process::{listen, wait_until};
use portcullis_testkit::tool_server::{self, Era, ToolServerOptions};
use portcullis_testkit::{effects, mcp};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::gateway::{Gateway, LIMIT};

/// The key that only the gateway may know.
pub(crate) const MODEL_KEY: &str = "sk-upstream-6f1d27aa90";
/// The token that only the gateway may know.
pub(crate) const TOOLS_TOKEN: &str = "tok-upstream-b81c7730fe";

/// For how long a gateway waits for its tool servers at a start in most tests, which go on as soon as they have answered: no test is to find a tool missing on a machine with much to do.
pub(crate) const TOOLS_WAIT_S: u64 = 30;

/// What stands in the configuration, as YAML behind each key. `{MODEL}` and `{TOOLS}` stand for the URLs of the two.
pub(crate) struct Setup {
    /// More of the table `server`, each line beginning with a comma.
    pub(crate) server: &'static str,
    /// `identity.principals`.
    pub(crate) principals: &'static str,
    /// `registry.models`.
    pub(crate) models: String,
    /// `registry.servers`.
    pub(crate) servers: String,
    /// `ledger`.
    pub(crate) ledger: &'static str,
    /// `policy.rounds`.
    pub(crate) rounds: u8,
    /// More of the table `policy`, each line beginning with a comma.
    pub(crate) policy: &'static str,
    /// The file of rules.
    pub(crate) rules: &'static str,
    /// What the tool server speaks.
    pub(crate) era: Era,
    /// The models that the scripted one serves.
    pub(crate) served: &'static [&'static str],
}

/// Everybody may do everything; a junior may not record more than 10,000.
pub(crate) const RULES: &str = r#"
@id("everything")
permit (principal, action, resource);

@id("limit")
@message("Limit Exceeded. Escalate to Manager.")
forbid (principal in Role::"junior", action == Action::"tools__record", resource)
when { context.arguments.value.greaterThan(decimal("10000.0")) };
"#;

impl Default for Setup {
    fn default() -> Self {
        let model =
            format!("{{ base_url: '{{MODEL}}/v1', api_key: '{MODEL_KEY}', price: {{ input: 1.00, output: 2.00 }} }}");
        Self {
            server: "",
            principals: "{ ann: { roles: [junior] }, bob: { roles: [junior] }, boss: { roles: [senior] } }",
            models: format!("{{ scripted: {model} }}"),
            servers: format!("{{ tools: {{ url: '{{TOOLS}}/mcp', token: '{TOOLS_TOKEN}' }} }}"),
            ledger: "{}",
            rounds: 2,
            policy: "",
            rules: RULES,
            era: Era::Sessions,
            served: &["scripted"],
        }
    }
}

impl Setup {
    /// The configuration file; only the port is still to be filled in.
    pub(crate) fn config(&self, model: &str, tools: &str) -> String {
        let Self { server, principals, models, servers, ledger, rounds, policy, .. } = self;
        let text = format!(
            "server: {{ listen: '127.0.0.1:{{PORT}}'{server} }}\n\
             journal: {{ store: 'sqlite:data' }}\n\
             identity: {{ principals: {principals} }}\n\
             registry:\n  tools_wait_s: {TOOLS_WAIT_S}\n  models: {models}\n  servers: {servers}\n\
             policy: {{ files: [rules.cedar], rounds: {rounds}{policy} }}\n\
             ledger: {ledger}\n"
        );
        text.replace("{MODEL}", model).replace("{TOOLS}", tools)
    }
}

/// The gateway and what is behind it.
pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) model: Upstream,
    pub(crate) tools: Upstream,
    /// Where the tool `record` leaves its traces.
    effects: PathBuf,
    /// Holds the traces.
    _folder: tempfile::TempDir,
}

impl Scene {
    /// Everything as it is in most tests.
    pub(crate) async fn start() -> Self {
        Self::of(&Setup::default()).await
    }

    /// Everything by `setup`.
    pub(crate) async fn of(setup: &Setup) -> Self {
        Self::with(setup, |config| config).await
    }

    /// The same, with another configuration file.
    pub(crate) async fn with(setup: &Setup, change: impl FnOnce(String) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let effects = folder.path().join("effects.jsonl");
        let model = Upstream::model(setup.served).await;
        let tools = Upstream::tools(setup.era, effects.clone()).await;
        let config = change(setup.config(&model.url, &tools.url));
        let gateway = Gateway::start(&config, &[("rules.cedar", setup.rules)]).await;
        gateway.keep_secret(MODEL_KEY);
        gateway.keep_secret(TOOLS_TOKEN);
        Self { gateway, model, tools, effects, _folder: folder }
    }

    /// A client with a new key of the principal.
    pub(crate) async fn client(&self, principal: &str) -> Client {
        self.gateway.client(principal).await
    }

    /// What the tool `record` was run with, in order.
    pub(crate) fn recorded(&self) -> Vec<String> {
        effects::lines(&self.effects).unwrap()
    }

    /// Ends the test and judges the journal.
    pub(crate) async fn finish(self) -> Derived {
        self.gateway.finish().await
    }
}

/// An MCP client of the gateway, in that session if one is named.
pub(crate) fn tools_client(client: &Client, path: &str, session: Option<&str>) -> mcp::Client {
    let client = session.map_or(client.clone(), |session| client.clone().with_header("portcullis-session", session));
    mcp::Client::new(client, path)
}

/// A server of the testkit, with the record of what it was asked.
pub(crate) struct Upstream {
    pub(crate) url: String,
    /// Of no use to the gateway: it asks for the record.
    pub(crate) http: Client,
}

impl Upstream {
    /// A scripted model that serves these models to whoever has the key.
    pub(crate) async fn model(served: &[&str]) -> Self {
        let (listener, url) = listen().await.unwrap();
        let models = served.iter().map(|&name| name.to_owned()).collect();
        tokio::spawn(model::serve(listener, ModelOptions { key: Some(MODEL_KEY.to_owned()), models, record: None }));
        Self { http: Client::new(&url), url }
    }

    /// A tool server for whoever has the token.
    pub(crate) async fn tools(era: Era, effects: PathBuf) -> Self {
        Self::tools_as(era, false, effects).await
    }

    /// The same, with answers as server-sent events or not.
    pub(crate) async fn tools_as(era: Era, is_events: bool, effects: PathBuf) -> Self {
        let (listener, _) = listen().await.unwrap();
        Self::serve_tools(listener, era, is_events, effects)
    }

    /// A tool server at an address that was chosen before.
    pub(crate) fn tools_at(listener: TcpListener, effects: PathBuf) -> Self {
        Self::serve_tools(listener, Era::Sessions, false, effects)
    }

    fn serve_tools(listener: TcpListener, era: Era, is_events: bool, effects: PathBuf) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let options =
            ToolServerOptions { era, effects, key: Some(TOOLS_TOKEN.to_owned()), is_events, is_counting: false };
        tokio::spawn(tool_server::serve(listener, options));
        Self { http: Client::new(&url), url }
    }

    /// Everything that it was asked, as `{method, path, headers, body, outcome}`.
    pub(crate) async fn requests(&self) -> Vec<Value> {
        let record = self.http.get("/__requests").await.unwrap().json();
        record["requests"].as_array().unwrap().clone()
    }

    /// Forgets what it was asked so far.
    pub(crate) async fn forget(&self) {
        self.http.delete("/__requests").await.unwrap();
    }

    /// Waits until the last request ended so: `answered`, `dropped`, or `pending` for one that has only begun.
    pub(crate) async fn wait_for_outcome(&self, expected: &str) {
        let is_so = || async { self.requests().await.last().is_some_and(|last| last["outcome"] == expected) };
        wait_until(&format!("the upstream's last request is {expected}"), LIMIT, is_so).await.unwrap();
    }
}
