//! The connection to a tool server, as its table says: over HTTP or to a program, one for all or one for each session.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::ids::ServerName;
use portcullis_domain::registry::Replica;

use crate::config::Problem;
use crate::config::read::{self, Loaded};
use crate::credential::bearer;
use crate::registry::agent::replica;
use crate::registry::table::{ToolServerTable, UpstreamSession};
use crate::registry::tool::SEPARATOR;
use crate::upstreams::client::HttpClient;
use crate::upstreams::egress::ToolServer;
use crate::upstreams::tool::http::HttpToolServer;
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

/// The connection to a server, which is made when it is first used.
///
/// # Errors
///
/// A sentence on what is wrong with the table.
pub fn connector(
    name: &ServerName,
    table: &ToolServerTable,
    base: &Path,
    http: &HttpClient,
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
            let http = http.clone();
            let at = move |url: &str| HttpToolServer::new(url, authorization.clone(), timeout, http.clone());
            if !is_own {
                return Ok(Arc::new(at(first)?));
            }
            if let [_, _, ..] = urls.as_slice() {
                // Their addresses are their names in the journal.
                urls.iter().try_for_each(|url| replica(url).map(drop))?;
            }
            let listing = urls.iter().map(|url| Ok(Arc::new(at(url)?) as Arc<dyn ToolServer>));
            let listing = listing.collect::<Result<Vec<_>, String>>()?;
            let only = (*first).clone();
            let make = move |replica: Option<&Replica>| {
                Ok(Own::Http(Box::new(at(replica.map_or(&only, Replica::address))?.with_session())))
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
