//! A model's whole answer: the calls in it are taken out to be judged, and those that were denied are taken away.

use bytes::Bytes;
use portcullis_domain::json;
use portcullis_domain::money::Tokens;
use portcullis_domain::refusal::Refusal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::frame::object::{Object, quoted};
use crate::llm::chat::call::{CallKind, Parts, ToolCall, unreadable};
use crate::llm::chat::usage;

/// An answer that was read.
#[derive(Debug, Clone)]
pub struct ChatAnswer {
    body: Bytes,
    choices: Vec<Choice>,
    calls: Vec<ToolCall>,
    /// For each call, the place of its choice in the body.
    homes: Vec<usize>,
    usage: Option<Tokens>,
}

/// One of the answers that the model gives at a time.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Its `index`.
    pub index: u64,
    /// Its text; empty where there is none.
    pub text: String,
    /// Its message as it was written.
    pub message: Bytes,
}

/// What is to be changed in an answer before the client gets it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Edit<'a> {
    /// Which of [`ChatAnswer::tool_calls`] are taken away.
    pub denied: &'a [usize],
    /// What is written behind the text of a choice from which a call was taken.
    pub note: &'a str,
    /// The counts that replace the usage, where several answers were paid for.
    pub usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct RawAnswer<'a> {
    #[serde(borrow)]
    choices: Vec<RawChoice<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawChoice<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    message: &'a RawValue,
}

#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    function_call: Option<&'a RawValue>,
}

impl ChatAnswer {
    /// Reads the body of a successful answer.
    ///
    /// # Errors
    ///
    /// [`UpstreamFailed`](portcullis_domain::refusal::Code::UpstreamFailed) when it can't be read to the last call: what
    /// can't be read can't be judged.
    pub fn read(body: Bytes) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(&body).map_err(unreadable)?;
        let raw: RawAnswer<'_> = serde_json::from_str(text).map_err(unreadable)?;
        let mut choices = Vec::with_capacity(raw.choices.len());
        let (mut calls, mut homes) = (Vec::new(), Vec::new());
        for (home, choice) in raw.choices.iter().enumerate() {
            let message: RawMessage<'_> = serde_json::from_str(choice.message.get()).map_err(unreadable)?;
            let index = choice.index.unwrap_or(u64::try_from(home).unwrap_or(u64::MAX));
            for call in calls_of(&message, index)? {
                calls.push(call);
                homes.push(home);
            }
            choices.push(Choice {
                index,
                text: message.content.map(text_of).unwrap_or_default(),
                message: body.slice_ref(choice.message.get().as_bytes()),
            });
        }
        let usage = raw.usage.and_then(|raw| usage::read(raw.get()));
        Ok(Self { choices, calls, homes, usage, body: body.clone() })
    }

    /// What the answer cost, by the provider's count.
    #[must_use]
    pub fn usage(&self) -> Option<Tokens> {
        self.usage
    }

    /// The answers, in their order.
    #[must_use]
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// The calls of all choices, in their order.
    #[must_use]
    pub fn tool_calls(&self) -> &[ToolCall] {
        &self.calls
    }

    /// The body as it was sent.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body with the denied calls taken away and the usage replaced. What is left has no trace of a denied call but the
    /// note; where nothing is to be changed it is the same bytes.
    ///
    /// # Errors
    ///
    /// [`UpstreamFailed`](portcullis_domain::refusal::Code::UpstreamFailed) when a part that must be written anew has a member twice.
    pub fn edited(&self, edit: &Edit<'_>) -> Result<Bytes, Refusal> {
        if edit.denied.is_empty() && edit.usage.is_none() {
            return Ok(self.body.clone());
        }
        self.rewritten(edit).map(Bytes::from).map_err(unreadable)
    }

    /// The answer with other arguments in some of [`ChatAnswer::tool_calls`], by their places.
    ///
    /// # Errors
    ///
    /// [`UpstreamFailed`](portcullis_domain::refusal::Code::UpstreamFailed) when a part that must be written anew has a member twice.
    pub fn with_arguments(&self, changed: &[(usize, &str)]) -> Result<Self, Refusal> {
        let written = self.rearguing(changed).map_err(unreadable)?;
        Self::read(written.into())
    }

    fn rearguing(&self, changed: &[(usize, &str)]) -> Result<String, String> {
        let text = std::str::from_utf8(&self.body).map_err(|problem| problem.to_string())?;
        let mut answer = Object::read(text)?;
        let mut choices = Vec::new();
        for (home, raw) in json::items(answer.raw("choices").unwrap_or("[]"))?.into_iter().enumerate() {
            let mut choice = Object::read(raw.get())?;
            let mut message = Object::read(choice.raw("message").unwrap_or("{}"))?.into_owned();
            for (place, arguments) in changed.iter().filter(|(place, _)| self.homes.get(*place) == Some(&home)) {
                let Some(call) = self.calls.get(*place) else { continue };
                argue(&mut message, call, arguments)?;
            }
            choice.set("message", message.to_string());
            choices.push(choice.to_string());
        }
        let choices = format!("[{}]", choices.join(","));
        answer.set("choices", choices);
        Ok(answer.to_string())
    }

    fn rewritten(&self, edit: &Edit<'_>) -> Result<String, String> {
        let text = std::str::from_utf8(&self.body).map_err(|problem| problem.to_string())?;
        let mut answer = Object::read(text)?;
        if let Some(total) = edit.usage {
            let replaced = usage::replaced(answer.raw("usage"), total)?;
            answer.set("usage", replaced);
        }
        if !edit.denied.is_empty() {
            let mut choices = Vec::new();
            for (home, raw) in json::items(answer.raw("choices").unwrap_or("[]"))?.into_iter().enumerate() {
                let denied: Vec<&ToolCall> = edit
                    .denied
                    .iter()
                    .filter(|call| self.homes.get(**call) == Some(&home))
                    .filter_map(|call| self.calls.get(*call))
                    .collect();
                choices.push(if denied.is_empty() {
                    raw.get().to_owned()
                } else {
                    without(raw.get(), &denied, edit.note)?
                });
            }
            let choices = format!("[{}]", choices.join(","));
            answer.set("choices", choices);
        }
        Ok(answer.to_string())
    }
}

