//! The issuers that vouch for principals, with the keys that they sign with.
//!
//! A token is verified with what is at hand: nothing is fetched on the way of a call, but for one case. A token that names a key which is not at hand may be the first
//! after its issuer has changed keys: the keys are fetched then, at most once in a while for all such tokens together, and the call waits a moment for them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use portcullis_domain::authority::Credential;
use portcullis_domain::digest::Digest;
use portcullis_domain::identity::event::PrincipalSeen;
use portcullis_domain::ids::IssuerName;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::time::Timestamp;
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore};

use crate::clock::Clock;
use crate::identity::issuer::IssuerTable;
use crate::identity::jwt::Jwt;
use crate::identity::mapping;
use crate::jwk::KeySet;
use crate::trust;

/// How long after an attempt to fetch keys the next one may be made.
const ATTEMPT_PAUSE_US: u64 = 5_000_000;
/// How many requests wait for the keys of an issuer at a time; others are answered by the keys at hand.
const WAITING_LIMIT: usize = 256;
/// How long a call waits for keys.
const KEYS_WAIT: Duration = Duration::from_secs(3);
/// The largest key set or metadata, in bytes.
pub const DOCUMENT_LIMIT_BYTES: usize = 256 << 10;
/// How many verified tokens are remembered for each set of keys.
const VERIFIED_LIMIT: usize = 4 << 10;
/// Where an issuer describes itself: after its path (OpenID Connect Discovery 1.0), and before it (RFC 8414).
const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// Gets what is at a URL, if it may be called and is no larger than [`DOCUMENT_LIMIT_BYTES`]. The file has authorities that are believed there besides those of the web.
pub type Fetch = Arc<dyn Fn(String, Option<PathBuf>) -> Fetching + Send + Sync>;
/// What is on its way.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;

/// All issuers of the configuration.
pub struct Issuers {
    clock: Arc<dyn Clock>,
    fetch: Fetch,
    /// By what `iss` says.
    all: ArcSwap<HashMap<String, Arc<Issuer>>>,
}

/// Somebody whose token is good.
#[derive(Debug, Clone)]
pub struct Recognised {
    /// What the issuer says, and of whom.
    pub seen: PrincipalSeen,
    /// What stands for that.
    pub credential: Credential,
    /// When the token ends, with the leeway.
    pub ends_at: Timestamp,
    /// The certificate that the token is bound to, by its digest: on other connections it is worth nothing.
    pub bound_to: Option<String>,
}

/// An issuer.
pub struct Issuer {
    name: IssuerName,
    table: IssuerTable,
    source: Source,
    ca_file: Option<PathBuf>,
    keys: ArcSwapOption<Known>,
    /// When it was last tried to fetch the keys. Held while they are fetched, so that nobody fetches them twice.
    attempt: Mutex<Option<Timestamp>>,
    /// Places for those who wait for that.
    waiting: Arc<Semaphore>,
}

enum Source {
    Discovery,
    Url(String),
    File(PathBuf),
    Inline,
}

/// Keys, and what they have verified.
struct Known {
    keys: KeySet,
    fetched_at_us: AtomicU64,
    /// Tokens by their digests. Locked for a look-up or an insertion, never while a signature is verified.
    verified: RwLock<HashMap<Digest, Arc<Recognised>>>,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Issuers {
    /// None yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, fetch: Fetch) -> Self {
        Self { clock, fetch, all: ArcSwap::default() }
    }

    /// Takes in those of a configuration that was [checked](check). Whoever is the same as before keeps the keys.
    pub fn configure(&self, tables: &BTreeMap<IssuerName, IssuerTable>, base: &Path) {
        let before = self.all.load();
        let mut all = HashMap::new();
        for (name, table) in tables {
            let kept = before.get(&table.issuer).filter(|issuer| issuer.name == *name && issuer.table == *table);
            let issuer = kept.cloned().unwrap_or_else(|| Arc::new(Issuer::new(name, table, base)));
            all.insert(table.issuer.clone(), issuer);
        }
        self.all.store(Arc::new(all));
        self.keep_fresh();
    }

    /// Fetches the keys that it is time to fetch again, beside whatever else is done.
    pub fn keep_fresh(&self) {
        let now = self.clock.now();
        for issuer in self.all.load().values().filter(|issuer| issuer.is_due(now)) {
            let (issuer, clock, fetch) = (issuer.clone(), self.clock.clone(), self.fetch.clone());
            tokio::spawn(async move { issuer.refresh(&*clock, &fetch).await });
        }
    }

