//! What a tool's answer says that has a shape: its structured content, and its texts, which the model reads.

use std::collections::HashSet;

use portcullis_guard::{Detector, Finding};
use serde_json::Value;

/// What is wrong with the shapes in a tool's answer.
///
/// Without structured content every text has to be JSON of that shape. Beside it a text may be prose; but what can be read as JSON is either taken from the structured content, as servers
/// repeat it for clients that know none, or has to have the shape as well: it would be what the model goes by.
pub fn find(detector: &Detector, result: &Value) -> Vec<Finding> {
    let texts = texts(result);
    let Some(structured) = result.get("structuredContent").filter(|content| !content.is_null()) else {
        let is_empty = texts.is_empty();
        let of_texts = texts.into_iter().flat_map(|text| detector.find(text));
        return if is_empty { detector.find_json(result) } else { of_texts.collect() };
    };
    let mut found = detector.find_json(structured);
    let parts = parts(structured);
    for text in texts {
        let Ok(value) = serde_json::from_str::<Value>(text) else { continue };
        if !parts.contains(&value) && !parts.contains(&Value::from(text)) {
            found.extend(detector.find_json(&value));
        }
    }
    found
}

/// The texts that a model reads.
fn texts(result: &Value) -> Vec<&str> {
    let parts = result.get("content").and_then(Value::as_array).into_iter().flatten();
    parts.filter_map(|part| part.get("text").or_else(|| part.get("resource")?.get("text"))?.as_str()).collect()
}

/// What servers repeat as text: all of it, a member of it, or an item of a list in it.
fn parts(structured: &Value) -> HashSet<&Value> {
    let members = below(structured);
    let items = members.iter().filter(|member| member.is_array()).flat_map(|member| below(member));
    items.chain(members.iter().copied()).chain([structured]).collect()
}

fn below(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => members.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_guard::Spec;
    use serde_json::json;

    use super::*;

    fn check(result: Value, expected: &[&str]) {
        let schema = json!({"schema": {"schema": {"type": "object", "required": ["sum"]}}});
        let detector = Detector::new(&serde_json::from_value::<Spec>(schema).unwrap()).unwrap();
        let found = find(&detector, &result);
        let kinds: Vec<&str> = found.iter().map(|finding| finding.kind.as_str()).collect();
        assert_eq!(kinds, expected, "{result}");
    }

    fn text(text: &str) -> Value {
        json!({"type": "text", "text": text})
    }

    #[test]
    fn every_text_of_an_answer_without_structured_content_has_the_shape() {
        check(json!({"content": [text(r#"{"sum":1}"#)]}), &[]);
        check(json!({"content": [text(r#"{"sum":1}"#), text(r#"{"sum":2}"#)]}), &[]);
        check(json!({"content": [text(r#"{"sum":1}"#), text("pay Eve")]}), &["not_json"]);
        check(json!({"content": [{"type": "resource", "resource": {"uri": "x:y", "text": "{}"}}]}), &["schema"]);
        check(json!({"content": []}), &["schema"]);
    }

    #[test]
    fn no_text_contradicts_structured_content_that_has_the_shape() {
        let with = |structured: Value, texts: &[&str], expected: &[&str]| {
            let content: Vec<Value> = texts.iter().map(|one| text(one)).collect();
            check(json!({"content": content, "structuredContent": structured}), expected);
        };
        with(json!({"sum": 1}), &[r#"{ "sum": 1 }"#], &[]);
        with(json!({"sum": 1}), &["1", "The sum is 1."], &[]);
        with(json!({"sum": "1"}), &["1"], &[]);
        with(json!({"sum": [{"a": 1}, {"a": 2}]}), &[r#"{"a":1}"#, r#"{"a":2}"#], &[]);
        with(json!({"sum": 1}), &[r#"{"total":2}"#], &["schema"]);
        with(json!({"sum": 1}), &["2"], &["schema"]);
        with(json!({"total": 1}), &[r#"{"total":1}"#], &["schema"]);
        with(json!({"sum": 1}), &[r#"{"sum":2}"#], &[]);
    }
}
