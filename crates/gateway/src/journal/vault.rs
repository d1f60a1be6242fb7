//! Bodies are encrypted with a key per stream. Erasing a session is destroying what its key is made of.
//!
//! A stream's key is HMAC-SHA256 of the stream's random salt under the data directory's secret; the salt lies in the store, the secret in a file beside it. AES-256-GCM
//! (NIST SP 800-38D) needs a nonce that never repeats under one key: the body's number is one. The digest is bound in as additional data.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use portcullis_domain::digest::Digest;

use crate::journal::fault::StoreFault;

/// The random part of a stream's key.
pub type Salt = [u8; 32];

/// What all keys are derived from.
#[derive(Clone)]
pub struct Vault {
    secret: hmac::Key,
}

/// The key of one stream.
pub struct StreamKey {
    key: LessSafeKey,
}

/// How many keys are kept ready, at some 700 bytes each.
const KEYS_LIMIT: usize = 4_096;

/// The keys of the streams that are being written, so that they need not be derived for every body.
pub struct Keyring {
    vault: Vault,
    keys: HashMap<u64, StreamKey>,
}

impl Keyring {
    /// A keyring without keys.
    #[must_use]
    pub fn new(vault: Vault) -> Self {
        Self { vault, keys: HashMap::new() }
    }

    /// Forgets all keys: streams may have other numbers or salts from now on.
    pub fn clear(&mut self) {
        self.keys.clear();
    }

    /// The key of the stream of that number, which has this salt.
    ///
    /// # Errors
    ///
    /// As [`Vault::stream_key`].
    pub fn key(&mut self, stream: u64, salt: &Salt) -> Result<&StreamKey, StoreFault> {
        if self.keys.len() >= KEYS_LIMIT && !self.keys.contains_key(&stream) {
            self.keys.clear();
        }
        match self.keys.entry(stream) {
            Entry::Occupied(kept) => Ok(kept.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(self.vault.stream_key(salt)?)),
        }
    }
}

impl Vault {
    /// The vault with this secret.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { secret: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// The key of the stream with this salt.
    ///
    /// # Errors
    ///
    /// Never with a salt of this length; the library's error is passed on rather than ignored.
    pub fn stream_key(&self, salt: &Salt) -> Result<StreamKey, StoreFault> {
        let derived = hmac::sign(&self.secret, salt);
        let key = UnboundKey::new(&AES_256_GCM, derived.as_ref());
        let key = key.map_err(|_| StoreFault::Failed("no key could be derived".to_owned()))?;
        Ok(StreamKey { key: LessSafeKey::new(key) })
    }
}

impl StreamKey {
    /// Encrypts the body of that number.
    ///
    /// # Errors
    ///
    /// When the library refuses, as for bodies beyond its limits.
    pub fn seal(&self, number: u64, digest: Digest, bytes: &[u8]) -> Result<Vec<u8>, StoreFault> {
        let mut sealed = Vec::with_capacity(bytes.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(bytes);
        let outcome = self.key.seal_in_place_append_tag(nonce(number), Aad::from(digest.0), &mut sealed);
        outcome.map_err(|_| StoreFault::Failed("a body could not be encrypted".to_owned()))?;
        Ok(sealed)
    }

    /// Decrypts the body of that number and checks that it is the one of that digest.
    ///
    /// # Errors
    ///
    /// When the bytes, the number or the digest are not those that were sealed.
    pub fn open(&self, number: u64, digest: Digest, mut sealed: Vec<u8>) -> Result<Vec<u8>, StoreFault> {
        let opened = self.key.open_in_place(nonce(number), Aad::from(digest.0), &mut sealed);
        let length = opened.map_err(|_| StoreFault::Damaged(format!("body {number} does not open")))?.len();
        sealed.truncate(length);
        if Digest::of(&sealed) == digest {
            Ok(sealed)
        } else {
            Err(StoreFault::Damaged(format!("body {number} has another digest")))
        }
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    for (slot, byte) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
        *slot = byte;
    }
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_opens_only_in_its_own_place() {
        let vault = Vault::new(&[1; 32]);
        let (key, other) = (vault.stream_key(&[2; 32]).unwrap(), vault.stream_key(&[3; 32]).unwrap());
        let digest = Digest::of(b"secret");
        let sealed = key.seal(7, digest, b"secret").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(key.open(7, digest, sealed.clone()).unwrap(), b"secret");
        assert!(key.open(8, digest, sealed.clone()).is_err());
        assert!(key.open(7, Digest::of(b"other"), sealed.clone()).is_err());
        assert!(other.open(7, digest, sealed).is_err());
    }
}