    /// Who comes with this token.
    ///
    /// # Errors
    ///
    /// [`Code::Unauthenticated`], with the same sentence whatever is wrong with the token; [`Code::UpstreamFailed`] when nobody can say whether anything is.
    pub async fn recognise(&self, token: &str) -> Result<Recognised, Refusal> {
        let refused = |reason: String| Refusal::new(Code::Unauthenticated, "the key is not valid").because(reason);
        let jwt = Jwt::read(token).map_err(refused)?;
        let named = jwt.text("iss").ok_or_else(|| refused("the token names no issuer".to_owned()))?;
        let issuer = self.all.load().get(named.as_ref()).cloned();
        let issuer = issuer.ok_or_else(|| refused("the token's issuer is none of `identity.issuers`".to_owned()))?;
        let table = &issuer.table;
        if !table.algorithms.contains(&jwt.algorithm) && jwt.algorithm != "Ed25519" {
            return Err(refused("the token's algorithm is none of those allowed".to_owned()));
        }
        if jwt.algorithm == "Ed25519" && !table.algorithms.iter().any(|algorithm| algorithm == "EdDSA") {
            return Err(refused("the token's algorithm is none of those allowed".to_owned()));
        }
        if !table.types.iter().any(|kind| kind.eq_ignore_ascii_case(&jwt.kind)) {
            return Err(refused("the token is of another kind: its `typ` is none of the `types`".to_owned()));
        }
        let now = self.clock.now();
        let digest = Digest::of(token.as_bytes());
        let known = self.keys_for(&issuer, &jwt, now).await?;
        if let Some(recognised) = known.find(&digest).filter(|recognised| now < recognised.ends_at) {
            return Ok((*recognised).clone());
        }
        if !jwt.is_signed_by(&known.keys) {
            return Err(refused("the token is not signed by a key of its issuer".to_owned()));
        }
        let ends_at = mapping::check(table, &jwt, now).map_err(refused)?;
        let seen = mapping::seen(table, &issuer.name, &jwt).map_err(refused)?;
        let credential = seen.profile.credential(&seen.issuer, &seen.principal).map_err(refused)?;
        let bound_to = mapping::bound_to(&jwt).map_err(refused)?;
        let recognised = Recognised { seen, credential, ends_at, bound_to };
        known.keep(digest, recognised.clone());
        Ok(recognised)
    }

    /// The keys that the token can be verified with; fetched now where none are at hand, or none of the name that the token gives.
    async fn keys_for(&self, issuer: &Arc<Issuer>, jwt: &Jwt<'_>, now: Timestamp) -> Result<Arc<Known>, Refusal> {
        let is_there = |known: &Arc<Known>| {
            jwt.key_id.as_deref().is_none_or(|id| known.keys.has_key(id) || known.keys.has_unnamed_key())
        };
        if let Some(known) = issuer.usable(now).filter(is_there) {
            return Ok(known);
        }
        // Anybody can send tokens with the name of a key that nobody knows.
        if let Ok(place) = issuer.waiting.clone().try_acquire_owned() {
            let (refreshed, clock, fetch) = (issuer.clone(), self.clock.clone(), self.fetch.clone());
            let refresh = tokio::spawn(async move {
                refreshed.refresh(&*clock, &fetch).await;
                drop(place);
            });
            // Whether it has come in time is seen by what is there then.
            let _ = tokio::time::timeout(KEYS_WAIT, refresh).await;
        }
        issuer.usable(now).ok_or_else(|| {
            Refusal::new(Code::UpstreamFailed, "whether the token is valid can't be told now")
                .because(format!("there are no keys of the issuer `{}`", issuer.name))
        })
    }
}

/// Everything that is wrong with these tables.
#[must_use]
pub fn check(tables: &BTreeMap<IssuerName, IssuerTable>, base: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, table) in tables {
        let at = |problem: String| format!("identity.issuers.{name}: {problem}");
        problems.extend(table.problem(name).map(at));
        let keys = match (&table.jwks, &table.jwks_file) {
            (Some(keys), _) => KeySet::read(keys).map(drop).map_err(|problem| format!("`jwks`: {problem}")),
            (None, Some(file)) => read_file(&base.join(file)).map(drop),
            (None, None) => Ok(()),
        };
        problems.extend(keys.err().map(at));
        problems.extend(trust::check(table.ca_file.as_deref(), base).err().map(at));
        for (other, its) in tables.iter().filter(|(other, _)| *other != name) {
            if name < other && its.issuer == table.issuer {
                problems.push(at(format!("has the same `issuer` as `{other}`")));
            }
            if its.prefix(other).starts_with(&table.prefix(name)) {
                let (prefix, longer) = (table.prefix(name), its.prefix(other));
                problems.push(at(format!(
                    "names of `{other}`, which begin with `{longer}`, could be its own, which begin with `{prefix}`"
                )));
            }
        }
    }
    problems
}

