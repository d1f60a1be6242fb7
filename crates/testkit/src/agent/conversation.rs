//! What is to be done next, decided from the messages alone.

use crate::chat::{Call, Message, Role};

/// The next thing to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// The model wants this, and has no result yet.
    CallTool(&'a Call),
    /// The model has the word.
    AskModel,
    /// The model has said this and wants nothing; no words when nobody has said anything.
    Rest(Option<&'a str>),
}

/// Decides.
pub(super) fn next<'a>(messages: &[&'a Message]) -> Next<'a> {
    let Some(last) = messages.iter().rposition(|message| message.role != Role::Tool) else {
        return if messages.is_empty() { Next::Rest(None) } else { Next::AskModel };
    };
    let results = messages.get(last + 1..).unwrap_or_default();
    let has_result = |call: &Call| results.iter().any(|result| result.call_id.as_ref() == Some(&call.id));
    match messages.get(last) {
        Some(said) if said.role == Role::Assistant => match said.calls.iter().find(|call| !has_result(call)) {
            Some(call) => Next::CallTool(call),
            None if said.calls.is_empty() => Next::Rest(Some(&said.text)),
            None => Next::AskModel,
        },
        Some(_) | None => Next::AskModel,
    }
}

/// Whether the user said exactly this last.
pub(super) fn is_last_of_user(messages: &[&Message], text: &str) -> bool {
    let last = messages.iter().rev().find(|message| message.role == Role::User);
    last.is_some_and(|message| message.text == text)
}

/// Whether the user has ever said exactly this.
pub(super) fn is_of_user(messages: &[&Message], text: &str) -> bool {
    messages.iter().any(|message| message.role == Role::User && message.text == text)
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn the_last_messages_say_what_is_next() {
        let user = r#"{"role":"user","content":"u"}"#;
        let calls = r#"{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"a","arguments":"{}"}},{"id":"2","function":{"name":"b","arguments":"{}"}}]}"#;
        let (one, two) = (
            r#"{"role":"tool","tool_call_id":"1","content":"x"}"#,
            r#"{"role":"tool","tool_call_id":"2","content":"y"}"#,
        );
        let system = r#"{"role":"system","content":"Limit Exceeded."}"#;
        let text = r#"{"role":"assistant","content":"done"}"#;
        let check = |lines: &[&str], expected: &str| {
            let read = |line: &&str| Message::read(&RawValue::from_string((*line).to_owned()).unwrap()).unwrap();
            let messages: Vec<Message> = lines.iter().map(read).collect();
            let messages: Vec<&Message> = messages.iter().collect();
            let shown = match next(&messages) {
                Next::CallTool(call) => call.name.clone(),
                Next::AskModel => "ask".to_owned(),
                Next::Rest(text) => format!("rest {}", text.unwrap_or("-")),
            };
            assert_eq!(shown, expected, "{lines:?}");
        };
        check(&[], "rest -");
        check(&[user], "ask");
        check(&[user, calls], "a");
        check(&[user, calls, one], "b");
        check(&[user, calls, two], "a");
        check(&[user, calls, two, one], "ask");
        check(&[user, calls, system], "ask");
        check(&[user, calls, system, text], "rest done");
        check(&[user, text], "rest done");
        check(&[user, text, user], "ask");
        check(&[one], "ask");
    }
}
