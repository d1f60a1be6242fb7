//! A small MCP client over Streamable HTTP, 2025-11-25: a session, its tools, calls.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::http::{self, Answer, Failure};

/// The version that is asked for.
const VERSION: &str = "2025-11-25";
/// How many pages a list of tools may have.
const MAX_PAGES: usize = 100;
/// What every request says about the answers it takes (MCP 2025-11-25, "Streamable HTTP").
const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");

/// A client for one endpoint. It begins a session with its first request, and a new one when the server has lost it.
#[derive(Debug)]
pub struct Client {
    http: http::Client,
    path: String,
    /// With the session's id, where the server gave one.
    session: Option<Option<String>>,
    last_id: u64,
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolAnswer {
    /// All text in one.
    pub text: String,
    /// Whether it is an error, such as a refusal of the gateway.
    pub is_error: bool,
    /// The whole result.
    pub result: Value,
}

impl Client {
    /// A client for the endpoint `path`, such as `/mcp/claims`, with the key and headers of `http`.
    #[must_use]
    pub fn new(http: http::Client, path: &str) -> Self {
        Self { http, path: path.to_owned(), session: None, last_id: 0 }
    }

    /// All tools, as the server describes them.
    ///
    /// # Errors
    ///
    /// As [`Client::request`].
    pub async fn list_tools(&mut self) -> Result<Vec<Value>, Failure> {
        let mut tools = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let params = cursor.map(|cursor: Value| json!({"cursor": cursor}).to_string());
            let mut page = self.request("tools/list", params.as_deref(), &[]).await?;
            let listed = page.get_mut("tools").and_then(Value::as_array_mut);
            tools.append(listed.ok_or_else(|| Failure::Invalid("list the tools: there is no list".to_owned()))?);
            cursor = page.get("nextCursor").filter(|cursor| !cursor.is_null()).cloned();
            if cursor.is_none() {
                return Ok(tools);
            }
        }
        Err(Failure::Invalid(format!("list the tools: there are more than {MAX_PAGES} pages")))
    }

    /// Calls a tool. `arguments` is the text of a JSON object and sent as it is; `key` makes a repetition known as such
    /// (`Idempotency-Key`).
    ///
    /// # Errors
    ///
    /// As [`Client::request`]; what the tool itself calls an error is an answer.
    pub async fn call_tool(&mut self, name: &str, arguments: &str, key: Option<&str>) -> Result<ToolAnswer, Failure> {
        let arguments: &RawValue =
            serde_json::from_str(arguments).map_err(|error| Failure::Invalid(format!("call {name}: {error}")))?;
        let params = format!("{{\"name\":{},\"arguments\":{arguments}}}", Value::from(name));
        let headers: Vec<(&str, &str)> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        let result = self.request("tools/call", Some(&params), &headers).await?;
        let content = result.get("content").and_then(Value::as_array).into_iter().flatten();
        let text = content.filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join("\n");
        let is_error = result.get("isError").and_then(Value::as_bool).unwrap_or_default();
        Ok(ToolAnswer { text, is_error, result })
    }

    /// Any request, with the text of its parameters; its result.
    ///
    /// # Errors
    ///
    /// [`Failure::Lost`]; [`Failure::Refused`] for an HTTP status or, as status 200, a JSON-RPC error;
    /// [`Failure::Invalid`] for an answer that is none.
    pub async fn request(
        &mut self,
        method: &str,
        params: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Value, Failure> {
        let had_session = self.session.is_some();
        self.connect().await?;
        match self.send(method, params, headers).await {
            Err(Failure::Refused { status: 404, .. }) if had_session => {
                self.session = None;
                self.connect().await?;
                self.send(method, params, headers).await
            }
            outcome => outcome,
        }
    }

    /// Begins a session unless there is one.
    async fn connect(&mut self) -> Result<(), Failure> {
        if self.session.is_some() {
            return Ok(());
        }
        let client = json!({"name": "portcullis-testkit", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": VERSION, "capabilities": {}, "clientInfo": client}).to_string();
        let (message, id) = self.message("initialize", Some(&params));
        let answer = self.http.stream("POST", &self.path, &[ACCEPT], Some(message)).await?;
        let session = answer.headers.get("mcp-session-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
        result(answer, id).await?;
        self.session = Some(session);
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        let headers = self.headers(&[]);
        let sent = self.http.send("POST", &self.path, &borrowed(&headers), Some(initialized)).await;
        let accepted = sent.and_then(Answer::accepted);
        accepted.map(drop).inspect_err(|_| self.session = None)
    }

    async fn send(&mut self, method: &str, params: Option<&str>, headers: &[(&str, &str)]) -> Result<Value, Failure> {
        let (message, id) = self.message(method, params);
        let headers = self.headers(headers);
        result(self.http.stream("POST", &self.path, &borrowed(&headers), Some(message)).await?, id).await
    }

    fn message(&mut self, method: &str, params: Option<&str>) -> (String, u64) {
        self.last_id += 1;
        let id = self.last_id;
        let params = params.map(|params| format!(",\"params\":{params}")).unwrap_or_default();
        (format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\"{params}}}"), id)
    }

    fn headers(&self, extra: &[(&str, &str)]) -> Vec<(String, String)> {
        let session = self.session.iter().flatten().map(|session| ("mcp-session-id", session.as_str()));
        let all = [ACCEPT, ("mcp-protocol-version", VERSION)].into_iter().chain(session).chain(extra.iter().copied());
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// The result of the request `id`, which comes as JSON or, perhaps after other messages, as an event.
async fn result(mut answer: http::EventStream, id: u64) -> Result<Value, Failure> {
    #[derive(Deserialize)]
    struct Message {
        id: Option<Value>,
        result: Option<Value>,
        error: Option<MessageError>,
    }
    #[derive(Deserialize)]
    struct MessageError {
        message: String,
    }
    let read = |text: &str| {
        let message: Message =
            serde_json::from_str(text).map_err(|error| Failure::Invalid(format!("read `{text}`: {error}")))?;
        Ok((message.id == Some(Value::from(id))).then_some(message))
    };
    let message = if !(200..300).contains(&answer.status) {
        return Err(answer
            .whole()
            .await?
            .accepted()
            .err()
            .unwrap_or_else(|| Failure::Invalid("an odd status".to_owned())));
    } else if answer.is_events() {
        loop {
            let Some(event) = answer.next_event().await? else {
                return Err(Failure::Lost("the stream ended before its answer".to_owned()));
            };
            if let Some(message) = read(&event.data)? {
                break message;
            }
        }
    } else {
        let text = answer.whole().await?.text();
        read(&text)?.ok_or_else(|| Failure::Invalid(format!("`{text}` is not the answer to request {id}")))?
    };
    match (message.result, message.error) {
        (Some(result), None) => Ok(result),
        (_, Some(error)) => Err(Failure::Refused { status: 200, message: error.message }),
        (None, None) => Err(Failure::Invalid("an answer has neither result nor error".to_owned())),
    }
}
