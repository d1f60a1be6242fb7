//! What the gateway sends to upstream servers.
//!
//! Headers and `_meta` are made anew; nothing that an agent sent beside the tool's name and arguments goes upstream, unless
//! the shell hands it in. With `stdio` servers the bodies are the same and the headers are left out.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::frame::jsonrpc::{self, Id};
use crate::frame::object::{Object, quoted};
use crate::mcp::version::{Era, Version};
use crate::mcp::{header, meta, mirror};

/// Who the gateway says that it is.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
}

/// A server that has been greeted.
#[derive(Debug, Clone)]
pub struct Peer<'a> {
    /// The gateway.
    pub client: Client<'a>,
    /// The version that both speak.
    pub version: Version,
    /// The `Mcp-Session-Id` that a legacy server gave when it was greeted.
    pub session: Option<HeaderValue>,
}

/// A message to a server: the body of a POST and the headers that belong to it.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// What the protocol wants in headers; credentials come on top.
    pub headers: HeaderMap,
    /// One message of JSON-RPC on one line.
    pub body: String,
}

/// The member of `_meta` that a server finds the gateway's token in.
const TASK: &str = "portcullis/task";

/// The call of a tool.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The tool, by its name on that server.
    pub name: &'a str,
    /// The raw JSON object of the arguments.
    pub arguments: Option<&'a str>,
    /// The raw schema of the arguments as the server wrote it, since it may want some of them in headers.
    pub input_schema: &'a str,
    /// Raw JSON objects of members for `_meta`, as in `{"traceparent":"…"}`. The protocol's own members among them are passed over.
    pub meta: Option<&'a str>,
    /// The gateway's own token that goes with the call, as `portcullis/task` in `_meta`.
    pub task: Option<&'a str>,
}

/// The first message to a server that may be modern.
#[must_use]
pub fn discover(id: u64, client: Client<'_>) -> Outgoing {
    Peer { client, version: Version::MODERN, session: None }.request(
        id,
        "server/discover",
        Object::default(),
        None,
        Object::default(),
    )
}

/// The first message to a legacy server.
#[must_use]
pub fn initialize(id: u64, client: Client<'_>) -> Outgoing {
    let version = quoted(Version::NEWEST_LEGACY.as_str());
    let params = format!("{{\"protocolVersion\":{version},\"capabilities\":{{}},\"clientInfo\":{}}}", client.info());
    Outgoing { headers: plain_headers(), body: jsonrpc::request(&Id::number(id), "initialize", Some(&params)) }
}

impl Client<'_> {
    fn info(&self) -> String {
        format!("{{\"name\":{},\"version\":{}}}", quoted(self.name), quoted(self.version))
    }
}

