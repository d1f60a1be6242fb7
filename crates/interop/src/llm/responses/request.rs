//! What a client asks for in a response.

use portcullis_domain::json;
use portcullis_domain::refusal::{Code, Refusal};
use serde_json::{Map, Value, json};

use crate::llm::responses::invalid::invalid;
use crate::llm::responses::{input, tools};

/// Members that mean the same in a chat request and go to the model as they are.
const SAME: [&str; 12] = [
    "temperature",
    "top_p",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "service_tier",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "prompt_cache_retention",
];
/// Members that are read here, each in its place.
const READ: [&str; 16] = [
    "model",
    "input",
    "instructions",
    "previous_response_id",
    "conversation",
    "store",
    "stream",
    "metadata",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_output_tokens",
    "text",
    "reasoning",
    "include",
    "background",
];
/// Members that change nothing in what a model answers here: padding of streams, and a limit on tools that are refused.
const WITHOUT_MEANING: [&str; 2] = ["stream_options", "max_tool_calls"];
/// The most values of metadata.
const METADATA_LIMIT: usize = 16;

/// A request for a response that was read.
#[derive(Debug, Clone)]
pub struct ResponsesRequest {
    pub(super) members: Map<String, Value>,
    model: String,
    input: Vec<Value>,
}

impl ResponsesRequest {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidRequest`], naming the member at fault.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let members = object(body)?;
        for (name, value) in &members {
            let is_known = [&SAME[..], &READ, &WITHOUT_MEANING].iter().any(|names| names.contains(&name.as_str()));
            let is_plain = value.is_null() || (name == "truncation" && value == "disabled");
            if !is_known && !is_plain {
                return Err(invalid(name, format!("`{name}` is not served here")));
            }
        }
        let model = text(&members, "model")?.filter(|model| !model.is_empty());
        let model = model.ok_or_else(|| invalid("model", "`model` is missing"))?.to_owned();
        let input = input::items(members.get("input"))?;
        let request = Self { members, model, input };
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), Refusal> {
        for name in ["instructions", "previous_response_id"] {
            text(&self.members, name)?;
        }
        for name in ["store", "stream", "parallel_tool_calls", "background"] {
            flag(&self.members, name)?;
        }
        check_metadata(self.members.get("metadata"))?;
        if flag(&self.members, "background")? == Some(true) {
            return Err(invalid("background", "background responses are not served here"));
        }
        let conversation = self.conversation()?;
        if self.previous().is_some() && conversation.is_some() {
            let message = "`previous_response_id` and `conversation` can't be given together";
            return Err(invalid("conversation", message));
        }
        // What is asked for beside the answer: of these a model behind a chat API has only nothing to give.
        let included = self.members.get("include").and_then(Value::as_array).into_iter().flatten();
        match included.filter_map(Value::as_str).find(|name| *name != "reasoning.encrypted_content") {
            Some(name) => Err(invalid("include", format!("`{name}` can't be included here"))),
            None => Ok(()),
        }
    }

    /// The model that the client asks for.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the answer is wanted in pieces.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.members.get("stream") == Some(&Value::Bool(true))
    }

    /// Whether the response is to be kept; it is, if nothing is said.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.members.get("store") != Some(&Value::Bool(false))
    }

    /// The response that it goes on from.
    #[must_use]
    pub fn previous(&self) -> Option<&str> {
        self.members.get("previous_response_id").and_then(Value::as_str)
    }

    /// The conversation that it goes on with.
    ///
    /// # Errors
    ///
    /// When it is neither a text nor an object with one.
    pub fn conversation(&self) -> Result<Option<&str>, Refusal> {
        match self.members.get("conversation") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(id)) => Ok(Some(id)),
            Some(other) => {
                let id = other.get("id").and_then(Value::as_str);
                id.map(Some).ok_or_else(|| invalid("conversation", "`conversation` is an id, or an object with one"))
            }
        }
    }

    /// The items that the client sends.
    #[must_use]
    pub fn input(&self) -> &[Value] {
        &self.input
    }

    /// The chat request that says the same, with the items that came before.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidRequest`], naming what can't be said.
    pub fn chat(&self, before: &[Value]) -> Result<String, Refusal> {
        let mut messages = Vec::new();
        if let Some(instructions) = text(&self.members, "instructions")? {
            messages.push(json!({"role": "system", "content": instructions}));
        }
        messages.extend(input::messages(before.iter().chain(&self.input))?);
        if messages.is_empty() {
            return Err(invalid("input", "there is nothing to answer: give `input`"));
        }
        let mut chat = Map::new();
        chat.insert("model".to_owned(), json!(self.model));
        chat.insert("messages".to_owned(), Value::Array(messages));
        let same = self.members.iter().filter(|(name, value)| SAME.contains(&name.as_str()) && !value.is_null());
        chat.extend(same.map(|(name, value)| (name.clone(), value.clone())));
        let limit = self.members.get("max_output_tokens").filter(|limit| !limit.is_null());
        chat.extend(limit.map(|limit| ("max_completion_tokens".to_owned(), limit.clone())));
        self.add_format(&mut chat)?;
        self.add_reasoning(&mut chat)?;
        tools::add(&self.members, &mut chat)?;
        if self.is_stream() {
            chat.insert("stream".to_owned(), json!(true));
            chat.insert("stream_options".to_owned(), json!({"include_usage": true}));
        }
        Ok(Value::Object(chat).to_string())
    }

    fn add_format(&self, chat: &mut Map<String, Value>) -> Result<(), Refusal> {
        let Some(wanted) = self.members.get("text").filter(|wanted| !wanted.is_null()) else { return Ok(()) };
        let wanted = wanted.as_object().ok_or_else(|| invalid("text", "`text` is an object"))?;
        for (name, value) in wanted {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("verbosity", level) => drop(chat.insert("verbosity".to_owned(), level.clone())),
                ("format", format) => {
                    if let Some(format) = response_format(format)? {
                        chat.insert("response_format".to_owned(), format);
                    }
                }
                (name, _) => return Err(invalid(&format!("text.{name}"), format!("`text.{name}` is not served here"))),
            }
        }
        Ok(())
    }

    fn add_reasoning(&self, chat: &mut Map<String, Value>) -> Result<(), Refusal> {
        let Some(wanted) = self.members.get("reasoning").filter(|wanted| !wanted.is_null()) else { return Ok(()) };
        let wanted = wanted.as_object().ok_or_else(|| invalid("reasoning", "`reasoning` is an object"))?;
        for (name, value) in wanted.iter().filter(|(_, value)| !value.is_null()) {
            match name.as_str() {
                "effort" => drop(chat.insert("reasoning_effort".to_owned(), value.clone())),
                // A wish for summaries: there are none to be had of a chat API, and the answer is the same.
                "summary" | "generate_summary" => {}
                name => {
                    let about = format!("reasoning.{name}");
                    return Err(invalid(&about, format!("`{about}` is not served here")));
                }
            }
        }
        Ok(())
    }
}

