//! What an agent sends to the gateway's own MCP endpoint, over Streamable HTTP, in either era.
//!
//! A refusal is ready to be sent: clients expect certain HTTP statuses for faults of the protocol in the modern era, and give
//! up the connection for anything but 200 in the legacy one. All legacy requests are served without a connection of the transport:
//! none is minted, and none that a client names is asked for.

use std::borrow::Cow;

use http::{HeaderMap, Method};
use portcullis_domain::json::{self, Members};
use serde_json::value::RawValue;

use crate::frame::jsonrpc::{self, ErrorObject, Id, Malformed, Message, Notification, Request, Response};
use crate::frame::object::quoted;
use crate::mcp::version::{self, Era, Version};
use crate::mcp::{header, meta};
use crate::refuse::Answer;

/// One message of an agent, and in which version it is to be answered.
#[derive(Debug)]
pub struct Received<'a> {
    /// The version that the message speaks; for `initialize` the one that was negotiated.
    pub version: Version,
    /// The raw `_meta` of the message's parameters.
    pub meta: Option<&'a RawValue>,
    /// What it is.
    pub incoming: Incoming<'a>,
}

/// What an agent may send.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// A legacy client begins: answer with [`answer::initialized`](crate::mcp::answer::initialized).
    Initialize {
        /// The request.
        id: Id<'a>,
        /// The raw `clientInfo`.
        client: Option<&'a RawValue>,
        /// The raw `capabilities`.
        capabilities: Option<&'a RawValue>,
    },
    /// A modern client asks what is served here.
    Discover {
        /// The request.
        id: Id<'a>,
    },
    /// A legacy client wants to know whether anybody is there.
    Ping {
        /// The request.
        id: Id<'a>,
    },
    /// Which tools are there?
    ListTools {
        /// The request.
        id: Id<'a>,
        /// Where the last page ended.
        cursor: Option<Cow<'a, str>>,
    },
    /// Run a tool.
    CallTool(CallTool<'a>),
    /// Which resources are there?
    ListResources {
        /// The request.
        id: Id<'a>,
        /// Where the last page ended.
        cursor: Option<Cow<'a, str>>,
    },
    /// By which templates are resources addressed?
    ListResourceTemplates {
        /// The request.
        id: Id<'a>,
    },
    /// What is in a resource?
    ReadResource {
        /// The request.
        id: Id<'a>,
        /// The resource.
        uri: Cow<'a, str>,
    },
    /// Needs no answer but 202. `notifications/cancelled` is among them in the legacy era; in the modern one a client closes the connection instead.
    Notification(Notification<'a>),
    /// The answer of a legacy client to a request of the server. Needs no answer but 202.
    Response(Response<'a>),
}

/// The wish that a tool be run.
#[derive(Debug)]
pub struct CallTool<'a> {
    /// The request.
    pub id: Id<'a>,
    /// The tool, by the name in our list.
    pub name: Cow<'a, str>,
    /// The raw JSON object of the arguments, if there are any.
    pub arguments: Option<&'a RawValue>,
    /// What the gateway has given the client to bring back, in the modern era.
    pub state: Option<Cow<'a, str>>,
    /// The raw answers to what the gateway has asked, in the modern era.
    pub responses: Option<&'a RawValue>,
}

impl Received<'_> {
    /// The raw capabilities of the client, which a modern one says with every request.
    #[must_use]
    pub fn capabilities(&self) -> Option<&str> {
        let meta = json::members(self.meta?.get()).ok()?;
        json::member(&meta, meta::CAPABILITIES).map(|raw| raw.get())
    }

    /// A text in the message's `_meta`.
    #[must_use]
    pub fn meta_text(&self, key: &str) -> Option<String> {
        let meta = json::members(self.meta?.get()).ok()?;
        json::member(&meta, key).and_then(json::text).map(Cow::into_owned)
    }
}

