//! The query of a URL and the segments of a path, written and read (WHATWG URL, `application/x-www-form-urlencoded`).

use std::fmt::Write as _;

/// The pairs of a query, decoded, in their order.
pub(super) fn pairs(raw: &str) -> Vec<(String, String)> {
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
        })
        .collect()
}

/// A query of these pairs, with its question mark; nothing when there are none.
pub(super) fn query(pairs: &[(String, String)]) -> String {
    let written: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    if written.is_empty() { String::new() } else { format!("?{}", written.join("&")) }
}

/// What a text with percent signs stands for. What is no UTF-8 then is no name of anything here, and becomes a replacement sign.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.filter(|_| byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.unwrap_or(byte));
        rest = if value.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `text` as it may stand anywhere in a URL: all but the unreserved signs of RFC 3986 with percent signs.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a text can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let expected = [("a b".to_owned(), "ü/:%&=+".to_owned()), ("c".to_owned(), String::new())];
        let written = query(&expected);
        assert_eq!(written, "?a%20b=%C3%BC%2F%3A%25%26%3D%2B&c=");
        assert_eq!(pairs(&written[1..]), expected);
        assert_eq!(pairs("a+b=1&&c"), [("a b".into(), "1".into()), ("c".into(), String::new())]);
        assert_eq!(decoded("%4G%2"), "%4G%2");
        assert_eq!(query(&[]), "");
    }
}
