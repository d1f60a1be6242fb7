//! The table `identity` of the configuration.

use std::collections::BTreeMap;

use portcullis_domain::ids::{PrincipalName, RoleName};
use schemars::JsonSchema;
use serde::Deserialize;

/// Who may act.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityTable {
    /// Users, services and agents by name. Keys are issued for them with `portcullis identity key create`.
    #[schemars(with = "BTreeMap<String, PrincipalTable>")]
    pub principals: BTreeMap<PrincipalName, PrincipalTable>,
    /// How long a task token is valid that an agent is handed with a call, in seconds; at most a day. It ends earlier with the one that it comes from, with the key of the user, and with the session.
    #[schemars(range(min = 1, max = 86_400))]
    pub task_token_s: u64,
}

impl Default for IdentityTable {
    fn default() -> Self {
        Self { principals: BTreeMap::new(), task_token_s: 600 }
    }
}

/// One principal.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrincipalTable {
    /// Its roles. `administrator` may manage the gateway.
    #[schemars(with = "Vec<String>")]
    pub roles: Vec<RoleName>,
    /// Facts that policies can read as `principal.<name>`: text, true or false, whole numbers (Cedar `Long`), numbers with a point (Cedar `decimal`), or lists of one of them.
    pub attributes: BTreeMap<String, Attribute>,
}

/// A fact about a principal.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Attribute {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Long(i64),
    /// A number with a point; at most four digits after it.
    Decimal(f64),
    /// Text.
    Text(String),
    /// Several values of one type.
    Set(Vec<Attribute>),
}
