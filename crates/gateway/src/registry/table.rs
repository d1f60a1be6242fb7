//! The table `registry` of the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_domain::ids::{AgentName, LabelName, PrincipalName, ServerName};
use portcullis_domain::registry::Replica;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::amount::Dollars;
use crate::credential::{self, Secret};
use crate::registry::credential::CredentialTable;

/// How long a start may wait for tool servers at most, in seconds.
const TOOLS_WAIT_LIMIT_S: u64 = 600;

/// What there is to call.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryTable {
    /// Models by the name that callers use.
    pub models: BTreeMap<String, ModelTable>,
    /// MCP servers. Their tools are called `server__tool`.
    #[schemars(with = "BTreeMap<String, ToolServerTable>")]
    pub servers: BTreeMap<ServerName, ToolServerTable>,
    /// Agents, by the name that callers use in `/agents/<agent>` or `/a2a/<agent>`, or as a model's name, and that policies know as `Agent::"…"`.
    #[schemars(with = "BTreeMap<String, AgentTable>")]
    pub agents: BTreeMap<AgentName, AgentTable>,
    /// Whether agents get tools for the scratchpad of their session: `portcullis__state_list`, `…get`, `…put` and `…delete`, which policies judge as all tools. Reading it as MCP resources needs no tools.
    pub session_tools: bool,
    /// A PEM file with certificates of authorities that models, servers and agents may have theirs from, besides those of the web. Read at each start, relative to this file.
    pub ca_file: Option<PathBuf>,
    /// Selections of tools that are served without the server's name at `/mcp/<toolset>`. Every server is a toolset of its own name.
    pub toolsets: BTreeMap<String, Vec<String>>,
    /// How long a start or a reload waits for servers to say which tools they have, in seconds: 600 at most. One that takes longer joins when it answers, and until then has the tools that it had before.
    pub tools_wait_s: u64,
}

impl Default for RegistryTable {
    fn default() -> Self {
        Self {
            models: BTreeMap::new(),
            servers: BTreeMap::new(),
            agents: BTreeMap::new(),
            session_tools: false,
            ca_file: None,
            toolsets: BTreeMap::new(),
            tools_wait_s: 2,
        }
    }
}

/// A model behind an OpenAI-compatible API.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelTable {
    /// The URL before `/chat/completions`, as in `https://api.openai.com/v1`. One with `deployments` has none of its own.
    #[serde(default)]
    pub base_url: String,
    /// Where it runs, if in several places. A session stays with the one that it was given, so that its prompts are found in the provider's cache.
    #[serde(default)]
    pub deployments: Vec<DeploymentTable>,
    /// The key that is sent to it, as in `${OPENAI_API_KEY}`. Callers never see it.
    pub api_key: Option<Secret>,
    /// A file with that key, read at each start and reload.
    pub api_key_file: Option<PathBuf>,
    /// What is sent instead of a fixed key: a token for whoever calls, or one for the gateway that an authorization server gives. It is that of all deployments that have none of their own.
    pub credential: Option<CredentialTable>,
    /// What the model is called there, if not by the same name.
    pub model: Option<String>,
    /// What it costs. Without a price it can't be called on a limited budget.
    pub price: Option<PriceTable>,
    /// The most tokens that it produces in an answer, held before each call whose request states no limit.
    #[serde(default = "default_output_tokens")]
    pub max_output_tokens: u64,
    /// How long it may take until the answer is whole; in streams, until the next piece. In seconds.
    #[serde(default = "default_timeout_s")]
    pub timeout_s: u64,
}

/// One of the places that a model runs in. It is called by the same name in all of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeploymentTable {
    /// The URL before `/chat/completions`. It stands in the journal, so it has no credentials in it.
    pub base_url: String,
    /// What tells it from others with the same URL.
    pub name: Option<String>,
    /// The key that is sent to it, as in `${OPENAI_API_KEY}`. Callers never see it.
    pub api_key: Option<Secret>,
    /// A file with that key, read at each start and reload.
    pub api_key_file: Option<PathBuf>,
    /// What is sent instead of a fixed key, if not what the model has for all of them. No deployment is shown another kind of credential than the others.
    pub credential: Option<CredentialTable>,
    /// What it costs here, if not what the model costs elsewhere.
    pub price: Option<PriceTable>,
    /// Whether it takes no new calls: its sessions move to others with their next one.
    pub draining: bool,
}

fn default_output_tokens() -> u64 {
    16_384
}

fn default_timeout_s() -> u64 {
    600
}

/// US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// For tokens that are sent.
    pub input: Dollars,
    /// For tokens that are produced.
    pub output: Dollars,
}

/// What an agent speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentProtocol {
    /// Whatever it likes, over plain HTTP: it is called at `/agents/<agent>/…`.
    #[default]
    Http,
    /// Agent2Agent, 1.0 or 0.3: it is called at `/a2a/<agent>`.
    A2a,
    /// OpenAI Chat Completions: it is called at `/v1/chat/completions` and `/v1/responses` like a model of its name.
    Openai,
}

