//! Who is listened to: the host that is asked for, the page that asks, the key, and the session.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderName, ORIGIN};
use http::{HeaderMap, Uri};
use portcullis_domain::authority::{Authority, Chain};
use portcullis_domain::digest::Digest;
use portcullis_domain::identity::Keys;
use portcullis_domain::ids::{CallId, KeyId, PrincipalName, SessionId, SessionName};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::Origin;
use portcullis_domain::session::once::KEY_LIMIT_BYTES;
use portcullis_domain::session::state::MINTED_PREFIX;
use portcullis_domain::time::Timestamp;

use crate::credential::OwnToken;
use crate::doors::answer::SESSION;
use crate::identity::signing::SigningKeys;
use crate::server::ServerTable;
use crate::snapshot::Snapshot;

/// The header that an agent shows its task token in, beside a key of its own.
pub(super) const TASK: HeaderName = HeaderName::from_static("portcullis-task");
/// What everybody reads whose key or token is not taken.
pub(super) const INVALID_KEY: &str = "the key is not valid";

/// What keys and tokens are checked against.
pub struct Known<'a> {
    /// The keys.
    pub keys: &'a Keys,
    /// Who is there to act.
    pub snapshot: &'a Snapshot,
    /// What the gateway signs with.
    pub signing: &'a SigningKeys,
    /// Who the certificate of the connection is for, if it has one that is somebody's.
    pub certified: Option<&'a Caller>,
    /// What time it is.
    pub now: Timestamp,
}

/// Somebody whose key is valid.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose the sessions are: who asks, or for whom an agent asks.
    pub principal: PrincipalName,
    /// On whose authority.
    pub authority: Authority,
    /// The one session that they may enter, for who came with a task token.
    pub bound: Option<SessionId>,
    /// The key of its own that an agent has shown beside a task token.
    pub own: Option<KeyId>,
    /// The token of their issuer that they came with, if they did.
    pub token: Option<Arc<OwnToken>>,
}

impl Caller {
    /// Whether they came with a key or token of their own: a task token is for whoever works for them.
    #[must_use]
    pub fn is_by_themself(&self) -> bool {
        self.bound.is_none() && self.authority.through.is_empty()
    }

    /// Everybody on whose behalf is asked.
    #[must_use]
    pub fn chain(&self) -> Chain<'_> {
        self.authority.chain(&self.principal)
    }

    /// Whether what they came with opens this session, as far as it says so.
    #[must_use]
    pub fn may_enter(&self, session: &SessionId) -> bool {
        self.bound.as_ref().is_none_or(|bound| bound == session)
    }

    /// The same, as a refusal of everything else.
    ///
    /// # Errors
    ///
    /// [`Code::Forbidden`].
    pub fn check_session(&self, session: &SessionId) -> Result<(), Refusal> {
        if self.may_enter(session) {
            return Ok(());
        }
        Err(Refusal::new(Code::Forbidden, "the task token is for another session").about("Portcullis-Session"))
    }
}

/// Refuses requests for another host (DNS rebinding) and from pages that are not allowed (RFC 6454).
///
/// # Errors
///
/// [`Code::Forbidden`].
pub fn check_addressee(headers: &HeaderMap, uri: &Uri, server: &ServerTable) -> Result<(), Refusal> {
    let host = match headers.get(HOST) {
        Some(host) => host.to_str().ok().and_then(|host| host.parse::<http::uri::Authority>().ok()),
        None => uri.authority().cloned(),
    };
    let Some(host) = host else { return Err(Refusal::new(Code::InvalidRequest, "the request names no host")) };
    if !is_own_host(host.host(), server) {
        return Err(Refusal::new(Code::Forbidden, format!("this gateway is not `{}`", host.host())));
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let is_allowed =
        server.allowed_origins.iter().any(|allowed| allowed == origin) || is_own_origin(origin, host.as_str());
    if is_allowed {
        Ok(())
    } else {
        Err(Refusal::new(Code::Forbidden, "pages of this origin may not call the gateway"))
    }
}

fn is_own_host(host: &str, server: &ServerTable) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = matches!(host, "localhost" | "127.0.0.1" | "::1");
    is_loopback
        || host == server.listen.ip().to_string()
        || server.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
}

/// A page that the gateway itself has served.
fn is_own_origin(origin: &str, authority: &str) -> bool {
    origin.split_once("://").is_some_and(|(scheme, rest)| matches!(scheme, "http" | "https") && rest == authority)
}

/// The refusal of a key or token, whose reason the operator alone reads.
pub(super) fn invalid_key_because(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::Unauthenticated, INVALID_KEY).because(reason)
}

