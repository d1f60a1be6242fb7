//! The table `identity.issuers` of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use portcullis_domain::ids::{IssuerName, PrincipalName, RoleName};
use portcullis_domain::policy::{Field, Type};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::identity::task::TYPE as TASK_TYPE;
use crate::jwk::ALGORITHMS;

/// Who vouches for principals by tokens: an OpenID provider or an OAuth authorization server whose access tokens are signed JWTs (RFC 9068).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IssuerTable {
    /// Who it is, exactly as `iss` in its tokens says, as in `https://login.example.org/realms/corp`. Its keys are found by its metadata (`/.well-known/openid-configuration`), unless one of the next three says where they are.
    pub issuer: String,
    /// The URL of its keys.
    pub jwks_url: Option<String>,
    /// A file with its keys, read again with every refresh.
    pub jwks_file: Option<PathBuf>,
    /// Its keys themselves, as a JSON Web Key Set.
    pub jwks: Option<String>,
    /// A PEM file with certificates of authorities that it may have its own from, besides those of the web, read each time that its keys are fetched.
    pub ca_file: Option<PathBuf>,
    /// For whom a token must be meant: `aud` must name one of these (RFC 8707). At least one; the URL that clients call is the usual one, as in `https://gate.example.org/mcp`.
    pub audiences: Vec<String>,
    /// The algorithms that its tokens may be signed with: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA.
    pub algorithms: Vec<String>,
    /// What `typ` of a token may be. A token without one counts as `JWT`.
    pub types: Vec<String>,
    /// How far its clock and the gateway's may be apart, in seconds.
    pub leeway_s: u64,
    /// How often its keys are fetched again, in seconds.
    pub refresh_s: u64,
    /// How long keys are used that can't be fetched again, in seconds.
    pub keys_kept_s: u64,
    /// What its principals are called.
    pub principal: PrincipalMapping,
    /// Which roles they have.
    pub roles: RolesMapping,
    /// What else is known of them: what policies can read as `principal.<name>`. A team or a cost centre is one of these.
    pub attributes: BTreeMap<String, AttributeMapping>,
}

impl Default for IssuerTable {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            jwks_url: None,
            jwks_file: None,
            jwks: None,
            ca_file: None,
            audiences: Vec::new(),
            algorithms: ["RS256", "PS256", "ES256", "ES384", "EdDSA"].map(str::to_owned).to_vec(),
            types: ["JWT", "at+jwt"].map(str::to_owned).to_vec(),
            leeway_s: 60,
            refresh_s: 600,
            keys_kept_s: 86_400,
            principal: PrincipalMapping::default(),
            roles: RolesMapping::default(),
            attributes: BTreeMap::new(),
        }
    }
}

/// What an issuer's principals are called: the prefix, then the claim exactly as it is. A claim that is no name (A-Z a-z 0-9 . _ - @ +) makes a token invalid.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrincipalMapping {
    /// The claim: `sub`, or one that is as unique and that nobody else is ever given.
    pub claim: String,
    /// What names begin with, so that nobody of another issuer or of the configuration is called the same. The issuer's name and a point unless set.
    pub prefix: Option<String>,
}

impl Default for PrincipalMapping {
    fn default() -> Self {
        Self { claim: "sub".to_owned(), prefix: None }
    }
}

/// Which roles principals of an issuer have: those that stand here, whatever else its tokens say.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RolesMapping {
    /// The claim with the issuer's own roles, groups or scopes, as in `groups` or `realm_access.roles`.
    pub claim: Option<String>,
    /// What they are here, as in `adjusters: [junior]`. What is not named gives nothing; `administrator` is given only where it stands here.
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub map: BTreeMap<String, Vec<RoleName>>,
    /// What all of its principals have.
    #[schemars(with = "Vec<String>")]
    pub always: Vec<RoleName>,
}

/// A claim that policies can read.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttributeMapping {
    /// The claim, as in `department` or `limits.approval`.
    pub claim: String,
    /// What it must be. A token in which it is something else is invalid.
    #[serde(rename = "type", default)]
    pub ty: AttributeType,
    /// Whether a token without it is invalid. Otherwise rules ask with `has` first.
    #[serde(default)]
    pub required: bool,
}

/// The type of a claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttributeType {
    /// Text.
    #[default]
    Text,
    /// True or false.
    Bool,
    /// A whole number.
    Long,
    /// A number with at most four digits after the point.
    Decimal,
    /// A list of texts.
    List,
}

impl AttributeMapping {
    /// The type that rules are checked by.
    #[must_use]
    pub fn field(&self) -> Field {
        let ty = match self.ty {
            AttributeType::Text => Type::Text,
            AttributeType::Bool => Type::Bool,
            AttributeType::Long => Type::Long,
            AttributeType::Decimal => Type::Decimal,
            AttributeType::List => Type::Set(Box::new(Type::Text)),
        };
        Field { ty, required: self.required, nullable: false }
    }
}

impl IssuerTable {
    /// What the names of its principals begin with.
    #[must_use]
    pub fn prefix(&self, name: &IssuerName) -> String {
        self.principal.prefix.clone().unwrap_or_else(|| format!("{name}."))
    }

    /// All roles that it can give.
    pub fn roles(&self) -> impl Iterator<Item = &RoleName> {
        self.roles.always.iter().chain(self.roles.map.values().flatten())
    }

    /// What is wrong with it by itself.
    #[must_use]
    pub fn problem(&self, name: &IssuerName) -> Option<String> {
        let sources = [self.jwks_url.is_some(), self.jwks_file.is_some(), self.jwks.is_some()];
        let unknown = self.algorithms.iter().find(|algorithm| !ALGORITHMS.contains(&algorithm.as_str()));
        let prefix = self.prefix(name);
        if self.issuer.is_empty() {
            Some("names no `issuer`: what `iss` in its tokens says".to_owned())
        } else if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            Some("names no `audiences`: without one, a token for somebody else would be good here".to_owned())
        } else if let Some(unknown) = unknown {
            Some(format!("`{unknown}` is no algorithm that tokens can be signed with; use {}", ALGORITHMS.join(", ")))
        } else if self.algorithms.is_empty() {
            Some("allows no `algorithms`".to_owned())
        } else if self.types.iter().any(|kind| kind.eq_ignore_ascii_case(TASK_TYPE)) {
            Some(format!("takes `{TASK_TYPE}` in `types`, which is what the gateway's own task tokens are"))
        } else if sources.iter().filter(|is_set| **is_set).count() > 1 {
            Some("has several of `jwks_url`, `jwks_file` and `jwks`".to_owned())
        } else if self.ca_file.is_some() && (self.jwks_file.is_some() || self.jwks.is_some()) {
            Some("has a `ca_file`, and keys that are not fetched".to_owned())
        } else if format!("{prefix}x").parse::<PrincipalName>().is_err() {
            Some(format!("`{prefix}` can't be the beginning of a name"))
        } else if self.principal.claim.is_empty() {
            Some("has an empty `principal.claim`".to_owned())
        } else if !self.roles.map.is_empty() && self.roles.claim.is_none() {
            Some("has a `roles.map` and no `roles.claim` to look in".to_owned())
        } else {
            None
        }
    }
}
