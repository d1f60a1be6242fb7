//! What an MCP server is shown with a call, where that is not always the same: a token for whoever asks, or one for the gateway, as an authorization server gives it.
//!
//! It is asked for after the call was admitted and before anything of it leaves. Where there is none the call ends there: nothing else is shown in its place.

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::ServerName;
use portcullis_domain::time::Timestamp;

use crate::asking::Asking;
use crate::credential::{OwnToken, OwnTokens, bearer};
use crate::doorway::Doorway;
use crate::entropy::new_call;
use crate::identity::assertion::Assertions;
use crate::life::Gate;
use crate::registry::credential::{ClientAuth, ClientTable, ExchangeTable, GrantTable, SubjectKind, SubjectType};
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

/// What a server is shown.
pub(super) struct Presented {
    /// What it was asked for with.
    key: Digest,
    /// What is sent as `Authorization`.
    pub(super) authorization: HeaderValue,
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

    /// It was not taken.
    pub(super) async fn forget(&self, refused: &Presented) {
        self.tokens.forget(&refused.key, &refused.authorization).await;
    }
}

impl Gate {
    /// What a server is shown with a call; none where it is always shown the same.
    pub(super) async fn presented(
        &self,
        asking: &Asking,
        server: &ServerName,
    ) -> Result<Option<Presented>, UpstreamFault> {
        let snapshot = self.snapshot.load_full();
        let table = snapshot.config.registry.servers.get(server).and_then(|table| table.credential.as_ref());
        let found = match table.map(|table| (&table.exchange, &table.client_credentials)) {
            Some((Some(exchange), _)) => self.exchanged(&snapshot, asking, server, exchange).await,
            Some((None, Some(grant))) => self.granted(server, grant).await,
            Some((None, None)) | None => return Ok(None),
        };
        found.map(Some).map_err(|problem| lacking(server, problem))
    }

    /// What the gateway itself is given for a server.
    ///
    /// # Errors
    ///
    /// Why it is given nothing.
    pub async fn own_credential(&self, server: &ServerName, grant: &GrantTable) -> Result<HeaderValue, UpstreamFault> {
        let granted = self.granted(server, grant).await;
        granted.map(|presented| presented.authorization).map_err(|problem| lacking(server, problem))
    }

    async fn granted(&self, server: &ServerName, table: &GrantTable) -> Result<Presented, String> {
        let key = Digest::of(format!("client\n{server}\n{table:?}").as_bytes());
        let make = async {
            let now = self.clock.now();
            let (at, client) = self.client(&table.client, now).await?;
            let target = Target {
                resource: table.resource.clone(),
                audience: table.audience.clone(),
                scope: table.scope.clone(),
            };
            let issued =
                ask(&self.issuers_way, &at.token_endpoint, &client, &Grant::ClientCredentials, &target).await?;
            Ok(Kept { authorization: bearer(&issued.token)?, ends_at: end(now, issued.life_s, None) })
        };
        let kept = self.credentials.tokens.find(key, None, || self.clock.now(), make).await?;
        Ok(Presented { key, authorization: kept.authorization })
    }

    async fn exchanged(
        &self,
        snapshot: &Snapshot,
        asking: &Asking,
        server: &ServerName,
        table: &ExchangeTable,
    ) -> Result<Presented, String> {
        let own = self.own_token(snapshot, asking, table);
        if own.is_none() && table.subject == SubjectKind::Own {
            return Err(
                "the user's own token is not at hand: they did not come with one, or do not wait any more".to_owned()
            );
        }
        let (owner, authority) = (&asking.session.owner, &asking.authority);
        let shown = own.as_ref().map(|token| Digest::of(token.text().as_bytes()).to_string());
        let asked = (server, format!("{table:?}"), owner, authority.credential.to_string(), &authority.through, shown);
        let asked = serde_json::to_vec(&asked).map_err(|error| error.to_string())?;
        let key = Digest::of_parts(&[b"exchange\n", &asked]);
        let on_behalf = Some((owner.clone(), authority.clone()));
        let make = self.exchange(snapshot, asking, table, own.as_deref());
        let kept = self.credentials.tokens.find(key, on_behalf, || self.clock.now(), make).await?;
        Ok(Presented { key, authorization: kept.authorization })
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
        let mut issued = ask(&self.issuers_way, &at.token_endpoint, &client, &grant, &target).await?;
        if let Some(id_jag) = &table.id_jag {
            let (at, client) = self.client(&id_jag.client, now).await?;
            let grant = Grant::JwtBearer { assertion: &issued.token };
            issued = ask(&self.issuers_way, &at.token_endpoint, &client, &grant, &Target::default()).await?;
        }
        Ok(Kept { authorization: bearer(&issued.token)?, ends_at: end(now, issued.life_s, Some(authority)) })
    }

    /// An authorization server, and who the gateway is there.
    async fn client(&self, table: &ClientTable, now: Timestamp) -> Result<(Arc<Server>, Client), String> {
        let place = Place { issuer: table.issuer.clone(), token_endpoint: table.token_endpoint.clone() };
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

fn lacking(server: &ServerName, problem: String) -> UpstreamFault {
    tracing::warn!(%server, problem, "no credential can be had");
    UpstreamFault::NoCredential(problem)
}
