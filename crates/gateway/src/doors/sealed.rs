//! Tokens that only the gateway can read and make: it remembers nothing for them, so they outlive restarts and are good at every replica.
//!
//! AES-256-GCM (NIST SP 800-38D) with a random nonce; what the token is for is bound in as additional data.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::entropy::{self, NoEntropy};

/// The longest token that is read, in bytes.
const TOKEN_LIMIT_BYTES: usize = 4_096;

/// Seals and opens tokens.
pub struct Sealer {
    key: LessSafeKey,
}

impl Sealer {
    /// The sealer with this secret.
    ///
    /// # Errors
    ///
    /// Never with a secret of this length; the library's error is passed on rather than ignored.
    pub fn new(secret: &[u8; 32]) -> Result<Self, String> {
        let key = UnboundKey::new(&AES_256_GCM, secret).map_err(|_| "no key could be made".to_owned())?;
        Ok(Self { key: LessSafeKey::new(key) })
    }

    /// A token for `purpose` that holds `content`.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give.
    pub fn seal(&self, purpose: &str, content: &impl Serialize) -> Result<String, NoEntropy> {
        let nonce: [u8; NONCE_LEN] = entropy::bytes()?;
        let mut sealed = serde_json::to_vec(content).map_err(|_| NoEntropy)?;
        let outcome = self.key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose.as_bytes()),
            &mut sealed,
        );
        outcome.map_err(|_| NoEntropy)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// What a token for `purpose` holds; none for anything that this sealer did not make for it.
    #[must_use]
    pub fn open<T: DeserializeOwned>(&self, purpose: &str, token: &str) -> Option<T> {
        if token.len() > TOKEN_LIMIT_BYTES {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, Aad::from(purpose.as_bytes()), sealed).ok()?;
        serde_json::from_slice(opened).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_for_its_purpose_and_unaltered() {
        let sealer = Sealer::new(&[1; 32]).unwrap();
        let token = sealer.seal("mcp", &"ann").unwrap();
        assert_eq!(sealer.open::<String>("mcp", &token).as_deref(), Some("ann"));
        assert_eq!(sealer.open::<String>("other", &token), None);
        assert_eq!(Sealer::new(&[2; 32]).unwrap().open::<String>("mcp", &token), None);
        let (first, rest) = token.split_at(1);
        let altered = format!("{}{rest}", if first == "A" { "B" } else { "A" });
        for wrong in [altered.as_str(), "", "AAAA", &token[..token.len() - 2], &"A".repeat(5_000)] {
            assert_eq!(sealer.open::<String>("mcp", wrong), None, "{wrong}");
        }
    }
}
