//! An issuer of tokens on loopback: an OpenID provider and OAuth authorization server with keys of its own, of which a test can take every part away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_testkit::process::listen;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::raw_upstream::{RawUpstream, Received, whole};

/// Whom tokens are for, unless a test says otherwise.
pub(crate) const AUDIENCE: &str = "gate";
/// The path below which the issuer is.
const REALM: &str = "/realms/corp";
/// The end of tokens, in 2096: no test waits for it.
const EXPIRY: u64 = 4_000_000_000;

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// A key that signs tokens.
pub(crate) struct TokenKey {
    pub(crate) id: String,
    algorithm: &'static str,
    pair: Pair,
}

impl TokenKey {
    pub(crate) fn new(id: &str, algorithm: &'static str) -> Self {
        let pair = match algorithm {
            "RS256" | "PS256" => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            "ES256" => Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            "EdDSA" => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
            other => panic!("{other}"),
        };
        Self { id: id.to_owned(), algorithm, pair }
    }

    /// The public part (RFC 7517).
    pub(crate) fn jwk(&self) -> Value {
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                // A sequence of two numbers (RFC 8017, appendix A.1.1), which for 2,048 bits has always these lengths.
                let der = pair.public_key().as_ref();
                json!({"kty": "RSA", "n": encoded(&der[9..265]), "e": encoded(&der[267..])})
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..])})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key().as_ref())}),
        };
        for (name, value) in [("kid", self.id.as_str()), ("alg", self.algorithm), ("use", "sig")] {
            jwk[name] = json!(value);
        }
        jwk
    }

    /// All bytes that somebody might take for a secret who knows only the public part.
    pub(crate) fn public_bytes(&self) -> Vec<Vec<u8>> {
        let jwk = self.jwk();
        let members = ["n", "x"].iter().filter_map(|name| jwk[*name].as_str());
        let decoded = members.clone().map(|text| URL_SAFE_NO_PAD.decode(text).unwrap());
        let raw = match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        };
        decoded.chain(members.map(|text| text.as_bytes().to_vec())).chain([raw, jwk.to_string().into_bytes()]).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "the issuer is somebody else, with chance of its own")]
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding = if self.algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// What a header of a token of this key says.
    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.algorithm, "kid": self.id, "typ": "at+jwt"})
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header(), claims)
    }

    /// A token with another header.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let input = unsigned(header, claims);
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(self.sign(input.as_bytes())))
    }
}

/// Header and claims, as they are signed.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

struct State {
    keys: Vec<Value>,
    is_down: bool,
    /// What its metadata says instead of its own name.
    named: Option<String>,
    /// What was promised for each code: the challenge, and whom the token is for.
    codes: HashMap<String, (String, String)>,
}

/// A running issuer.
pub(crate) struct TestIssuer {
    /// What `iss` says.
    pub(crate) name: String,
    upstream: RawUpstream,
    /// Locked to read and to change, never across a wait.
    state: Arc<Mutex<State>>,
}

impl TestIssuer {
    pub(crate) async fn start(key: Arc<TokenKey>) -> Self {
        let (listener, url) = listen().await.unwrap();
        Self::start_at(listener, &url, key)
    }

    pub(crate) fn start_at(listener: TcpListener, url: &str, key: Arc<TokenKey>) -> Self {
        Self::start_with(listener, url, key, None)
    }

    /// The same, under TLS where there is something to prove its name with.
    pub(crate) fn start_with(listener: TcpListener, url: &str, key: Arc<TokenKey>, tls: Option<TlsAcceptor>) -> Self {
        let name = format!("{url}{REALM}");
        let state = State { keys: vec![key.jwk()], is_down: false, named: None, codes: HashMap::new() };
        let state = Arc::new(Mutex::new(state));
        let (shared, own) = (state.clone(), name.clone());
        let reply = move |request: &Received| vec![answer(request, &shared, &own, &key)];
        let upstream = RawUpstream::start_with(listener, url.to_owned(), tls, reply);
        Self { name, upstream, state }
    }

    /// These are its keys from now on.
    pub(crate) fn publish(&self, keys: &[&TokenKey]) {
        self.lock().keys = keys.iter().map(|key| key.jwk()).collect();
    }

    /// Whether it fails from now on.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    /// Its metadata names somebody else.
    pub(crate) fn pretend(&self, name: &str) {
        self.lock().named = Some(name.to_owned());
    }

    /// How often its keys were asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.upstream.received().iter().filter(|request| request.head.contains("/keys ")).count()
    }

    /// How often anything was asked.
    pub(crate) fn requests(&self) -> usize {
        self.upstream.received().len()
    }

    /// What a good token claims.
    pub(crate) fn claims(&self, subject: &str, roles: &[&str]) -> Value {
        json!({"iss": self.name, "sub": subject, "aud": AUDIENCE, "exp": EXPIRY, "iat": 1_000_000, "roles": roles})
    }

    /// The table of the configuration.
    pub(crate) fn table(&self, more: &str) -> String {
        format!("issuer: '{}'{more}", self.name)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(request: &Received, state: &Mutex<State>, name: &str, key: &TokenKey) -> Vec<u8> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if state.is_down {
        return whole(503, "", "");
    }
    let target = request.raw_head.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let openid = format!("{REALM}/.well-known/openid-configuration");
    match path.strip_prefix(REALM) {
        _ if path == openid => whole(200, "", &metadata(name, state.named.as_deref()).to_string()),
        Some("/keys") => whole(200, "", &json!({"keys": state.keys}).to_string()),
        Some("/register") => {
            let mut client = request.json();
            client["client_id"] = json!("client-1");
            whole(201, "", &client.to_string())
        }
        Some("/authorize") => {
            let asked = form(query);
            let code = format!("code-{}", state.codes.len());
            let promised = (asked["code_challenge"].clone(), asked.get("resource").cloned().unwrap_or_default());
            state.codes.insert(code.clone(), promised);
            let location = format!("{}?code={code}&state={}", asked["redirect_uri"], asked["state"]);
            whole(302, &format!("location: {location}\r\n"), "")
        }
        Some("/token") => {
            let asked = form(std::str::from_utf8(&request.body).unwrap());
            let promised = state.codes.remove(&asked["code"]);
            let proof = URL_SAFE_NO_PAD.encode(digest(&SHA256, asked["code_verifier"].as_bytes()).as_ref());
            let Some((_, resource)) = promised.filter(|(challenge, _)| *challenge == proof) else {
                return whole(400, "", r#"{"error":"invalid_grant"}"#);
            };
            let claims = json!({"iss": name, "sub": "ann", "aud": resource, "exp": EXPIRY, "roles": ["adjusters"]});
            let token = json!({"access_token": key.token(&claims), "token_type": "Bearer", "expires_in": 3600});
            whole(200, "", &token.to_string())
        }
        _ => whole(404, "", ""),
    }
}

fn metadata(name: &str, named: Option<&str>) -> Value {
    json!({
        "issuer": named.unwrap_or(name), "jwks_uri": format!("{name}/keys"),
        "authorization_endpoint": format!("{name}/authorize"), "token_endpoint": format!("{name}/token"),
        "registration_endpoint": format!("{name}/register"), "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code"], "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
    })
}

pub(crate) fn form(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}
