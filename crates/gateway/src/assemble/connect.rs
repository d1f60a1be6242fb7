//! The connection to a tool server, as its table says: over HTTP or to a program, one for all or one for each session.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::HeaderValue;
use portcullis_domain::ids::ServerName;
use portcullis_domain::registry::Replica;
use tokio::sync::watch;

use crate::config::read::{self, Loaded};
use crate::config::{Config, Problem};
use crate::credential::bearer;
use crate::doorway::Doorway;
use crate::life::Gate;
use crate::life::credential::Taker;
use crate::registry::agent::replica;
use crate::registry::credential::CredentialTable;
use crate::registry::table::{ToolServerTable, UpstreamSession};
use crate::registry::tool::SEPARATOR;
use crate::reply::UpstreamFault;
use crate::upstreams::client::HttpClient;
use crate::upstreams::egress::ToolServer;
use crate::upstreams::tool::http::{HttpToolServer, OwnCredential};
use crate::upstreams::tool::sessions::{self, Bounds, Own, PerSession};
use crate::upstreams::tool::stdio::{Program, StdioToolServer};

/// The client of all upstreams.
///
/// # Errors
///
/// What is wrong with the authorities that it is to trust.
pub fn http_client(loaded: &Loaded) -> Result<HttpClient, Problem> {
    let ca_file = loaded.config.registry.ca_file.as_ref().map(|path| loaded.resolve(path));
    let unusable =
        |problem| Problem::of_file(&loaded.path.display().to_string(), format!("registry.ca_file {problem}"));
    HttpClient::new(ca_file.as_deref()).map_err(unusable)
}

/// The same for every request.
fn always(authorization: Option<HeaderValue>) -> OwnCredential {
    Arc::new(move || Box::pin(std::future::ready(Ok(authorization.clone()))))
}

/// Nothing of the gateway's own, for what is done for others alone.
fn never() -> OwnCredential {
    let problem = "it is called with the credential of whoever asks, or not at all";
    Arc::new(move || Box::pin(std::future::ready(Err(UpstreamFault::NoCredential(problem.to_owned())))))
}

/// What the gateway is given for a server by an authorization server, asked for when it is needed; nothing where it is given nothing.
pub(super) fn given(gate: &Arc<Gate>, name: &ServerName, table: &ToolServerTable) -> OwnCredential {
    let grant = table.credential.as_ref().and_then(|credential| credential.client_credentials.clone());
    // The gate holds the connections.
    let (gate, name, url) = (Arc::downgrade(gate), format!("server/{name}"), table.url.clone());
    Arc::new(move || {
        let (gate, name, url, grant) = (gate.clone(), name.clone(), url.clone(), grant.clone());
        Box::pin(async move {
            let Some(grant) = grant else { return Ok(None) };
            let stopped = || UpstreamFault::NoCredential("the gateway stops".to_owned());
            let taker = Taker { name: &name, url: url.as_deref() };
            gate.upgrade().ok_or_else(stopped)?.own_credential(taker, &grant).await.map(Some)
        })
    })
}

/// What nobody is asked for, where no gateway runs.
#[must_use]
pub fn unasked() -> OwnCredential {
    let problem = "its credential is asked for by a running gateway only";
    Arc::new(move || Box::pin(std::future::ready(Err(UpstreamFault::NoCredential(problem.to_owned())))))
}

