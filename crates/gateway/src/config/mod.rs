//! Config: one YAML file, read as a whole or refused as a whole.
//!
//! A struct of structs: each pillar declares its own table beside itself (`<pillar>/table.rs`); here they are put together, read with their places in the file, and checked. The
//! doc comments are the manual and the JSON Schema. This is the only part that reads the environment.
//!
//! Start with [`Config`], then [`read`].

pub mod problem;
pub mod read;
pub mod schema;
mod variables;

use schemars::JsonSchema;
use serde::Deserialize;

pub use problem::Problem;

use crate::guardrails::table::GuardrailTable;
use crate::identity::table::IdentityTable;
use crate::journal::table::JournalTable;
use crate::ledger::table::LedgerTable;
use crate::policy::table::PolicyTable;
use crate::registry::table::RegistryTable;
use crate::server::ServerTable;

/// The configuration of a Portcullis gateway. `${NAME}` in any value stands for an environment variable; unknown keys are errors.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Portcullis configuration")]
pub struct Config {
    /// Where the gateway listens and whom it listens to.
    pub server: ServerTable,
    /// Where the record is kept.
    pub journal: JournalTable,
    /// Who may act: principals with their roles and attributes.
    pub identity: IdentityTable,
    /// What there is to call: models, tool servers, toolsets.
    pub registry: RegistryTable,
    /// Which calls are allowed: Cedar policies.
    pub policy: PolicyTable,
    /// What looks at what is in calls, and what is done about it.
    pub guardrails: Vec<GuardrailTable>,
    /// What calls may cost.
    pub ledger: LedgerTable,
}
