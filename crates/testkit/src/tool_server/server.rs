//! The sample server's HTTP side: its endpoint `/mcp`, keys, and the record of requests.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

use super::reply::{Reply, SESSION_HEADER};
use super::sessions::{self, Sessions};
use super::stateless;
use crate::bearer;
use crate::record::{self, Record};

/// How large a request may be.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Which MCP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2025-11-25 and 2025-06-18, with `initialize` and `Mcp-Session-Id`.
    Sessions,
    /// 2026-07-28, with `server/discover`.
    Stateless,
}

/// How the sample server is served.
#[derive(Debug, Clone)]
pub struct ToolServerOptions {
    /// Which MCP is spoken.
    pub era: Era,
    /// The file that the tool `record` appends `{"id":…,"value":…}` to, fsynced before it answers.
    pub effects: PathBuf,
    /// The key that must come as `Authorization: Bearer`; none when anybody may ask.
    pub key: Option<String>,
    /// Whether answers come as server-sent events rather than as JSON.
    pub is_events: bool,
    /// Whether there is a tool `count` too, which says how often it was called in the session. Without sessions there is none.
    pub is_counting: bool,
}

/// Serves MCP at `/mcp` for as long as it is awaited.
///
/// `GET` and `DELETE /__requests` show and forget the record, as for the model; `POST /__forget_sessions` ends all sessions.
///
/// # Errors
///
/// What the listener says.
pub async fn serve(listener: TcpListener, options: ToolServerOptions) -> Result<(), String> {
    let sessions = Sessions::new(options.is_counting);
    let server = Arc::new(Server { options, record: Record::new(None), sessions });
    let shown =
        async |State(server): State<Arc<Server>>| ([(header::CONTENT_TYPE, "application/json")], server.record.shown());
    let forget = async |State(server): State<Arc<Server>>| server.record.forget();
    let forget_sessions = async |State(server): State<Arc<Server>>| server.sessions.forget();
    let app = Router::new()
        .route("/mcp", any(receive))
        .route(record::PATH, get(shown).delete(forget))
        .route("/__forget_sessions", post(forget_sessions))
        .with_state(server);
    let listener = listener.tap_io(|stream| {
        // Without it small answers wait for more to come; where it cannot be set they are only slower.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await.map_err(|error| format!("serve tools: {error}"))
}

struct Server {
    options: ToolServerOptions,
    record: Arc<Record>,
    sessions: Sessions,
}

async fn receive(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let is_known = bearer::is_right(server.options.key.as_deref(), &mut head.headers);
    let arrived = match server.record.arrived(&head, &body) {
        Ok(arrived) => arrived,
        Err(reason) => return (StatusCode::INTERNAL_SERVER_ERROR, reason).into_response(),
    };
    let body = String::from_utf8_lossy(&body);
    let effects = &server.options.effects;
    let reply = match server.options.era {
        _ if !is_known => Reply::empty(StatusCode::UNAUTHORIZED),
        Era::Sessions => sessions::reply(&server.sessions, &head.method, &head.headers, &body, effects).await,
        Era::Stateless => stateless::reply(&head.method, &head.headers, &body, effects).await,
    };
    arrived.answered();
    server.written(reply)
}

impl Server {
    fn written(&self, reply: Reply) -> Response {
        let mut answer = match reply.message {
            Some(message) if self.options.is_events && reply.status == StatusCode::OK => {
                // The empty event first is what many servers send so that a stream can be resumed; clients must skip it.
                let text = format!("id: 1\ndata: \n\nevent: message\ndata: {message}\n\n");
                (reply.status, [(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
            }
            Some(message) => (reply.status, [(header::CONTENT_TYPE, "application/json")], message).into_response(),
            None => reply.status.into_response(),
        };
        if reply.status == StatusCode::METHOD_NOT_ALLOWED {
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        if let Some(session) = reply.session.and_then(|session| HeaderValue::from_str(&session).ok()) {
            answer.headers_mut().insert(SESSION_HEADER, session);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::{Client, Failure};
    use crate::{effects, mcp, process};

    async fn server(era: Era, is_events: bool) -> (Client, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (listener, url) = process::listen().await.unwrap();
        let key = Some("k".to_owned());
        let options =
            ToolServerOptions { era, effects: folder.path().join("effects.jsonl"), key, is_events, is_counting: false };
        tokio::spawn(serve(listener, options));
        (Client::new(&url).with_key("k"), folder)
    }

    #[tokio::test]
    async fn a_session_works_in_both_forms_and_survives_its_end() {
        for is_events in [false, true] {
            let (http, folder) = server(Era::Sessions, is_events).await;
            let mut client = mcp::Client::new(http.clone(), "/mcp");
            assert_eq!(client.list_tools().await.unwrap().len(), 6);
            let answer = client.call_tool("add", r#"{"a":2,"b":3}"#, Some("key-1")).await.unwrap();
            assert_eq!((answer.text.as_str(), answer.is_error), (r#"{"sum":5}"#, false));
            http.send("POST", "/__forget_sessions", &[], None).await.unwrap();
            let answer = client.call_tool("record", r#"{"id":"x","value":1.0}"#, None).await.unwrap();
            assert_eq!(answer.text, "recorded x");
            assert!(client.call_tool("fail", "{}", None).await.unwrap().is_error);
            let unknown = client.call_tool("nope", "{}", None).await.unwrap_err();
            assert_eq!(unknown, Failure::Refused { status: 200, message: "Unknown tool: nope".into() });
            assert_eq!(effects::lines(&folder.path().join("effects.jsonl")).unwrap(), [r#"{"id":"x","value":1.0}"#]);
            let record = http.get(record::PATH).await.unwrap().json();
            let calls = record["requests"].as_array().unwrap().iter();
            let keys: Vec<&Value> = calls.filter_map(|call| call["headers"].get("idempotency-key")).collect();
            assert_eq!(keys, [&json!("key-1")]);
        }
    }

    const BOTH: (&str, &str) = ("accept", "application/json, text/event-stream");

    #[tokio::test]
    async fn faults_of_a_session_are_answered_as_the_specification_says() {
        let (http, _folder) = server(Era::Sessions, false).await;
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let begun = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
        let answer = http.send("POST", "/mcp", &[BOTH], Some(begun.into())).await.unwrap();
        let session = ("mcp-session-id", answer.header("mcp-session-id").unwrap());
        let check = async |method: &str, headers: &[(&str, &str)], body: Option<&str>, status: u16, part: &str| {
            let answer = http.send(method, "/mcp", headers, body.map(str::to_owned)).await.unwrap();
            assert_eq!(answer.status, status, "{method} {headers:?} {body:?}: {}", answer.text());
            assert!(answer.text().contains(part), "{part} in {}", answer.text());
        };
        check("POST", &[BOTH, session], Some(ping), 200, "\"result\":{}").await;
        check("POST", &[BOTH], Some(ping), 400, "-32000").await;
        check("POST", &[BOTH, ("mcp-session-id", "session-9")], Some(ping), 404, "Session not found").await;
        check("POST", &[BOTH, session, ("mcp-protocol-version", "1")], Some(ping), 400, "-32600").await;
        check("POST", &[session], Some(ping), 406, "").await;
        check("POST", &[BOTH, session], Some("{"), 400, "-32700").await;
        let discover = ping.replace("ping", "server/discover");
        check("POST", &[BOTH, session], Some(&discover), 200, "-32601").await;
        check("POST", &[BOTH, session], Some(r#"{"jsonrpc":"2.0","method":"x"}"#), 202, "").await;
        check("GET", &[BOTH, session], None, 405, "").await;
        check("DELETE", &[session], None, 200, "").await;
        check("POST", &[BOTH, session], Some(ping), 404, "").await;
        check("POST", &[BOTH, session, ("authorization", "Bearer wrong")], Some(ping), 401, "").await;
    }

    #[tokio::test]
    async fn a_stateless_request_must_say_the_same_in_headers_and_body() {
        let (http, _folder) = server(Era::Stateless, false).await;
        let check = async |method: &str, name: Option<&str>, headers: &str, status: u16, part: &str| {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            let mut params = json!({"_meta": meta, "arguments": {"text": "hi"}});
            if let Some(name) = name {
                params["name"] = json!(name);
            }
            let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string();
            let body = if headers.contains("no-meta") { body.replace("_meta", "meta") } else { body };
            let body = if headers.contains("2099") { body.replace("2026-07-28", "2099-01-01") } else { body };
            let pairs: Vec<(&str, &str)> = headers.lines().filter_map(|line| line.trim().split_once(": ")).collect();
            let answer = http.send("POST", "/mcp", &[&[BOTH], pairs.as_slice()].concat(), Some(body)).await.unwrap();
            assert_eq!(answer.status, status, "{method} {headers}: {}", answer.text());
            assert!(answer.text().contains(part), "{part} in {}", answer.text());
            assert!(answer.text().contains("\"id\":7"), "{}", answer.text());
        };
        let version = "mcp-protocol-version: 2026-07-28\n";
        let list = format!("{version}mcp-method: tools/list");
        let call = format!("{version}mcp-method: tools/call\n");
        check("server/discover", None, &format!("{version}mcp-method: server/discover"), 200, "supportedVersions")
            .await;
        check("tools/list", None, &list, 200, "\"resultType\":\"complete\"").await;
        check("tools/list", None, &list, 200, "\"ttlMs\":0").await;
        check("tools/call", Some("echo"), &format!("{call}mcp-name: echo"), 200, "\"text\":\"hi\"").await;
        check("tools/call", Some("echo"), &format!("{call}mcp-name: =?base64?ZWNobw==?="), 200, "\"text\":\"hi\"")
            .await;
        check("tools/call", Some("echo"), &format!("{call}mcp-name: =?base64?ZWNo?="), 400, "-32020").await;
        check("tools/call", Some("echo"), &format!("{call}mcp-name: add"), 400, "-32020").await;
        check("tools/call", Some("echo"), &call, 400, "-32020").await;
        check("tools/list", None, version, 400, "-32020").await;
        check("tools/list", None, &format!("{list}\n{list}"), 400, "-32020").await;
        check("tools/list", None, &format!("{list}\nno-meta"), 400, "-32602").await;
        check("tools/list", None, &list.replace("2026-07-28", "2099-01-01"), 400, "-32022").await;
        check("ping", None, &format!("{version}mcp-method: ping"), 404, "-32601").await;
        let answer = http.send("GET", "/mcp", &[BOTH], None).await.unwrap();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    }
}
