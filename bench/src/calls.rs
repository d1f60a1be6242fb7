//! The calls that are measured: what is sent, what must come back. Every peer gets the same bytes but for address, key and path.

use std::{net::SocketAddr, ops::Range};

use serde_json::json;

use crate::{
    failure::Result,
    wire::{Answer, Connection},
};

/// Stands in every good answer of the mock upstream, so that a refusal dressed as an answer is not counted as one.
pub(crate) const MARK: &str = "bench-ok";
/// Size of every request body.
pub(crate) const BODY_BYTES: usize = 1024;

/// Replaced by the call's number, which makes every call a different one: nothing may be answered from a cache.
const SERIAL: &str = "@@@@@@@@@@";
const SESSION: &str = "~~~~";
const SESSION_ERA: &str = "2025-11-25";
const STATELESS_ERA: &str = "2026-07-28";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Chat,
    Stream,
    McpSession,
    McpStateless,
}

impl Scenario {
    pub(crate) const ALL: [Self; 4] = [Self::Chat, Self::Stream, Self::McpSession, Self::McpStateless];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat completion, 1 KiB",
            Self::Stream => "chat completion, streamed",
            Self::McpSession => "MCP tools/call, 2025-11-25",
            Self::McpStateless => "MCP tools/call, 2026-07-28",
        }
    }

    /// Whether an answer is the one the mock upstream gives.
    pub(crate) fn accepts(self, answer: &Answer<'_>) -> bool {
        let text = answer.text();
        let ended = self != Self::Stream || text.contains("data: [DONE]");
        answer.status == 200 && ended && text.contains(MARK)
    }
}

/// Where calls go.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    pub(crate) mcp_path: &'static str,
}

/// Opens what a connection needs before its first call and returns the call it will repeat.
pub(crate) async fn prepare(
    scenario: Scenario,
    target: &Target,
    connection: &mut Connection,
    session: u64,
) -> Result<Template> {
    let headers = headers(target);
    Ok(match scenario {
        Scenario::Chat => Template::new("/v1/chat/completions", &headers, &chat(false)),
        Scenario::Stream => Template::new("/v1/chat/completions", &headers, &chat(true)),
        Scenario::McpSession => {
            // One transport session per connection, inside one gateway session: a client does not change it midway.
            let headers = headers.replace(SESSION, &format!("{session:04}"));
            let headers = initialize(target, connection, headers).await?;
            Template::new(target.mcp_path, &headers, &tool_call(json!({})))
        }
        Scenario::McpStateless => {
            let headers = format!(
                "{headers}{ACCEPT}MCP-Protocol-Version: {STATELESS_ERA}\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\n"
            );
            let meta = json!({"_meta": {
                "io.modelcontextprotocol/protocolVersion": STATELESS_ERA,
                "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            }});
            Template::new(target.mcp_path, &headers, &tool_call(meta))
        }
    })
}

const ACCEPT: &str = "Accept: application/json, text/event-stream\r\n";

fn headers(target: &Target) -> String {
    let Target { address, key, .. } = target;
    format!(
        "Host: {address}\r\nAuthorization: Bearer {key}\r\nPortcullis-Session: bench-{SESSION}\r\nContent-Type: application/json\r\n"
    )
}

/// The handshake of the session era; returns the headers of all later requests.
async fn initialize(target: &Target, connection: &mut Connection, headers: String) -> Result<String> {
    let params =
        json!({"protocolVersion": SESSION_ERA, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}});
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).to_string();
    let mut headers = format!("{headers}{ACCEPT}");
    let answer = connection.exchange(Template::new(target.mcp_path, &headers, &hello).bytes()).await?;
    if answer.status != 200 {
        return Err(format!("initialize answered {}: {}", answer.status, answer.text()).into());
    }
    headers.push_str(&format!("MCP-Protocol-Version: {SESSION_ERA}\r\n"));
    if let Some(id) = answer.header("mcp-session-id") {
        headers.push_str(&format!("Mcp-Session-Id: {id}\r\n"));
    }
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
    let status = connection.exchange(Template::new(target.mcp_path, &headers, &ready).bytes()).await?.status;
    if status != 202 {
        return Err(format!("notifications/initialized answered {status}").into());
    }
    Ok(headers)
}

fn chat(stream: bool) -> String {
    let options = if stream { r#","stream":true,"stream_options":{"include_usage":true}"# } else { "" };
    padded(
        &format!(
            r#"{{"model":"bench-model","max_tokens":256{options},"messages":[{{"role":"system","content":"You are a claims adjuster."}},{{"role":"user","content":"claim {SERIAL} "#
        ),
        r#""}]}"#,
    )
}

fn tool_call(meta: serde_json::Value) -> String {
    let meta = meta.get("_meta").map(|meta| format!(r#""_meta":{meta},"#)).unwrap_or_default();
    padded(
        &format!(
            r#"{{"jsonrpc":"2.0","id":{SERIAL},"method":"tools/call","params":{{{meta}"name":"echo","arguments":{{"text":"claim {SERIAL} "#
        ),
        r#""}}}"#,
    )
}

/// Fills the text between start and end with words until the body has its size.
fn padded(start: &str, end: &str) -> String {
    let room = BODY_BYTES.saturating_sub(start.len() + end.len());
    let padding: String = "lorem ipsum dolor sit amet ".chars().cycle().take(room).collect();
    format!("{start}{padding}{end}")
}

/// A whole HTTP request with the places where number and session go.
pub(crate) struct Template {
    bytes: Vec<u8>,
    serials: Vec<Range<usize>>,
    sessions: Vec<Range<usize>>,
}

impl Template {
    fn new(path: &str, headers: &str, body: &str) -> Self {
        let text = format!("POST {path} HTTP/1.1\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
        let places = |mark: &str| text.match_indices(mark).map(|(at, mark)| at..at + mark.len()).collect();
        Self { serials: places(SERIAL), sessions: places(SESSION), bytes: text.into_bytes() }
    }

    /// `serial` has ten digits and `session` at most four; the request's length never changes.
    pub(crate) fn fill(&mut self, serial: u64, session: u64) {
        for place in &self.serials {
            write_digits(self.bytes.get_mut(place.clone()), serial);
        }
        for place in &self.sessions {
            write_digits(self.bytes.get_mut(place.clone()), session);
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn write_digits(place: Option<&mut [u8]>, mut number: u64) {
    for digit in place.into_iter().flatten().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_is_json_of_one_kibibyte_and_every_call_another_one() {
        for body in [chat(false), chat(true), tool_call(json!({})), tool_call(json!({"_meta": {"a": 1}}))] {
            assert_eq!(body.len(), BODY_BYTES);
            let mut template = Template::new("/", "S: ~~~~\r\n", &body);
            template.fill(1_000_000_007, 42);
            let text = String::from_utf8(template.bytes().to_vec()).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
            assert!(head.contains("S: 0042"));
            assert!(body.contains("claim 1000000007 "));
            serde_json::from_str::<serde_json::Value>(body).expect("JSON");
        }
    }
}
