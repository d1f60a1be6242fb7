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
    /// How often a model is asked again after one of its tool calls was denied, within one request.
    pub rounds: u8,
}

impl Default for PolicyTable {
    fn default() -> Self {
        Self { files: Vec::new(), text: None, rounds: 2 }
    }
}