/// The session that the caller names in the path or in `Portcullis-Session`, or else the one of the task token.
///
/// # Errors
///
/// [`Code::InvalidRequest`] when it is no name, or path and header differ; [`Code::Forbidden`] when the task token is for another one.
pub fn named_session(caller: &Caller, path: Option<&str>, headers: &HeaderMap) -> Result<Option<SessionId>, Refusal> {
    let invalid = |message: String| Refusal::new(Code::InvalidRequest, message).about("Portcullis-Session");
    let header = headers
        .get(SESSION)
        .map(|value| value.to_str().map_err(|_| invalid("`Portcullis-Session` is no text".to_owned())));
    let name = match (path, header.transpose()?) {
        (Some(path), Some(header)) if path != header => {
            return Err(invalid(format!("the path names session `{path}` and the header `{header}`")));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => return Ok(caller.bound.clone()),
    };
    let name: SessionName = name.parse().map_err(invalid)?;
    let session = SessionId { owner: caller.principal.clone(), name };
    caller.check_session(&session)?;
    Ok(Some(session))
}

/// The session that was named, or a new one that nobody can guess.
///
/// # Errors
///
/// When the system has no randomness to give.
pub fn session_or_minted(caller: &Caller, named: Option<SessionId>) -> Result<(SessionId, Origin), Refusal> {
    if let Some(session) = named {
        return Ok((session, Origin::Named));
    }
    let name = format!("{MINTED_PREFIX}{}", crate::entropy::new_call()?);
    let name = name.parse().map_err(|problem: String| Refusal::new(Code::StoreUnavailable, problem))?;
    Ok((SessionId { owner: caller.principal.clone(), name }, Origin::Minted))
}

/// The same for a request with an idempotency key: without a name of its own its session is minted for the key, so that a repetition comes to the same one.
///
/// # Errors
///
/// As [`session_or_minted`].
pub fn session_of_key(
    caller: &Caller,
    named: Option<SessionId>,
    key: Option<&str>,
) -> Result<(SessionId, Origin), Refusal> {
    let (None, Some(key)) = (&named, key) else { return session_or_minted(caller, named) };
    let Digest(bytes) = Digest::of_parts(&[b"session\n", caller.principal.as_str().as_bytes(), b"\n", key.as_bytes()]);
    let number = bytes.first_chunk::<16>().copied().map_or(CallId([0; 16]), CallId);
    let name = format!("{MINTED_PREFIX}{number}");
    let name = name.parse().map_err(|problem: String| Refusal::new(Code::StoreUnavailable, problem))?;
    Ok((SessionId { owner: caller.principal.clone(), name }, Origin::Minted))
}

/// The key in `Idempotency-Key`, of which the quotes are left out that the draft asks for and few clients write.
///
/// # Errors
///
/// [`Code::InvalidRequest`] when it is given twice or is no key.
pub fn header_idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => check_idempotency_key(value.to_str().unwrap_or_default()).map(Some),
        (Some(_), Some(_)) => Err(invalid_key("it is given twice")),
    }
}

/// The same key, if it is one.
///
/// # Errors
///
/// [`Code::InvalidRequest`].
pub fn check_idempotency_key(key: &str) -> Result<String, Refusal> {
    let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
    if key.is_empty() || key.len() > KEY_LIMIT_BYTES || !key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    {
        return Err(invalid_key(&format!("it must have 1 to {KEY_LIMIT_BYTES} visible ASCII characters")));
    }
    Ok(key.to_owned())
}

fn invalid_key(problem: &str) -> Refusal {
    Refusal::new(Code::InvalidRequest, format!("the idempotency key can't be used: {problem}")).about("Idempotency-Key")
}

/// How long a turn waits for those before it, if the caller says nothing (`Prefer: wait=N`).
pub const TURN_WAIT: Duration = Duration::from_secs(60);
/// The longest that a caller may want to wait.
const TURN_WAIT_LIMIT: Duration = Duration::from_secs(600);
/// What a client prefers (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// How long the caller waits for its turn with an agent.
///
/// # Errors
///
/// [`Code::InvalidRequest`] when it says something else than a number of seconds.
pub fn turn_wait(headers: &HeaderMap) -> Result<Duration, Refusal> {
    let preferences = text_header(headers, &PREFER).unwrap_or_default().split(',');
    let wait = preferences.filter_map(|preference| preference.trim().strip_prefix("wait=")).next();
    let Some(seconds) = wait else { return Ok(TURN_WAIT) };
    let seconds: u64 = seconds.trim_matches('"').parse().map_err(|_| {
        Refusal::new(Code::InvalidRequest, "`Prefer: wait=` is followed by a number of seconds").about("Prefer")
    })?;
    Ok(Duration::from_secs(seconds).min(TURN_WAIT_LIMIT))
}

/// The header that says which call it is (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Headers whose value is text; the last one where a header is repeated.
#[must_use]
pub fn text_header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>, expected: bool) {
        let server = ServerTable {
            allowed_hosts: vec!["gate.example.org".to_owned()],
            allowed_origins: vec!["https://app.example.org".to_owned()],
            ..ServerTable::default()
        };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        assert_eq!(check_addressee(&headers, &Uri::from_static("/"), &server).is_ok(), expected, "{host} {origin:?}");
    }

    #[test]
    fn a_caller_says_how_long_it_waits_for_its_turn() {
        let check = |prefer: &str, expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, prefer.parse().unwrap());
            assert_eq!(turn_wait(&headers).ok().map(|wait| wait.as_secs()), expected, "{prefer}");
        };
        check("", Some(60));
        check("wait=0", Some(0));
        check("respond-async, wait=10", Some(10));
        check("wait=100000", Some(600));
        check("wait=x", None);
    }

    #[test]
    fn only_its_own_names_and_allowed_pages_are_listened_to() {
        check("localhost:4040", None, true);
        check("127.0.0.1:4040", None, true);
        check("[::1]:4040", None, true);
        check("GATE.example.org", None, true);
        check("evil.example.org:4040", None, false);
        check("127.0.0.1.evil.example.org", None, false);
        check("127.0.0.1:4040", Some("http://127.0.0.1:4040"), true);
        check("127.0.0.1:4040", Some("https://app.example.org"), true);
        check("127.0.0.1:4040", Some("https://evil.example.org"), false);
        check("127.0.0.1:4040", Some("null"), false);
    }
}