impl Peer<'_> {
    /// Tells a legacy server that its answer to `initialize` has arrived. It is answered with 202 and no body.
    #[must_use]
    pub fn initialized(&self) -> Outgoing {
        Outgoing { headers: self.headers(), body: jsonrpc::notification("notifications/initialized", None) }
    }

    /// Asks for a page of the tools.
    #[must_use]
    pub fn list_tools(&self, id: u64, cursor: Option<&str>) -> Outgoing {
        let mut params = Object::default();
        if let Some(cursor) = cursor {
            params.set("cursor", quoted(cursor));
        }
        self.request(id, "tools/list", params, None, Object::default())
    }

    /// Asks for a tool to be run.
    #[must_use]
    pub fn call_tool(&self, id: u64, call: &Call<'_>) -> Outgoing {
        let arguments = call.arguments.unwrap_or("{}");
        let mut params = Object::default();
        params.set("name", quoted(call.name));
        params.set("arguments", arguments);
        let mut meta = foreign_meta(call.meta.unwrap_or("{}"));
        if let Some(task) = call.task {
            meta.set(TASK, quoted(task));
        }
        let mut outgoing = self.request(id, "tools/call", params, Some(call.name), meta);
        if self.version.era() == Era::Modern {
            mirror::mirror(call.input_schema, arguments, &mut outgoing.headers);
        }
        outgoing
    }

    /// Tells a legacy server that nobody waits for the answer any more. A modern one learns it from the closed connection.
    #[must_use]
    pub fn cancel(&self, id: u64, reason: &str) -> Outgoing {
        let params = format!("{{\"requestId\":{id},\"reason\":{}}}", quoted(reason));
        Outgoing { headers: self.headers(), body: jsonrpc::notification("notifications/cancelled", Some(&params)) }
    }

    /// Answers a request of a legacy server. The gateway has declared no capability, so only `ping` has a result.
    #[must_use]
    pub fn reply(&self, id: &Id<'_>, method: &str) -> Outgoing {
        let body = if method == "ping" {
            jsonrpc::result(id, "{}")
        } else {
            jsonrpc::error(
                Some(id),
                &jsonrpc::ErrorObject::new(jsonrpc::METHOD_NOT_FOUND, format!("there is no method `{method}`")),
            )
        };
        Outgoing { headers: self.headers(), body }
    }

    /// The headers with which a legacy session is ended, by a DELETE without a body.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = plain_headers();
        headers.insert(header::VERSION, HeaderValue::from_static(self.version.as_str()));
        if let Some(session) = &self.session {
            headers.insert(header::SESSION, session.clone());
        }
        headers
    }

    fn request(
        &self,
        id: u64,
        method: &'static str,
        mut params: Object<'_>,
        name: Option<&str>,
        mut own: Object<'_>,
    ) -> Outgoing {
        let mut headers = self.headers();
        if self.version.era() == Era::Modern {
            own.set(meta::VERSION, quoted(self.version.as_str()));
            own.set(meta::CLIENT, self.client.info());
            own.set(meta::CAPABILITIES, "{}");
            headers.insert(header::METHOD, HeaderValue::from_static(method));
            if let Some(value) = name.and_then(|name| HeaderValue::from_str(&header::encoded(name)).ok()) {
                headers.insert(header::NAME, value);
            }
        }
        if own.iter().next().is_some() {
            params.set("_meta", own.to_string());
        }
        let params = params.to_string();
        let params = (params != "{}").then_some(params.as_str());
        Outgoing { headers, body: jsonrpc::request(&Id::number(id), method, params) }
    }
}

/// The members of an agent's or the shell's `_meta` that mean nothing to the protocol itself.
fn foreign_meta(raw: &str) -> Object<'_> {
    let mut meta = Object::read(raw).unwrap_or_default();
    meta.retain(|name| !name.starts_with(meta::PREFIX) && !name.starts_with("portcullis/") && name != "progressToken");
    meta
}