impl Issuer {
    fn new(name: &IssuerName, table: &IssuerTable, base: &Path) -> Self {
        let source = match (&table.jwks_url, &table.jwks_file, &table.jwks) {
            (Some(url), _, _) => Source::Url(url.clone()),
            (None, Some(file), _) => Source::File(base.join(file)),
            (None, None, Some(_)) => Source::Inline,
            (None, None, None) => Source::Discovery,
        };
        let keys =
            table.jwks.as_deref().and_then(|keys| KeySet::read(keys).ok()).map(|keys| Known::new(keys, Timestamp(0)));
        Self {
            name: name.clone(),
            table: table.clone(),
            source,
            ca_file: table.ca_file.as_ref().map(|file| base.join(file)),
            keys: ArcSwapOption::new(keys.map(Arc::new)),
            attempt: Mutex::default(),
            waiting: Arc::new(Semaphore::new(WAITING_LIMIT)),
        }
    }

    /// The keys, if they are not too old.
    fn usable(&self, now: Timestamp) -> Option<Arc<Known>> {
        let kept = self.table.keys_kept_s.saturating_mul(1_000_000);
        let is_young = |known: &Arc<Known>| {
            matches!(self.source, Source::Inline)
                || now.0.saturating_sub(known.fetched_at_us.load(Ordering::Relaxed)) <= kept
        };
        self.keys.load_full().filter(is_young)
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let age = |known: Arc<Known>| now.0.saturating_sub(known.fetched_at_us.load(Ordering::Relaxed));
        let refresh = self.table.refresh_s.saturating_mul(1_000_000);
        !matches!(self.source, Source::Inline) && self.keys.load_full().is_none_or(|known| age(known) >= refresh)
    }

    /// Fetches the keys, unless that was tried a moment ago. Keys at hand are kept when no others can be had.
    async fn refresh(&self, clock: &dyn Clock, fetch: &Fetch) {
        let mut attempt = self.attempt.lock().await;
        let now = clock.now();
        if matches!(self.source, Source::Inline)
            || attempt.is_some_and(|before| now.0.saturating_sub(before.0) < ATTEMPT_PAUSE_US)
        {
            return;
        }
        let fetched = self.fetch(fetch).await;
        // After the attempt: a slow issuer is left alone as long as a fast one.
        *attempt = Some(clock.now());
        match fetched {
            Ok(keys) => self.take(keys, now),
            Err(problem) => tracing::warn!(issuer = %self.name, problem, "the keys of an issuer can't be had"),
        }
    }

    fn take(&self, keys: KeySet, now: Timestamp) {
        match self.keys.load_full().filter(|known| known.keys.digest == keys.digest) {
            Some(known) => known.fetched_at_us.store(now.0, Ordering::Relaxed),
            None => {
                tracing::info!(issuer = %self.name, keys = ?keys, "the keys of an issuer were taken in");
                self.keys.store(Some(Arc::new(Known::new(keys, now))));
            }
        }
    }

    async fn fetch(&self, fetch: &Fetch) -> Result<KeySet, String> {
        let url = match &self.source {
            Source::Inline => return Err("they stand in the configuration".to_owned()),
            Source::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                return read.unwrap_or_else(|error| Err(error.to_string()));
            }
            Source::Url(url) => url.clone(),
            Source::Discovery => self.discover(fetch).await?,
        };
        KeySet::read(&text(fetch(url, self.ca_file.clone()).await?)?)
    }

    /// Where it says that its keys are.
    async fn discover(&self, fetch: &Fetch) -> Result<String, String> {
        let [openid, oauth] = metadata_urls(&self.table.issuer);
        let document = match fetch(openid, self.ca_file.clone()).await {
            Ok(document) => document,
            Err(problem) => fetch(oauth, self.ca_file.clone()).await.map_err(|other| format!("{problem}; {other}"))?,
        };
        let metadata: Metadata =
            serde_json::from_str(&text(document)?).map_err(|error| format!("its metadata can't be read: {error}"))?;
        if metadata.issuer != self.table.issuer {
            return Err(format!("its metadata is that of `{}`", metadata.issuer));
        }
        Ok(metadata.jwks_uri)
    }
}

