//! The table `identity` of the configuration.

use std::collections::BTreeMap;

use portcullis_domain::ids::{IssuerName, PrincipalName, RoleName};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::identity::certificate::CertificateTable;
use crate::identity::declared::KeyTable;
use crate::identity::issuer::IssuerTable;
use crate::identity::task::LIFE_LIMIT_S;

/// Who may act.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityTable {
    /// Users, services and agents by name. Keys are issued for them with `portcullis identity key create`.
    #[schemars(with = "BTreeMap<String, PrincipalTable>")]
    pub principals: BTreeMap<PrincipalName, PrincipalTable>,
    /// Keys that the gateway has not issued, by names of your own. One that does not stand here any more opens nothing.
    pub keys: BTreeMap<String, KeyTable>,
    /// Who vouches for principals that do not stand here, by tokens: OpenID providers and OAuth authorization servers by a name of your own.
    #[schemars(with = "BTreeMap<String, IssuerTable>")]
    pub issuers: BTreeMap<IssuerName, IssuerTable>,
    /// Who vouches for principals by client certificates: SPIFFE trust domains and other authorities by a name of your own. They need `server.tls`.
    #[schemars(with = "BTreeMap<String, CertificateTable>")]
    pub certificates: BTreeMap<IssuerName, CertificateTable>,
    /// Hosts, addresses and networks, as in `keycloak.internal` or `10.0.0.0/8`, that keys of issuers may be fetched from although they are not public or have no `https`.
    pub issuers_allowed: Vec<String>,
    /// How long a task token is valid that an agent is handed with a call, in seconds; at most a day. It ends earlier with the one that it comes from, with the key of the user, and with the session.
    #[schemars(range(min = 1, max = 86_400))]
    pub task_token_s: u64,
}

impl IdentityTable {
    /// Who the principal is by the word of that issuer, if it can be one of its own.
    #[must_use]
    pub fn standing(&self, issuer: &IssuerName, principal: &PrincipalName) -> Option<Standing<'_>> {
        let is_own = |prefix: String| principal.as_str().starts_with(&prefix);
        if let Some(table) = self.issuers.get(issuer) {
            return is_own(table.prefix(issuer)).then_some(Standing::OfIssuer(table));
        }
        let table = self.certificates.get(issuer)?;
        if table.names(principal) {
            return Some(Standing::Configured);
        }
        is_own(table.prefix(issuer)).then_some(Standing::OfAuthority(table))
    }

    /// Whether its numbers can be used.
    ///
    /// # Errors
    ///
    /// A sentence when a token would never be valid, or for longer than the key that signs it is known.
    pub fn check(&self) -> Result<(), String> {
        if (1..=LIFE_LIMIT_S).contains(&self.task_token_s) {
            return Ok(());
        }
        Err(format!(
            "`identity.task_token_s` is {}, and a task token is valid for 1 to {LIFE_LIMIT_S} seconds",
            self.task_token_s
        ))
    }
}

/// Who somebody is for whom another one vouches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing<'a> {
    /// Somebody of the configuration, which says all that is known of them.
    Configured,
    /// Somebody of whom is known what this issuer of tokens says.
    OfIssuer(&'a IssuerTable),
    /// Somebody of whom is known what this authority of certificates says.
    OfAuthority(&'a CertificateTable),
}

impl Standing<'_> {
    /// Whether they can have been given this role.
    #[must_use]
    pub fn gives(self, role: &RoleName) -> bool {
        match self {
            Self::Configured => false,
            Self::OfIssuer(table) => table.roles().any(|given| given == role),
            Self::OfAuthority(table) => table.roles().any(|given| given == role),
        }
    }
}

impl Default for IdentityTable {
    fn default() -> Self {
        Self {
            principals: BTreeMap::new(),
            keys: BTreeMap::new(),
            issuers: BTreeMap::new(),
            certificates: BTreeMap::new(),
            issuers_allowed: Vec::new(),
            task_token_s: 600,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_as_long_as_its_key_is_known_and_no_longer() {
        for (task_token_s, expected) in [(0, false), (1, true), (600, true), (86_400, true), (86_401, false)] {
            let table = IdentityTable { task_token_s, ..IdentityTable::default() };
            assert_eq!(table.check().is_ok(), expected, "{task_token_s}");
        }
    }
}
