//! The headers of the protocol, and how a text that may not stand in a header is written there (2026-07-28, "Value Encoding").

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

/// The version that a request speaks.
pub const VERSION: &str = "mcp-protocol-version";
/// The connection that a legacy request belongs to. It is the transport's, never a session of Portcullis.
pub const SESSION: &str = "mcp-session-id";
/// The method of a modern request, as in its body.
pub const METHOD: &str = "mcp-method";
/// The tool, prompt or resource of a modern request, as in its body.
pub const NAME: &str = "mcp-name";
/// What stands before the name of a mirrored argument's header.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// The number of the error that a request's headers do not say what its body says.
pub(super) const MISMATCH: i64 = -32020;

const OPENING: &str = "=?base64?";
const CLOSING: &str = "?=";

/// `text` as a header's value: as it is where it may stand so, and in Base64 where not.
#[must_use]
pub fn encoded(text: &str) -> Cow<'_, str> {
    let is_visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let is_trimmed = !text.starts_with(' ') && !text.ends_with(' ');
    if is_visible && is_trimmed && !(text.starts_with(OPENING) && text.ends_with(CLOSING)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned([OPENING, &STANDARD.encode(text), CLOSING].concat())
}

/// The text that a header's value stands for; none where its Base64 is not what [`encoded`] would write.
#[must_use]
pub fn decoded(value: &str) -> Option<Cow<'_, str>> {
    let Some(base64) = value.strip_prefix(OPENING).and_then(|rest| rest.strip_suffix(CLOSING)) else {
        return Some(Cow::Borrowed(value));
    };
    let bytes = STANDARD.decode(base64).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The value of a header; none when it is absent or is not text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_plainly_where_it_can_be() {
        for (text, value) in [
            ("echo", "echo"),
            ("", ""),
            ("a b~", "a b~"),
            ("odd näme/ü", "=?base64?b2RkIG7DpG1lL8O8?="),
            (" a", "=?base64?IGE=?="),
            ("a\n", "=?base64?YQo=?="),
            ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
        ] {
            assert_eq!(encoded(text), value);
            assert_eq!(decoded(value).as_deref(), Some(text));
        }
        assert_eq!(decoded("=?base64?ZWNobw==?=").as_deref(), Some("echo"));
    }

    #[test]
    fn base64_that_could_be_written_otherwise_is_refused() {
        for value in ["=?base64?YQ?=", "=?base64?YR==?=", "=?base64?Y Q==?=", "=?base64?_w==?=", "=?base64?/w==?="] {
            assert_eq!(decoded(value), None, "{value}");
        }
    }
}
