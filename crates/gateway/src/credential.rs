//! Credentials that the gateway holds: read from configuration, sent upstream, never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use http::HeaderValue;
use portcullis_domain::authority::Credential;
use portcullis_domain::ids::{IssuerName, SessionId};
use schemars::JsonSchema;
use serde::Deserialize;

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("…")
    }
}

/// A credential as the value of `Authorization` (RFC 6750).
///
/// # Errors
///
/// A sentence, without the credential, when no header can have it.
pub fn bearer(secret: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(&format!("Bearer {secret}"))
        .map_err(|_| "its key has characters that no header can have".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The secret in a file, without the end of its line.
///
/// # Errors
///
/// A sentence with the path, when it can't be read or there is nothing in it.
pub fn read_file(path: &Path) -> Result<String, String> {
    let read = std::fs::read_to_string(path);
    let text = read.map_err(|error| format!("`{}` can't be read: {error}", path.display()))?;
    let secret = text.trim();
    if secret.is_empty() { Err(format!("`{}` is empty", path.display())) } else { Ok(secret.to_owned()) }
}

/// The token that somebody came with, for as long as they wait for what it is used for. It is never shown, and written over when nobody needs it any more.
pub struct OwnToken {
    text: zeroize::Zeroizing<String>,
    /// What its issuer is called in the configuration.
    pub issuer: IssuerName,
}

impl OwnToken {
    /// A token of that issuer.
    #[must_use]
    pub fn new(text: &str, issuer: IssuerName) -> Self {
        Self { text: zeroize::Zeroizing::new(text.to_owned()), issuer }
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for OwnToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a token of `{}`", self.issuer)
    }
}

/// The tokens that users came with whose requests are under way, so that agents who act for them meanwhile can be told apart from others to whom they never came.
#[derive(Debug, Default)]
pub struct OwnTokens {
    /// By the session, and what its owner was recognised by. Locked to look up and to insert, never across a wait.
    held: Mutex<BTreeMap<(SessionId, Credential), Weak<OwnToken>>>,
}

impl OwnTokens {
    /// The token is there for this session as long as its request.
    pub fn lend(&self, session: &SessionId, credential: &Credential, token: &Arc<OwnToken>) {
        let mut held = self.lock();
        held.retain(|_, token| token.strong_count() > 0);
        held.insert((session.clone(), credential.clone()), Arc::downgrade(token));
    }

    /// The token of who owns the session, while a request of theirs is under way in it.
    #[must_use]
    pub fn find(&self, session: &SessionId, credential: &Credential) -> Option<Arc<OwnToken>> {
        self.lock().get(&(session.clone(), credential.clone())).and_then(Weak::upgrade)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(SessionId, Credential), Weak<OwnToken>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
