//! The stateless era: MCP 2026-07-28, "Streamable HTTP". Every request says everything, twice where it says it in a header too.

use std::path::Path;

use axum::http::{HeaderMap, Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::reply::{Reply, takes_both_forms, text};
use super::tools;
use crate::json::with;
use crate::mcp::{Fault, Incoming, ToolCall, answer, read};

/// The version that is spoken.
const VERSION: &str = "2026-07-28";
/// A header that does not say what the body says.
const HEADER_MISMATCH: i64 = -32020;
/// A version that is not spoken.
const UNSUPPORTED_VERSION: i64 = -32022;

/// Answers any request to the endpoint.
pub(super) async fn reply(method: &Method, headers: &HeaderMap, body: &str, effects: &Path) -> Reply {
    if method != Method::POST {
        return Reply::empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !takes_both_forms(headers) {
        return Reply::empty(StatusCode::NOT_ACCEPTABLE);
    }
    let (id, method, params) = match read(body) {
        Ok(Incoming::Request { id, method, params }) => (id, method, params),
        Ok(Incoming::Notification) => return Reply::empty(StatusCode::ACCEPTED),
        Ok(Incoming::Response) => {
            let fault = Fault::new(Fault::INVALID_REQUEST, "a response to nothing");
            return Reply::fault(StatusCode::BAD_REQUEST, None, &fault);
        }
        Err(fault) => return Reply::fault(StatusCode::BAD_REQUEST, None, &fault),
    };
    if let Err(fault) = check(headers, &method, params.as_deref()) {
        return Reply::fault(StatusCode::BAD_REQUEST, Some(&id), &fault);
    }
    let outcome = match method.as_str() {
        "server/discover" => Ok(json!({
            "supportedVersions": [VERSION], "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private",
        })),
        "tools/list" => Ok(with(with(tools::listed(false), "ttlMs", json!(0)), "cacheScope", json!("private"))),
        "tools/call" => match ToolCall::read(params.as_deref()) {
            Ok(call) => tools::call(&call, effects).await,
            Err(fault) => Err(fault),
        },
        _ => return Reply::fault(StatusCode::NOT_FOUND, Some(&id), &Fault::unknown_method()),
    };
    Reply::message(answer(&id, outcome.map(completed)))
}

/// What every result carries.
fn completed(result: Value) -> Value {
    let server = json!({"name": "sample", "version": env!("CARGO_PKG_VERSION")});
    let result = with(result, "resultType", json!("complete"));
    with(result, "_meta", json!({"io.modelcontextprotocol/serverInfo": server}))
}

fn check(headers: &HeaderMap, method: &str, params: Option<&RawValue>) -> Result<(), Fault> {
    #[derive(Deserialize, Default)]
    struct Params {
        name: Option<String>,
        #[serde(rename = "_meta")]
        meta: Option<Meta>,
    }
    #[derive(Deserialize)]
    struct Meta {
        #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
        version: String,
        #[serde(rename = "io.modelcontextprotocol/clientCapabilities")]
        _capabilities: serde_json::Map<String, Value>,
    }
    let params: Params =
        params.map_or(Ok(Params::default()), |params| serde_json::from_str(params.get())).map_err(invalid)?;
    let meta = params.meta.ok_or_else(|| invalid("`_meta` is missing"))?;
    let mut pairs = vec![("mcp-protocol-version", meta.version.as_str()), ("mcp-method", method)];
    if method == "tools/call" {
        pairs.push(("mcp-name", params.name.as_deref().unwrap_or_default()));
    }
    for (header, expected) in pairs {
        let is_single = headers.get_all(header).iter().count() == 1;
        let value = text(headers, header).and_then(decoded);
        if !is_single || value.as_deref() != Some(expected) {
            return Err(Fault::new(HEADER_MISMATCH, format!("`{header}` does not say what the body says")));
        }
    }
    if meta.version != VERSION {
        let data = json!({"supported": [VERSION], "requested": meta.version});
        return Err(Fault { data: Some(data), ..Fault::new(UNSUPPORTED_VERSION, "unsupported protocol version") });
    }
    Ok(())
}

fn invalid(reason: impl std::fmt::Display) -> Fault {
    Fault::new(Fault::INVALID_PARAMS, reason.to_string())
}

/// A header's value, which may stand as `=?base64?…?=`; none when that is malformed.
fn decoded(value: &str) -> Option<String> {
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Some(value.to_owned());
    };
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}
