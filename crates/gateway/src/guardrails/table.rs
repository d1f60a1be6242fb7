//! The table `guardrails` of the configuration.

use portcullis_domain::ids::{LabelName, RuleName};
use portcullis_domain::policy::Point;
use portcullis_domain::scope::Pattern;
use portcullis_guard::Spec;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::credential::Secret;

/// A guardrail. All that stand at a point look one after the other, in the order in which they are written, and each sees what those before it have made of it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardrailTable {
    /// Its name, in records and counters.
    #[schemars(with = "String")]
    pub name: RuleName,
    /// Where it looks.
    pub at: Vec<At>,
    /// At which capabilities, as in `model/*` or `tool/claims__*`; at all where none is named.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub capabilities: Vec<Pattern>,
    /// What it looks for. Either this or `ask`.
    pub detect: Option<Spec>,
    /// The URL of a service that is asked about it. It must be public and `https`, or named in `allowed`.
    pub ask: Option<String>,
    /// A bearer token that is sent to the service.
    pub token: Option<Secret>,
    /// Hosts, addresses and networks, as in `10.0.0.0/8`, at which the service may be although they are not public or have no `https`.
    #[serde(default)]
    pub allowed: Vec<String>,
    /// What happens when something is found. Of a service: `block` does what the service says.
    #[serde(default)]
    pub action: Action,
    /// How long it may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// What happens when it can't look: because of its time, its service, or text that is too long to be held back.
    #[serde(default)]
    pub on_error: OnError,
    /// What the caller, or the model behind it, reads when something is blocked.
    pub message: Option<String>,
    /// How much of a stream is held back at most, in bytes, by a rule that must have the whole text before it can say no.
    #[serde(default = "default_hold_bytes")]
    pub hold_bytes: usize,
}

fn default_timeout_ms() -> u64 {
    2_000
}

fn default_hold_bytes() -> usize {
    256 << 10
}

/// Where a guardrail looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// At what models are asked.
    ModelIn,
    /// At what they answer.
    ModelOut,
    /// At the arguments of tools.
    ToolIn,
    /// At what tools answer.
    ToolOut,
    /// At what tool servers say of their tools: names, descriptions, schemas. A tool that is blocked is not there.
    ToolList,
}

impl At {
    /// The same as the journal says it.
    #[must_use]
    pub fn point(self) -> Point {
        match self {
            Self::ModelIn => Point::ModelIn,
            Self::ModelOut => Point::ModelOut,
            Self::ToolIn => Point::ToolIn,
            Self::ToolOut => Point::ToolOut,
            Self::ToolList => Point::ToolList,
        }
    }
}

/// What happens when something is found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It goes no further.
    #[default]
    Block,
    /// It is replaced. What can't be is blocked.
    Mask,
    /// It goes on, and is written down.
    Report,
    /// It goes on, and the session is marked with this label.
    #[schemars(with = "String")]
    Label(LabelName),
}

/// What happens when a guardrail can't look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It is blocked.
    #[default]
    Closed,
    /// It goes on, and that nobody looked is written down.
    Open,
}
