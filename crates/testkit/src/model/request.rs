//! A request for a chat completion, as far as the scripted model understands it.

use portcullis_domain::digest::Digest;
use portcullis_domain::json;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::Message;

/// How many characters of what is sent count as one token.
const CHARS_PER_TOKEN: u64 = 4;

/// What is asked for.
pub(super) struct ChatRequest {
    pub(super) model: String,
    pub(super) messages: Vec<Message>,
    /// The names of the functions that may be called.
    pub(super) tools: Vec<String>,
    pub(super) is_streamed: bool,
    pub(super) wants_usage: bool,
    /// All members that the model does not understand, as the text of a JSON object; empty when there are none.
    pub(super) unknown: String,
    /// Counted over everything that a model would read: messages and tools.
    pub(super) prompt_tokens: u64,
    /// Of the whole body; ids are made of it.
    pub(super) digest: Digest,
}

impl ChatRequest {
    pub(super) fn read(body: &str) -> Result<Self, String> {
        let mut request = Self {
            model: String::new(),
            messages: Vec::new(),
            tools: Vec::new(),
            is_streamed: false,
            wants_usage: false,
            unknown: String::new(),
            prompt_tokens: 0,
            digest: Digest::of(body.as_bytes()),
        };
        let mut unknown = Vec::new();
        for (name, value) in json::members(body)? {
            match name.as_ref() {
                "model" => request.model = read("model", value)?,
                "messages" => {
                    request.messages =
                        json::items(value.get())?.into_iter().map(Message::read).collect::<Result<_, _>>()?;
                    request.prompt_tokens += tokens(value);
                }
                "tools" => {
                    let tools: Option<Vec<Tool>> = read("tools", value)?;
                    request.tools =
                        tools.unwrap_or_default().into_iter().filter_map(|tool| Some(tool.function?.name)).collect();
                    request.prompt_tokens += tokens(value);
                }
                "stream" => request.is_streamed = read::<Option<bool>>("stream", value)?.unwrap_or_default(),
                "stream_options" => {
                    request.wants_usage = read::<Option<StreamOptions>>("stream_options", value)?
                        .is_some_and(|options| options.include_usage);
                }
                _ => unknown.push(format!("{}:{value}", serde_json::Value::from(name.as_ref()))),
            }
        }
        if request.model.is_empty() || request.messages.is_empty() {
            return Err("`model` and `messages` are required".to_owned());
        }
        if !unknown.is_empty() {
            request.unknown = format!("{{{}}}", unknown.join(","));
        }
        Ok(request)
    }
}

fn read<'a, T: Deserialize<'a>>(name: &str, value: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(value.get()).map_err(|error| format!("`{name}`: {error}"))
}

fn tokens(value: &RawValue) -> u64 {
    u64::try_from(value.get().chars().count()).unwrap_or(u64::MAX).div_ceil(CHARS_PER_TOKEN)
}

#[derive(Deserialize)]
struct Tool {
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_kept_byte_for_byte() {
        let request = ChatRequest::read(
            r#"{"model":"m","top_k": 1.50e0,"messages":[{"role":"user","content":"hi"}],"x":{"y" : [1]},"stream":null,
               "tools":[{"type":"function","function":{"name":"f"}},{"type":"web_search"}],"stream_options":{"include_usage":true}}"#,
        )
        .unwrap();
        assert_eq!(request.unknown, r#"{"top_k":1.50e0,"x":{"y" : [1]}}"#);
        assert_eq!(
            (request.tools.as_slice(), request.wants_usage, request.is_streamed),
            (["f".to_owned()].as_slice(), true, false)
        );
        assert_eq!(request.prompt_tokens, 8 + 17);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for body in
            ["", "[]", "{}", r#"{"model":"m"}"#, r#"{"model":"m","messages":[]}"#, r#"{"model":1,"messages":[]}"#]
        {
            assert!(ChatRequest::read(body).is_err(), "{body}");
        }
        let twice = r#"{"model":"m","model":"n","messages":[{"role":"user","content":"hi"}]}"#;
        assert!(ChatRequest::read(twice).err().unwrap().contains("stands twice"));
    }
}
