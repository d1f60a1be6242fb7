//! Signed JSON Web Tokens (RFC 7519, RFC 7515), read without believing anything (RFC 8725).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::json::{self, items, members};
use portcullis_domain::time::Timestamp;
use serde_json::value::RawValue;

use crate::jwk::KeySet;

/// The longest token, in bytes.
pub const TOKEN_LIMIT_BYTES: usize = 16 << 10;
/// The latest time that a claim can name, in seconds: the end of the year 9999.
const TIME_LIMIT_S: u64 = 253_402_300_799;

/// A token whose signature was not looked at yet.
#[derive(Debug)]
pub struct Jwt<'a> {
    /// What it claims to be signed with.
    pub algorithm: String,
    /// What it claims to be signed by.
    pub key_id: Option<String>,
    /// What kind of token it claims to be, without `application/`; `JWT` where it says nothing.
    pub kind: String,
    /// The claims, as JSON.
    pub claims: String,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    /// Whether the text has the form of a token. Keys have no points.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Reads a token in its compact form.
    ///
    /// # Errors
    ///
    /// A sentence for the operator.
    pub fn read(text: &'a str) -> Result<Self, String> {
        if text.len() > TOKEN_LIMIT_BYTES {
            return Err(format!("the token is larger than {TOKEN_LIMIT_BYTES} bytes"));
        }
        let no_token = || "the token is no signed JWT".to_owned();
        let (signed, signature) = text.rsplit_once('.').ok_or_else(no_token)?;
        let (header, claims) = signed.split_once('.').ok_or_else(no_token)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| no_token());
        let as_text = |part: &str| String::from_utf8(decoded(part)?).map_err(|_| no_token());
        let header = as_text(header)?;
        let header = members(&header).map_err(|problem| format!("the token's header can't be read: {problem}"))?;
        // Nothing that must be understood is understood here (RFC 7515, section 4.1.11). Where a key is said to be found, in `jku`, `x5u` or `jwk`, nobody looks.
        if json::member(&header, "crit").is_some() {
            return Err("the token has a critical header that is not known here".to_owned());
        }
        let text_of = |name: &str| match json::member(&header, name) {
            None => Ok(None),
            Some(raw) => json::text(raw).map(|text| Some(text.into_owned())).ok_or(format!("`{name}` is no text")),
        };
        let kind = text_of("typ")?.unwrap_or_else(|| "JWT".to_owned());
        let is_long = kind.get(..12).is_some_and(|start| start.eq_ignore_ascii_case("application/"));
        let claims = as_text(claims)?;
        members(&claims).map_err(|problem| format!("the token's claims can't be read: {problem}"))?;
        Ok(Self {
            algorithm: text_of("alg")?.ok_or("the token names no algorithm")?,
            key_id: text_of("kid")?,
            kind: if is_long { kind.get(12..).unwrap_or_default().to_owned() } else { kind },
            claims,
            signed,
            signature: decoded(signature)?,
        })
    }

    /// Whether one of these keys has signed it.
    #[must_use]
    pub fn is_signed_by(&self, keys: &KeySet) -> bool {
        // RFC 9864 gives the one curve a name of its own.
        let algorithm = if self.algorithm == "Ed25519" { "EdDSA" } else { &self.algorithm };
        keys.has_signed(self.key_id.as_deref(), Some(algorithm), self.signed.as_bytes(), &self.signature)
    }

    /// The claim of that name.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&RawValue> {
        claim(&self.claims, name)
    }

    /// The claim of that name, if it is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.claim(name).and_then(json::text)
    }

    /// A point in time (RFC 7519, section 2); parts of seconds are left out.
    ///
    /// # Errors
    ///
    /// A sentence when it is none.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, String> {
        let Some(raw) = self.claim(name) else { return Ok(None) };
        let (seconds, parts) = raw.get().split_once('.').unwrap_or((raw.get(), "0"));
        let is_number = !parts.is_empty() && parts.bytes().all(|byte| byte.is_ascii_digit());
        let seconds: Option<u64> = seconds.parse().ok().filter(|seconds| is_number && *seconds <= TIME_LIMIT_S);
        seconds.map(|seconds| Some(Timestamp(seconds * 1_000_000))).ok_or_else(|| format!("`{name}` is no time"))
    }

    /// Whether `aud`, a text or a list of them, has one of these in it.
    #[must_use]
    pub fn is_for(&self, audiences: &[String]) -> bool {
        let is_ours = |audience: &RawValue| {
            json::text(audience).is_some_and(|audience| audiences.iter().any(|ours| *ours == audience))
        };
        let Some(raw) = self.claim("aud") else { return false };
        is_ours(raw) || items(raw.get()).is_ok_and(|all| all.into_iter().any(is_ours))
    }
}

