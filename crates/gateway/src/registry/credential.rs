//! What an upstream is shown with calls: nothing, always the same, or what its table `credential` says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderValue;
use portcullis_domain::call::Shown;
use portcullis_domain::ids::IssuerName;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::credential::{Secret, bearer};
use crate::trust;

/// What an upstream is shown, whatever it is: an MCP server, an agent, a model.
#[derive(Debug, Clone, Default)]
pub enum UpstreamCredential {
    /// Nothing.
    #[default]
    Nothing,
    /// The same with every call; marked as sensitive, so that nothing prints it.
    Fixed(HeaderValue),
    /// What an authorization server gives.
    Given(Arc<CredentialTable>),
}

impl UpstreamCredential {
    /// What a table says of it; paths are relative to `base`.
    ///
    /// # Errors
    ///
    /// A sentence when it says two things, or something that can't be sent.
    pub fn of_table(fixed: Option<&Secret>, given: Option<&CredentialTable>, base: &Path) -> Result<Self, String> {
        match (fixed, given) {
            (Some(_), Some(_)) => Err("has a fixed token or key, and a `credential` too".to_owned()),
            (Some(secret), None) => bearer(&secret.0).map(Self::Fixed),
            (None, Some(table)) => table.check(base).map(|()| Self::Given(Arc::new(table.clone()))),
            (None, None) => Ok(Self::Nothing),
        }
    }

    /// The kind of what is shown with a call.
    #[must_use]
    pub fn shown(&self) -> Option<Shown> {
        match self {
            Self::Nothing => None,
            Self::Fixed(_) => Some(Shown::Token),
            Self::Given(table) => table.shown(),
        }
    }
}

/// What an upstream is shown, got from an authorization server. Tokens are kept in memory until shortly before they end.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CredentialTable {
    /// A token for the gateway itself (RFC 6749, section 4.4). Beside `exchange` it is used only for what is asked for nobody, the list of tools or an agent's card, never for a call.
    pub client_credentials: Option<GrantTable>,
    /// A token for whoever calls (RFC 8693), so that the upstream sees the user and the agent that acts for them. Where none can be had the call is refused: the gateway's own credential never takes its place.
    pub exchange: Option<ExchangeTable>,
}

/// An authorization server, and who the gateway is there.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTable {
    /// Who it is, exactly as its metadata says (RFC 8414), which then says where its token endpoint is.
    pub issuer: Option<String>,
    /// In its place, for an MCP server that says itself whose tokens it takes (RFC 9728): those that it may say. Nobody else is asked for a token or shown anything. Where the gateway has a secret, one: a secret is for one authorization server.
    pub issuers: Vec<String>,
    /// Its token endpoint, if its metadata are not to be asked.
    pub token_endpoint: Option<String>,
    /// A PEM file with certificates of authorities that it may have its own from, besides those of the web, read each time that it is asked.
    pub ca_file: Option<PathBuf>,
    /// What the gateway is called there (`client_id`).
    pub id: String,
    /// The gateway's secret there, as in `${CRM_CLIENT_SECRET}`.
    pub secret: Option<Secret>,
    /// A file with that secret, read each time that a token is asked for.
    pub secret_file: Option<PathBuf>,
    /// How the gateway proves who it is.
    pub auth: ClientAuth,
}

/// How the gateway proves who it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// By its secret, in the header `Authorization`.
    #[default]
    Basic,
    /// By its secret, in the body of the request.
    Post,
    /// By a JWT that it signs with the key of its task tokens (RFC 7523), which the server finds at `/.well-known/jwks.json`.
    PrivateKeyJwt,
    /// Not at all.
    None,
}

/// A token for the gateway itself.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GrantTable {
    /// Who gives it.
    pub client: ClientTable,
    /// Where it is shown (RFC 8707).
    pub resource: Option<String>,
    /// What that is called by the authorization server.
    pub audience: Option<String>,
    /// What it may be used for.
    pub scope: Vec<String>,
}

