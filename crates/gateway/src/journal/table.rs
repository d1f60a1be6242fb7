//! The table `journal` of the configuration.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Where the record is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JournalTable {
    /// The store, as a URL. `sqlite:DIR` is the embedded store in the directory `DIR`, which is relative to the configuration file and made for its owner only.
    pub store: Store,
}

impl Default for JournalTable {
    fn default() -> Self {
        Self { store: Store::Sqlite(PathBuf::from("portcullis-data")) }
    }
}

/// A store by its URL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum Store {
    /// The embedded store in that directory.
    Sqlite(PathBuf),
}

impl TryFrom<String> for Store {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            Some(_) | None => Err(format!("`{text}` is no store; use `sqlite:DIRECTORY`")),
        }
    }
}