/// Reads one HTTP request.
///
/// # Errors
///
/// The answer that says what is wrong. On 405 the header `Allow: POST` belongs to it.
pub fn read<'a>(method: &Method, headers: &HeaderMap, body: &'a [u8]) -> Result<Received<'a>, Answer> {
    if method != Method::POST {
        return Err(bare(405));
    }
    let media_type = header::text(headers, "content-type").unwrap_or("application/json");
    if !media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(bare(415));
    }
    let message = jsonrpc::read(body)
        .map_err(|Malformed { code, message, id }| fault(400, id.as_ref(), &ErrorObject::new(code, message)))?;
    let stated = header::text(headers, header::VERSION);
    let stated_legacy = match stated {
        None if headers.contains_key(header::VERSION) => None,
        None => Some(Version::UNSTATED),
        Some(text) => Version::read(text).filter(|version| version.era() == Era::Legacy),
    };
    match message {
        Message::Response(_) if stated_legacy.is_none() => Err(fault(
            400,
            None,
            &ErrorObject::new(jsonrpc::INVALID_REQUEST, "responses are not accepted in this version"),
        )),
        Message::Response(response) => Ok(Received {
            version: stated_legacy.unwrap_or(Version::UNSTATED),
            meta: None,
            incoming: Incoming::Response(response),
        }),
        Message::Notification(notification) => Ok(Received {
            version: stated_legacy.unwrap_or(Version::MODERN),
            meta: None,
            incoming: Incoming::Notification(notification),
        }),
        Message::Request(request) => {
            let params = Params::read(&request)?;
            match stated_legacy.filter(|_| json::member(&params.meta, meta::VERSION).is_none()) {
                Some(version) => params.dispatch(version, request),
                None => {
                    params.check_modern(&request, headers)?;
                    params.dispatch(Version::MODERN, request)
                }
            }
        }
    }
}

/// The parameters of a request.
struct Params<'a> {
    members: Members<'a>,
    raw_meta: Option<&'a RawValue>,
    meta: Members<'a>,
}

impl<'a> Params<'a> {
    fn read(request: &Request<'a>) -> Result<Self, Answer> {
        let wrong =
            |problem: String| fault(400, Some(&request.id), &ErrorObject::new(jsonrpc::INVALID_PARAMS, problem));
        let members = json::members(request.params.map_or("{}", |params| params.get()))
            .map_err(|problem| wrong(format!("`params` can't be read: {problem}")))?;
        let raw_meta = json::member(&members, "_meta").filter(|raw| raw.get() != "null");
        let meta = json::members(raw_meta.map_or("{}", |raw| raw.get()))
            .map_err(|problem| wrong(format!("`_meta` can't be read: {problem}")))?;
        Ok(Self { members, raw_meta, meta })
    }

