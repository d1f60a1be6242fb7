//! The table `journal` of the configuration.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::journal::postgres::address::Address;

/// Where the record is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JournalTable {
    /// The store, as a URL. `sqlite:DIR` is the embedded store in the directory `DIR`, which is relative to the configuration file and made for its owner only.
    /// `postgres://USER:PASSWORD@HOST/DATABASE` is a PostgreSQL database that any number of gateways share; it takes `sslmode` (`require`, which always checks
    /// the server's certificate, or `disable`) and `sslrootcert`.
    pub store: Store,
    /// With a database: the directory with this gateway's own files, above all `vault.key` and `journal.key`, which all gateways of a store must have the same. Relative
    /// to the configuration file and made for its owner only. `portcullis-data` when nothing is said. The embedded store has its own.
    pub directory: Option<PathBuf>,
}

impl Default for JournalTable {
    fn default() -> Self {
        Self { store: Store::Sqlite(PathBuf::from(DEFAULT_DIRECTORY)), directory: None }
    }
}

/// Where data lies when nothing is said.
const DEFAULT_DIRECTORY: &str = "portcullis-data";

impl JournalTable {
    /// The data directory, relative to the configuration file.
    #[must_use]
    pub fn directory(&self) -> &Path {
        match (&self.store, &self.directory) {
            (Store::Sqlite(directory), _) | (Store::Postgres(_), Some(directory)) => directory,
            (Store::Postgres(_), None) => Path::new(DEFAULT_DIRECTORY),
        }
    }
}

/// A store by its URL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum Store {
    /// The embedded store in that directory.
    Sqlite(PathBuf),
    /// The database at that address.
    Postgres(Box<Address>),
}

impl TryFrom<String> for Store {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if Address::is_meant(&text) {
            return Address::parse(&text).map(Box::new).map(Self::Postgres);
        }
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            // What was meant for another kind of URL may have a password in it.
            Some(_) | None => {
                Err("the store is none that is known; use `sqlite:DIRECTORY` or `postgres://…`".to_owned())
            }
        }
    }
}