/// `text.format` as `response_format`; none for plain text.
fn response_format(format: &Value) -> Result<Option<Value>, Refusal> {
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(json!({"type": "json_object"}))),
        Some("json_schema") => {
            let named = ["name", "description", "schema", "strict"];
            let members = format.as_object().into_iter().flatten();
            let kept = members.filter(|(name, value)| named.contains(&name.as_str()) && !value.is_null());
            let schema: Map<String, Value> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
            Ok(Some(json!({"type": "json_schema", "json_schema": schema})))
        }
        _ => Err(invalid("text.format.type", "`text.format.type` is `text`, `json_object` or `json_schema`")),
    }
}

/// A body that is a JSON object in which no member is there twice.
///
/// # Errors
///
/// [`Code::InvalidRequest`].
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let unreadable = |problem: String| Refusal::new(Code::InvalidRequest, format!("the body can't be read: {problem}"));
    let text = std::str::from_utf8(body).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
    // What is there twice would be read in one way here and in another way elsewhere.
    let plain = json::canonical(text).map_err(unreadable)?;
    if !plain.starts_with('{') {
        return Err(unreadable("it is no object".to_owned()));
    }
    serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))
}

/// Refuses what is no metadata: at most 16 texts.
///
/// # Errors
///
/// [`Code::InvalidRequest`].
pub fn check_metadata(metadata: Option<&Value>) -> Result<(), Refusal> {
    let Some(metadata) = metadata.filter(|metadata| !metadata.is_null()) else { return Ok(()) };
    let is_metadata =
        |values: &Map<String, Value>| values.len() <= METADATA_LIMIT && values.values().all(Value::is_string);
    let is_fine = metadata.as_object().is_some_and(is_metadata);
    let message = || invalid("metadata", format!("`metadata` is an object of at most {METADATA_LIMIT} texts"));
    if is_fine { Ok(()) } else { Err(message()) }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(name, format!("`{name}` is a text"))),
    }
}

