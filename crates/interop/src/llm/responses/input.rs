//! Items of a conversation, and the chat messages that say the same.

use portcullis_domain::refusal::Refusal;
use serde_json::{Value, json};

use crate::llm::responses::invalid::invalid;
use crate::llm::responses::items::output_text;

/// Reads `input`: a text, or a list of items. Each item gets its type, where the client leaves it out.
///
/// # Errors
///
/// [`Code::InvalidRequest`](portcullis_domain::refusal::Code::InvalidRequest), naming the item at fault.
pub fn items(input: Option<&Value>) -> Result<Vec<Value>, Refusal> {
    match input {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => {
            Ok(vec![json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})])
        }
        Some(Value::Array(items)) => items.iter().enumerate().map(|(place, item)| typed(item, place)).collect(),
        Some(_) => Err(invalid("input", "`input` is a text or a list of items")),
    }
}

/// Checks that it is an item that can be said to a model, so that nothing is kept that could never be used.
fn typed(item: &Value, place: usize) -> Result<Value, Refusal> {
    let about = format!("input[{place}]");
    let mut item = item.clone();
    let object = item.as_object_mut().ok_or_else(|| invalid(&about, format!("`{about}` is an object")))?;
    if !object.contains_key("type") && object.contains_key("role") {
        object.insert("type".to_owned(), json!("message"));
    }
    Messages::default().add(&item).map_err(|refusal| Refusal { parameter: Some(about), ..refusal })?;
    Ok(item)
}

/// The items as they are kept: each with an id of its own, made of `unique`, and with its content as a list of parts.
#[must_use]
pub fn kept(items: &[Value], unique: &str) -> Vec<Value> {
    let unique = unique.split_once('_').map_or(unique, |(_, unique)| unique);
    let kept = |(number, item): (usize, &Value)| {
        let mut item = item.clone();
        let Some(object) = item.as_object_mut() else { return item };
        let kind = object.get("type").and_then(Value::as_str).unwrap_or_default();
        let prefix = match kind {
            "message" => "msg",
            "function_call" => "fc",
            "function_call_output" => "fco",
            _ => "rs",
        };
        object.insert("id".to_owned(), json!(format!("{prefix}_{unique}i{number:04x}")));
        if prefix != "rs" {
            object.entry("status").or_insert_with(|| json!("completed"));
        }
        let is_answer = object.get("role").and_then(Value::as_str) == Some("assistant");
        if let Some(Value::String(text)) = object.get("content") {
            let part = if is_answer { output_text(text) } else { json!({"type": "input_text", "text": text}) };
            object.insert("content".to_owned(), json!([part]));
        }
        item
    };
    items.iter().enumerate().map(kept).collect()
}

/// The chat messages that say what the items say.
///
/// # Errors
///
/// As [`items`].
pub fn messages<'a>(items: impl Iterator<Item = &'a Value>) -> Result<Vec<Value>, Refusal> {
    let mut messages = Messages::default();
    for item in items {
        messages.add(item)?;
    }
    Ok(messages.said)
}

#[derive(Default)]
struct Messages {
    said: Vec<Value>,
}

impl Messages {
    fn add(&mut self, item: &Value) -> Result<(), Refusal> {
        let refused = |message: String| Err(invalid("input", message));
        match item.get("type").and_then(Value::as_str) {
            Some("message") => self.said.push(message(item)?),
            Some("function_call") => self.add_call(item)?,
            Some("function_call_output") => {
                let output = item.get("output").unwrap_or(&Value::Null);
                let message =
                    json!({"role": "tool", "tool_call_id": text(item, "call_id")?, "content": content(output)?});
                self.said.push(message);
            }
            // Chat APIs have no place for it: a model that reasons does so anew.
            Some("reasoning") => {}
            Some(kind) => return refused(format!("an item of type `{kind}` is not served here")),
            None => return refused("an item has a `type`".to_owned()),
        }
        Ok(())
    }

    /// Calls that a model makes at a time stand in one message, behind its text.
    fn add_call(&mut self, item: &Value) -> Result<(), Refusal> {
        let function = json!({"name": text(item, "name")?, "arguments": text(item, "arguments")?});
        let call = json!({"id": text(item, "call_id")?, "type": "function", "function": function});
        let is_answer = |message: &&mut Value| message.get("role").and_then(Value::as_str) == Some("assistant");
        match self.said.last_mut().filter(is_answer).and_then(Value::as_object_mut) {
            Some(message) => match message.get_mut("tool_calls").and_then(Value::as_array_mut) {
                Some(calls) => calls.push(call),
                None => drop(message.insert("tool_calls".to_owned(), json!([call]))),
            },
            None => self.said.push(json!({"role": "assistant", "content": null, "tool_calls": [call]})),
        }
        Ok(())
    }
}