/// Gives a call of the message other arguments.
fn argue(message: &mut Object<'static>, call: &ToolCall, arguments: &str) -> Result<(), String> {
    let written = |raw: &str| -> Result<String, String> {
        let mut inner = Object::read(raw)?;
        inner.set(call.kind.arguments_member(), quoted(arguments));
        Ok(inner.to_string())
    };
    if call.kind == CallKind::Legacy {
        let inner = written(message.raw("function_call").unwrap_or("{}"))?;
        message.set("function_call", inner);
        return Ok(());
    }
    let mut calls = Vec::new();
    for (position, raw) in json::items(message.raw("tool_calls").unwrap_or("[]"))?.into_iter().enumerate() {
        let mut object = Object::read(raw.get())?;
        if position == call.position {
            let inner = written(object.raw(call.kind.member()).unwrap_or("{}"))?;
            object.set(call.kind.member(), inner);
        }
        calls.push(object.to_string());
    }
    message.set("tool_calls", format!("[{}]", calls.join(",")));
    Ok(())
}

fn calls_of(message: &RawMessage<'_>, choice: u64) -> Result<Vec<ToolCall>, Refusal> {
    let mut calls = Vec::new();
    let tools = message.tool_calls.iter().flatten().map(|raw| Parts::read(raw.get()));
    let legacy = message.function_call.iter().map(|raw| Parts::read_legacy(raw));
    for (position, parts) in tools.chain(legacy).enumerate() {
        let parts =
            parts.map_err(|problem| unreadable(format!("tool call {position} of choice {choice}: {problem}")))?;
        let (Some(kind), Some(name)) = (parts.kind, parts.name) else {
            return Err(unreadable(format!(
                "tool call {position} of choice {choice} names no function and no custom tool"
            )));
        };
        calls.push(ToolCall {
            choice,
            position,
            id: parts.id.unwrap_or_default().into_owned(),
            name: name.into_owned(),
            arguments: parts.arguments.unwrap_or_default().into_owned(),
            kind,
        });
    }
    Ok(calls)
}

