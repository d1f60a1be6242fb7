//! The gateway as the agent sees it: the session's history and state, the model, the tools.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::options::AgentOptions;
use crate::chat::Message;
use crate::http::{Answer, Client, Failure};
use crate::mcp;

/// The key of the session's state under which the agent writes down its steps.
const STATE_KEY: &str = "step";

/// The last step, as it is written down in the session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Step {
    /// Counted from 1 over all runs.
    pub(super) number: u64,
    /// Such as `called policy_lookup`.
    pub(super) did: String,
}

/// A step and the version of the state that it is.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) step: Step,
    etag: Option<String>,
}

/// The connection to the gateway.
pub(super) struct Gateway {
    http: Client,
    mcp: mcp::Client,
    session: String,
    model: String,
    /// As the model is told of them; read once.
    tools: Option<Vec<Value>>,
}

/// A tool call that was streamed, by its id and name.
pub(super) type CallId = (String, String);

impl Gateway {
    pub(super) fn new(options: &AgentOptions) -> Self {
        let http = Client::new(&options.base_url).with_key(&options.key);
        let tools = http.clone().with_header("portcullis-session", &options.session);
        Self {
            mcp: mcp::Client::new(tools, &format!("/mcp/{}", options.toolset)),
            http,
            session: options.session.clone(),
            model: options.model.clone(),
            tools: None,
        }
    }

    /// All messages of the session; none when it does not exist yet.
    pub(super) async fn history(&self) -> Result<Vec<Message>, Failure> {
        #[derive(Deserialize)]
        struct History {
            messages: Vec<Box<RawValue>>,
        }
        let answer = self.http.get(&format!("/api/v1/sessions/{}/history", self.session)).await?;
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        let answer = answer.accepted()?;
        let wrong = |reason: String| Failure::Invalid(format!("read the history: {reason}"));
        let history: History = serde_json::from_slice(&answer.body).map_err(|error| wrong(error.to_string()))?;
        history.messages.iter().map(|raw| Message::read(raw)).collect::<Result<_, _>>().map_err(wrong)
    }

    /// The step that was written down last; the zeroth when there is none.
    pub(super) async fn noted(&self) -> Result<Noted, Failure> {
        let answer = self.http.get(&self.state_path()).await?;
        if answer.status == 404 {
            return Ok(Noted::default());
        }
        let answer = answer.accepted()?;
        let step = serde_json::from_slice(&answer.body);
        let step = step.map_err(|error| Failure::Invalid(format!("read the state: {error}")))?;
        Ok(Noted { step, etag: etag(&answer) })
    }

    /// Writes down `step` if the state is still the version of `last`.
    pub(super) async fn note(&self, last: &Noted, step: Step) -> Result<Noted, Failure> {
        let body = serde_json::to_string(&step).map_err(|error| Failure::Invalid(error.to_string()))?;
        let condition = last.etag.as_deref().map_or(("if-none-match", "*"), |etag| ("if-match", etag));
        let answer = self.http.send("PUT", &self.state_path(), &[condition], Some(body)).await?;
        if answer.status == 412 || answer.status == 409 {
            // It may have been our own, of which we have not heard that it arrived.
            let noted = self.noted().await?;
            let taken = || Failure::Invalid(format!("another agent works in the session `{}`", self.session));
            return if noted.step == step { Ok(noted) } else { Err(taken()) };
        }
        match etag(&answer.accepted()?) {
            Some(etag) => Ok(Noted { step, etag: Some(etag) }),
            None => self.noted().await,
        }
    }

    /// Asks the model and reads its answer to the end; returns the tool calls in it. The words are in the history.
    pub(super) async fn ask(&mut self, messages: &[&Message]) -> Result<Vec<CallId>, Failure> {
        let messages: Vec<&RawValue> = messages.iter().map(|message| message.raw.as_ref()).collect();
        #[derive(Serialize)]
        struct Body<'a> {
            model: &'a str,
            messages: Vec<&'a RawValue>,
            tools: &'a [Value],
            stream: bool,
        }
        self.learn_tools().await?;
        let tools = self.tools.as_deref().unwrap_or_default();
        let body = Body { model: &self.model, messages, tools, stream: true };
        let body = serde_json::to_string(&body).map_err(|error| Failure::Invalid(error.to_string()))?;
        let path = format!("/s/{}/v1/chat/completions", self.session);
        let mut stream = self.http.stream("POST", &path, &[], Some(body)).await?;
        if !stream.is_events() {
            let answer = stream.whole().await?.accepted()?;
            return Err(Failure::Invalid(format!("the model's answer is no stream but `{}`", answer.text())));
        }
        let mut calls = Vec::new();
        loop {
            let Some(event) = stream.next_event().await? else {
                return Err(Failure::Lost("the model's answer broke off".to_owned()));
            };
            if event.data == "[DONE]" {
                return Ok(calls);
            }
            let chunk: Value = serde_json::from_str(&event.data)
                .map_err(|error| Failure::Invalid(format!("read `{}`: {error}", event.data)))?;
            if let Some(error) = chunk.get("error") {
                return Err(Failure::Lost(format!("the model's answer broke off: {error}")));
            }
            let deltas = chunk.pointer("/choices/0/delta/tool_calls").and_then(Value::as_array).into_iter().flatten();
            calls.extend(deltas.filter_map(call_id));
        }
    }

    /// Calls a tool for the model's call `id`.
    pub(super) async fn call_tool(
        &mut self,
        name: &str,
        arguments: &str,
        id: &str,
    ) -> Result<mcp::ToolAnswer, Failure> {
        let failed = |text: String| mcp::ToolAnswer { text, is_error: true, result: Value::Null };
        if let Err(error) = serde_json::from_str::<&RawValue>(arguments) {
            return Ok(failed(format!("the arguments are not JSON: {error}")));
        }
        match self.mcp.call_tool(name, arguments, Some(id)).await {
            // The tool's server said no; that is for the model to read.
            Err(Failure::Refused { status: 200, message }) => Ok(failed(message)),
            outcome => outcome,
        }
    }

    async fn learn_tools(&mut self) -> Result<(), Failure> {
        if self.tools.is_none() {
            let described = |tool: Value| {
                let part = |name: &str| tool.get(name).cloned().unwrap_or_default();
                let function = json!({
                    "name": part("name"), "description": part("description"), "parameters": part("inputSchema"),
                });
                json!({"type": "function", "function": function})
            };
            self.tools = Some(self.mcp.list_tools().await?.into_iter().map(described).collect());
        }
        Ok(())
    }

    fn state_path(&self) -> String {
        format!("/api/v1/sessions/{}/state/{STATE_KEY}", self.session)
    }
}

fn etag(answer: &Answer) -> Option<String> {
    answer.header("etag").map(str::to_owned)
}

/// Only the first delta of a call has its id.
fn call_id(delta: &Value) -> Option<CallId> {
    let name = delta.pointer("/function/name").and_then(Value::as_str).unwrap_or_default();
    Some((delta.get("id")?.as_str()?.to_owned(), name.to_owned()))
}
