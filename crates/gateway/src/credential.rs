//! Credentials that the gateway holds: read from configuration, sent upstream, never shown.

use std::fmt;

use http::HeaderValue;
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
