//! The table `registry` of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use portcullis_domain::ids::ServerName;
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
