//! What a card's signature is over (A2A 1.0, section 8.4; RFC 7515). Keys, and the trust in them, are elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::json;

use super::canonical::{Empty, canonical};
use super::read::items;
use crate::a2a::call::text_of;
use crate::frame::object::{Object, quoted};

/// The members of a card of 1.0 but for its signatures (a2a.proto).
const CARD: [&str; 13] = [
    "name",
    "description",
    "supportedInterfaces",
    "provider",
    "version",
    "documentationUrl",
    "capabilities",
    "securitySchemes",
    "securityRequirements",
    "defaultInputModes",
    "defaultOutputModes",
    "skills",
    "iconUrl",
];
const PROVIDER: &[&str] = &["url", "organization"];
const CAPABILITIES: &[&str] = &["streaming", "pushNotifications", "extensions", "extendedAgentCard"];
const EXTENSION: [&str; 4] = ["uri", "description", "required", "params"];
const INTERFACE: [&str; 4] = ["url", "protocolBinding", "tenant", "protocolVersion"];
const SKILL: [&str; 8] =
    ["id", "name", "description", "tags", "examples", "inputModes", "outputModes", "securityRequirements"];
const SCHEME: [&str; 5] = [
    "apiKeySecurityScheme",
    "httpAuthSecurityScheme",
    "oauth2SecurityScheme",
    "openIdConnectSecurityScheme",
    "mtlsSecurityScheme",
];

/// How many signatures of a card are looked at: more nobody needs, and each costs a verification.
const SIGNATURES_LIMIT: usize = 16;

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

/// The first signatures of a raw card. One whose header can't be read is none.
#[must_use]
pub fn signatures(raw_card: &str) -> Vec<Signature> {
    items(raw_card, "signatures").into_iter().take(SIGNATURES_LIMIT).filter_map(read).collect()
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

/// The card as a reader of 1.0 has it that knows no other members: the official libraries sign and verify this, whatever else stands in the card.
///
/// # Errors
///
/// What can't be read.
pub fn essential(raw_card: &str) -> Result<String, String> {
    let mut card = kept(raw_card, &CARD)?;
    for (name, members) in [("provider", PROVIDER), ("capabilities", CAPABILITIES)] {
        if let Some(raw) = card.raw(name).map(str::to_owned) {
            card.set(name, kept(&raw, members)?.to_string());
        }
    }
    if let Some(raw) = card.raw("capabilities").map(str::to_owned) {
        let mut capabilities = Object::read(&raw)?;
        each(&mut capabilities, "extensions", &EXTENSION)?;
        let capabilities = capabilities.to_string();
        card.set("capabilities", capabilities);
    }
    each(&mut card, "supportedInterfaces", &INTERFACE)?;
    each(&mut card, "skills", &SKILL)?;
    if let Some(raw) = card.raw("securitySchemes").map(str::to_owned) {
        let mut schemes = Object::default();
        for (name, scheme) in json::members(&raw)? {
            let scheme = kept(scheme.get(), &SCHEME)?.to_string();
            schemes.extend([(name.as_ref(), scheme.as_str())]);
        }
        card.set("securitySchemes", schemes.to_string());
    }
    Ok(card.to_string())
}

/// The card with these signatures, each a protected header and what was made of its [`signing_input`], in place of any others.
///
/// # Errors
///
/// What can't be read.
pub fn with_signatures(raw_card: &str, signatures: &[(String, String)]) -> Result<String, String> {
    let mut card = Object::read(raw_card)?;
    let written = signatures.iter().map(|(protected, signature)| {
        format!(r#"{{"protected":{},"signature":{}}}"#, quoted(protected), quoted(signature))
    });
    card.set("signatures", format!("[{}]", written.collect::<Vec<_>>().join(",")));
    Ok(card.to_string())
}

/// The members of that name alone; a `null` is none.
fn kept<'a>(raw: &'a str, names: &[&str]) -> Result<Object<'a>, String> {
    let mut object = Object::read(raw)?;
    let empty: Vec<String> = object.iter().filter(|(_, raw)| *raw == "null").map(|(name, _)| name.to_owned()).collect();
    object.retain(|name| names.contains(&name) && !empty.iter().any(|empty| empty == name));
    Ok(object)
}

fn each(object: &mut Object<'_>, name: &'static str, names: &[&str]) -> Result<(), String> {
    let Some(raw) = object.raw(name).map(str::to_owned) else { return Ok(()) };
    let items: Result<Vec<String>, String> =
        json::items(&raw)?.into_iter().map(|item| kept(item.get(), names).map(|item| item.to_string())).collect();
    object.set(name, format!("[{}]", items?.join(",")));
    Ok(())
}

/// The bytes that are signed: the protected header and the payload, each in Base64url, with a point between.
#[must_use]
pub fn signing_input(protected: &str, payload: &str) -> String {
    format!("{protected}.{}", encoded(payload))
}

/// The payload as it stands in a [`signing_input`], behind the point.
#[must_use]
pub fn encoded(payload: &str) -> String {
    URL_SAFE_NO_PAD.encode(payload)
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
    fn readers_of_1_0_see_only_what_they_know() {
        let card = r#"{"name":"a","url":"u","iconUrl":null,"capabilities":{"streaming":false,"stateTransitionHistory":true,"extensions":[{"uri":"u","x":1,"params":{"y":2}}]},"supportedInterfaces":[{"url":"u","z":1}],"securitySchemes":{"s":{"type":"http","httpAuthSecurityScheme":{"scheme":"Bearer"}}},"skills":[{"id":"s","security":[]}],"provider":{"url":"p","q":1},"signatures":[]}"#;
        let expected = r#"{"name":"a","capabilities":{"streaming":false,"extensions":[{"uri":"u","params":{"y":2}}]},"supportedInterfaces":[{"url":"u"}],"securitySchemes":{"s":{"httpAuthSecurityScheme":{"scheme":"Bearer"}}},"skills":[{"id":"s"}],"provider":{"url":"p"}}"#;
        assert_eq!(essential(card).as_deref(), Ok(expected));
        let signed = with_signatures(r#"{"a":1,"signatures":[1]}"#, &[("p".to_owned(), "s".to_owned())]);
        assert_eq!(signed.as_deref(), Ok(r#"{"a":1,"signatures":[{"protected":"p","signature":"s"}]}"#));
    }

    #[test]
    fn of_many_signatures_the_first_are_looked_at() {
        let many = vec![("e30".to_owned(), "s".to_owned()); SIGNATURES_LIMIT + 1];
        assert_eq!(signatures(&with_signatures("{}", &many).unwrap()).len(), SIGNATURES_LIMIT);
    }

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
