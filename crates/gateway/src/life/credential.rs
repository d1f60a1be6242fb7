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
use crate::upstreams::oauth::{Client, Grant, Kept, Place, Proof, Resource, Resources, Server, Servers, Tokens, kind};

/// What is known of tokens: those of users while their requests last, and those that authorization servers have given for upstreams.
pub struct Credentials {
    /// The directory of the configuration file, which the files of secrets are relative to.
    base: PathBuf,
    own: OwnTokens,
    tokens: Tokens,
    servers: Servers,
    resources: Resources,
}

/// Who takes a token.
#[derive(Debug, Clone, Copy)]
pub struct Taker<'a> {
    /// Their name, as in `agent/adjuster`.
    pub name: &'a str,
    /// Where they are, if they can say themselves whose tokens they take.
    pub url: Option<&'a str>,
}

/// Who is called, as far as it matters for what they are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upstream<'a> {
    /// Who it is.
    taker: Taker<'a>,
    /// What they are shown.
    credential: &'a UpstreamCredential,
}

impl<'a> Upstream<'a> {
    /// An upstream of that name.
    pub(super) fn new(name: &'a str, credential: &'a UpstreamCredential) -> Self {
        Self { taker: Taker { name, url: None }, credential }
    }

    /// The same, where it can be asked whose tokens it takes.
    pub(super) fn at(self, url: Option<&'a str>) -> Self {
        Self { taker: Taker { url, ..self.taker }, ..self }
    }
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
        if let Some(url) = self.upstream.taker.url {
            self.gate.credentials.resources.forget(url);
        }
        self.token = self.gate.token(self.asking, self.upstream).await?;
        Ok(true)
    }
}

