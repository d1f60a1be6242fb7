//! The table `registry` of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use portcullis_domain::ids::{AgentName, ServerName};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::amount::Dollars;
use crate::credential::Secret;

/// What there is to call.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryTable {
    /// Models by the name that callers use.
    pub models: BTreeMap<String, ModelTable>,
    /// MCP servers. Their tools are called `server__tool`.
    #[schemars(with = "BTreeMap<String, ToolServerTable>")]
    pub servers: BTreeMap<ServerName, ToolServerTable>,
    /// Agents, by the name that callers use in `/agents/<agent>` or `/a2a/<agent>` and that policies know as `Agent::"…"`.
    #[schemars(with = "BTreeMap<String, AgentTable>")]
    pub agents: BTreeMap<AgentName, AgentTable>,
    /// Selections of tools that are served without the server's name at `/mcp/<toolset>`. Every server is a toolset of its own name.
    pub toolsets: BTreeMap<String, Vec<String>>,
}

/// A model behind an OpenAI-compatible API.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelTable {
    /// The URL before `/chat/completions`, as in `https://api.openai.com/v1`.
    pub base_url: String,
    /// The key that is sent to it, as in `${OPENAI_API_KEY}`. Callers never see it.
    pub api_key: Option<Secret>,
    /// A file with that key, read at each start and reload.
    pub api_key_file: Option<PathBuf>,
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
}

/// An agent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentTable {
    /// What it speaks.
    pub protocol: AgentProtocol,
    /// Where its replicas are: what stands behind `/agents/<agent>` is put behind one of these. One that speaks Agent2Agent shows its card there, and of the interfaces in it the paths are taken. A session stays with the replica that it was given.
    pub replicas: Vec<String>,
    /// Those of the replicas that take no new turns: their sessions move to others with their next turn.
    pub draining: Vec<String>,
    /// The port at which its replicas speak gRPC, if it is another one than that of their URLs.
    pub grpc_port: Option<u16>,
    /// A bearer token that is sent to it. What callers send as `Authorization` is for the gateway and goes no further.
    pub token: Option<Secret>,
    /// The path that is asked whether a replica is well, as in `/healthz`: any status below 400 is. Without one, being connected to is enough.
    pub health: Option<String>,
    /// The path that a session's state is posted to when the session moves to another replica, before the turn. Agents that speak Agent2Agent are told with the message instead.
    pub hydrate: Option<String>,
    /// How long a replica may take until the head of its answer, and then until each piece, in seconds.
    pub timeout_s: Option<u64>,
    /// How many calls a replica takes at a time.
    pub calls_limit: Option<usize>,
}

/// An MCP server: either `url`, or `command`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ToolServerTable {
    /// Its Streamable HTTP endpoint.
    pub url: Option<String>,
    /// A bearer token that is sent to the endpoint.
    pub token: Option<Secret>,
    /// The program that serves MCP on its standard input and output, with its arguments; no shell is involved. It is started again when it ends.
    pub command: Vec<String>,
    /// Variables that are set for the program, besides `PATH`, `HOME`, `LANG` and `TMPDIR`. It gets nothing else of the gateway's environment.
    pub env: BTreeMap<String, Secret>,
    /// The directory that the program runs in, relative to the configuration file.
    pub directory: Option<PathBuf>,
    /// How long a call of a tool may take, in seconds.
    pub timeout_s: Option<u64>,
}