    fn member(&self, name: &str) -> Option<&'a RawValue> {
        json::member(&self.members, name).filter(|raw| raw.get() != "null")
    }

    /// What a modern request must say of itself, and must say twice. The order of the checks is that of other servers.
    fn check_modern(&self, request: &Request<'_>, headers: &HeaderMap) -> Result<(), Answer> {
        let fault = |code, message: &str| fault(400, Some(&request.id), &ErrorObject::new(code, message.to_owned()));
        let mismatch = |name: &str, problem: &str| fault(header::MISMATCH, &format!("the header `{name}` {problem}"));
        if request.method == "initialize" {
            return Err(mismatch(header::VERSION, "names a version that does not begin with `initialize`"));
        }
        for name in [header::VERSION, header::METHOD, header::NAME] {
            if headers.get_all(name).iter().count() > 1 {
                return Err(mismatch(name, "stands twice"));
            }
        }
        let version = json::member(&self.meta, meta::VERSION).and_then(json::text);
        let version = version
            .ok_or_else(|| fault(jsonrpc::INVALID_PARAMS, &format!("`_meta` has no text `{}`", meta::VERSION)))?;
        if !json::member(&self.meta, meta::CAPABILITIES).is_some_and(|raw| raw.get().starts_with('{')) {
            return Err(fault(jsonrpc::INVALID_PARAMS, &format!("`_meta` has no object `{}`", meta::CAPABILITIES)));
        }
        let subject = match request.method.as_ref() {
            "tools/call" | "prompts/get" => Some("name"),
            "resources/read" => Some("uri"),
            _ => None,
        };
        let mut pairs = vec![(header::VERSION, version.clone()), (header::METHOD, request.method.clone())];
        if let Some(member) = subject {
            let text = self.member(member).and_then(json::text);
            pairs.push((
                header::NAME,
                text.ok_or_else(|| fault(jsonrpc::INVALID_PARAMS, &format!("`{member}` is not a text")))?,
            ));
        }
        for (name, expected) in pairs {
            let value = header::text(headers, name).ok_or_else(|| mismatch(name, "is missing or no text"))?;
            let value = if name == header::NAME { header::decoded(value) } else { Some(value.into()) };
            if value.as_deref() != Some(expected.as_ref()) {
                return Err(mismatch(name, "differs from the body"));
            }
        }
        if Version::read(&version) != Some(Version::MODERN) {
            return Err(unsupported_version(&request.id, &version));
        }
        Ok(())
    }

    fn dispatch(self, version: Version, request: Request<'a>) -> Result<Received<'a>, Answer> {
        let Request { id, method, .. } = request;
        let is_modern = version.era() == Era::Modern;
        let wrong = |id: &Id<'_>, name: &str, what: &str| {
            let error = ErrorObject::new(jsonrpc::INVALID_PARAMS, format!("`{name}` is not {what}"));
            fault(if is_modern { 400 } else { 200 }, Some(id), &error)
        };
        let mut spoken = version;
        let incoming = match method.as_ref() {
            "initialize" if !is_modern => {
                let requested = self.member("protocolVersion").and_then(json::text);
                spoken = Version::negotiated(&requested.ok_or_else(|| wrong(&id, "protocolVersion", "a text"))?);
                Incoming::Initialize {
                    id,
                    client: self.member("clientInfo"),
                    capabilities: self.member("capabilities"),
                }
            }
            "server/discover" if is_modern => Incoming::Discover { id },
            "ping" if !is_modern => Incoming::Ping { id },
            "tools/list" | "resources/list" => {
                let cursor =
                    self.member("cursor").map(|raw| json::text(raw).ok_or_else(|| wrong(&id, "cursor", "a text")));
                let cursor = cursor.transpose()?;
                match method.as_ref() {
                    "tools/list" => Incoming::ListTools { id, cursor },
                    _ => Incoming::ListResources { id, cursor },
                }
            }
            "resources/templates/list" => Incoming::ListResourceTemplates { id },
            "resources/read" => {
                let uri = self.member("uri").and_then(json::text).ok_or_else(|| wrong(&id, "uri", "a text"))?;
                Incoming::ReadResource { id, uri }
            }
            "tools/call" => {
                let name = self.member("name").and_then(json::text).ok_or_else(|| wrong(&id, "name", "a text"))?;
                let arguments = self.member("arguments");
                if arguments.is_some_and(|raw| !raw.get().starts_with('{')) {
                    return Err(wrong(&id, "arguments", "an object"));
                }
                let state = self.member("requestState").filter(|_| is_modern);
                let state = state.map(|raw| json::text(raw).ok_or_else(|| wrong(&id, "requestState", "a text")));
                let responses = self.member("inputResponses").filter(|_| is_modern);
                Incoming::CallTool(CallTool { state: state.transpose()?, responses, id, name, arguments })
            }
            _ => {
                let error = ErrorObject::new(jsonrpc::METHOD_NOT_FOUND, format!("there is no method `{method}`"));
                return Err(fault(if is_modern { 404 } else { 200 }, Some(&id), &error));
            }
        };
        Ok(Received { version: spoken, meta: self.raw_meta, incoming })
    }
}

fn unsupported_version(id: &Id<'_>, requested: &str) -> Answer {
    let supported: Vec<String> = Version::ALL.iter().map(|version| quoted(version.as_str())).collect();
    let data = format!("{{\"supported\":[{}],\"requested\":{}}}", supported.join(","), quoted(requested));
    fault(400, Some(id), &ErrorObject::new(version::UNSUPPORTED, "this version is not served").with_data(data))
}

fn fault(status: u16, id: Option<&Id<'_>>, error: &ErrorObject<'_>) -> Answer {
    Answer { status, content_type: "application/json", body: jsonrpc::error(id, error) }
}