/// Who tells an agent what was said before its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentHistory {
    /// The client, which sends the whole conversation each time.
    #[default]
    Client,
    /// The gateway: clients send only what is new, and a replica that does not know the session gets what was said before in front of it.
    Replay,
}

/// An agent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentTable {
    /// What it speaks.
    pub protocol: AgentProtocol,
    /// Who it is when it calls: a principal that policies judge beside the one that it acts for. Without one, it is the principal of its own name.
    #[schemars(with = "Option<String>")]
    pub principal: Option<PrincipalName>,
    /// Whether it may call with a key of its own for nobody but itself, besides acting for others by the task tokens that come with its tasks.
    pub alone: bool,
    /// Whether its task tokens count only together with a key of its own: the key in `Authorization`, the token in `Portcullis-Task`. A token that was stolen is then worth nothing by itself.
    pub bound: bool,
    /// Where its replicas are: what stands behind `/agents/<agent>`, or `/chat/completions`, is put behind one of these. One that speaks Agent2Agent shows its card there, and of the interfaces in it the paths are taken. A session stays with the replica that it was given.
    pub replicas: Vec<String>,
    /// Those of the replicas that take no new turns: their sessions move to others with their next turn.
    pub draining: Vec<String>,
    /// The port at which its replicas speak gRPC, if it is another one than that of their URLs.
    pub grpc_port: Option<u16>,
    /// A bearer token that is sent to it. What callers send as `Authorization` is for the gateway and goes no further.
    pub token: Option<Secret>,
    /// A file with that token. The gateway notices when it changes.
    pub token_file: Option<PathBuf>,
    /// What is sent instead of a fixed token: one for whoever calls, or one for the gateway that an authorization server gives.
    pub credential: Option<CredentialTable>,
    /// The path that is asked whether a replica is well, as in `/healthz`: any status below 400 is. Without one, being connected to is enough.
    pub health: Option<String>,
    /// The path that a session's state is posted to when the session moves to another replica, before the turn. Agents that speak Agent2Agent are told with the message instead.
    pub hydrate: Option<String>,
    /// Who tells a replica what was said before, for agents with `protocol: openai`.
    pub history: AgentHistory,
    /// The keys that the card of an agent by Agent2Agent must be signed with, as a JWKS (RFC 7517): its file, or the JSON itself. A card that is not validly signed with one of them is not used, and the agent can't be called. Without keys, signatures are not looked at.
    pub card_keys: Option<String>,
    /// How long a replica may take until the head of its answer, and then until each piece, in seconds.
    pub timeout_s: Option<u64>,
    /// How many calls a replica takes at a time.
    pub calls_limit: Option<usize>,
}

impl AgentTable {
    /// Who the agent of that name is when it calls.
    ///
    /// # Errors
    ///
    /// A sentence; none in practice, since both kinds of names are of one alphabet.
    pub fn principal(&self, name: &AgentName) -> Result<PrincipalName, String> {
        self.principal.clone().map_or_else(|| name.as_str().parse(), Ok)
    }
}

/// Whose upstream session a tool call is made in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamSession {
    /// All sessions share one.
    #[default]
    Shared,
    /// Every session has its own: for servers that remember in the session what they are doing.
    PerSession,
}

/// An MCP server: `url`, `urls` or `command`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ToolServerTable {
    /// Its Streamable HTTP endpoint.
    pub url: Option<String>,
    /// The endpoints of its replicas, with `session: per_session`: a session stays with the one that it was given while that one lives.
    pub urls: Vec<String>,
    /// Whether sessions share the server's session, or its program, or each has its own.
    pub session: UpstreamSession,
    /// How many sessions may have one of their own at a time: by default 1,000 over HTTP, and 32 programs.
    pub sessions_limit: Option<usize>,
    /// After how long without a call a session's own is ended, in seconds: by default 900.
    pub session_idle_s: Option<u64>,
    /// A bearer token that is sent to the endpoint.
    pub token: Option<Secret>,
    /// A file with that token. The gateway notices when it changes.
    pub token_file: Option<PathBuf>,
    /// What is sent instead of a fixed token: one for whoever calls, or one for the gateway that an authorization server gives.
    pub credential: Option<CredentialTable>,
    /// The program that serves MCP on its standard input and output, with its arguments; no shell is involved. It is started again when it ends.
    pub command: Vec<String>,
    /// Variables that are set for the program, besides `PATH`, `HOME`, `LANG` and `TMPDIR`. It gets nothing else of the gateway's environment.
    pub env: BTreeMap<String, Secret>,
    /// Who it is when it calls, if it is an agent: its tools are then handed a task token as `portcullis/task` in `_meta`, and may call for the caller with it.
    #[schemars(with = "Option<String>")]
    pub principal: Option<PrincipalName>,
    /// The directory that the program runs in, relative to the configuration file.
    pub directory: Option<PathBuf>,
    /// How long a call of a tool may take, in seconds.
    pub timeout_s: Option<u64>,
    /// How far what its tools say is to be believed, by the tool's name at the server; `*` is for all that are not named. What is not said is believed in nothing.
    pub sources: BTreeMap<String, SourceTable>,
}