fn flag(members: &Map<String, Value>, name: &str) -> Result<Option<bool>, Refusal> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(invalid(name, format!("`{name}` is true or false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: Value, expected: Value) {
        let request = ResponsesRequest::read(body.to_string().as_bytes()).unwrap();
        let chat: Value = serde_json::from_str(&request.chat(&[]).unwrap()).unwrap();
        assert_eq!(chat, expected, "{body}");
    }

    fn check_refused(body: &str, parameter: Option<&str>) {
        let read = ResponsesRequest::read(body.as_bytes()).and_then(|request| request.chat(&[]));
        let refusal = read.unwrap_err();
        assert_eq!((refusal.code, refusal.parameter.as_deref()), (Code::InvalidRequest, parameter), "{body}");
    }

    #[test]
    fn a_request_is_said_as_a_chat_request() {
        check(
            json!({"model": "m", "input": "hi"}),
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
        );
        check(
            json!({"model": "m", "input": "hi", "instructions": "be kind", "temperature": 0.5, "max_output_tokens": 7, "store": false,
                "reasoning": {"effort": "low", "summary": "auto"}, "metadata": {"a": "b"}, "truncation": "disabled", "stream": true,
                "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true}}}),
            json!({"model": "m", "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
                "temperature": 0.5, "max_completion_tokens": 7, "verbosity": "low", "reasoning_effort": "low", "stream": true,
                "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": true}},
                "stream_options": {"include_usage": true}}),
        );
    }

    #[test]
    fn what_can_not_be_said_is_refused_by_its_name() {
        for (body, parameter) in [
            ("[]", None),
            (r#"{"model":"m","model":"n","input":"hi"}"#, None),
            (r#"{"input":"hi"}"#, Some("model")),
            (r#"{"model":"m"}"#, Some("input")),
            (r#"{"model":"m","input":7}"#, Some("input")),
            (r#"{"model":"m","input":"hi","background":true}"#, Some("background")),
            (r#"{"model":"m","input":"hi","truncation":"auto"}"#, Some("truncation")),
            (r#"{"model":"m","input":"hi","prompt":{"id":"p"}}"#, Some("prompt")),
            (r#"{"model":"m","input":"hi","stream":"yes"}"#, Some("stream")),
            (r#"{"model":"m","input":"hi","metadata":{"a":1}}"#, Some("metadata")),
            (r#"{"model":"m","input":"hi","include":["message.output_text.logprobs"]}"#, Some("include")),
            (r#"{"model":"m","input":"hi","text":{"format":{"type":"x"}}}"#, Some("text.format.type")),
            (r#"{"model":"m","input":"hi","conversation":7}"#, Some("conversation")),
            (r#"{"model":"m","input":"hi","conversation":"a","previous_response_id":"b"}"#, Some("conversation")),
        ] {
            check_refused(body, parameter);
        }
    }
}
