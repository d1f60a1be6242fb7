//! The key that a sample server asks for.

use axum::http::{HeaderMap, HeaderValue, header};

/// Whether the request has the right `Authorization: Bearer`, or none is asked for.
///
/// The right key is then taken out of the headers, since nobody needs to read it in a record; a wrong one stays, because a
/// key that should not have come so far is what a test looks for.
pub(crate) fn is_right(key: Option<&str>, headers: &mut HeaderMap) -> bool {
    let Some(key) = key else { return true };
    let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let is_right = presented == Some(key);
    if is_right {
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer (the right key)"));
    }
    is_right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_is_taken_out() {
        let check = |key: Option<&str>, sent: &str, right: bool, left: &str| {
            let mut headers = HeaderMap::from_iter([(header::AUTHORIZATION, sent.parse().unwrap())]);
            assert_eq!(is_right(key, &mut headers), right, "{sent}");
            assert_eq!(headers["authorization"], left);
        };
        check(None, "Bearer a", true, "Bearer a");
        check(Some("a"), "Bearer a", true, "Bearer (the right key)");
        check(Some("a"), "Bearer b", false, "Bearer b");
        check(Some("a"), "Basic a", false, "Basic a");
        assert!(!is_right(Some("a"), &mut HeaderMap::new()));
    }
}
