//! The keys that the gateway signs with: task tokens for agents, cards of agents, and news for webhooks. Ed25519 (RFC 8032).
//!
//! They are derived from the secret that lies beside the journal for its owner only, and from a number that stands in the journal, so that all gateways of one journal sign alike. With
//! each rotation the number is one more; what the key before has signed is taken until it has run out.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::digest::Digest;
use portcullis_domain::identity::Signing;
use portcullis_domain::time::Timestamp;
use serde_json::{Value, json};

/// Where the public keys are (RFC 8615).
pub const KEY_SET_PATH: &str = "/.well-known/jwks.json";
/// What the seeds of the keys are derived for.
const PURPOSE: &str = "portcullis signing key";
/// What the name of the journal is derived for.
const NAME_PURPOSE: &str = "portcullis name";
/// How long the key before is known after a rotation: as long as anything lives that it may have signed.
pub const OVERLAP_S: u64 = 86_400;

/// One key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    id: String,
}

impl SigningKey {
    /// The key of this secret and number.
    ///
    /// # Errors
    ///
    /// Never with a secret of this length; the library's error is passed on rather than ignored.
    pub fn new(secret: &[u8; 32], generation: u32) -> Result<Self, String> {
        let number = generation.to_be_bytes();
        // The first key is the one that there was before keys had numbers.
        let salt: &[&[u8]] = if generation == 0 { &[] } else { &[b"\n", &number] };
        let parts = [&[PURPOSE.as_bytes(), b"\n", secret], salt].concat();
        let seed = Digest::of_parts(&parts);
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed.0).map_err(|error| format!("no signing key: {error}"))?;
        let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{public}"}}"#);
        Ok(Self { pair, id: URL_SAFE_NO_PAD.encode(Digest::of(members.as_bytes()).0) })
    }

    /// The signature of these bytes, of 64 bytes.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }

    /// Whether it has signed these bytes.
    #[must_use]
    pub fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.pair.public_key().as_ref()).verify(bytes, signature).is_ok()
    }

    /// The key's name: its thumbprint (RFC 7638, RFC 8037).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    fn published(&self) -> Value {
        let public = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "x": public, "kid": self.id, "use": "sig", "alg": "EdDSA"})
    }
}

/// The keys of a journal.
pub struct SigningKeys {
    secret: [u8; 32],
    first: Arc<SigningKey>,
    /// The keys of the number that was asked for last. Whoever finds another number replaces them.
    ring: ArcSwapOption<Ring>,
}

/// The key that is signed with, and the one before.
#[derive(Clone)]
struct Ring {
    generation: u32,
    current: Arc<SigningKey>,
    previous: Option<Arc<SigningKey>>,
}

impl SigningKeys {
    /// The keys of this secret.
    ///
    /// # Errors
    ///
    /// As [`SigningKey::new`].
    pub fn new(secret: [u8; 32]) -> Result<Self, String> {
        let first = Arc::new(SigningKey::new(&secret, 0)?);
        Ok(Self { secret, first, ring: ArcSwapOption::empty() })
    }

    /// The key that is signed with now.
    #[must_use]
    pub fn current(&self, signing: Signing) -> Arc<SigningKey> {
        self.ring(signing).current.clone()
    }

    /// The key of that name, if what it has signed counts at that time.
    #[must_use]
    pub fn find(&self, signing: Signing, id: &str, now: Timestamp) -> Option<Arc<SigningKey>> {
        self.known(signing, now).into_iter().find(|key| key.id() == id)
    }

    /// The set of the public keys (RFC 7517).
    #[must_use]
    pub fn key_set(&self, signing: Signing, now: Timestamp) -> Value {
        let keys: Vec<Value> = self.known(signing, now).iter().map(|key| key.published()).collect();
        json!({"keys": keys})
    }

    /// What the gateways of this journal are called where they have no public address.
    #[must_use]
    pub fn name(&self) -> String {
        let Digest(bytes) = Digest::of_parts(&[NAME_PURPOSE.as_bytes(), b"\n", &self.secret]);
        format!("urn:portcullis:{}", URL_SAFE_NO_PAD.encode(bytes.get(..12).unwrap_or_default()))
    }

    fn known(&self, signing: Signing, now: Timestamp) -> Vec<Arc<SigningKey>> {
        let ring = self.ring(signing);
        let is_over = |since: Timestamp| now.0 >= since.0.saturating_add(OVERLAP_S * 1_000_000);
        let previous = ring.previous.clone().filter(|_| !signing.since.is_some_and(is_over));
        std::iter::once(ring.current.clone()).chain(previous).collect()
    }

    fn ring(&self, signing: Signing) -> Arc<Ring> {
        if let Some(ring) = self.ring.load_full().filter(|ring| ring.generation == signing.generation) {
            return ring;
        }
        // A seed of this length always makes a key; if ever it did not, the first key is as good a signature and is not published.
        let of = |number| SigningKey::new(&self.secret, number).map_or_else(|_| self.first.clone(), Arc::new);
        let generation = signing.generation;
        let ring = Ring { generation, current: of(generation), previous: generation.checked_sub(1).map(of) };
        let ring = Arc::new(ring);
        self.ring.store(Some(ring.clone()));
        ring
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_can_be_checked_with_the_published_key() {
        let keys = SigningKeys::new([7; 32]).unwrap();
        let key = keys.current(Signing::default());
        let set = keys.key_set(Signing::default(), Timestamp(0));
        let public = URL_SAFE_NO_PAD.decode(set["keys"][0]["x"].as_str().unwrap()).unwrap();
        let public = UnparsedPublicKey::new(&ED25519, public);
        assert!(
            public.verify(b"news", &key.sign(b"news")).is_ok() && public.verify(b"new", &key.sign(b"news")).is_err()
        );
        assert_eq!((set["keys"][0]["kid"].as_str(), key.id().len()), (Some(key.id()), 43));
        assert_ne!(SigningKey::new(&[8; 32], 0).unwrap().id(), key.id());
    }

    #[test]
    fn the_key_before_is_known_as_long_as_its_tokens_live() {
        let keys = SigningKeys::new([7; 32]).unwrap();
        let id = |generation| SigningKey::new(&[7; 32], generation).unwrap().id().to_owned();
        let check = |generation, since: u64, known: &[u32]| {
            let (signing, now) =
                (Signing { generation, since: Some(Timestamp(since)) }, Timestamp(OVERLAP_S * 1_000_000));
            assert_eq!(keys.current(signing).id(), id(generation));
            for number in 0..4 {
                let is_known = keys.find(signing, &id(number), now).is_some();
                assert_eq!(is_known, known.contains(&number), "{number} of {generation}");
            }
            assert_eq!(keys.key_set(signing, now)["keys"].as_array().unwrap().len(), known.len());
        };
        check(1, 1, &[0, 1]);
        check(2, 1, &[1, 2]);
        check(2, 0, &[2]);
        check(0, 1, &[0]);
    }
}
