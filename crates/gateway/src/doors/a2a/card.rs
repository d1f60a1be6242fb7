//! The card of an agent, with the gateway in the agent's place.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, ETAG, HOST, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, VARY};
use http::{HeaderMap, Uri};
use portcullis_domain::digest::Digest;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::time::Timestamp;
use portcullis_interop::a2a::card::{ByGrpc, Serving, signature};
use portcullis_interop::a2a::{Card, Version};

use crate::doors::answer::{self, Answer};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::text_header;
use crate::identity::signing::{KEY_SET_PATH, SigningKey};

/// How long a client may keep a card without asking, in seconds; the gateway itself looks at it as often.
const MAX_AGE: &str = "private, max-age=60";
/// What a card depends on besides its address.
const VARIES: &str = "Authorization, Host, A2A-Version";

/// Shows the card of the agent of that name, which has been the same since then.
///
/// # Errors
///
/// When it can't be shown in the version that the client asks for.
pub fn show(
    doors: &Doors,
    arrived: &Arrived,
    name: &str,
    card: &Card,
    changed_at: Timestamp,
) -> Result<Answer, Refusal> {
    let version = Version::stated(&arrived.headers, arrived.query.as_deref()).map_err(|unsupported| {
        Refusal::new(Code::UnsupportedVersion, format!("version `{}` is not spoken here", unsupported.requested))
    })?;
    let card = Face::of(doors, arrived, name).serve(doors, card, version).map_err(|problem| {
        Refusal::new(Code::UpstreamFailed, format!("the card of `{name}` can't be shown")).because(problem)
    })?;
    let tag = format!("\"{}\"", Digest::of(card.as_bytes()));
    let changed_at = UNIX_EPOCH + Duration::from_secs(changed_at.0 / 1_000_000);
    let answer =
        if is_fresh(&arrived.headers, &tag, changed_at) { answer::empty(304) } else { answer::json(200, card) };
    let headers: [(HeaderName, &str); 4] =
        [(ETAG, &tag), (LAST_MODIFIED, &httpdate::fmt_http_date(changed_at)), (CACHE_CONTROL, MAX_AGE), (VARY, VARIES)];
    Ok(headers.into_iter().fold(answer, |answer, (name, value)| answer::with_header(answer, name, value)))
}

/// Whether the client has the card already (RFC 9110, section 13.2.2).
fn is_fresh(headers: &HeaderMap, tag: &str, changed_at: std::time::SystemTime) -> bool {
    if let Some(known) = text_header(headers, &IF_NONE_MATCH) {
        return known
            .split(',')
            .map(|known| known.trim().trim_start_matches("W/"))
            .any(|known| known == tag || known == "*");
    }
    let since = text_header(headers, &IF_MODIFIED_SINCE).and_then(|since| httpdate::parse_http_date(since).ok());
    since.is_some_and(|since| changed_at <= since)
}

/// Where a client sees an agent, and the gateway.
#[derive(Debug, Clone)]
pub struct Face {
    /// Where it calls the agent.
    url: String,
    /// Where it reaches the gateway, without a slash at the end.
    base: String,
    /// The agent's name.
    agent: String,
}

impl Face {
    /// What this client sees: the agent is in the session that it named, if any.
    #[must_use]
    pub fn of(doors: &Doors, arrived: &Arrived, agent: &str) -> Self {
        let snapshot = doors.gate.snapshot.load();
        let host = text_header(&arrived.headers, &HOST).unwrap_or("localhost");
        let base = snapshot.config.server.base(host);
        let session = arrived.session.as_ref().map(|session| format!("/s/{}", session.name)).unwrap_or_default();
        Self { url: format!("{base}{session}/a2a/{agent}"), base, agent: agent.to_owned() }
    }

    /// What whoever is not there sees.
    #[must_use]
    pub fn of_nobody(agent: &str) -> Self {
        Self { url: String::new(), base: String::new(), agent: agent.to_owned() }
    }

    /// The card with the gateway in the agent's place, signed.
    ///
    /// # Errors
    ///
    /// What can't be read in it.
    pub fn serve(&self, doors: &Doors, card: &Card, version: Option<Version>) -> Result<String, String> {
        let pushes = doors.gate.snapshot.load().config.server.public_url.is_some();
        let address = address(&self.base);
        let grpc = address.as_deref().map(|address| ByGrpc { address, tenant: &self.agent });
        let serving = Serving { url: &self.url, grpc, version, pushes, has_extended: true };
        signed(&doors.gate.signing_key(), &self.base, &card.serve(&serving)?)
    }
}

/// The card with the gateway's own signatures (A2A 1.0, section 8.4): of what a reader of 1.0 knows in it, which is what the official libraries verify, and of all of it
/// where that is more.
fn signed(key: &SigningKey, base: &str, card: &str) -> Result<String, String> {
    let header = serde_json::json!({
        "alg": "EdDSA", "typ": "JOSE", "kid": key.id(), "jku": format!("{base}{KEY_SET_PATH}"),
    });
    let protected = URL_SAFE_NO_PAD.encode(header.to_string());
    let mut payloads = vec![signature::payload(&signature::essential(card)?)?, signature::payload(card)?];
    payloads.dedup();
    let sign = |payload: &String| {
        let input = signature::signing_input(&protected, payload);
        (protected.clone(), URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes())))
    };
    signature::with_signatures(card, &payloads.iter().map(sign).collect::<Vec<_>>())
}

/// Host and port of the same, as libraries of gRPC take them. Paths mean nothing to them, so a gateway that is reached below one is not reached by gRPC.
fn address(base: &str) -> Option<String> {
    let uri: Uri = base.parse().ok()?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    (uri.path() == "/").then(|| uri.host().map(|host| format!("{host}:{port}"))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_grpc_the_gateway_is_a_host_and_a_port() {
        for (base, expected) in [
            ("http://127.0.0.1:4040", Some("127.0.0.1:4040")),
            ("https://gate.example.org/", Some("gate.example.org:443")),
            ("http://[::1]", Some("[::1]:80")),
            ("https://gate.example.org/portcullis", None),
        ] {
            assert_eq!(address(base).as_deref(), expected, "{base}");
        }
    }

    #[test]
    fn a_card_is_sent_once_as_long_as_it_stays_the_same() {
        let changed_at = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (name, value, expected) in [
            (IF_NONE_MATCH, "\"a\"", true),
            (IF_NONE_MATCH, "\"b\", W/\"a\"", true),
            (IF_NONE_MATCH, "*", true),
            (IF_NONE_MATCH, "\"b\"", false),
            (IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT", true),
            (IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT", false),
            (IF_MODIFIED_SINCE, "yesterday", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(is_fresh(&headers, "\"a\"", changed_at), expected, "{value}");
        }
        let mut both = HeaderMap::new();
        both.insert(IF_NONE_MATCH, "\"b\"".parse().unwrap());
        both.insert(IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        assert!(!is_fresh(&both, "\"a\"", changed_at));
    }
}