/// The text of a `content`: a text, or the text parts of a list.
fn text_of(content: &RawValue) -> String {
    if let Some(text) = json::text(content) {
        return text.into_owned();
    }
    let parts = json::items(content.get()).unwrap_or_default();
    let texts = parts
        .iter()
        .filter_map(|part| Object::read(part.get()).ok())
        .filter(|part| part.raw("type") == Some(r#""text""#));
    texts.filter_map(|part| part.raw("text").and_then(|raw| serde_json::from_str::<String>(raw).ok())).collect()
}

fn without(choice: &str, denied: &[&ToolCall], note: &str) -> Result<String, String> {
    let mut choice = Object::read(choice)?;
    let mut message = Object::read(choice.raw("message").unwrap_or("{}"))?;
    let is_denied =
        |position: usize| denied.iter().any(|call| call.kind != CallKind::Legacy && call.position == position);
    if denied.iter().any(|call| call.kind == CallKind::Legacy) {
        message.remove("function_call");
    }
    let calls = message.raw("tool_calls").filter(|raw| *raw != "null").unwrap_or("[]");
    let kept: Vec<&str> = json::items(calls)?
        .iter()
        .enumerate()
        .filter(|(position, _)| !is_denied(*position))
        .map(|(_, raw)| raw.get())
        .collect();
    let kept_count = kept.len();
    let kept = format!("[{}]", kept.join(","));
    if kept_count > 0 {
        message.set("tool_calls", kept);
    } else {
        message.remove("tool_calls");
    }
    let has_calls = kept_count > 0 || message.raw("function_call").is_some_and(|raw| raw != "null");
    let content = noted(message.raw("content").unwrap_or("null"), note)?;
    message.set("content", content);
    let message = message.to_string();
    choice.set("message", message);
    if !has_calls && matches!(choice.raw("finish_reason"), Some(r#""tool_calls""# | r#""function_call""#)) {
        choice.set("finish_reason", r#""stop""#);
    }
    Ok(choice.to_string())
}

/// The raw content with the note behind its text.
fn noted(content: &str, note: &str) -> Result<String, String> {
    if content.starts_with('[') {
        let mut parts: Vec<String> = json::items(content)?.iter().map(|part| part.get().to_owned()).collect();
        parts.push(format!("{{\"type\":\"text\",\"text\":{}}}", quoted(note)));
        return Ok(format!("[{}]", parts.join(",")));
    }
    let text: Option<String> = serde_json::from_str(content).map_err(|problem| problem.to_string())?;
    Ok(quoted(&match text {
        Some(text) if !text.is_empty() => format!("{text}\n\n{note}"),
        Some(_) | None => note.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<ChatAnswer, Refusal> {
        ChatAnswer::read(Bytes::copy_from_slice(body.as_bytes()))
    }

    fn check(body: &str, denied: &[usize], expected: &str) {
        let edited = read(body).unwrap().edited(&Edit { denied, note: "[no]", usage: None }).unwrap();
        assert_eq!(std::str::from_utf8(&edited).unwrap(), expected, "without {denied:?}: {body}");
    }

    const TWO_CALLS: &str = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\": 1.0}"}}, {"id":"b","type":"custom","custom":{"name":"g","input":"free"},"sig":1.0}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8},"x":1.50}"#;

    #[test]
    fn calls_of_all_kinds_are_taken_out() {
        let answer = read(TWO_CALLS).unwrap();
        let call = |position, id: &str, name: &str, arguments: &str, kind| ToolCall {
            choice: 0,
            position,
            id: id.into(),
            name: name.into(),
            arguments: arguments.into(),
            kind,
        };
        let expected =
            [call(0, "a", "f", r#"{"x": 1.0}"#, CallKind::Function), call(1, "b", "g", "free", CallKind::Custom)];
        assert_eq!(answer.tool_calls(), expected);
        assert_eq!(answer.usage(), Some(Tokens { input: 3, output: 5 }));
        let answer = read(r#"{"choices":[{"message":{"content":[{"type":"thinking"},{"type":"text","text":"a"},{"type":"text","text":"b"}],"function_call":{"name":"f","arguments":""}}}]}"#).unwrap();
        assert_eq!(answer.tool_calls(), [call(0, "", "f", "", CallKind::Legacy)]);
        assert_eq!((answer.choices()[0].text.as_str(), answer.usage()), ("ab", None));
    }

    #[test]
    fn what_can_not_be_judged_is_no_answer() {
        for message in [
            r#"{"tool_calls":[{"id":"a","type":"mcp"}]}"#,
            r#"{"tool_calls":[{"function":{"name":"f"},"custom":{"name":"g"}}]}"#,
            r#"{"tool_calls":[{"function":{"name":"f","name":"g"}}]}"#,
            r#"{"tool_calls":[{"function":{"arguments":"{}"}}]}"#,
            r#"{"tool_calls":[{"function":{"name":"f","arguments":[1]}}]}"#,
            r#"{"tool_calls":[],"tool_calls":[{"function":{"name":"f"}}]}"#,
            r#"{"tool_calls":{"function":{"name":"f"}}}"#,
            r#"{"function_call":"f"}"#,
        ] {
            let body = format!(r#"{{"choices":[{{"message":{message}}}]}}"#);
            assert_eq!(read(&body).expect_err(message).code, portcullis_domain::refusal::Code::UpstreamFailed);
        }
        for body in ["", "{}", r#"{"error":{}}"#, r#"{"choices":[{}]}"#, r#"{"choices":[],"choices":[]}"#] {
            assert!(read(body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_denied_call_leaves_nothing_but_the_note() {
        check(TWO_CALLS, &[], TWO_CALLS);
        let first_left =
            TWO_CALLS.replace(r#", {"id":"b","type":"custom","custom":{"name":"g","input":"free"},"sig":1.0}"#, "");
        check(TWO_CALLS, &[1], &first_left.replace("null", "\"[no]\""));
        let second_left = TWO_CALLS
            .replace(r#"{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\": 1.0}"}}, "#, "");
        check(TWO_CALLS, &[0], &second_left.replace("null", "\"[no]\""));
        check(
            TWO_CALLS,
            &[0, 1],
            r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"[no]"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8},"x":1.50}"#,
        );
    }

    #[test]
    fn the_note_stands_behind_the_text_of_its_own_choice() {
        let choice = |index: usize, content: &str, calls: &str, reason: &str| {
            format!(r#"{{"index":{index},"message":{{"content":{content}{calls}}},"finish_reason":"{reason}"}}"#)
        };
        let call = r#","tool_calls":[{"function":{"name":"f"}}]"#;
        for (content, expected) in [
            (r#""I pay.""#, r#""I pay.\n\n[no]""#),
            (r#""""#, r#""[no]""#),
            (r#"[{"type":"thinking","x":1.0}]"#, r#"[{"type":"thinking","x":1.0},{"type":"text","text":"[no]"}]"#),
        ] {
            let body = [choice(0, content, call, "length"), choice(1, content, call, "tool_calls")].join(",");
            let kept = [choice(0, content, call, "length"), choice(1, expected, "", "stop")].join(",");
            check(&format!("{{\"choices\":[{body}]}}"), &[1], &format!("{{\"choices\":[{kept}]}}"));
        }
        check(
            r#"{"choices":[{"message":{"content":null,"function_call":{"name":"f","arguments":"{}"}},"finish_reason":"function_call"}]}"#,
            &[0],
            r#"{"choices":[{"message":{"content":"[no]"},"finish_reason":"stop"}]}"#,
        );
    }

    #[test]
    fn the_usage_of_several_rounds_replaces_that_of_the_last() {
        let usage = Some(Tokens { input: 10, output: 20 });
        let edit = Edit { usage, ..Edit::default() };
        let edited = read(r#"{"choices":[ ],"usage":{"prompt_tokens":1,"x":{}}}"#).unwrap().edited(&edit).unwrap();
        assert_eq!(
            &edited[..],
            br#"{"choices":[ ],"usage":{"prompt_tokens":10,"x":{},"completion_tokens":20,"total_tokens":30}}"#
        );
        let edited = read(r#"{"choices":[]}"#).unwrap().edited(&edit).unwrap();
        assert_eq!(
            &edited[..],
            br#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}}"#
        );
    }
}
