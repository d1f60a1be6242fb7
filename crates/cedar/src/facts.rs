//! What the engine is told: rules as text, and who and what there is.

use std::collections::BTreeMap;

use portcullis_domain::ids::{PrincipalName, RoleName, ServerName};
use portcullis_domain::policy::{Arguments, Field, RecordType};
use serde::{Deserialize, Serialize};

/// A file of rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its path, as problems name it.
    pub file: String,
    /// What stands in it.
    pub text: String,
}

/// Who and what rules may speak of. The order of nothing in it has a meaning.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Everybody who may act.
    pub principals: Vec<Principal>,
    /// Who vouches for principals that are none of these.
    #[serde(default)]
    pub issuers: Vec<Issuer>,
    /// The tools of all servers in the registry.
    pub tools: Vec<Tool>,
    /// The names of all models in the registry.
    pub models: Vec<String>,
    /// The names of all agents in the registry.
    pub agents: Vec<String>,
    /// Servers that could not be asked for all of their tools: a rule about a tool that they were never seen to have is no error.
    pub unreachable_servers: Vec<ServerName>,
    /// What sources may state, by name: the fields of its records. Those with one field are read as texts.
    #[serde(default)]
    pub stated: BTreeMap<String, Vec<String>>,
    /// Whether what the rules say is applied.
    pub mode: Mode,
}

/// Whether what rules say is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// Everything is allowed, and what would have been refused is told.
    Audit,
}

/// Who vouches for principals that nobody has listed. What it says of one comes with the question; what it can say is declared here, so that rules are checked by it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Issuer {
    /// What the names of its principals begin with, and no others.
    pub prefix: String,
    /// The roles that it can give.
    pub roles: Vec<RoleName>,
    /// The attributes that it can give; those that are required all of its principals have.
    pub attributes: BTreeMap<String, Field>,
}

/// Somebody who may act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Principal {
    /// The name, as in `Principal::"ann"`.
    pub name: PrincipalName,
    /// The roles that the principal has, as in `Role::"adjuster"`.
    pub roles: Vec<RoleName>,
    /// What rules may read as `principal.…`.
    pub attributes: BTreeMap<String, portcullis_domain::policy::Value>,
}

/// A tool of the registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// The server that it belongs to, as in `Server::"claims"`.
    pub server: ServerName,
    /// Its name on that server, without the server's.
    pub name: String,
    /// The types of its arguments.
    pub arguments: RecordType,
    /// Whether it changes nothing, where the server says.
    pub read_only: Option<bool>,
    /// Whether what it changes may be lost, where the server says.
    pub destructive: Option<bool>,
    /// Whether calling it twice is the same as once, where the server says.
    pub idempotent: Option<bool>,
}

impl Tool {
    /// The name of the capability, of the action and of the resource: `server__tool`.
    #[must_use]
    pub fn capability_name(&self) -> String {
        format!("{}__{}", self.server, self.name)
    }

    /// What rules may read as `resource.…`.
    pub(crate) fn attributes(&self) -> Arguments {
        let known = [("read_only", self.read_only), ("destructive", self.destructive), ("idempotent", self.idempotent)];
        let known = known.into_iter().filter_map(|(name, value)| Some((name, value?)));
        known.map(|(name, value)| (name.to_owned(), portcullis_domain::policy::Value::Bool(value))).collect()
    }
}
