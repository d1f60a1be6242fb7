//! Tokens that only the gateway can read and make: it remembers nothing for them, so they outlive restarts and are good at every replica.
//!
//! AES-256-GCM (NIST SP 800-38D); what the token is for is bound in as additional data. The nonce is random, or, where the same content must always have the same
//! token, made of purpose and content with HMAC-SHA256: two tokens then share one only if they are the same (the construction of RFC 5297).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::CallId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::entropy::{self, NoEntropy};

/// The longest token that is read, in bytes.
const TOKEN_LIMIT_BYTES: usize = 4_096;
/// What every token begins with. In Base64 it is a letter: a token that began with `-` would be taken for an option where somebody types it.
const FORM: u8 = 1;
/// What the secret of nonces and names is derived for.
const NAMES_PURPOSE: &str = "portcullis sealed names";

/// Seals and opens tokens.
pub struct Sealer {
    key: LessSafeKey,
    /// What nonces and names are made with.
    names: hmac::Key,
}

impl Sealer {
    /// The sealer with this secret.
    ///
    /// # Errors
    ///
    /// Never with a secret of this length; the library's error is passed on rather than ignored.
    pub fn new(secret: &[u8; 32]) -> Result<Self, String> {
        let key = UnboundKey::new(&AES_256_GCM, secret).map_err(|_| "no key could be made".to_owned())?;
        let names = Digest::of_parts(&[NAMES_PURPOSE.as_bytes(), b"\n", secret]);
        Ok(Self { key: LessSafeKey::new(key), names: hmac::Key::new(hmac::HMAC_SHA256, &names.0) })
    }

    /// A token for `purpose` that holds `content`.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give.
    pub fn seal(&self, purpose: &str, content: &impl Serialize) -> Result<String, NoEntropy> {
        let content = serde_json::to_vec(content).map_err(|_| NoEntropy)?;
        self.seal_under(entropy::bytes()?, purpose, content)
    }

    /// The same, and the same token for the same content.
    ///
    /// # Errors
    ///
    /// Never with content that can be written as JSON; the library's error is passed on rather than ignored.
    pub fn seal_alike(&self, purpose: &str, content: &impl Serialize) -> Result<String, NoEntropy> {
        let content = serde_json::to_vec(content).map_err(|_| NoEntropy)?;
        let tag = self.tag(&[b"nonce", purpose.as_bytes(), &content]);
        let nonce = tag.as_ref().first_chunk().copied().ok_or(NoEntropy)?;
        self.seal_under(nonce, purpose, content)
    }

    /// A name for `content` that says nothing of it: always the same, in the form of a UUID (RFC 9562, version 8).
    #[must_use]
    pub fn name(&self, purpose: &str, content: &str) -> String {
        let tag = self.tag(&[b"name", purpose.as_bytes(), content.as_bytes()]);
        let mut bytes: [u8; 16] = tag.as_ref().first_chunk().copied().unwrap_or_default();
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = CallId(bytes).to_string();
        for place in [20, 16, 12, 8] {
            text.insert(place, '-');
        }
        text
    }

    fn tag(&self, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.names);
        for part in parts {
            // With their lengths, so that no two lists of parts are the same bytes.
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        context.sign()
    }

    fn seal_under(&self, nonce: [u8; NONCE_LEN], purpose: &str, mut sealed: Vec<u8>) -> Result<String, NoEntropy> {
        let outcome = self.key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose.as_bytes()),
            &mut sealed,
        );
        outcome.map_err(|_| NoEntropy)?;
        Ok(URL_SAFE_NO_PAD.encode([&[FORM], nonce.as_slice(), &sealed].concat()))
    }

    /// What a token for `purpose` holds; none for anything that this sealer did not make for it.
    #[must_use]
    pub fn open<T: DeserializeOwned>(&self, purpose: &str, token: &str) -> Option<T> {
        if token.len() > TOKEN_LIMIT_BYTES {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (form, bytes) = bytes.split_first_mut()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN).filter(|_| *form == FORM)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, Aad::from(purpose.as_bytes()), sealed).ok()?;
        serde_json::from_slice(opened).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_has_the_same_token_and_name_where_that_is_wanted() {
        let sealer = Sealer::new(&[1; 32]).unwrap();
        let alike = |purpose: &str, content: &str| sealer.seal_alike(purpose, &content).unwrap();
        let token = alike("a2a", "task-1");
        assert_eq!(sealer.open::<String>("a2a", &token).as_deref(), Some("task-1"));
        assert_eq!(token, alike("a2a", "task-1"));
        for other in [alike("a2a", "task-2"), alike("a2b", "task-1"), sealer.seal("a2a", &"task-1").unwrap()] {
            assert_ne!(token[..16], other[..16]);
        }
        let name = sealer.name("a2a", "ann:claim-1");
        assert_eq!((name.len(), &name[14..15], name.matches('-').count()), (36, "8", 4));
        assert_eq!(name, sealer.name("a2a", "ann:claim-1"));
        assert_ne!(name, sealer.name("a2a", "bob:claim-1"));
    }

    #[test]
    fn no_token_looks_like_an_option() {
        let sealer = Sealer::new(&[1; 32]).unwrap();
        for number in 0..500 {
            assert!(sealer.seal("a2a", &number).unwrap().starts_with('A'));
        }
    }

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
