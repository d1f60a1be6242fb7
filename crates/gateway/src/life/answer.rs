//! Guardrails at a model's whole answer: its texts, and the arguments of the calls in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_domain::call::Capability;
use portcullis_domain::policy::Point;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::llm::chat::stream::text::TEXT_FIELDS;
use serde_json::Value;

use crate::asking::Asking;
use crate::guardrails::{Content, Rule, content};
use crate::life::Gate;
use crate::life::guarding::Notes;
use crate::snapshot::Snapshot;

impl Gate {
    /// The answer as it may be heard.
    ///
    /// # Errors
    ///
    /// That it may not, or can't be looked at.
    pub async fn guard_answer(
        &self,
        (snapshot, asking): (&Snapshot, &Asking),
        capability: &Capability,
        body: Bytes,
        notes: &mut Notes,
    ) -> Result<Bytes, Refusal> {
        let rules = snapshot.guardrails.at(Point::ModelOut, capability);
        if rules.is_empty() {
            return Ok(body);
        }
        let raw = std::str::from_utf8(&body).map_err(unreadable)?;
        let answer = content::whole(raw).map_err(unreadable)?;
        let of_calls: Vec<Arc<Rule>> = rules.iter().filter(|rule| rule.reads_texts()).cloned().collect();
        let mut changed: BTreeMap<String, String> = BTreeMap::new();
        for (place, is_call, text) in texts(&answer) {
            let rules = if is_call { &of_calls } else { &rules };
            let content = if is_call { Content::of_arguments(text) } else { Content::Text(text.to_owned()) };
            let made = self.guard(asking, rules, (Point::ModelOut, capability), content, notes).await?.into_string();
            if made != text {
                changed.insert(place, made);
            }
        }
        if changed.is_empty() {
            return Ok(body);
        }
        content::with_texts(raw, &changed).map(Bytes::from).map_err(unreadable)
    }
}

/// The texts of an answer with their places, and whether each is the arguments of a call.
fn texts(answer: &Value) -> Vec<(String, bool, &str)> {
    let mut texts = Vec::new();
    for (index, choice) in items(answer.get("choices")) {
        let Some(message) = choice.get("message") else { continue };
        let place = format!("/choices/{index}/message");
        for field in TEXT_FIELDS {
            let value = message.get(field);
            let whole = value.and_then(Value::as_str).map(|text| (format!("{place}/{field}"), false, text));
            texts.extend(whole);
            for (part, value) in items(value) {
                let text = value.get("text").and_then(Value::as_str);
                texts.extend(text.map(|text| (format!("{place}/{field}/{part}/text"), false, text)));
            }
        }
        for (call, value) in items(message.get("tool_calls")) {
            for (kind, member) in [("function", "arguments"), ("custom", "input")] {
                let text = value.get(kind).and_then(|inner| inner.get(member)).and_then(Value::as_str);
                texts.extend(text.map(|text| (format!("{place}/tool_calls/{call}/{kind}/{member}"), true, text)));
            }
        }
        let legacy = message.get("function_call").and_then(|call| call.get("arguments")).and_then(Value::as_str);
        texts.extend(legacy.map(|text| (format!("{place}/function_call/arguments"), true, text)));
    }
    texts
}

fn items(value: Option<&Value>) -> impl Iterator<Item = (usize, &Value)> {
    value.and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn unreadable(problem: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::UpstreamFailed, "the model's answer can't be read").because(problem.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_of_an_answer_has_its_place() {
        let answer = json!({"choices": [
            {"message": {"content": "a", "reasoning": "b", "tool_calls": [{"function": {"name": "f", "arguments": "c"}}, {"custom": {"input": "d"}}]}},
            {"message": {"content": [{"type": "thinking"}, {"type": "text", "text": "e"}], "function_call": {"arguments": "f"}}},
        ]});
        let found = texts(&answer);
        for (place, _, text) in &found {
            assert_eq!(answer.pointer(place).and_then(Value::as_str), Some(*text), "{place}");
        }
        let shown: String = found.iter().map(|(_, is_call, text)| format!("{text}{}", u8::from(*is_call))).collect();
        assert_eq!(shown, "a0b0c1d1e0f1");
    }
}