/// How far what a tool says is to be believed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SourceTable {
    /// Whether all of it comes from whoever runs the gateway, or from somebody they vouch for.
    pub trusted: bool,
    /// The fields, at any depth of what it says in JSON or YAML, whose values are vouched for: such as the recipients of one's own past payments. Nobody else may choose what stands there.
    pub vouches_for: Vec<String>,
    /// Records that rules may read as `context.stated`, by the name of the statement: the fields of what it says in JSON or YAML, the first of which is the key; `field=value` must have that value. What is stated of a key anew takes the place of what was stated before.
    pub states: BTreeMap<String, Vec<String>>,
    /// What sessions are marked with that have heard it.
    #[schemars(with = "Vec<String>")]
    pub labels: Vec<LabelName>,
}

impl ToolServerTable {
    /// The same with the token that stands in its file now; paths are relative to `base`.
    ///
    /// # Errors
    ///
    /// A sentence when the file can't be read, or too many things are said to be sent.
    pub fn resolved(&self, base: &Path) -> Result<Self, String> {
        let said = [self.token.is_some(), self.token_file.is_some(), self.credential.is_some()];
        if said.iter().filter(|is_said| **is_said).count() > 1 {
            return Err("has more than one of `token`, `token_file` and `credential`".to_owned());
        }
        let Some(credential) = &self.credential else {
            return Ok(Self { token: fixed(&self.token, &self.token_file, base)?, ..self.clone() });
        };
        credential.check(base)?;
        if self.url.is_none() && self.urls.is_empty() {
            return Err("has a `credential` and no `url` to send it to".to_owned());
        }
        if credential.is_discovered() && (self.url.is_none() || !self.urls.is_empty()) {
            return Err(
                "has `issuers` in its `credential`: it needs one `url`, at which it says whose tokens it takes"
                    .to_owned(),
            );
        }
        // Of the versions with sessions, the server knows whose its session is.
        if credential.exchange.is_some() && self.session != UpstreamSession::PerSession {
            return Err(
                "has `credential.exchange`, so that no two users may share a session: it needs `session: per_session`"
                    .to_owned(),
            );
        }
        Ok(self.clone())
    }

    /// The replicas that there is a choice between; none where there is no choice.
    #[must_use]
    pub fn replicas(&self) -> Vec<Replica> {
        if self.urls.len() < 2 { Vec::new() } else { self.urls.iter().map(|url| Replica::at(url)).collect() }
    }
}

/// The token that is always sent, from where it stands.
///
/// # Errors
///
/// A sentence when it stands in two places, or its file can't be read.
pub fn fixed(token: &Option<Secret>, file: &Option<PathBuf>, base: &Path) -> Result<Option<Secret>, String> {
    match (token, file) {
        (Some(_), Some(_)) => Err("has both `token` and `token_file`".to_owned()),
        (token, None) => Ok(token.clone()),
        (None, Some(file)) => credential::read_file(&base.join(file)).map(|token| Some(Secret(token))),
    }
}

impl RegistryTable {
    /// How long servers are waited for.
    #[must_use]
    pub fn tools_wait(&self) -> Duration {
        Duration::from_secs(self.tools_wait_s.min(TOOLS_WAIT_LIMIT_S))
    }

    /// What is wrong with how long that is.
    #[must_use]
    pub fn tools_wait_problem(&self) -> Option<String> {
        let is_too_long = self.tools_wait_s > TOOLS_WAIT_LIMIT_S;
        is_too_long.then(|| format!("`registry.tools_wait_s` is {TOOLS_WAIT_LIMIT_S} at most"))
    }

    /// All tables `credential`, with what they belong to.
    pub fn credentials(&self) -> impl Iterator<Item = (String, &CredentialTable)> {
        let of = |at: String| move |credential| (at.clone(), credential);
        let models = self.models.iter().flat_map(move |(name, model)| {
            let places = model.deployments.iter().filter_map(|place| place.credential.as_ref());
            places.chain(&model.credential).map(of(format!("registry.models.{name}")))
        });
        let servers = self
            .servers
            .iter()
            .flat_map(move |(name, server)| server.credential.iter().map(of(format!("registry.servers.{name}"))));
        let agents = self
            .agents
            .iter()
            .flat_map(move |(name, agent)| agent.credential.iter().map(of(format!("registry.agents.{name}"))));
        models.chain(servers).chain(agents)
    }

    /// The files that secrets of upstreams are in and are read from when the configuration is taken in.
    pub fn secret_files(&self) -> impl Iterator<Item = &PathBuf> {
        let models = self.models.values().flat_map(|model| {
            model.deployments.iter().filter_map(|place| place.api_key_file.as_ref()).chain(&model.api_key_file)
        });
        let servers = self.servers.values().filter_map(|server| server.token_file.as_ref());
        models.chain(servers).chain(self.agents.values().filter_map(|agent| agent.token_file.as_ref()))
    }
}
