//! Where the token endpoint of an authorization server is (RFC 8414; OpenID Connect Discovery 1.0).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_domain::time::Timestamp;
use serde::Deserialize;

use crate::upstreams::issuer::Way;
use crate::upstreams::push::PushClient;

/// The largest metadata, in bytes.
const METADATA_LIMIT_BYTES: usize = 256 << 10;
/// How long metadata is believed, in seconds.
const METADATA_KEPT_S: u64 = 600;
/// Of how many servers metadata is kept.
const SERVERS_LIMIT: usize = 1_000;

/// What the configuration says of where it is: at least one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// Who it is.
    pub issuer: Option<String>,
    /// Its token endpoint.
    pub token_endpoint: Option<String>,
    /// A file with authorities of which its certificate may be, besides those of the web.
    pub ca_file: Option<PathBuf>,
}

/// An authorization server.
#[derive(Debug, PartialEq, Eq)]
pub struct Server {
    /// Its token endpoint.
    pub token_endpoint: String,
    /// What it is called: its issuer, or its token endpoint where no more is known.
    pub name: String,
    /// A file with authorities of which its certificate may be, besides those of the web.
    pub ca_file: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: String,
}

/// The servers whose metadata was read.
#[derive(Default)]
pub struct Servers {
    /// By where they were looked for. Locked to look up and to insert, never across a wait.
    found: Mutex<HashMap<Place, (Timestamp, Arc<Server>)>>,
}

impl Servers {
    /// The server at that place; its metadata is fetched where it is not known.
    ///
    /// # Errors
    ///
    /// Why it is not found, for the operator.
    pub async fn find(&self, way: &PushClient, place: &Place, now: Timestamp) -> Result<Arc<Server>, String> {
        if let Some(endpoint) = &place.token_endpoint {
            let name = place.issuer.as_ref().unwrap_or(endpoint).clone();
            let ca_file = place.ca_file.clone();
            return Ok(Arc::new(Server { token_endpoint: endpoint.clone(), name, ca_file }));
        }
        let issuer = place.issuer.as_ref().ok_or("no authorization server is named")?;
        let is_young = |read: &Timestamp| now.0.saturating_sub(read.0) < METADATA_KEPT_S * 1_000_000;
        let known = self.lock().get(place).filter(|(read, _)| is_young(read)).map(|(_, server)| server.clone());
        if let Some(known) = known {
            return Ok(known);
        }
        let server = Arc::new(discover(way, place, issuer).await?);
        let mut found = self.lock();
        if found.len() >= SERVERS_LIMIT {
            found.clear();
        }
        found.insert(place.clone(), (now, server.clone()));
        Ok(server)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Place, (Timestamp, Arc<Server>)>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn discover(way: &PushClient, place: &Place, issuer: &str) -> Result<Server, String> {
    let way = Way::new(way, place.ca_file.as_deref());
    let [oauth, openid] = metadata_urls(issuer);
    let document = match way.get(&oauth, METADATA_LIMIT_BYTES).await {
        Ok(document) => document,
        Err(problem) => way.get(&openid, METADATA_LIMIT_BYTES).await.map_err(|other| format!("{problem}; {other}"))?,
    };
    let metadata: Metadata =
        serde_json::from_slice(&document).map_err(|_| format!("the metadata of `{issuer}` can't be read"))?;
    // Whoever answers for another one would get what is meant for that one (RFC 8414, section 3.3).
    if metadata.issuer != issuer {
        return Err(format!("the metadata of `{issuer}` is that of another issuer"));
    }
    Ok(Server { token_endpoint: metadata.token_endpoint, name: metadata.issuer, ca_file: place.ca_file.clone() })
}

/// Before the path of the issuer (RFC 8414, section 3.1), and after it.
fn metadata_urls(issuer: &str) -> [String; 2] {
    let issuer = issuer.trim_end_matches('/');
    let path_at = issuer.find("://").and_then(|at| issuer.get(at + 3..)?.find('/').map(|slash| at + 3 + slash));
    let (origin, path) = path_at.map_or((issuer, ""), |at| issuer.split_at(at));
    [
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{issuer}/.well-known/openid-configuration"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_stands_before_the_path_of_the_issuer_or_after_it() {
        let [oauth, openid] = metadata_urls("https://login.example.org/realms/corp");
        assert_eq!(oauth, "https://login.example.org/.well-known/oauth-authorization-server/realms/corp");
        assert_eq!(openid, "https://login.example.org/realms/corp/.well-known/openid-configuration");
        assert_eq!(metadata_urls("https://a/")[0], "https://a/.well-known/oauth-authorization-server");
    }
}
