//! What of a message is for one hop only.

use http::header::{self, HeaderMap, HeaderName};

/// Whether a header belongs to the connection (RFC 9110, section 7.6.1), is made anew, or is for the gateway alone.
pub(super) fn is_own(name: &HeaderName, headers: &HeaderMap) -> bool {
    const OWN: [HeaderName; 12] = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::HOST,
        header::CONTENT_LENGTH,
        header::AUTHORIZATION,
        header::EXPECT,
    ];
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    OWN.contains(name)
        || name.as_str().starts_with("portcullis-")
        || named.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_caller_and_gateway_is_not_forwarded() {
        let mut headers = HeaderMap::new();
        headers.insert("connection", "close, X-Hop".parse().unwrap());
        for (name, expected) in [
            ("authorization", true),
            ("host", true),
            ("portcullis-fence", true),
            ("x-hop", true),
            ("transfer-encoding", true),
            ("content-type", false),
            ("traceparent", false),
            ("idempotency-key", false),
        ] {
            assert_eq!(is_own(&HeaderName::from_static(name), &headers), expected, "{name}");
        }
    }
}