fn plain_headers() -> HeaderMap {
    let pairs: [(HeaderName, &str); 2] =
        [(ACCEPT, "application/json, text/event-stream"), (CONTENT_TYPE, "application/json")];
    pairs.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const CLIENT: Client<'_> = Client { name: "portcullis", version: "0.1.0" };

    fn legacy() -> Peer<'static> {
        Peer { client: CLIENT, version: Version::V2025_06_18, session: Some(HeaderValue::from_static("s1")) }
    }

    fn modern() -> Peer<'static> {
        Peer { client: CLIENT, version: Version::MODERN, session: None }
    }

    /// The body, and the protocol's headers but for the two that are always there.
    fn shown(outgoing: &Outgoing) -> (Value, Vec<(&str, &str)>) {
        assert_eq!(outgoing.headers.get(ACCEPT).unwrap(), "application/json, text/event-stream");
        assert!(!outgoing.body.contains('\n'), "a line of stdio");
        let mut headers: Vec<_> =
            outgoing.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        headers.retain(|(name, _)| name.starts_with("mcp-"));
        headers.sort_unstable();
        (serde_json::from_str(&outgoing.body).unwrap(), headers)
    }

    fn modern_meta() -> Value {
        json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "portcullis", "version": "0.1.0"},
            "io.modelcontextprotocol/clientCapabilities": {},
        })
    }

    #[test]
    fn a_server_is_greeted_in_either_era() {
        let outgoing = discover(1, CLIENT);
        let (body, headers) = shown(&outgoing);
        assert_eq!(
            body,
            json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": modern_meta()}})
        );
        assert_eq!(headers, [("mcp-method", "server/discover"), ("mcp-protocol-version", "2026-07-28")]);
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "portcullis", "version": "0.1.0"}});
        let outgoing = initialize(2, CLIENT);
        assert_eq!(
            shown(&outgoing),
            (json!({"jsonrpc": "2.0", "id": 2, "method": "initialize", "params": params}), vec![])
        );
        let state = vec![("mcp-protocol-version", "2025-06-18"), ("mcp-session-id", "s1")];
        assert_eq!(
            shown(&legacy().initialized()),
            (json!({"jsonrpc": "2.0", "method": "notifications/initialized"}), state)
        );
    }

    #[test]
    fn a_call_is_made_anew_for_the_era_of_the_server() {
        let call = Call {
            name: "näme",
            arguments: Some(r#"{ "region":"eu", "x":1.50 }"#),
            input_schema: r#"{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}"#,
            meta: Some(
                r#"{"traceparent":"00-1","progressToken":7,"portcullis/task":"forged","io.modelcontextprotocol/clientInfo":{"name":"agent"}}"#,
            ),
            task: None,
        };
        let outgoing = modern().call_tool(5, &call);
        let mut meta = modern_meta();
        meta["traceparent"] = "00-1".into();
        let (body, headers) = shown(&outgoing);
        assert_eq!(body["params"], json!({"name": "näme", "arguments": {"region": "eu", "x": 1.5}, "_meta": meta}));
        assert!(outgoing.body.contains(r#""arguments":{ "region":"eu", "x":1.50 }"#), "{}", outgoing.body);
        let expected = [
            ("mcp-method", "tools/call"),
            ("mcp-name", "=?base64?bsOkbWU=?="),
            ("mcp-param-region", "eu"),
            ("mcp-protocol-version", "2026-07-28"),
        ];
        assert_eq!(headers, expected);
        let outgoing = legacy().call_tool(5, &Call { arguments: None, ..call });
        let (body, headers) = shown(&outgoing);
        assert_eq!(body["params"], json!({"name": "näme", "arguments": {}, "_meta": {"traceparent": "00-1"}}));
        assert_eq!(headers, [("mcp-protocol-version", "2025-06-18"), ("mcp-session-id", "s1")]);
        let (body, _) = shown(&legacy().call_tool(5, &Call { arguments: None, task: Some("t"), ..call }));
        assert_eq!(body["params"]["_meta"], json!({"traceparent": "00-1", "portcullis/task": "t"}));
    }

    #[test]
    fn lists_are_asked_for_page_by_page() {
        assert_eq!(shown(&legacy().list_tools(0, None)).0, json!({"jsonrpc": "2.0", "id": 0, "method": "tools/list"}));
        assert_eq!(shown(&legacy().list_tools(1, Some("c\""))).0["params"], json!({"cursor": "c\""}));
        assert_eq!(shown(&modern().list_tools(1, None)).0["params"], json!({"_meta": modern_meta()}));
    }

    #[test]
    fn what_a_server_asks_in_turn_is_answered() {
        let ids = (Id::number(1), Id::number(2));
        assert_eq!(legacy().reply(&ids.0, "ping").body, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        assert_eq!(shown(&legacy().reply(&ids.1, "roots/list")).0["error"]["code"], -32601);
        assert_eq!(shown(&legacy().cancel(7, "too late")).0["params"], json!({"requestId": 7, "reason": "too late"}));
    }
}
