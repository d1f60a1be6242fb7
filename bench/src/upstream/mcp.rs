//! The tool side of the mock upstream: an MCP server over Streamable HTTP, 2025-11-25, with the one tool `echo`.
//!
//! It answers `tools/call` without a session too, so that the stateless era can be measured without a gateway in between.

use std::sync::atomic::Ordering;

use http::{HeaderValue, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    counters::Counters,
    reply::{self, Body, empty},
};
use crate::calls::MARK;

const RESULT_BYTES: usize = 1024;

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<&'a str>,
}

pub(super) fn answer(counters: &Counters, body: &[u8]) -> Response<Body> {
    let Ok(message) = serde_json::from_slice::<Message<'_>>(body) else { return empty(StatusCode::BAD_REQUEST) };
    let (Some(id), Some(method)) = (message.id, message.method) else { return empty(StatusCode::ACCEPTED) };
    match method {
        "tools/call" => {
            counters.served.fetch_add(1, Ordering::Relaxed);
            reply::json(result(id, call_result()))
        }
        "initialize" => {
            let session = counters.sessions.fetch_add(1, Ordering::Relaxed);
            let mut response = reply::json(result(id, &welcome().to_string()));
            if let Ok(session) = HeaderValue::from_str(&format!("bench-upstream-{session}")) {
                response.headers_mut().insert("mcp-session-id", session);
            }
            response
        }
        "tools/list" => reply::json(result(id, &tools().to_string())),
        "ping" => reply::json(result(id, "{}")),
        _ => reply::json(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"method not found"}}}}"#
        )),
    }
}

fn result(id: &RawValue, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn welcome() -> Value {
    json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {"listChanged": false}},
        "serverInfo": {"name": "bench", "version": "1"},
    })
}

fn tools() -> Value {
    json!({"tools": [{
        "name": "echo",
        "description": "Returns a fixed text.",
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    }]})
}

/// Built on the first call and kept.
fn call_result() -> &'static str {
    static RESULT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    RESULT.get_or_init(|| {
        let padding: String = " lorem ipsum dolor sit amet".chars().cycle().take(RESULT_BYTES).collect();
        let result = |text: &str| json!({"content": [{"type": "text", "text": text}], "isError": false}).to_string();
        let room = RESULT_BYTES.saturating_sub(result(MARK).len());
        result(&format!("{MARK}{}", padding.get(..room).unwrap_or_default()))
    })
}