/// A token for whoever calls.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExchangeTable {
    /// Who gives it.
    pub client: ClientTable,
    /// Where it is shown (RFC 8707).
    pub resource: Option<String>,
    /// What that is called by the authorization server.
    pub audience: Option<String>,
    /// What it may be used for.
    pub scope: Vec<String>,
    /// What stands for the user.
    pub subject: SubjectKind,
    /// Those of `identity.issuers` whose tokens may be sent there. By default the one whose `issuer` is that of `client`.
    #[schemars(with = "Vec<String>")]
    pub subject_issuers: Vec<IssuerName>,
    /// What the users' own tokens are.
    pub subject_type: SubjectType,
    /// Where the token that comes of it is no access token but an identity assertion for another authorization server (ID-JAG), which gives the access token for it: that server.
    pub id_jag: Option<IdJagTable>,
}

/// What stands for the user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// The token that the user came with, while they wait for what it is used for; a JWT that the gateway signs of them otherwise.
    #[default]
    OwnOrAssertion,
    /// The token that the user came with. Without it the call is refused.
    Own,
    /// A JWT that the gateway signs of them.
    Assertion,
}

/// What the users' own tokens are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectType {
    /// Access tokens.
    #[default]
    AccessToken,
    /// ID tokens of OpenID Connect.
    IdToken,
    /// JWTs of another kind.
    Jwt,
}

/// The authorization server that takes an identity assertion (draft-ietf-oauth-identity-assertion-authz-grant-03).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdJagTable {
    /// The server, and who the gateway is there. The assertion is asked for with its `issuer` as audience.
    pub client: ClientTable,
}

impl CredentialTable {
    /// What is wrong with it, if anything; paths are relative to `base`.
    ///
    /// # Errors
    ///
    /// A sentence.
    pub fn check(&self, base: &Path) -> Result<(), String> {
        if self.client_credentials.is_none() && self.exchange.is_none() {
            return Err("`credential` needs `client_credentials` or `exchange`".to_owned());
        }
        self.clients().try_for_each(|(at, client)| {
            client.check(base).map_err(|problem| format!("`credential.{at}.client`: {problem}"))
        })?;
        let id_jag = self.exchange.as_ref().and_then(|exchange| exchange.id_jag.as_ref());
        if id_jag.is_some_and(|id_jag| id_jag.client.issuer.is_none() && id_jag.client.issuers.is_empty()) {
            return Err(
                "`credential.exchange.id_jag.client` needs an `issuer`: the assertion is made for it".to_owned()
            );
        }
        let client = self.exchange.as_ref().map(|exchange| &exchange.client);
        if id_jag.is_some() && client.is_some_and(|client| !client.issuers.is_empty()) {
            return Err("`credential.exchange.client` has `issuers`: with `id_jag`, they are those of `id_jag.client`"
                .to_owned());
        }
        Ok(())
    }

    /// Whether the upstream is to say whose tokens it takes.
    #[must_use]
    pub fn is_discovered(&self) -> bool {
        self.clients().any(|(_, client)| !client.issuers.is_empty())
    }

    /// The kind of what is shown with a call.
    #[must_use]
    pub fn shown(&self) -> Option<Shown> {
        let exchanged = self.exchange.as_ref().map(|exchange| match &exchange.id_jag {
            Some(id_jag) => Shown::IdJag(id_jag.client.name()),
            None => Shown::Exchanged(exchange.client.name()),
        });
        exchanged.or_else(|| self.client_credentials.as_ref().map(|grant| Shown::Client(grant.client.name())))
    }

    fn clients(&self) -> impl Iterator<Item = (&'static str, &ClientTable)> {
        let grant = self.client_credentials.iter().map(|grant| ("client_credentials", &grant.client));
        let exchange = self.exchange.iter().map(|exchange| ("exchange", &exchange.client));
        let id_jag = self.exchange.iter().filter_map(|exchange| exchange.id_jag.as_ref());
        grant.chain(exchange).chain(id_jag.map(|id_jag| ("exchange.id_jag", &id_jag.client)))
    }
}

impl ClientTable {
    /// What the authorization server is called; all that it may be, with a space between them, where the upstream says which.
    fn name(&self) -> String {
        // Which one of several it is, is not known before it is asked.
        self.issuer.as_ref().or(self.token_endpoint.as_ref()).cloned().unwrap_or_else(|| self.issuers.join(" "))
    }