fn bare(status: u16) -> Answer {
    Answer { status, content_type: "application/json", body: String::new() }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::Value;

    use super::*;

    const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"mcp","version":"0.1.0"},"io.modelcontextprotocol/clientCapabilities":{},"portcullis/session":"claim-99"}"#;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    /// The message in short, or the status and the error's number.
    fn shown(pairs: &[(&'static str, &str)], body: &str) -> String {
        let raw = |raw: Option<&RawValue>| raw.map_or("-".to_owned(), |raw| raw.get().to_owned());
        match read(&Method::POST, &headers(pairs), body.as_bytes()) {
            Ok(Received { version, incoming, .. }) => {
                let incoming = match incoming {
                    Incoming::Initialize { id, client, capabilities } => {
                        format!("initialize {id} {} {}", raw(client), raw(capabilities))
                    }
                    Incoming::Discover { id } => format!("discover {id}"),
                    Incoming::Ping { id } => format!("ping {id}"),
                    Incoming::ListTools { id, cursor } => format!("list {id} {}", cursor.as_deref().unwrap_or("-")),
                    Incoming::CallTool(CallTool { id, name, arguments, .. }) => {
                        format!("call {id} {name} {}", raw(arguments))
                    }
                    Incoming::ListResources { id, cursor } => {
                        format!("list resources {id} {}", cursor.as_deref().unwrap_or("-"))
                    }
                    Incoming::ListResourceTemplates { id } => format!("list templates {id}"),
                    Incoming::ReadResource { id, uri } => format!("read {id} {uri}"),
                    Incoming::Notification(notification) => format!("notification {}", notification.method),
                    Incoming::Response(response) => format!("response {}", response.id.unwrap()),
                };
                format!("{} {incoming}", version.as_str())
            }
            Err(answer) => {
                let body: Value = serde_json::from_str(&answer.body).unwrap();
                format!("{} {} {}", answer.status, body["error"]["code"], body["id"])
            }
        }
    }

    fn request(method: &str, params: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":3,"method":"{method}","params":{{{params}}}}}"#)
    }

    const MODERN: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

    #[test]
    fn modern_requests_are_read() {
        let call = |arguments: &str| request("tools/call", &format!(r#""name":"a__echo"{arguments},{META}"#));
        for (method, name, body, expected) in [
            ("server/discover", None, request("server/discover", META), "2026-07-28 discover 3"),
            ("tools/list", None, request("tools/list", &format!(r#""cursor":"c",{META}"#)), "2026-07-28 list 3 c"),
            (
                "tools/call",
                Some("a__echo"),
                call(r#","arguments":{ "x":1.0 }"#),
                r#"2026-07-28 call 3 a__echo { "x":1.0 }"#,
            ),
            ("tools/call", Some("=?base64?YV9fZWNobw==?="), call(""), "2026-07-28 call 3 a__echo -"),
            ("resources/list", None, request("resources/list", META), "2026-07-28 list resources 3 -"),
            (
                "resources/templates/list",
                None,
                request("resources/templates/list", META),
                "2026-07-28 list templates 3",
            ),
            (
                "resources/read",
                Some("x://a"),
                request("resources/read", &format!(r#""uri":"x://a",{META}"#)),
                "2026-07-28 read 3 x://a",
            ),
        ] {
            let mut pairs = vec![MODERN, ("mcp-method", method)];
            pairs.extend(name.map(|name| ("mcp-name", name)));
            assert_eq!(shown(&pairs, &body), expected);
        }
        assert_eq!(
            shown(&[MODERN], r#"{"jsonrpc":"2.0","method":"notifications/x"}"#),
            "2026-07-28 notification notifications/x"
        );
    }

    #[test]
    fn legacy_requests_are_read() {
        let initialize = |version: &str| {
            request(
                "initialize",
                &format!(r#""protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"x"}}"#),
            )
        };
        let old = ("mcp-protocol-version", "2025-11-25");
        let session = ("mcp-session-id", "whatever");
        for (pairs, body, expected) in [
            (&[][..], initialize("2025-06-18"), r#"2025-06-18 initialize 3 {"name":"x"} {}"#),
            (&[], initialize("2026-07-28"), r#"2025-11-25 initialize 3 {"name":"x"} {}"#),
            (&[old, session], r#"{"jsonrpc":"2.0","id":0,"method":"tools/list"}"#.to_owned(), "2025-11-25 list 0 -"),
            (&[], r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#.to_owned(), "2025-03-26 ping \"a\""),
            (
                &[old],
                request("tools/call", r#""name":"f","arguments":null,"_meta":{"progressToken":1}"#),
                "2025-11-25 call 3 f -",
            ),
            (
                &[old],
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(),
                "2025-11-25 notification notifications/initialized",
            ),
            (&[old], r#"{"jsonrpc":"2.0","id":9,"result":{}}"#.to_owned(), "2025-11-25 response 9"),
            (&[old], request("resources/list", r#""cursor":"k""#), "2025-11-25 list resources 3 k"),
            (&[old], request("resources/read", r#""uri":"x://a""#), "2025-11-25 read 3 x://a"),
        ] {
            assert_eq!(shown(pairs, &body), expected, "{body}");
        }
    }

    #[test]
    fn faults_are_answered_as_clients_of_that_era_expect() {
        let old = ("mcp-protocol-version", "2025-11-25");
        let (list, call) = (("mcp-method", "tools/list"), ("mcp-method", "tools/call"));
        let listing = request("tools/list", META);
        let calling = request("tools/call", &format!(r#""name":"f",{META}"#));
        for (pairs, body, expected) in [
            (&[][..], "{", "400 -32700 null"),
            (&[], "[]", "400 -32600 null"),
            (&[], r#"{"jsonrpc":"2.0","id":3,"method":5}"#, "400 -32600 3"),
            (&[old], &request("prompts/list", ""), "200 -32601 3"),
            (&[old], &request("resources/list", r#""cursor":1"#), "200 -32602 3"),
            (&[old], &request("resources/read", ""), "200 -32602 3"),
            (&[old], &request("resources/subscribe", r#""uri":"x://a""#), "200 -32601 3"),
            (&[old], &request("server/discover", ""), "200 -32601 3"),
            (&[old], &request("tools/call", ""), "200 -32602 3"),
            (&[old], &request("tools/call", r#""name":"f","arguments":[]"#), "200 -32602 3"),
            (&[old], &request("tools/call", r#""name":"f","name":"g""#), "400 -32602 3"),
            (&[], &request("initialize", ""), "200 -32602 3"),
            (&[MODERN], &request("initialize", r#""protocolVersion":"2026-07-28""#), "400 -32020 3"),
            (&[MODERN], r#"{"jsonrpc":"2.0","id":9,"result":{}}"#, "400 -32600 null"),
            (&[MODERN, list], &request("tools/list", ""), "400 -32602 3"),
            (
                &[MODERN, list],
                &listing.replace(r#""io.modelcontextprotocol/clientCapabilities":{},"#, ""),
                "400 -32602 3",
            ),
            (&[], &listing, "400 -32020 3"),
            (&[old, list], &listing, "400 -32020 3"),
            (&[MODERN], &listing, "400 -32020 3"),
            (&[MODERN, call], &listing, "400 -32020 3"),
            (&[MODERN, list, list], &listing, "400 -32020 3"),
            (&[MODERN, call], &calling, "400 -32020 3"),
            (&[MODERN, call, ("mcp-name", "g")], &calling, "400 -32020 3"),
            (
                &[MODERN, ("mcp-method", "resources/read"), ("mcp-name", "x://b")],
                &request("resources/read", &format!(r#""uri":"x://a",{META}"#)),
                "400 -32020 3",
            ),
            (&[MODERN, call, ("mcp-name", "F")], &calling, "400 -32020 3"),
            (&[MODERN, call, ("mcp-name", "=?base64?Zg?=")], &calling, "400 -32020 3"),
            (
                &[("mcp-protocol-version", "2099-01-01"), list],
                &listing.replace("2026-07-28", "2099-01-01"),
                "400 -32022 3",
            ),
            (&[MODERN, ("mcp-method", "ping")], &request("ping", META), "404 -32601 3"),
        ] {
            assert_eq!(shown(pairs, body), expected, "{pairs:?} {body}");
        }
        let answer = read(&Method::GET, &HeaderMap::new(), b"").unwrap_err();
        assert_eq!((answer.status, answer.body.as_str()), (405, ""));
        assert_eq!(read(&Method::POST, &headers(&[("content-type", "text/plain")]), b"{}").unwrap_err().status, 415);
    }

    #[test]
    fn a_session_can_ride_in_the_meta() {
        let body = request("tools/list", META);
        let headers =
            headers(&[MODERN, ("mcp-method", "tools/list"), ("content-type", "application/json; charset=utf-8")]);
        let received = read(&Method::POST, &headers, body.as_bytes()).unwrap();
        assert_eq!(received.meta_text("portcullis/session").as_deref(), Some("claim-99"));
        assert_eq!(received.meta_text("x"), None);
    }
}