/// A claim by its name, or by its path with points between names.
#[must_use]
pub fn claim<'a>(claims: &'a str, path: &str) -> Option<&'a RawValue> {
    let all = members(claims).ok()?;
    if let Some(claim) = json::member(&all, path) {
        return Some(claim);
    }
    let (first, rest) = path.split_once('.')?;
    claim(json::member(&all, first)?.get(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode("x"))
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_read() {
        let good = r#"{"alg":"ES256"}"#;
        for (header, claims) in [
            ("", "{}"),
            ("{}", "{}"),
            ("[]", "{}"),
            (r#"{"alg":7}"#, "{}"),
            (r#"{"alg":"ES256","alg":"none"}"#, "{}"),
            (r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, "{}"),
            (r#"{"alg":"ES256","crit":[]}"#, "{}"),
            (r#"{"alg":"ES256","kid":1}"#, "{}"),
            (r#"{"alg":"ES256","typ":null}"#, "{}"),
            (good, ""),
            (good, "[]"),
            (good, r#"{"sub":"ann","sub":"bob"}"#),
        ] {
            assert!(Jwt::read(&token(header, claims)).is_err(), "{header} {claims}");
        }
        for text in ["", "a", "a.b", "..", "a.b.c.d", "=.=.="] {
            assert!(Jwt::read(text).is_err(), "{text}");
        }
        let padded = format!("{}==.{}.eA", URL_SAFE_NO_PAD.encode(good), URL_SAFE_NO_PAD.encode("{}"));
        assert!(Jwt::read(&padded).is_err());
        let long = token(good, &format!(r#"{{"x":"{}"}}"#, "x".repeat(TOKEN_LIMIT_BYTES)));
        assert!(Jwt::read(&long).unwrap_err().contains("larger"));
        for (typ, kind) in [("", "JWT"), (r#","typ":"at+jwt""#, "at+jwt"), (r#","typ":"Application/at+jwt""#, "at+jwt")]
        {
            assert_eq!(Jwt::read(&token(&format!(r#"{{"alg":"ES256"{typ}}}"#), "{}")).unwrap().kind, kind);
        }
    }

    #[test]
    fn claims_are_found_by_their_names_and_paths() {
        let token = token(
            r#"{"alg":"ES256"}"#,
            r#"{"a":{"b":{"c":1}},"https://x.y/z":2,"exp":12.5,"nbf":-1,"iat":"5","big":1e99,"aud":["x","y"]}"#,
        );
        let jwt = Jwt::read(&token).unwrap();
        let found = |path: &str| jwt.claim(path).map(|raw| raw.get().to_owned());
        assert_eq!(found("a.b.c").as_deref(), Some("1"));
        assert_eq!(found("https://x.y/z").as_deref(), Some("2"));
        assert_eq!(found("a.b.d"), None);
        assert_eq!(found("exp.x"), None);
        assert_eq!(jwt.time("exp"), Ok(Some(Timestamp(12_000_000))));
        assert_eq!(jwt.time("none"), Ok(None));
        for wrong in ["nbf", "iat", "big", "a"] {
            assert!(jwt.time(wrong).is_err(), "{wrong}");
        }
        let is_for = |audience: &str| jwt.is_for(&[audience.to_owned()]);
        assert!(is_for("y") && !is_for("z") && !jwt.is_for(&[]));
    }
}
