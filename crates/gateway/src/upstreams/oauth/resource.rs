//! What an upstream says of whose tokens it takes (RFC 9728), and how far that is believed.
//!
//! Whatever it says, it can't make the gateway show anything to anybody: nothing of the gateway's or of a user's goes along when it is asked, it is asked at the scheme, host and port that the
//! configuration names and nowhere else, and of the authorization servers that it names only those count that the configuration allows for it. Who these are they say for themselves
//! ([`Servers`](super::server::Servers)). A token is asked for what the upstream is called by, which must be where it is called: so no upstream gets a token that is meant for another one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use portcullis_domain::time::Timestamp;
use serde::Deserialize;

use crate::upstreams::client::HttpClient;

/// Where the metadata of a resource is, with its path behind it (RFC 9728, section 3.1).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// A message that nobody is let in with, and that does nothing where somebody is.
const PING: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
/// How long an upstream may take to say it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest metadata, in bytes.
const METADATA_LIMIT_BYTES: usize = 64 << 10;
/// The longest address of metadata, in bytes.
const URL_LIMIT_BYTES: usize = 2_048;
/// The most authorization servers that are looked at.
const SERVERS_LIMIT: usize = 32;
/// How long it is believed, in seconds.
const KEPT_S: u64 = 600;
/// Of how many upstreams it is kept.
const RESOURCES_LIMIT: usize = 1_000;

/// An upstream, as it says of itself.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Resource {
    /// What it is called where tokens are given for it (RFC 8707).
    #[serde(rename = "resource")]
    pub name: String,
    /// The authorization servers whose tokens it takes.
    #[serde(rename = "authorization_servers", default)]
    issuers: Vec<String>,
}

impl Resource {
    /// The first of its authorization servers that is one of those allowed.
    ///
    /// # Errors
    ///
    /// A sentence when none is.
    pub fn issuer(&self, allowed: &[String]) -> Result<String, String> {
        let found = self.issuers.iter().take(SERVERS_LIMIT).find(|issuer| allowed.contains(issuer));
        found.cloned().ok_or_else(|| {
            "it names none of the `issuers` as its authorization server, and no other one is shown anything".to_owned()
        })
    }
}

/// The upstreams that have said it.
#[derive(Default)]
pub struct Resources {
    /// By where they are and what they must be called. Locked to look up and to insert, never across a wait.
    found: Mutex<Found>,
}

type Found = HashMap<(String, String), (Timestamp, Arc<Resource>)>;

impl Resources {
    /// What the upstream at that URL says, which must be called so; it is asked where that is not known.
    ///
    /// # Errors
    ///
    /// Why that is not known, for the operator.
    pub async fn find(
        &self,
        http: &HttpClient,
        url: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<Arc<Resource>, String> {
        let key = (url.to_owned(), name.to_owned());
        let is_young = |read: &Timestamp| now.0.saturating_sub(read.0) < KEPT_S * 1_000_000;
        if let Some((_, known)) = self.lock().get(&key).filter(|(read, _)| is_young(read)) {
            return Ok(known.clone());
        }
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, discover(http, url, name)).await;
        let late = || format!("it takes longer than {} s to say whose tokens it takes", ANSWER_TIMEOUT.as_secs());
        let resource = Arc::new(asked.unwrap_or_else(|_| Err(late()))?);
        let mut found = self.lock();
        if found.len() >= RESOURCES_LIMIT {
            found.clear();
        }
        found.insert(key, (now, resource.clone()));
        Ok(resource)
    }

