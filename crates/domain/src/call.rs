//! What a call is aimed at, where it came in and where it is judged.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name of a capability, in bytes: a server, two underscores and a tool of at most 128.
pub const CAPABILITY_LIMIT_BYTES: usize = 260;

/// What a capability is. The caller can't tell them apart but by their schema; policy and ledger can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A model behind an upstream of the registry.
    Model,
    /// A tool of an MCP server in the registry.
    Tool,
    /// An agent behind the gateway.
    Agent,
    /// A function that the registry does not know: the client's own, or one that the model's provider runs itself.
    Function,
}

impl Kind {
    /// The word that stands before the name in a capability's written form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Tool => "tool",
            Self::Agent => "agent",
            Self::Function => "function",
        }
    }
}

/// A model, tool, agent or function that a call is aimed at. Written `model/gpt-4o`, `tool/claims__approve_payment`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability {
    /// What it is.
    pub kind: Kind,
    /// Its name: for tools `server__tool`, for models the registry's name.
    pub name: Arc<str>,
}

impl Capability {
    /// The capability of this kind and name; the name is not checked, since it may be a model's invention.
    #[must_use]
    pub fn new(kind: Kind, name: &str) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.kind.as_str(), self.name)
    }
}

impl FromStr for Capability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            Some(("model", name)) => (Kind::Model, name),
            Some(("tool", name)) => (Kind::Tool, name),
            Some(("agent", name)) => (Kind::Agent, name),
            Some(("function", name)) => (Kind::Function, name),
            Some(_) | None => return Err(format!("`{text}` is not `model/…`, `tool/…`, `agent/…` or `function/…`")),
        };
        Ok(Self::new(kind, name))
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The language that a call came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// The OpenAI API.
    Openai,
    /// The Model Context Protocol.
    Mcp,
    /// The Agent2Agent protocol.
    A2a,
    /// Plain HTTP to an agent.
    Http,
}

impl Door {
    /// The door's name, as policies and entries write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Mcp => "mcp",
            Self::A2a => "a2a",
            Self::Http => "http",
        }
    }
}

/// The kind of credential that an upstream is shown with a call. What it is shown stands nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// A fixed one of the gateway's own.
    Token,
    /// One of the gateway's own that this authorization server gives.
    Client(String),
    /// One for whoever asks, with all who act for them, that this authorization server gives.
    Exchanged(String),
    /// The same, given for an identity assertion of another one.
    IdJag(String),
}

/// Where a call is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// At the door, because somebody asked for it.
    Request,
    /// Inside a model's answer, before the agent sees that the model wants it.
    ModelAnswer,
}

impl Place {
    /// The place's name, as policies and entries write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::ModelAnswer => "model_answer",
        }
    }
}
