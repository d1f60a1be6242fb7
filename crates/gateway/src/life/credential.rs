//! What an upstream is shown with a call, whatever it is: nothing, always the same, or what an authorization server gives: a token for whoever asks, or one for the gateway.
//!
//! That one is asked for after the call was admitted and before anything of it leaves. Where there is none the call ends there: nothing else is shown in its place.

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use portcullis_domain::digest::Digest;
use portcullis_domain::time::Timestamp;

use crate::asking::Asking;
use crate::credential::{OwnToken, OwnTokens, bearer};
use crate::doorway::Doorway;
use crate::entropy::new_call;
use crate::identity::assertion::Assertions;
use crate::life::Gate;
use crate::registry::credential::{
    ClientAuth, ClientTable, CredentialTable, ExchangeTable, GrantTable, SubjectKind, SubjectType, UpstreamCredential,
};
use crate::reply::UpstreamFault;
use crate::snapshot::Snapshot;
use crate::upstreams::oauth::ask::{Target, ask};
use crate::upstreams::oauth::kept::end;
use crate::upstreams::oauth::{Client, Grant, Kept, Place, Proof, Server, Servers, Tokens, kind};

/// What is known of tokens: those of users while their requests last, and those that authorization servers have given for upstreams.
pub struct Credentials {
    /// The directory of the configuration file, which the files of secrets are relative to.
    base: PathBuf,
    own: OwnTokens,
    tokens: Tokens,
    servers: Servers,
}

/// Who is called, as far as it matters for what they are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upstream<'a> {
    /// Their name, as in `agent/adjuster`.
    pub(super) name: &'a str,
    /// What they are shown.
    pub(super) credential: &'a UpstreamCredential,
}

/// A token that was given.
struct Token {
    /// What it was asked for with.
    key: Digest,
    /// What is sent as `Authorization`.
    authorization: HeaderValue,
}

/// What an upstream is shown with one call.
pub(super) struct Presented<'a> {
    gate: &'a Gate,
    asking: &'a Asking,
    upstream: Upstream<'a>,
    /// None where none is given.
    token: Option<Token>,
    /// Whether another one was not taken before.
    is_again: bool,
}

impl Presented<'_> {
    /// What is sent as `Authorization`.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        match (self.upstream.credential, &self.token) {
            (UpstreamCredential::Nothing, _) | (UpstreamCredential::Given(_), None) => None,
            (UpstreamCredential::Fixed(value), _) => Some(value),
            (UpstreamCredential::Given(_), Some(token)) => Some(&token.authorization),
        }
    }

    /// Whether it was given for this call, so that it is for the gateway to hear that it is not taken, and for nobody behind it.
    pub(super) fn is_given(&self) -> bool {
        self.token.is_some()
    }

    /// Whether the call is to be made once more, with another token: this one was not taken, as it may have been taken back before its time. Whoever was not let in has done nothing.
    pub(super) async fn is_renewed<T>(&mut self, answer: &Result<T, UpstreamFault>) -> Result<bool, UpstreamFault> {
        let is_refused = matches!(answer, Err(UpstreamFault::Credential(StatusCode::UNAUTHORIZED)));
        let Some(refused) = self.token.as_ref().filter(|_| is_refused && !self.is_again) else { return Ok(false) };
        self.is_again = true;
        self.gate.credentials.tokens.forget(&refused.key, &refused.authorization).await;
        self.token = self.gate.token(self.asking, self.upstream).await?;
        Ok(true)
    }
}

impl Credentials {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(base: PathBuf) -> Self {
        Self { base, own: OwnTokens::default(), tokens: Tokens::default(), servers: Servers::default() }
    }

    /// Drops what was given for those who may not go on, and for who has a session that is frozen.
    pub fn keep_only(&self, doorway: &Doorway) {
        self.tokens.keep_only(|owner, authority| {
            let is_frozen = doorway.frozen.iter().any(|session| session.owner == *owner);
            !is_frozen && doorway.goes_on(owner, authority, None).is_ok()
        });
    }

    /// The token that somebody came with is there for their session, as long as they wait.
    pub(super) fn lend(&self, asking: &Asking) {
        if let Some(token) = &asking.token {
            self.own.lend(&asking.session, &asking.authority.credential, token);
        }
    }
}

