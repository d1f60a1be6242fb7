//! A chat message as the scripted model and the agent read it: OpenAI Chat Completions, "messages".

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `system`, or `developer` as newer clients call it.
    System,
    User,
    Assistant,
    Tool,
}

/// A tool call in a message of the assistant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The text of a JSON object, as the model wrote it.
    pub(crate) arguments: String,
}

/// One message of a conversation.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) role: Role,
    /// All text parts in one; empty when there are none.
    pub(crate) text: String,
    pub(crate) calls: Vec<Call>,
    /// In a message of a tool: the call it is the result of.
    pub(crate) call_id: Option<String>,
    /// As it came, so that it can be handed on without the loss of a member.
    pub(crate) raw: Box<RawValue>,
}

impl Message {
    /// Reads one message; members that are not known here stay in `raw`.
    pub(crate) fn read(raw: &RawValue) -> Result<Self, String> {
        let wire: Wire = serde_json::from_str(raw.get()).map_err(|error| format!("read a message: {error}"))?;
        let role = match wire.role.as_str() {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" => Role::Tool,
            other => return Err(format!("read a message: `{other}` is not a role")),
        };
        let calls = wire.tool_calls.unwrap_or_default().into_iter().map(|call| Call {
            id: call.id,
            name: call.function.name,
            arguments: call.function.arguments,
        });
        Ok(Self {
            role,
            text: text(&wire.content),
            calls: calls.collect(),
            call_id: wire.tool_call_id,
            raw: raw.to_owned(),
        })
    }
}

/// Text, or the text parts of a list of parts.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

#[derive(Deserialize)]
struct Wire {
    role: String,
    #[serde(default)]
    content: Value,
    tool_calls: Option<Vec<WireCall>>,
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct WireCall {
    id: String,
    function: WireFunction,
}

#[derive(Deserialize)]
struct WireFunction {
    name: String,
    arguments: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_with_their_parts_and_calls() {
        let read = |text: &str| Message::read(&RawValue::from_string(text.to_owned()).unwrap());
        let parts = read(
            r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"},{"type":"text","text":"b"}]}"#,
        );
        assert_eq!(parts.unwrap().text, "ab");
        let call = r#"{"role":"assistant","content":null,"x":1,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{"}}]}"#;
        let message = read(call).unwrap();
        assert_eq!(message.calls, [Call { id: "c".into(), name: "f".into(), arguments: "{".into() }]);
        assert_eq!((message.text.as_str(), message.raw.get()), ("", call));
        assert_eq!(read(r#"{"role":"developer","content":"x"}"#).unwrap().role, Role::System);
        for wrong in ["1", "{}", r#"{"role":"nobody"}"#, r#"{"role":"assistant","tool_calls":[{}]}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