/// The connection to a server, as its [resolved](ToolServerTable::resolved) table says, which is made when it is first used. Where an authorization server gives what it is shown, `own` asks for that.
///
/// # Errors
///
/// A sentence on what is wrong with the table.
pub fn connector(
    name: &ServerName,
    table: &ToolServerTable,
    base: &Path,
    http: &HttpClient,
    own: OwnCredential,
) -> Result<Arc<dyn ToolServer>, String> {
    let timeout = table.timeout_s.map(Duration::from_secs);
    let urls: Vec<&String> = table.url.iter().chain(&table.urls).collect();
    let is_own = table.session == UpstreamSession::PerSession;
    if table.url.is_some() && !table.urls.is_empty() {
        return Err("has both `url` and `urls`".to_owned());
    }
    if urls.len() > 1 && !is_own {
        return Err("has several `urls`: they need `session: per_session`".to_owned());
    }
    if urls.len() > 1 && name.as_str().contains(SEPARATOR) {
        return Err(format!("has several `urls`: its name must not have `{SEPARATOR}` in it"));
    }
    let idle = table.session_idle_s.map_or(sessions::IDLE, |seconds| Duration::from_secs(seconds.max(1)));
    let bounds = |limit| Bounds { sessions: table.sessions_limit.unwrap_or(limit).max(1), idle };
    match (urls.as_slice(), table.command.as_slice()) {
        ([first, ..], []) => {
            let authorization = table.token.as_ref().map(|token| bearer(&token.0)).transpose()?;
            let own = if table.credential.is_some() { own } else { always(authorization) };
            let is_exchanged = table.credential.as_ref().is_some_and(|credential| credential.exchange.is_some());
            let for_calls = if is_exchanged { never() } else { own.clone() };
            let http = http.clone();
            let with =
                move |url: &str, own: &OwnCredential| HttpToolServer::new(url, own.clone(), timeout, http.clone());
            if !is_own {
                return Ok(Arc::new(with(first, &own)?));
            }
            if let [_, _, ..] = urls.as_slice() {
                // Their addresses are their names in the journal.
                urls.iter().try_for_each(|url| replica(url).map(drop))?;
            }
            let listing = urls.iter().map(|url| Ok(Arc::new(with(url, &own)?) as Arc<dyn ToolServer>));
            let listing = listing.collect::<Result<Vec<_>, String>>()?;
            let only = (*first).clone();
            let make = move |replica: Option<&Replica>| {
                let server = with(replica.map_or(&only, Replica::address), &for_calls)?;
                Ok(Own::Http(Box::new(server.with_session())))
            };
            Ok(Arc::new(PerSession::new(listing, Box::new(make), bounds(sessions::SESSIONS_LIMIT))))
        }
        ([], [_, ..]) => {
            let mut environment = read::inherited();
            environment.extend(table.env.iter().map(|(name, value)| (name.clone(), value.0.clone())));
            let directory = table.directory.as_ref().map_or_else(|| base.to_owned(), |directory| base.join(directory));
            let program = Program { argv: table.command.clone(), environment, directory };
            let name = name.clone();
            let start = move || StdioToolServer::new(&name, program.clone(), timeout);
            if !is_own {
                return Ok(Arc::new(start()));
            }
            let listing: Vec<Arc<dyn ToolServer>> = vec![Arc::new(start())];
            let make = move |_: Option<&Replica>| Ok(Own::Program(start()));
            Ok(Arc::new(PerSession::new(listing, Box::new(make), bounds(sessions::PROGRAMS_LIMIT))))
        }
        ([_, ..], [_, ..]) => Err("has both `url` and `command`".to_owned()),
        ([], []) => Err("has neither `url` nor `command`".to_owned()),
    }
}

/// The issuers that are named for users' own tokens and that nobody knows.
pub(super) fn strangers(config: &Config) -> Vec<String> {
    let named = config.registry.credentials().flat_map(|(at, credential)| {
        let issuers = credential.exchange.iter().flat_map(|exchange| &exchange.subject_issuers);
        issuers.map(move |issuer| (at.clone(), issuer))
    });
    let unknown = named.filter(|(_, issuer)| !config.identity.issuers.contains_key(*issuer));
    let say =
        |(at, issuer)| format!("{at}.credential.exchange.subject_issuers: `{issuer}` is none of `identity.issuers`");
    unknown.map(say).collect()
}

/// The upstreams that can't say whose tokens they take, and are to.
pub(super) fn silent(config: &Config) -> Vec<String> {
    let registry = &config.registry;
    let models = registry.models.values().flat_map(|model| {
        model.deployments.iter().filter_map(|place| place.credential.as_ref()).chain(&model.credential)
    });
    let agents = registry.agents.values().filter_map(|agent| agent.credential.as_ref());
    let are_discovered = models.chain(agents).any(CredentialTable::is_discovered);
    let message = "registry: `issuers` in a `credential` are for MCP servers; agents and models do not say whose tokens they take, so that theirs needs an `issuer`";
    are_discovered.then(|| message.to_owned()).into_iter().collect()
}

/// Sees to it that no token is kept for anybody who may not act any more.
pub(super) async fn drop_with_authority(gate: Weak<Gate>, mut doorway: watch::Receiver<Arc<Doorway>>) {
    while doorway.changed().await.is_ok() {
        let seen = doorway.borrow_and_update().clone();
        let Some(gate) = gate.upgrade() else { return };
        gate.credentials.keep_only(&seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_an_mcp_server_at_one_url_is_to_say_whose_tokens_it_takes() {
        let credential = "credential: {exchange: {client: {issuers: ['https://a'], id: g, auth: none}}}";
        let check = |registry: &str, expected: Option<&str>| {
            let text = format!("registry: {{{}}}", registry.replace("CREDENTIAL", credential));
            let config = read::read_text("c.yaml", &text, std::collections::HashMap::new()).unwrap();
            let servers = config.registry.servers.values();
            let of_servers = servers.filter_map(|server| server.resolved(Path::new(".")).err());
            let found: Vec<String> = silent(&config).into_iter().chain(of_servers).collect();
            assert_eq!(found.len(), usize::from(expected.is_some()), "{text}: {found:?}");
            assert!(expected.is_none_or(|expected| found[0].contains(expected)), "{text}: {found:?}");
        };
        check("servers: {crm: {url: 'https://c', session: per_session, CREDENTIAL}}", None);
        let several = "urls: ['https://c', 'https://d'], session: per_session";
        check(&format!("servers: {{crm: {{{several}, CREDENTIAL}}}}"), Some("needs one `url`"));
        check("agents: {helper: {replicas: ['https://c'], CREDENTIAL}}", Some("are for MCP servers"));
        check("models: {m: {base_url: 'https://c', CREDENTIAL}}", Some("are for MCP servers"));
        check("models: {m: {deployments: [{base_url: 'https://c', CREDENTIAL}]}}", Some("are for MCP servers"));
    }
}
