//! What a card's signature is over (A2A 1.0, section 8.4; RFC 7515). Keys, and the trust in them, are elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::json;

use super::canonical::{Empty, canonical};
use super::read::items;
use crate::a2a::call::text_of;
use crate::frame::object::Object;

/// A signature of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The protected header as it was signed: Base64url of a JSON object.
    pub protected: String,
    /// The signature, in Base64url.
    pub signature: String,
    /// The key's name, by the protected header.
    pub key_id: Option<String>,
    /// The algorithm, by the protected header. It is a claim: who verifies decides which ones it takes.
    pub algorithm: Option<String>,
    /// Where the key is said to be. It is a claim: who verifies decides whom it asks.
    pub key_set_url: Option<String>,
}

/// The signatures of a raw card. One whose header can't be read is none.
#[must_use]
pub fn signatures(raw_card: &str) -> Vec<Signature> {
    items(raw_card, "signatures").into_iter().filter_map(read).collect()
}

/// The payload of a card's signature: its canonical form without its signatures and without what is empty or merely a default.
///
/// # Errors
///
/// What has no canonical form.
pub fn payload(raw_card: &str) -> Result<String, String> {
    let mut card = Object::read(raw_card)?;
    card.remove("signatures");
    if let Some(raw) = card.raw("capabilities").filter(|raw| raw.starts_with('{')).map(str::to_owned) {
        let mut capabilities = Object::read(&raw)?;
        if let Some(extensions) = capabilities.take("extensions") {
            capabilities.set("extensions", without_defaults(&extensions)?);
        }
        let capabilities = capabilities.to_string();
        card.set("capabilities", capabilities);
    }
    canonical(&card.to_string(), Empty::LeftOut)
}

/// The bytes that are signed: the protected header and the payload, each in Base64url, with a point between.
#[must_use]
pub fn signing_input(protected: &str, payload: &str) -> String {
    format!("{protected}.{}", URL_SAFE_NO_PAD.encode(payload))
}

fn read(raw: &str) -> Option<Signature> {
    let (protected, signature) = (text_of(raw, &["protected"])?, text_of(raw, &["signature"])?);
    let header = String::from_utf8(URL_SAFE_NO_PAD.decode(&protected).ok()?).ok()?;
    json::members(&header).ok()?;
    let text = |name| text_of(&header, &[name]);
    Some(Signature { key_id: text("kid"), algorithm: text("alg"), key_set_url: text("jku"), protected, signature })
}

/// An extension that is not required says so by saying nothing.
fn without_defaults(raw: &str) -> Result<String, String> {
    let mut items = Vec::new();
    for item in json::items(raw)? {
        let mut extension = Object::read(item.get())?;
        if extension.raw("required") == Some("false") {
            extension.remove("required");
        }
        items.push(extension.to_string());
    }
    Ok(format!("[{}]", items.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_over_the_card_without_its_signatures() {
        let card = r#"{"name":"a","signatures":[{"protected":"eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0","signature":"c2ln"},{"protected":"!","signature":""}],"description":"","capabilities":{"streaming":false,"extensions":[{"uri":"u","required":false,"params":{"required":false}}]},"skills":[]}"#;
        let payload = payload(card).unwrap();
        assert_eq!(
            payload,
            r#"{"capabilities":{"extensions":[{"params":{"required":false},"uri":"u"}],"streaming":false},"name":"a"}"#
        );
        let signatures = signatures(card);
        let [signature] = signatures.as_slice() else { panic!("{signatures:?}") };
        assert_eq!((signature.key_id.as_deref(), signature.algorithm.as_deref()), (Some("k1"), Some("ES256")));
        let input = signing_input(&signature.protected, &payload);
        assert!(input.starts_with("eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0.eyJjYXBhYmlsaXRpZXMi"), "{input}");
    }
}
