//! A tool call inside a model's answer, whole or in pieces.

use std::borrow::Cow;

use portcullis_domain::json::{self, Members};
use portcullis_domain::refusal::{Code, Refusal};
use serde_json::value::RawValue;

use crate::frame::object::{Object, quoted};

/// A call that the model wants the client to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The `index` of the choice that it is part of.
    pub choice: u64,
    /// Its place among the calls of this choice, as the model gave them.
    pub position: usize,
    /// The model's name for this call; empty where there is none.
    pub id: String,
    /// The name of the tool.
    pub name: String,
    /// The arguments as the client will read them: JSON for functions (if the model wrote it well), free text for custom tools.
    pub arguments: String,
    /// Which member of the answer it stands in.
    pub kind: CallKind,
}

/// In which form a call stands in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// `tool_calls[].function`.
    Function,
    /// `tool_calls[].custom`, whose input is free text.
    Custom,
    /// The deprecated `function_call`, which is judged like a function.
    Legacy,
}

impl CallKind {
    /// The member that holds name and arguments, which is also the call's `type`.
    pub(super) fn member(self) -> &'static str {
        match self {
            Self::Function | Self::Legacy => "function",
            Self::Custom => "custom",
        }
    }

    /// The member of that member which holds the arguments.
    pub(super) fn arguments_member(self) -> &'static str {
        match self {
            Self::Function | Self::Legacy => "arguments",
            Self::Custom => "input",
        }
    }
}

/// The raw assistant message that a client has after an answer of this text with these calls, as it stands in a history.
#[must_use]
pub fn assistant_message(text: &str, calls: &[ToolCall]) -> String {
    let inner = |call: &ToolCall| {
        let (name, arguments) = (quoted(&call.name), quoted(&call.arguments));
        format!("{{\"name\":{name},\"{}\":{arguments}}}", call.kind.arguments_member())
    };
    let mut message = Object::default();
    message.set("role", "\"assistant\"");
    message.set("content", if text.is_empty() { "null".to_owned() } else { quoted(text) });
    let (legacy, tools): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.kind == CallKind::Legacy);
    let one = |call: &&ToolCall| {
        let member = call.kind.member();
        format!("{{\"id\":{},\"type\":\"{member}\",\"{member}\":{}}}", quoted(&call.id), inner(call))
    };
    if !tools.is_empty() {
        message.set("tool_calls", format!("[{}]", tools.iter().map(one).collect::<Vec<_>>().join(",")));
    }
    if let Some(call) = legacy.first() {
        message.set("function_call", inner(call));
    }
    message.to_string()
}

/// What one raw tool call, or one piece of it, says.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub index: Option<u64>,
    pub id: Option<Cow<'a, str>>,
    pub kind: Option<CallKind>,
    pub name: Option<Cow<'a, str>>,
    pub arguments: Option<Cow<'a, str>>,
    /// The arguments are an object where the dialect wants a text.
    pub is_untexted: bool,
    /// What else the call has, as in signatures that must come back.
    pub others: Members<'a>,
    /// What else stands beside name and arguments.
    pub inner_others: Members<'a>,
}

impl<'a> Parts<'a> {
    /// Reads an item of `tool_calls`. Anything that can't be judged later is an error now.
    pub(super) fn read(raw: &'a str) -> Result<Self, String> {
        let mut parts = Self::default();
        for (name, value) in json::members(raw)? {
            match name.as_ref() {
                "index" => parts.index = optional(value, |value| value.get().parse().ok(), "`index` is not a number")?,
                "id" => parts.id = optional(value, json::text, "`id` is not a text")?,
                "type" => {}
                "function" => parts.read_inner(value, CallKind::Function)?,
                "custom" => parts.read_inner(value, CallKind::Custom)?,
                _ => parts.others.push((name, value)),
            }
        }
        Ok(parts)
    }

    /// Reads a `function_call`.
    pub(super) fn read_legacy(raw: &'a RawValue) -> Result<Self, String> {
        let mut parts = Self::default();
        parts.read_inner(raw, CallKind::Legacy)?;
        Ok(parts)
    }

    fn read_inner(&mut self, raw: &'a RawValue, kind: CallKind) -> Result<(), String> {
        if raw.get() == "null" {
            return Ok(());
        }
        if self.kind.replace(kind).is_some() {
            return Err("it is both a function and a custom tool".to_owned());
        }
        for (name, value) in json::members(raw.get())? {
            if name == "name" {
                self.name = optional(value, json::text, "`name` is not a text")?;
            } else if name == kind.arguments_member() {
                self.is_untexted = value.get().starts_with('{');
                let read = |value: &'a RawValue| {
                    json::text(value).or_else(|| value.get().starts_with('{').then_some(value.get().into()))
                };
                self.arguments = optional(value, read, "the arguments are not a text")?;
            } else {
                self.inner_others.push((name, value));
            }
        }
        Ok(())
    }
}

fn optional<'a, T>(
    raw: &'a RawValue,
    read: impl FnOnce(&'a RawValue) -> Option<T>,
    problem: &str,
) -> Result<Option<T>, String> {
    if raw.get() == "null" {
        return Ok(None);
    }
    read(raw).map(Some).ok_or_else(|| problem.to_owned())
}

/// The refusal of an answer that can't be judged as a whole because a part of it can't be read.
pub(super) fn unreadable(problem: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::UpstreamFailed, "the model's answer can't be read").because(problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::chat::ChatAnswer;

    #[test]
    fn a_message_reads_back_as_the_calls_it_was_made_of() {
        let call = |position, name: &str, kind| ToolCall {
            choice: 0,
            position,
            id: if kind == CallKind::Legacy { String::new() } else { format!("id{position}") },
            name: name.into(),
            arguments: "{\"x\":\"\\n\"}".into(),
            kind,
        };
        let calls = [call(0, "f", CallKind::Function), call(1, "g", CallKind::Custom), call(2, "h", CallKind::Legacy)];
        for (text, calls) in [("I \"pay\".", &calls[..]), ("", &calls[..1]), ("x", &[])] {
            let message = assistant_message(text, calls);
            let answer = ChatAnswer::read(format!("{{\"choices\":[{{\"message\":{message}}}]}}").into()).unwrap();
            assert_eq!((answer.tool_calls(), answer.choices()[0].text.as_str()), (calls, text), "{message}");
        }
    }
}