    fn check(&self, base: &Path) -> Result<(), String> {
        let is_named = self.issuer.is_some() || self.token_endpoint.is_some();
        match (is_named, self.issuers.as_slice()) {
            (false, []) => return Err("needs an `issuer` or a `token_endpoint`".to_owned()),
            (true, [_, ..]) => return Err("has `issuers` beside an `issuer` or a `token_endpoint`".to_owned()),
            (false, [_, _, ..]) if matches!(self.auth, ClientAuth::Basic | ClientAuth::Post) => {
                return Err("has several `issuers` and a secret, which is for one authorization server".to_owned());
            }
            (true, []) | (false, [_, ..]) => {}
        }
        if self.id.is_empty() {
            return Err("needs an `id`".to_owned());
        }
        trust::check(self.ca_file.as_deref(), base)?;
        let needs_secret = matches!(self.auth, ClientAuth::Basic | ClientAuth::Post);
        match (needs_secret, self.secret.is_some(), self.secret_file.is_some()) {
            (_, true, true) => Err("has both `secret` and `secret_file`".to_owned()),
            (true, false, false) => Err("needs a `secret` or `secret_file`, or another `auth`".to_owned()),
            (false, true, _) | (false, _, true) => Err("has a secret that its `auth` has no use for".to_owned()),
            (true, _, true) => self.read_secret(base).map(drop),
            (true, true, false) | (false, false, false) => Ok(()),
        }
    }

    /// The secret, as it is now; empty where there is none.
    ///
    /// # Errors
    ///
    /// A sentence with the path of a file that can't be read.
    pub fn read_secret(&self, base: &Path) -> Result<String, String> {
        match (&self.secret, &self.secret_file) {
            (Some(secret), _) => Ok(secret.0.clone()),
            (None, Some(file)) => crate::credential::read_file(&base.join(file)),
            (None, None) => Ok(String::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "s\n").unwrap();
        let check = |table: &str, expected: &str| {
            let table: CredentialTable = serde_json::from_str(table).unwrap();
            let found = table.check(folder.path()).err().unwrap_or_default();
            assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{found}");
        };
        check("{}", "needs `client_credentials` or `exchange`");
        let with = |client: &str| format!(r#"{{"exchange":{{"client":{{{client}}}}}}}"#);
        check(&with(r#""id":"g","secret":"s""#), "`issuer` or a `token_endpoint`");
        check(&with(r#""issuer":"https://a","secret":"s""#), "needs an `id`");
        check(&with(r#""issuer":"https://a","id":"g""#), "needs a `secret`");
        check(&with(r#""issuer":"https://a","id":"g","secret":"s","secret_file":"secret""#), "both");
        check(&with(r#""issuer":"https://a","id":"g","secret":"s","auth":"private_key_jwt""#), "no use for");
        check(&with(r#""issuer":"https://a","id":"g","secret_file":"none""#), "can't be read");
        check(&with(r#""issuer":"https://a","id":"g","secret_file":"secret""#), "");
        check(&with(r#""issuer":"https://a","id":"g","auth":"private_key_jwt""#), "");
        check(&with(r#""issuers":["https://a"],"id":"g","secret":"s""#), "");
        check(&with(r#""issuers":["https://a","https://b"],"id":"g","auth":"private_key_jwt""#), "");
        check(&with(r#""issuers":["https://a","https://b"],"id":"g","secret":"s""#), "for one authorization server");
        check(&with(r#""issuers":["https://a"],"issuer":"https://a","id":"g","secret":"s""#), "beside an `issuer`");
        let step = r#""issuers":["https://a"],"id":"g","auth":"none"}, "id_jag":{"client":{"issuer":"https://b","id":"g","auth":"none"}"#;
        check(&with(step), "they are those of `id_jag.client`");
        check(&with(r#""issuer":"https://a","id":"g","auth":"none","ca_file":"none.pem""#), "`ca_file`");
        check(&with(r#""issuer":"https://a","id":"g","auth":"none","ca_file":"secret""#), "has no certificate");
        let jag = r#""issuer":"https://a","id":"g","auth":"none"}, "id_jag":{"client":{"token_endpoint":"https://b/t","id":"g","auth":"none"}"#;
        check(&with(jag), "needs an `issuer`");
    }
}