impl Credentials {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(base: PathBuf) -> Self {
        let (own, tokens) = (OwnTokens::default(), Tokens::default());
        Self { base, own, tokens, servers: Servers::default(), resources: Resources::default() }
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
                Some(grant) => self.own_credential(upstream.taker, grant).await.map(Some),
                None => Ok(None),
            },
        }
    }

    /// What the gateway itself is given for an upstream.
    ///
    /// # Errors
    ///
    /// Why it is given nothing.
    pub async fn own_credential(&self, taker: Taker<'_>, grant: &GrantTable) -> Result<HeaderValue, UpstreamFault> {
        let granted = self.granted(taker, grant).await;
        granted.map(|token| token.authorization).map_err(|problem| lacking(taker, problem))
    }

    /// What an authorization server gives for a call; none where none is asked.
    async fn token(&self, asking: &Asking, upstream: Upstream<'_>) -> Result<Option<Token>, UpstreamFault> {
        let UpstreamCredential::Given(table) = upstream.credential else { return Ok(None) };
        let given = match &**table {
            CredentialTable { exchange: Some(exchange), .. } => self.exchanged(asking, upstream.taker, exchange).await,
            CredentialTable { client_credentials: Some(grant), .. } => self.granted(upstream.taker, grant).await,
            CredentialTable { exchange: None, client_credentials: None } => Err("it has an empty table".to_owned()),
        };
        given.map(Some).map_err(|problem| lacking(upstream.taker, problem))
    }

    async fn granted(&self, taker: Taker<'_>, table: &GrantTable) -> Result<Token, String> {
        let key = Digest::of(format!("client\n{taker:?}\n{table:?}").as_bytes());
        let make = async {
            let now = self.clock.now();
            let found = self.found(taker, &table.client, table.resource.as_ref()).await?;
            let (at, client) = self.client(&table.client, found.as_deref(), now).await?;
            let target = Target {
                resource: table.resource.clone().or_else(|| found.map(|found| found.name.clone())),
                audience: table.audience.clone(),
                scope: table.scope.clone(),
            };
            let issued = ask(&self.issuers_way, &at, &client, &Grant::ClientCredentials, &target).await?;
            Ok(Kept { authorization: bearer(&issued.token)?, ends_at: end(now, issued.life_s, None) })
        };
        let kept = self.credentials.tokens.find(key, None, || self.clock.now(), make).await?;
        Ok(Token { key, authorization: kept.authorization })
    }

    async fn exchanged(&self, asking: &Asking, taker: Taker<'_>, table: &ExchangeTable) -> Result<Token, String> {
        let snapshot = self.snapshot.load_full();
        let own = self.own_token(&snapshot, asking, table);
        if own.is_none() && table.subject == SubjectKind::Own {
            return Err(
                "the user's own token is not at hand: they did not come with one, or do not wait any more".to_owned()
            );
        }
        let (owner, authority) = (&asking.session.owner, &asking.authority);
        let shown = own.as_ref().map(|token| Digest::of(token.text().as_bytes()).to_string());
        let asked = (
            taker.name,
            taker.url,
            format!("{table:?}"),
            owner,
            authority.credential.to_string(),
            &authority.through,
            shown,
        );
        let asked = serde_json::to_vec(&asked).map_err(|error| error.to_string())?;
        let key = Digest::of_parts(&[b"exchange\n", &asked]);
        let on_behalf = Some((owner.clone(), authority.clone()));
        let make = self.exchange(&snapshot, asking, taker, table, own.as_deref());
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
        taker: Taker<'_>,
        table: &ExchangeTable,
        own: Option<&OwnToken>,
    ) -> Result<Kept, String> {
        let (now, authority) = (self.clock.now(), &asking.authority);
        let last = table.id_jag.as_ref().map_or(&table.client, |id_jag| &id_jag.client);
        let found = self.found(taker, last, table.resource.as_ref()).await?;
        let found = found.as_deref();
        let (at, client) = self.client(&table.client, found, now).await?;
        let other = match &table.id_jag {
            Some(id_jag) => Some(self.client(&id_jag.client, found, now).await?),
            None => None,
        };
        let key = self.signing_key();
        let issuer = snapshot.issuer(&self.signing);
        let said = Assertions { key: &key, issuer: &issuer, audience: &at.name, now, ends_at: authority.expires_at };
        let number = || new_call().map_err(|fault| fault.to_string());
        let asserted = said.subject(&asking.session.owner, &authority.through, number()?);
        let subject = own.map_or((asserted.as_str(), kind::JWT), |own| (own.text(), subject_kind(table.subject_type)));
        let actor = said.actor(&authority.through, number()?);
        let wanted = if table.id_jag.is_some() { kind::ID_JAG } else { kind::ACCESS_TOKEN };
        let grant = Grant::Exchange { subject, actor: actor.as_deref(), wanted };
        let target = Target {
            resource: table.resource.clone().or_else(|| found.map(|found| found.name.clone())),
            audience: other.as_ref().map(|(at, _)| at.name.clone()).or_else(|| table.audience.clone()),
            scope: table.scope.clone(),
        };
        let mut issued = ask(&self.issuers_way, &at, &client, &grant, &target).await?;
        if let Some((at, client)) = other {
            let grant = Grant::JwtBearer { assertion: &issued.token };
            issued = ask(&self.issuers_way, &at, &client, &grant, &Target::default()).await?;
        }
        Ok(Kept { authorization: bearer(&issued.token)?, ends_at: end(now, issued.life_s, Some(authority)) })
    }

    /// What an upstream says of whose tokens it takes, where that does not stand in the configuration.
    async fn found(
        &self,
        taker: Taker<'_>,
        table: &ClientTable,
        resource: Option<&String>,
    ) -> Result<Option<Arc<Resource>>, String> {
        if table.issuers.is_empty() {
            return Ok(None);
        }
        let url = taker.url.ok_or("it has no one URL at which it could say whose tokens it takes")?;
        let name = resource.map_or(url, String::as_str);
        let found = self.credentials.resources.find(&self.egress.http, url, name, self.clock.now()).await?;
        // What is of no use is not kept: it is looked at again with the next call.
        found.issuer(&table.issuers).inspect_err(|_| self.credentials.resources.forget(url))?;
        Ok(Some(found))
    }

    /// An authorization server, and who the gateway is there.
    async fn client(
        &self,
        table: &ClientTable,
        found: Option<&Resource>,
        now: Timestamp,
    ) -> Result<(Arc<Server>, Client), String> {
        let said = found.filter(|_| !table.issuers.is_empty()).map(|found| found.issuer(&table.issuers)).transpose()?;
        let place = Place {
            issuer: said.or_else(|| table.issuer.clone()),
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

fn lacking(taker: Taker<'_>, problem: String) -> UpstreamFault {
    tracing::warn!(upstream = taker.name, problem, "no credential can be had");
    UpstreamFault::NoCredential(problem)
}