impl Gate {
    /// What an upstream is shown with a call that was admitted.
    pub(super) async fn present<'a>(
        &'a self,
        asking: &'a Asking,
        upstream: Upstream<'a>,
    ) -> Result<Presented<'a>, UpstreamFault> {
        let token = self.token(asking, upstream).await?;
        Ok(Presented { gate: self, asking, upstream, token, is_again: false })
    }

    /// What an upstream is shown where nobody asks but the gateway itself.
    pub(super) async fn present_own(&self, upstream: Upstream<'_>) -> Result<Option<HeaderValue>, UpstreamFault> {
        match upstream.credential {
            UpstreamCredential::Nothing => Ok(None),
            UpstreamCredential::Fixed(value) => Ok(Some(value.clone())),
            UpstreamCredential::Given(table) => match &table.client_credentials {
                Some(grant) => self.own_credential(upstream.name, grant).await.map(Some),
                None => Ok(None),
            },
        }
    }

    /// What the gateway itself is given for an upstream of that name, as in `server/crm`.
    ///
    /// # Errors
    ///
    /// Why it is given nothing.
    pub async fn own_credential(&self, upstream: &str, grant: &GrantTable) -> Result<HeaderValue, UpstreamFault> {
        let granted = self.granted(upstream, grant).await;
        granted.map(|token| token.authorization).map_err(|problem| lacking(upstream, problem))
    }

    /// What an authorization server gives for a call; none where none is asked.
    async fn token(&self, asking: &Asking, upstream: Upstream<'_>) -> Result<Option<Token>, UpstreamFault> {
        let UpstreamCredential::Given(table) = upstream.credential else { return Ok(None) };
        let given = match &**table {
            CredentialTable { exchange: Some(exchange), .. } => self.exchanged(asking, upstream.name, exchange).await,
            CredentialTable { client_credentials: Some(grant), .. } => self.granted(upstream.name, grant).await,
            CredentialTable { exchange: None, client_credentials: None } => Err("it has an empty table".to_owned()),
        };
        given.map(Some).map_err(|problem| lacking(upstream.name, problem))
    }

    async fn granted(&self, upstream: &str, table: &GrantTable) -> Result<Token, String> {
        let key = Digest::of(format!("client\n{upstream}\n{table:?}").as_bytes());
        let make = async {
            let now = self.clock.now();
            let (at, client) = self.client(&table.client, now).await?;
            let target = Target {
                resource: table.resource.clone(),
                audience: table.audience.clone(),
                scope: table.scope.clone(),
            };
            let issued = ask(&self.issuers_way, &at, &client, &Grant::ClientCredentials, &target).await?;
            Ok(Kept { authorization: bearer(&issued.token)?, ends_at: end(now, issued.life_s, None) })
        };
        let kept = self.credentials.tokens.find(key, None, || self.clock.now(), make).await?;
        Ok(Token { key, authorization: kept.authorization })
    }

    async fn exchanged(&self, asking: &Asking, upstream: &str, table: &ExchangeTable) -> Result<Token, String> {
        let snapshot = self.snapshot.load_full();
        let own = self.own_token(&snapshot, asking, table);
        if own.is_none() && table.subject == SubjectKind::Own {
            return Err(
                "the user's own token is not at hand: they did not come with one, or do not wait any more".to_owned()
            );
        }
        let (owner, authority) = (&asking.session.owner, &asking.authority);
        let shown = own.as_ref().map(|token| Digest::of(token.text().as_bytes()).to_string());
        let asked =
            (upstream, format!("{table:?}"), owner, authority.credential.to_string(), &authority.through, shown);
        let asked = serde_json::to_vec(&asked).map_err(|error| error.to_string())?;
        let key = Digest::of_parts(&[b"exchange\n", &asked]);
        let on_behalf = Some((owner.clone(), authority.clone()));
        let make = self.exchange(&snapshot, asking, table, own.as_deref());
        let kept = self.credentials.tokens.find(key, on_behalf, || self.clock.now(), make).await?;
        Ok(Token { key, authorization: kept.authorization })
    }

    /// The token that the user came with, if it is at hand and its issuer is one that may be shown it there.
    fn own_token(&self, snapshot: &Snapshot, asking: &Asking, table: &ExchangeTable) -> Option<Arc<OwnToken>> {
        if table.subject == SubjectKind::Assertion {
            return None;
        }
        let lent = || self.credentials.own.find(&asking.session, &asking.authority.credential);
        let token = asking.token.clone().or_else(lent)?;
        let is_meant = if table.subject_issuers.is_empty() {
            let issuer = snapshot.config.identity.issuers.get(&token.issuer).map(|table| &table.issuer);
            issuer.is_some() && issuer == table.client.issuer.as_ref()
        } else {
            table.subject_issuers.contains(&token.issuer)
        };
        is_meant.then_some(token)
    }

    /// Exchanges what stands for the user for a token of theirs (RFC 8693), in two steps where another authorization server gives it
    /// (draft-ietf-oauth-identity-assertion-authz-grant-03, sections 4.3 and 4.4).
    async fn exchange(
        &self,
        snapshot: &Snapshot,
        asking: &Asking,
        table: &ExchangeTable,
        own: Option<&OwnToken>,
    ) -> Result<Kept, String> {
        let (now, authority) = (self.clock.now(), &asking.authority);
        let (at, client) = self.client(&table.client, now).await?;
        let key = self.signing_key();
        let issuer = snapshot.issuer(&self.signing);
        let said = Assertions { key: &key, issuer: &issuer, audience: &at.name, now, ends_at: authority.expires_at };
        let number = || new_call().map_err(|fault| fault.to_string());
        let asserted = said.subject(&asking.session.owner, &authority.through, number()?);
        let subject = own.map_or((asserted.as_str(), kind::JWT), |own| (own.text(), subject_kind(table.subject_type)));
        let actor = said.actor(&authority.through, number()?);
        let wanted = if table.id_jag.is_some() { kind::ID_JAG } else { kind::ACCESS_TOKEN };
        let grant = Grant::Exchange { subject, actor: actor.as_deref(), wanted };
        let other = table.id_jag.as_ref().and_then(|id_jag| id_jag.client.issuer.clone());
        let target = Target {
            resource: table.resource.clone(),
            audience: other.or_else(|| table.audience.clone()),
            scope: table.scope.clone(),
        };
        let mut issued = ask(&self.issuers_way, &at, &client, &grant, &target).await?;
        if let Some(id_jag) = &table.id_jag {
            let (at, client) = self.client(&id_jag.client, now).await?;
            let grant = Grant::JwtBearer { assertion: &issued.token };
            issued = ask(&self.issuers_way, &at, &client, &grant, &Target::default()).await?;
        }
        Ok(Kept { authorization: bearer(&issued.token)?, ends_at: end(now, issued.life_s, Some(authority)) })
    }

    /// An authorization server, and who the gateway is there.
    async fn client(&self, table: &ClientTable, now: Timestamp) -> Result<(Arc<Server>, Client), String> {
        let place = Place {
            issuer: table.issuer.clone(),
            token_endpoint: table.token_endpoint.clone(),
            ca_file: table.ca_file.as_ref().map(|file| self.credentials.base.join(file)),
        };
        let server = self.credentials.servers.find(&self.issuers_way, &place, now).await?;
        let (read, base) = (table.clone(), self.credentials.base.clone());
        let secret = tokio::task::spawn_blocking(move || read.read_secret(&base)).await;
        let secret = secret.map_err(|error| error.to_string())??;
        let proof = match table.auth {
            ClientAuth::Basic => Proof::Basic(secret),
            ClientAuth::Post => Proof::Post(secret),
            ClientAuth::None => Proof::None,
            ClientAuth::PrivateKeyJwt => {
                let key = self.signing_key();
                let number = new_call().map_err(|fault| fault.to_string())?;
                let said = Assertions { key: &key, issuer: &table.id, audience: &server.name, now, ends_at: None };
                Proof::Assertion(said.client(&table.id, number))
            }
        };
        Ok((server, Client { id: table.id.clone(), proof }))
    }
}

fn subject_kind(ty: SubjectType) -> &'static str {
    match ty {
        SubjectType::AccessToken => kind::ACCESS_TOKEN,
        SubjectType::IdToken => kind::ID_TOKEN,
        SubjectType::Jwt => kind::JWT,
    }
}

fn lacking(upstream: &str, problem: String) -> UpstreamFault {
    tracing::warn!(upstream, problem, "no credential can be had");
    UpstreamFault::NoCredential(problem)
}