    /// It does not take what was given for it: it may take the tokens of others by now.
    pub fn forget(&self, url: &str) {
        self.lock().retain(|(known, _), _| known != url);
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn discover(http: &HttpClient, url: &str, name: &str) -> Result<Resource, String> {
    let uri: Uri = url.parse().map_err(|_| format!("`{url}` is no URL"))?;
    let mut problem = String::new();
    for place in places(&uri, challenged(http, &uri).await?.as_deref())? {
        match read(http, &place).await {
            Ok(resource) if is_called(&resource.name, name) => return Ok(resource),
            // Whoever answers for another one would get what is meant for that one (RFC 9728, section 3.3).
            Ok(_) => problem = format!("what is at `{place}` is the metadata of another resource than `{name}`"),
            Err(wrong) => problem = format!("`{place}`: {wrong}"),
        }
    }
    Err(problem)
}

/// Where its metadata is, as it says to whoever comes without a token (RFC 9728, section 5.1); none where it does not say so.
async fn challenged(http: &HttpClient, uri: &Uri) -> Result<Option<String>, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    let answer = http.send(Method::POST, uri, headers, Bytes::from_static(PING)).await;
    let answer = answer.map_err(|fault| fault.to_string())?;
    if answer.status() != StatusCode::UNAUTHORIZED {
        return Ok(None);
    }
    let challenges = answer.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    Ok(challenges.filter_map(|challenge| parameter(challenge, "resource_metadata")).next())
}

/// Where to look: there where it says, or else where such metadata always are. Never at another scheme, host or port than its own.
fn places(uri: &Uri, said: Option<&str>) -> Result<Vec<Uri>, String> {
    let of = |path: String| {
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = path.parse().ok();
        Uri::from_parts(parts).map_err(|_| format!("`{path}` is no path"))
    };
    let Some(said) = said else {
        let path = uri.path().trim_end_matches('/');
        return [format!("{WELL_KNOWN}{path}"), WELL_KNOWN.to_owned()].into_iter().map(of).collect();
    };
    let there: Option<Uri> = Some(said).filter(|said| said.len() <= URL_LIMIT_BYTES).and_then(|said| said.parse().ok());
    let is_own = |there: &Uri| (there.scheme(), there.authority()) == (uri.scheme(), uri.authority());
    let there = there.filter(is_own).ok_or("it says that its metadata are elsewhere than it is itself")?;
    Ok(vec![there])
}

async fn read(http: &HttpClient, place: &Uri) -> Result<Resource, String> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let answer = http.send(Method::GET, place, headers, Bytes::new()).await.map_err(|fault| fault.to_string())?;
    if answer.status() != StatusCode::OK {
        return Err(format!("is answered with status {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), METADATA_LIMIT_BYTES).collect().await;
    let body = body.map_err(|error| format!("can't be read: {error}"))?.to_bytes();
    serde_json::from_slice(&body).map_err(|_| "is no metadata of a resource".to_owned())
}

/// Whether two URLs are the same but for a slash at the end.
fn is_called(said: &str, name: &str) -> bool {
    said.trim_end_matches('/') == name.trim_end_matches('/')
}

/// The value of a parameter in challenges (RFC 9110, section 11.6.1), whatever their schemes.
fn parameter(challenge: &str, wanted: &str) -> Option<String> {
    let mut rest = challenge;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end)?;
        if rest.is_empty() {
            return None;
        }
        // A scheme, or a token that belongs to it.
        let Some(value) = after.trim_start().strip_prefix('=') else {
            rest = after;
            continue;
        };
        let (value, after) = valued(value.trim_start())?;
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// A value at the beginning of a text, and what stands behind it; none where its quotes do not end.
fn valued(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return text.split_at_checked(end).map(|(value, after)| (value.to_owned(), after));
    };
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, letter) in quoted.char_indices() {
        match letter {
            '\\' if !is_escaped => is_escaped = true,
            '"' if !is_escaped => return Some((value, quoted.get(at + 1..)?)),
            _ => {
                value.push(letter);
                is_escaped = false;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_metadata_is_found_among_the_parameters_of_challenges() {
        let check = |challenge: &str, expected: Option<&str>| {
            assert_eq!(parameter(challenge, "resource_metadata").as_deref(), expected, "{challenge}");
        };
        check(r#"Bearer resource_metadata="https://a/m""#, Some("https://a/m"));
        check(r#"Bearer realm="x, y", error="invalid_token" , Resource_Metadata = https://a/m"#, Some("https://a/m"));
        check(r#"Basic realm="a \" resource_metadata=\"b", Bearer resource_metadata="c""#, Some("c"));
        check(r#"Negotiate abc==, Bearer resource_metadata="c""#, Some("c"));
        check(r#"Bearer realm="resource_metadata=x""#, None);
        check(r#"Bearer resource_metadata="https://a"#, None);
        check("Bearer", None);
        check("=,= =", None);
        check("", None);
    }

    #[test]
    fn metadata_are_looked_for_where_the_upstream_is_and_nowhere_else() {
        let check = |said: Option<&str>, expected: &[&str]| {
            let uri: Uri = "https://a.example:8443/x/mcp".parse().unwrap();
            let found = places(&uri, said).unwrap_or_default();
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{said:?}");
        };
        let own = "https://a.example:8443/.well-known/oauth-protected-resource";
        check(None, &[&format!("{own}/x/mcp"), own]);
        check(Some(own), &[own]);
        for elsewhere in [
            "https://b.example:8443/m",
            "http://a.example:8443/m",
            "https://a.example/m",
            "https://user@a.example:8443/m",
            "/m",
            "http://169.254.169.254/",
            "",
        ] {
            check(Some(elsewhere), &[]);
        }
    }

    #[test]
    fn an_upstream_chooses_among_those_who_are_allowed_for_it() {
        let resource = |issuers: &[&str]| Resource {
            name: "https://a".to_owned(),
            issuers: issuers.iter().map(|issuer| (*issuer).to_owned()).collect(),
        };
        let allowed = ["https://one".to_owned(), "https://two".to_owned()];
        assert_eq!(resource(&["https://evil", "https://two", "https://one"]).issuer(&allowed).unwrap(), "https://two");
        for wrong in [&["https://evil"][..], &["https://one/"], &["https://one.evil"], &[]] {
            assert!(resource(wrong).issuer(&allowed).is_err(), "{wrong:?}");
        }
        let many: Vec<&str> = std::iter::repeat_n("https://evil", SERVERS_LIMIT).chain(["https://one"]).collect();
        assert!(resource(&many).issuer(&allowed).is_err());
    }

    #[test]
    fn a_resource_is_called_as_it_is_called_for() {
        for (said, is_it) in
            [("https://a/mcp", true), ("https://a/mcp/", true), ("https://a", false), ("https://a/mcp2", false)]
        {
            assert_eq!(is_called(said, "https://a/mcp"), is_it, "{said}");
        }
    }
}