fn message(item: &Value) -> Result<Value, Refusal> {
    let role = text(item, "role")?;
    if !["user", "assistant", "system", "developer"].contains(&role) {
        return Err(invalid("input", format!("a message's role is not `{role}`")));
    }
    Ok(json!({"role": role, "content": content(item.get("content").unwrap_or(&Value::Null))?}))
}

/// The content of a message. What is one text is said as one.
fn content(content: &Value) -> Result<Value, Refusal> {
    let parts = match content {
        Value::String(_) => return Ok(content.clone()),
        Value::Array(parts) => parts,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            return Err(invalid("input", "a content is a text or a list of parts"));
        }
    };
    let parts: Vec<Value> = parts.iter().map(part).collect::<Result<_, _>>()?;
    match parts.as_slice() {
        [] => Ok(json!("")),
        [one] if one.get("type").and_then(Value::as_str) == Some("text") => {
            Ok(one.get("text").cloned().unwrap_or_default())
        }
        _ => Ok(Value::Array(parts)),
    }
}

fn part(part: &Value) -> Result<Value, Refusal> {
    match part.get("type").and_then(Value::as_str).unwrap_or_default() {
        "input_text" | "output_text" | "text" => Ok(json!({"type": "text", "text": text(part, "text")?})),
        "refusal" => Ok(json!({"type": "refusal", "refusal": text(part, "refusal")?})),
        "input_image" => {
            let mut image = json!({"url": text(part, "image_url")?});
            if let (Some(detail), Some(image)) =
                (part.get("detail").filter(|detail| !detail.is_null()), image.as_object_mut())
            {
                image.insert("detail".to_owned(), detail.clone());
            }
            Ok(json!({"type": "image_url", "image_url": image}))
        }
        "input_file" => {
            let file = json!({"file_data": text(part, "file_data")?, "filename": part.get("filename")});
            Ok(json!({"type": "file", "file": file}))
        }
        "input_audio" => Ok(json!({"type": "input_audio", "input_audio": part.get("input_audio")})),
        kind => Err(invalid("input", format!("a part of type `{kind}` is not served here"))),
    }
}

fn text<'a>(object: &'a Value, name: &str) -> Result<&'a str, Refusal> {
    let text = object.get(name).and_then(Value::as_str);
    text.ok_or_else(|| invalid("input", format!("`{name}` of an item or a part is a text, and is not there")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: Value, expected: Value) {
        let items = items(Some(&input)).unwrap();
        assert_eq!(Value::Array(messages(items.iter()).unwrap()), expected, "{input}");
    }

    #[test]
    fn items_are_said_as_messages() {
        check(json!("hi"), json!([{"role": "user", "content": "hi"}]));
        check(
            json!([{"role": "developer", "content": "be kind"}]),
            json!([{"role": "developer", "content": "be kind"}]),
        );
        check(
            json!([{"role": "user", "content": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": "data:x", "detail": "low"}]}]),
            json!([{"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}}]}]),
        );
        let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}", "id": "fc_1", "status": "completed"});
        let said = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
        check(
            json!([
                {"type": "reasoning", "summary": []},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "wait", "annotations": []}]},
                call("a"), call("b"),
                {"type": "function_call_output", "call_id": "a", "output": "1"},
                {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "2"}]},
                call("c"),
            ]),
            json!([
                {"role": "assistant", "content": "wait", "tool_calls": [said("a"), said("b")]},
                {"role": "tool", "tool_call_id": "a", "content": "1"},
                {"role": "tool", "tool_call_id": "b", "content": "2"},
                {"role": "assistant", "content": null, "tool_calls": [said("c")]},
            ]),
        );
    }

    #[test]
    fn an_item_that_can_not_be_said_is_refused_by_its_place() {
        for item in [
            json!(7),
            json!({}),
            json!({"type": "item_reference", "id": "x"}),
            json!({"type": "web_search_call"}),
            json!({"role": "tool", "content": "x"}),
            json!({"role": "user", "content": 7}),
            json!({"role": "user", "content": [{"type": "input_image", "file_id": "x"}]}),
            json!({"role": "user", "content": [{"type": "odd"}]}),
            json!({"type": "function_call", "name": "f", "arguments": "{}"}),
            json!({"type": "function_call_output", "call_id": "x", "output": {}}),
        ] {
            let refusal = items(Some(&json!([{"role": "user", "content": "hi"}, item]))).unwrap_err();
            assert_eq!(refusal.parameter.as_deref(), Some("input[1]"), "{item}");
        }
    }
}
