//! An authorization server: it gives tokens to whoever proves to be the gateway, and knows whom each of them stands for.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis_testkit::process::listen;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use crate::gateway::Gateway;
use crate::issuer::form;
use crate::raw_upstream::{RawUpstream, Received, SILENCE, whole};

/// The gateway's secret there, at first.
pub(crate) const SECRET: &str = "s3cr3t-of-the-gateway/+ ";
pub(crate) const TYPES: &str = "urn:ietf:params:oauth:token-type:";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// What the authorization server does when it is asked to exchange a token.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    Good,
    Down,
    Silent,
    Malformed,
    Oversized,
    WrongType,
    Expired,
    /// It says in its error what it was sent.
    Chatty,
}

pub(crate) struct State {
    pub(crate) mood: Mood,
    /// The gateway's public keys.
    pub(crate) keys: Vec<Value>,
    /// What the gateway's secret is.
    pub(crate) secret: String,
    /// Whom each token stands for: the user and who acts for them.
    pub(crate) tokens: BTreeMap<String, String>,
    /// Where each token may be shown.
    pub(crate) resources: BTreeMap<String, String>,
    /// Everything that exchanges were asked with.
    pub(crate) asked: Vec<HashMap<String, String>>,
    /// The tokens that clients brought and that were never published.
    pub(crate) users: BTreeMap<String, String>,
    /// How often the gateway asked for itself.
    pub(crate) granted: usize,
    /// Whether the server behind the gateway lets nobody in.
    pub(crate) is_shut: bool,
    /// Whom the server has seen call.
    pub(crate) seen: Vec<String>,
    /// Whom it has seen do anything else.
    pub(crate) greeted: Vec<String>,
}

pub(crate) type Shared = Arc<Mutex<State>>;

pub(crate) fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server, while it runs.
pub(crate) struct AuthorizationServer {
    /// Its issuer.
    pub(crate) url: String,
    state: Shared,
    _upstream: RawUpstream,
}

impl AuthorizationServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Under TLS where there is something to prove its name with.
    pub(crate) async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let state = State {
            mood: Mood::Good,
            keys: Vec::new(),
            secret: SECRET.trim().to_owned(),
            tokens: BTreeMap::new(),
            resources: BTreeMap::new(),
            asked: Vec::new(),
            users: BTreeMap::new(),
            granted: 0,
            is_shut: false,
            seen: Vec::new(),
            greeted: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let (listener, plain) = listen().await.unwrap();
        let url = if tls.is_some() { plain.replace("http://", "https://") } else { plain };
        let (shared, own) = (state.clone(), url.clone());
        let upstream =
            RawUpstream::start_with(listener, url.clone(), tls, move |request| answer(request, &shared, &own));
        Self { url, state, _upstream: upstream }
    }

    /// What is known there, for those who let in whoever has a token of it.
    pub(crate) fn shared(&self) -> Shared {
        self.state.clone()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// From now on it believes what the gateway signs.
    pub(crate) async fn trust(&self, gateway: &Gateway) {
        let keys = gateway.stranger().get("/.well-known/jwks.json").await.unwrap().json();
        self.lock().keys = keys["keys"].as_array().unwrap().clone();
    }

    /// No token that came or went may stand anywhere.
    pub(crate) fn keep_secrets(&self, gateway: &Gateway) {
        let state = self.lock();
        state.tokens.keys().for_each(|token| gateway.keep_secret(token));
        for form in &state.asked {
            let named = ["subject_token", "actor_token", "client_assertion"];
            named.iter().filter_map(|name| form.get(*name)).for_each(|token| gateway.keep_secret(token));
        }
    }
}

impl State {
    /// Where the token of a request may be shown.
    pub(crate) fn resource(&self, request: &Received) -> String {
        bearer(request).and_then(|token| self.resources.get(token)).cloned().unwrap_or_default()
    }
}

fn bearer(request: &Received) -> Option<&str> {
    request.raw_head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).map(str::trim)
}

/// Whom the token of a request stands for, unless nobody is let in.
pub(crate) fn whom(request: &Received, state: &State) -> Option<String> {
    state.tokens.get(bearer(request)?).filter(|_| !state.is_shut).cloned()
}

/// The claims of a JWT that one of the gateway's published keys has signed for that audience.
fn verified(token: &str, keys: &[Value], audience: &str) -> Value {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let mut parts = input.split('.').map(|part| serde_json::from_slice::<Value>(&decoded(part)).unwrap());
    let (header, claims) = (parts.next().unwrap(), parts.next().unwrap());
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
    let key = UnparsedPublicKey::new(&ED25519, decoded(key["x"].as_str().unwrap()));
    key.verify(input.as_bytes(), &decoded(signature)).unwrap();
    assert_eq!((&header["alg"], &claims["aud"]), (&json!("EdDSA"), &json!(audience)));
    assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() <= 60);
    claims
}

