//! The table `policy` of the configuration.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Which calls are allowed. Without any policies, only principals with the role `administrator` may call anything.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyTable {
    /// Files of Cedar policies, relative to the configuration file.
    pub files: Vec<PathBuf>,
    /// Cedar policies written here.
    pub text: Option<String>,
    /// Whether what the policies say is applied. With `audit` everything is evaluated and written down, and nothing is refused by policy.
    pub mode: Mode,
    /// How often a model is asked again after one of its tool calls was denied, within one request.
    pub rounds: u8,
}

/// Whether what the policies say is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// Everything is allowed, and what would have been refused is written down.
    Audit,
}

impl Default for PolicyTable {
    fn default() -> Self {
        Self { files: Vec::new(), text: None, mode: Mode::Enforce, rounds: 2 }
    }
}
