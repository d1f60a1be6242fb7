//! Parts of paths and queries as their senders meant them (RFC 3986, section 2.1).

use std::borrow::Cow;

use portcullis_domain::refusal::{Code, Refusal};

/// A segment of a path, or a value of a query, without its percent-encoding. It is decoded once, after the path was split: a `/` that was encoded separates nothing.
///
/// # Errors
///
/// [`Code::InvalidRequest`] when a `%` is not followed by two hexadecimal digits, or the bytes are no UTF-8.
pub fn decoded(part: &str) -> Result<Cow<'_, str>, Refusal> {
    if !part.contains('%') {
        return Ok(Cow::Borrowed(part));
    }
    let invalid = || Refusal::new(Code::InvalidRequest, format!("`{part}` is not percent-encoded text"));
    let mut bytes = Vec::with_capacity(part.len());
    let mut pieces = part.split('%');
    bytes.extend(pieces.next().unwrap_or_default().bytes());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).ok_or_else(invalid)?;
        // The parser of numbers would take a sign as well.
        let is_hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_hexadecimal);
        bytes.push(byte.ok_or_else(invalid)?);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_decoded_exactly_once() {
        for (part, expected) in [
            ("ann:claim-99", Some("ann:claim-99")),
            ("ann%3Aclaim%2d99", Some("ann:claim-99")),
            ("ann%40example.org", Some("ann@example.org")),
            ("a+b%2Bc", Some("a+b+c")),
            ("%2541", Some("%41")),
            ("%C3%A4%2F", Some("ä/")),
            ("", Some("")),
            ("%", None),
            ("a%4", None),
            ("%+1", None),
            ("%zz", None),
            ("%ä1", None),
            ("%FF", None),
        ] {
            assert_eq!(decoded(part).ok().as_deref(), expected, "{part}");
        }
    }
}
