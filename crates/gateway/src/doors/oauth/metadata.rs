//! Where tokens are exchanged, for clients that ask (RFC 8414).

use http::HeaderMap;
use http::header::HOST;
use serde_json::json;

use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Doors;
use crate::doors::caller::text_header;
use crate::doors::oauth::TOKEN_PATH;
use crate::doors::oauth::exchange::GRANT_TYPE;
use crate::identity::signing::KEY_SET_PATH;

/// What the gateway is as an authorization server.
#[must_use]
pub fn show(doors: &Doors, headers: &HeaderMap) -> Answer {
    let host = text_header(headers, &HOST).unwrap_or("localhost");
    let base = doors.gate.snapshot.load().config.server.base(host);
    let metadata = json!({
        "issuer": base,
        "token_endpoint": format!("{base}{TOKEN_PATH}"),
        "jwks_uri": format!("{base}{KEY_SET_PATH}"),
        "grant_types_supported": [GRANT_TYPE],
        // There is no page on which anybody agrees to anything.
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
    });
    answer::json(200, metadata.to_string())
}
