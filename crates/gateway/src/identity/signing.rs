//! The key that the gateway signs with for outsiders: cards of agents, and news for webhooks. Ed25519 (RFC 8032).
//!
//! It is derived from the secret that lies beside the journal for its owner only, so that all gateways of one journal sign alike.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::digest::Digest;
use serde_json::{Value, json};

/// Where the public key is (RFC 8615).
pub const KEY_SET_PATH: &str = "/.well-known/jwks.json";
/// What the seed of the key is derived for.
const PURPOSE: &str = "portcullis signing key";

/// The key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// The key of this secret.
    ///
    /// # Errors
    ///
    /// Never with a secret of this length; the library's error is passed on rather than ignored.
    pub fn new(secret: &[u8; 32]) -> Result<Self, String> {
        let seed = Digest::of_parts(&[PURPOSE.as_bytes(), b"\n", secret]);
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed.0).map_err(|error| format!("no signing key: {error}"))?;
        Ok(Self { pair })
    }

    /// The signature of these bytes, of 64 bytes.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }

    /// The key's name: its thumbprint (RFC 7638, RFC 8037).
    #[must_use]
    pub fn id(&self) -> String {
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.public());
        URL_SAFE_NO_PAD.encode(Digest::of(members.as_bytes()).0)
    }

    /// The set of the gateway's public keys (RFC 7517).
    #[must_use]
    pub fn key_set(&self) -> Value {
        let key = json!({
            "kty": "OKP", "crv": "Ed25519", "x": self.public(), "kid": self.id(), "use": "sig", "alg": "EdDSA",
        });
        json!({"keys": [key]})
    }

    fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn what_is_signed_can_be_checked_with_the_published_key() {
        let key = SigningKey::new(&[7; 32]).unwrap();
        let set = key.key_set();
        let public = URL_SAFE_NO_PAD.decode(set["keys"][0]["x"].as_str().unwrap()).unwrap();
        let public = UnparsedPublicKey::new(&ED25519, public);
        assert!(
            public.verify(b"news", &key.sign(b"news")).is_ok() && public.verify(b"new", &key.sign(b"news")).is_err()
        );
        assert_eq!((set["keys"][0]["kid"].as_str(), key.id().len()), (Some(key.id().as_str()), 43));
        assert_ne!(SigningKey::new(&[8; 32]).unwrap().id(), key.id());
    }
}