/// Who is there at the token endpoint, if the gateway proves it.
fn is_gateway(request: &Received, form: &HashMap<String, String>, state: &State, issuer: &str) -> bool {
    if let Some(assertion) = form.get("client_assertion") {
        let claims = verified(assertion, &state.keys, issuer);
        assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        return (&claims["iss"], &claims["sub"]) == (&json!("gateway"), &json!("gateway"));
    }
    let header = request.raw_head.lines().find_map(|line| line.strip_prefix("authorization: Basic "));
    let Some(pair) = header.and_then(|pair| STANDARD.decode(pair.trim()).ok()) else { return false };
    let pair = String::from_utf8(pair).unwrap();
    let decoded = crate::issuer::form(&pair.replace(':', "="));
    decoded.get("gateway").is_some_and(|secret| *secret == state.secret)
}

fn answer(request: &Received, shared: &Shared, url: &str) -> Vec<Vec<u8>> {
    let target = request.raw_head.split(' ').nth(1).unwrap_or_default();
    let metadata = |issuer: &str| json!({"issuer": issuer, "token_endpoint": format!("{issuer}/token")}).to_string();
    let (issuer, form) = match target {
        "/.well-known/oauth-authorization-server" => return vec![whole(200, "", &metadata(url))],
        "/.well-known/oauth-authorization-server/crm" => return vec![whole(200, "", &metadata(&format!("{url}/crm")))],
        "/token" => (url.to_owned(), form(std::str::from_utf8(&request.body).unwrap())),
        "/crm/token" => (format!("{url}/crm"), form(std::str::from_utf8(&request.body).unwrap())),
        _ => return vec![whole(404, "", "")],
    };
    let mut state = lock(shared);
    if !is_gateway(request, &form, &state, &issuer) {
        return vec![whole(401, "", r#"{"error":"invalid_client"}"#)];
    }
    match form["grant_type"].as_str() {
        "client_credentials" => {
            let answer = give(&mut state, "gateway");
            state.granted += 1;
            vec![whole(200, "", &answer)]
        }
        BEARER => {
            let whom = state.tokens[&form["assertion"]].strip_prefix("jag:").unwrap().to_owned();
            let answer = give(&mut state, &whom);
            vec![whole(200, "", &answer)]
        }
        EXCHANGE => {
            state.asked.push(form.clone());
            exchanged(&form, &mut state, &issuer)
        }
        other => panic!("{other}"),
    }
}

/// A token that stands for somebody.
fn give(state: &mut State, whom: &str) -> String {
    let token = format!("up-{}-{}", state.tokens.len(), URL_SAFE_NO_PAD.encode(whom));
    state.tokens.insert(token.clone(), whom.to_owned());
    json!({"access_token": token, "token_type": "Bearer", "expires_in": 300}).to_string()
}

fn exchanged(form: &HashMap<String, String>, state: &mut State, issuer: &str) -> Vec<Vec<u8>> {
    let subject = &form["subject_token"];
    let (user, before) = match state.users.get(subject) {
        Some(user) => (user.clone(), Value::Null),
        None => {
            assert_eq!(form["subject_token_type"], format!("{TYPES}jwt"));
            let claims = verified(subject, &state.keys, issuer);
            (claims["sub"].as_str().unwrap().to_owned(), claims["act"].clone())
        }
    };
    let mut whom = user;
    if let Some(actor) = form.get("actor_token") {
        assert_eq!(form["actor_token_type"], format!("{TYPES}jwt"));
        let claims = verified(actor, &state.keys, issuer);
        whom = format!("{whom} by {}", claims["sub"].as_str().unwrap());
    }
    if let Some(before) = before["sub"].as_str() {
        whom = format!("{whom} for {before}");
    }
    let wanted = form["requested_token_type"].clone();
    let is_jag = wanted == format!("{TYPES}id-jag");
    let token =
        format!("{}-{}-{}", if is_jag { "jag" } else { "up" }, state.tokens.len(), URL_SAFE_NO_PAD.encode(&whom));
    let answer = |ty: &str, expires_in: u64| {
        let used = if is_jag { "N_A" } else { "Bearer" };
        let answer =
            json!({"access_token": token, "issued_token_type": ty, "token_type": used, "expires_in": expires_in});
        vec![whole(200, "", &answer.to_string())]
    };
    match state.mood {
        Mood::Good => {
            state.resources.extend(form.get("resource").map(|resource| (token.clone(), resource.clone())));
            state.tokens.insert(token.clone(), if is_jag { format!("jag:{whom}") } else { whom });
            answer(&wanted, 300)
        }
        Mood::Down => vec![whole(503, "", "")],
        Mood::Silent => vec![SILENCE.to_vec()],
        Mood::Malformed => vec![whole(200, "", "<html>")],
        Mood::Oversized => vec![whole(200, "", &format!("{{\"access_token\":\"{}\"}}", "x".repeat(100_000)))],
        Mood::WrongType => answer(&format!("{TYPES}refresh_token"), 300),
        Mood::Expired => answer(&wanted, 0),
        Mood::Chatty => {
            vec![whole(400, "", &json!({"error": "invalid_grant", "error_description": subject}).to_string())]
        }
    }
}