impl Known {
    fn new(keys: KeySet, at: Timestamp) -> Self {
        Self { keys, fetched_at_us: AtomicU64::new(at.0), verified: RwLock::default() }
    }

    fn find(&self, token: &Digest) -> Option<Arc<Recognised>> {
        self.verified.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    fn keep(&self, token: Digest, recognised: Recognised) {
        let mut verified = self.verified.write().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= VERIFIED_LIMIT {
            verified.clear();
        }
        verified.insert(token, Arc::new(recognised));
    }
}

fn metadata_urls(issuer: &str) -> [String; 2] {
    let issuer = issuer.trim_end_matches('/');
    let path_at = issuer.find("://").and_then(|at| issuer.get(at + 3..)?.find('/').map(|slash| at + 3 + slash));
    let (origin, path) = path_at.map_or((issuer, ""), |at| issuer.split_at(at));
    [format!("{issuer}{OPENID}"), format!("{origin}{OAUTH}{path}")]
}

fn text(document: Bytes) -> Result<String, String> {
    String::from_utf8(document.into()).map_err(|_| "what was fetched is no text".to_owned())
}

fn read_file(path: &Path) -> Result<KeySet, String> {
    let wrong = |problem: String| format!("`jwks_file` `{}`: {problem}", path.display());
    let size = std::fs::metadata(path).map_err(|error| wrong(format!("can't be read: {error}")))?.len();
    if size > u64::try_from(DOCUMENT_LIMIT_BYTES).unwrap_or(u64::MAX) {
        return Err(wrong(format!("is larger than {DOCUMENT_LIMIT_BYTES} bytes")));
    }
    let keys = std::fs::read_to_string(path).map_err(|error| wrong(format!("can't be read: {error}")))?;
    KeySet::read(&keys).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_describes_itself_at_two_places() {
        for (issuer, openid, oauth) in [
            (
                "https://a.b",
                "https://a.b/.well-known/openid-configuration",
                "https://a.b/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.b/",
                "https://a.b/.well-known/openid-configuration",
                "https://a.b/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.b/c/d",
                "https://a.b/c/d/.well-known/openid-configuration",
                "https://a.b/.well-known/oauth-authorization-server/c/d",
            ),
        ] {
            assert_eq!(metadata_urls(issuer), [openid, oauth]);
        }
    }

    #[test]
    fn what_is_wrong_with_a_table_is_told() {
        let check = |text: &str, expected: &[&str]| {
            let tables: BTreeMap<IssuerName, IssuerTable> = serde_json::from_str(text).unwrap();
            let found = check(&tables, Path::new("."));
            assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.contains(expected), "{text}: {found}");
            }
        };
        let good = r#""issuer":"https://a","audiences":["gate"]"#;
        check(&format!(r#"{{"a":{{{good}}}}}"#), &[]);
        check(r#"{"a":{"audiences":["gate"]}}"#, &["names no `issuer`"]);
        check(r#"{"a":{"issuer":"https://a"}}"#, &["names no `audiences`"]);
        for algorithm in ["none", "HS256", "rs256", "ES256K"] {
            check(&format!(r#"{{"a":{{{good},"algorithms":["{algorithm}"]}}}}"#), &["is no algorithm"]);
        }
        check(&format!(r#"{{"a":{{{good},"types":["JWT","Task+jwt"]}}}}"#), &["`task+jwt` in `types`"]);
        check(
            &format!(r#"{{"a":{{{good},"jwks_url":"https://x","jwks_file":"none"}}}}"#),
            &["several of", "can't be read"],
        );
        check(&format!(r#"{{"a":{{{good},"ca_file":"none"}}}}"#), &["`ca_file`"]);
        check(&format!(r#"{{"a":{{{good},"jwks":"{{}}"}}}}"#), &["no set of keys"]);
        check(&format!(r#"{{"a":{{{good},"principal":{{"prefix":"-"}}}}}}"#), &["beginning of a name"]);
        check(&format!(r#"{{"a":{{{good},"roles":{{"map":{{"x":["y"]}}}}}}}}"#), &["no `roles.claim`"]);
        check(&format!(r#"{{"a":{{{good}}},"b":{{{good}}}}}"#), &["has the same `issuer` as `b`"]);
        let other = r#""issuer":"https://b","audiences":["gate"]"#;
        check(&format!(r#"{{"a":{{{good}}},"a.b":{{{other}}}}}"#), &["names of `a.b`"]);
    }
}
