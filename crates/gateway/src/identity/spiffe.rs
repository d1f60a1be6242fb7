//! SPIFFE ids (the SPIFFE-ID standard, section 2, and X509-SVID, sections 2 and 5): what a workload is called by the authority of its trust domain.

use std::fmt;

/// The longest id, and the longest trust domain in it, in bytes.
const ID_LIMIT_BYTES: usize = 2_048;
const TRUST_DOMAIN_LIMIT_BYTES: usize = 255;

/// An id of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpiffeId {
    /// Whose authority it is.
    pub trust_domain: String,
    /// What the workload is called there, as in `/ns/prod/sa/claims`.
    pub path: String,
}

impl SpiffeId {
    /// Reads one. Nothing is made good: whoever compares ids compares bytes.
    ///
    /// # Errors
    ///
    /// A sentence when it is none of a workload.
    pub fn read(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("`{}` is no SPIFFE id of a workload: {what}", shown(text)));
        if text.len() > ID_LIMIT_BYTES {
            return wrong("it is too long");
        }
        let Some(rest) = text.strip_prefix("spiffe://") else { return wrong("it does not begin with `spiffe://`") };
        let Some((trust_domain, path)) = rest.split_once('/') else { return wrong("it has no path") };
        if let Err(problem) = check_trust_domain(trust_domain) {
            return wrong(&problem);
        }
        let is_segment = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        };
        if !path.split('/').all(is_segment) {
            return wrong(
                "its path has a part that is empty, `.`, `..` or has other characters than A-Z a-z 0-9 . - _",
            );
        }
        Ok(Self { trust_domain: trust_domain.to_owned(), path: format!("/{path}") })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "spiffe://{}{}", self.trust_domain, self.path)
    }
}

/// Whether it can be the name of a trust domain.
///
/// # Errors
///
/// A sentence when it can't.
pub fn check_trust_domain(name: &str) -> Result<(), String> {
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    if name.is_empty() || name.len() > TRUST_DOMAIN_LIMIT_BYTES || !name.bytes().all(is_known) {
        return Err(format!("a trust domain has 1 to {TRUST_DOMAIN_LIMIT_BYTES} characters out of a-z 0-9 . - _"));
    }
    Ok(())
}

/// What somebody sent, for a log.
fn shown(text: &str) -> String {
    text.chars().take(128).filter(|letter| letter.is_ascii_graphic()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_as_it_is_or_not_at_all() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let found = SpiffeId::read(text).ok();
            let found = found.as_ref().map(|id| (id.trust_domain.as_str(), id.path.as_str()));
            assert_eq!(found, expected, "{text}");
            assert!(expected.is_none() || SpiffeId::read(text).unwrap().to_string() == text);
        };
        check("spiffe://example.org/ns/prod/sa/claims", Some(("example.org", "/ns/prod/sa/claims")));
        check("spiffe://a-b_c.9/X.y_z-1", Some(("a-b_c.9", "/X.y_z-1")));
        check("spiffe://example.org/...", Some(("example.org", "/...")));
        for wrong in [
            "",
            "spiffe://",
            "spiffe:///x",
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe://example.org/a/",
            "spiffe://example.org//a",
            "spiffe://example.org/a/../b",
            "spiffe://example.org/./a",
            "spiffe://Example.org/a",
            "SPIFFE://example.org/a",
            "spiffe://example.org:443/a",
            "spiffe://user@example.org/a",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org/a%2fb",
            "spiffe://example.org/ä",
            "https://example.org/a",
            "spiffe://example.org/a\0",
            "spiffe://example.org\0.evil/a",
            "spiffe://example.org/a+b",
            "spiffe://ex ample/a",
        ] {
            check(wrong, None);
        }
        check(&format!("spiffe://{}/a", "x".repeat(256)), None);
        check(&format!("spiffe://x/{}", "x".repeat(2_048)), None);
    }
}
