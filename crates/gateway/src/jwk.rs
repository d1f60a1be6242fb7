//! Public keys of others, as a set in JSON (RFC 7517), and what they have signed: ES256, ES384, RS256 to RS512, PS256 to PS512 (RFC 7518) and EdDSA with Ed25519 (RFC 8037).
//!
//! A key is for one algorithm: the one that it names, or the plain one of its kind (RFC 8725, section 3.1). There is none among them that signs with what verifies.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::digest::Digest;
use serde::Deserialize;

/// A set of keys.
#[derive(Clone)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Of the text that it was read from.
    pub digest: Digest,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithm: &'static str,
    public: Public,
}

#[derive(Clone)]
enum Public {
    Plain(&'static dyn VerificationAlgorithm, Vec<u8>),
    Rsa { parameters: &'static RsaParameters, n: Vec<u8>, e: Vec<u8> },
}

/// The most keys of a set that are looked at.
const KEYS_LIMIT: usize = 64;

/// The algorithms that are known here, by the names of RFC 7518 and RFC 8037.
pub const ALGORITHMS: [&str; 9] = ["ES256", "ES384", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

#[derive(Deserialize)]
struct Written {
    keys: Vec<WrittenKey>,
}

#[derive(Deserialize)]
struct WrittenKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys that are for something else, or of kinds that are not known here, are left out.
    ///
    /// # Errors
    ///
    /// A sentence when it is no set, or nothing is left.
    pub fn read(text: &str) -> Result<Self, String> {
        let written: Written = serde_json::from_str(text).map_err(|error| format!("no set of keys: {error}"))?;
        let keys: Vec<Key> = written.keys.into_iter().take(KEYS_LIMIT).filter_map(key).collect();
        if keys.is_empty() {
            return Err("no set of keys: there is no public key of ES256, ES384, RSA or Ed25519 in it".to_owned());
        }
        Ok(Self { keys, digest: Digest::of(text.as_bytes()) })
    }

    /// Whether there is a key of that name.
    #[must_use]
    pub fn has_key(&self, key_id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(key_id))
    }

    /// Whether there is a key without a name, which a token may mean whatever name it gives.
    #[must_use]
    pub fn has_unnamed_key(&self) -> bool {
        self.keys.iter().any(|key| key.id.is_none())
    }

    /// Whether one of the keys has signed the message, with the algorithm that is claimed. What a claim can't do is choose another algorithm than the key's own.
    #[must_use]
    pub fn has_signed(&self, key_id: Option<&str>, algorithm: Option<&str>, message: &[u8], signature: &[u8]) -> bool {
        let is_meant = |key: &&Key| match (&key.id, key_id) {
            (Some(own), Some(named)) => own == named,
            (None, _) | (_, None) => true,
        };
        let mut meant = self.keys.iter().filter(is_meant).filter(|key| Some(key.algorithm) == algorithm);
        meant.any(|key| match &key.public {
            Public::Plain(algorithm, bytes) => {
                UnparsedPublicKey::new(*algorithm, bytes).verify(message, signature).is_ok()
            }
            Public::Rsa { parameters, n, e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
        })
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} keys, {}", self.keys.len(), self.digest)
    }
}

fn key(written: WrittenKey) -> Option<Key> {
    if written.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return None;
    }
    let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
    let point = |width: usize| {
        let (x, y) = (bytes(&written.x)?, bytes(&written.y)?);
        // The uncompressed point (SEC 1, section 2.3.3).
        (x.len() == width && y.len() == width).then(|| [&[4][..], &x, &y].concat())
    };
    let (algorithm, public) = match (written.kty.as_str(), written.crv.as_deref()) {
        ("EC", Some("P-256")) => ("ES256", Public::Plain(&ECDSA_P256_SHA256_FIXED, point(32)?)),
        ("EC", Some("P-384")) => ("ES384", Public::Plain(&ECDSA_P384_SHA384_FIXED, point(48)?)),
        ("OKP", Some("Ed25519")) => ("EdDSA", Public::Plain(&ED25519, bytes(&written.x)?)),
        ("RSA", _) => {
            let (algorithm, parameters) = rsa(written.alg.as_deref())?;
            (algorithm, Public::Rsa { parameters, n: bytes(&written.n)?, e: bytes(&written.e)? })
        }
        _ => return None,
    };
    // RFC 9864 gives the one curve a name of its own.
    let stated = written.alg.as_deref().map(|stated| if stated == "Ed25519" { "EdDSA" } else { stated });
    let is_other = stated.is_some_and(|stated| stated != algorithm);
    (!is_other).then_some(Key { id: written.kid, algorithm, public })
}

/// The algorithm of an RSA key, which can be used by several and names one.
fn rsa(stated: Option<&str>) -> Option<(&'static str, &'static RsaParameters)> {
    Some(match stated {
        None | Some("RS256") => ("RS256", &RSA_PKCS1_2048_8192_SHA256),
        Some("RS384") => ("RS384", &RSA_PKCS1_2048_8192_SHA384),
        Some("RS512") => ("RS512", &RSA_PKCS1_2048_8192_SHA512),
        Some("PS256") => ("PS256", &RSA_PSS_2048_8192_SHA256),
        Some("PS384") => ("PS384", &RSA_PSS_2048_8192_SHA384),
        Some("PS512") => ("PS512", &RSA_PSS_2048_8192_SHA512),
        Some(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8037, appendix A, and RFC 7515, appendices A.2 and A.3.
    const ED: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const EC: &str = r#"{"kty":"EC","crv":"P-256","kid":"e","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    const RSA: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
    const ED_SIGNED: (&str, &str) = (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    );
    const EC_SIGNED: (&str, &str) = (
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
    const RSA_SIGNED: (&str, &str) = (
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );

    #[test]
    fn only_the_key_that_is_named_and_its_own_algorithm_count() {
        let set = KeySet::read(&format!(r#"{{"keys":[{ED},{EC},{RSA},{{"kty":"oct","k":"AAAA"}}]}}"#)).unwrap();
        for ((message, signature), id, algorithm, expected) in [
            (ED_SIGNED, None, "EdDSA", true),
            (EC_SIGNED, Some("e"), "ES256", true),
            (RSA_SIGNED, Some("any"), "RS256", true),
            (EC_SIGNED, Some("other"), "ES256", false),
            (EC_SIGNED, None, "EdDSA", false),
            (EC_SIGNED, None, "none", false),
            ((EC_SIGNED.0, ED_SIGNED.1), None, "ES256", false),
            ((ED_SIGNED.0, EC_SIGNED.1), None, "EdDSA", false),
        ] {
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let has_signed = set.has_signed(id, Some(algorithm), message.as_bytes(), &signature);
            assert_eq!(has_signed, expected, "{id:?} {algorithm}");
        }
        let none = URL_SAFE_NO_PAD.decode(ED_SIGNED.1).unwrap();
        assert!(!set.has_signed(None, None, ED_SIGNED.0.as_bytes(), &none));
    }

    #[test]
    fn a_set_without_a_usable_key_is_none() {
        for text in ["", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#] {
            assert!(KeySet::read(text).is_err(), "{text}");
        }
        for other in [r#","use":"enc"}"#, r#","alg":"Ed448"}"#] {
            let key = ED.replace('}', other);
            assert!(KeySet::read(&format!(r#"{{"keys":[{key}]}}"#)).is_err(), "{key}");
        }
    }
}
