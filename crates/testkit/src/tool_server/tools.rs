//! The tools of the sample server.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::effects;
use crate::json::with;
use crate::mcp::{Fault, ToolCall, ToolResult};

/// A longer wait than `slow` can be asked for, in milliseconds.
const MAX_WAIT_MS: u64 = 600_000;
/// A longer text than `big` can be asked for, in bytes.
const MAX_TEXT_BYTES: usize = 64 * 1024 * 1024;

/// The result of `tools/list`, with a tool that counts or without it.
pub(super) fn listed(is_counting: bool) -> Value {
    let text = json!({"type": "string"});
    let integer = json!({"type": "integer"});
    let sum = json!({"type": "object", "properties": {"sum": integer}, "required": ["sum"]});
    let add = tool("add", "Adds two integers.", true, json!({"a": integer, "b": integer}));
    let record = json!({"id": text, "value": {"type": "number"}});
    let count = tool("count", "Says how often it was called in this session.", false, json!({}));
    let mut listed = json!({"tools": [
        tool("echo", "Says what it was told.", true, json!({"text": text})),
        with(add, "outputSchema", sum),
        tool("record", "Records that it ran, under an id.", false, record),
        tool("slow", "Answers after some milliseconds.", true, json!({"ms": integer})),
        tool("fail", "Fails.", true, json!({})),
        tool("big", "Answers with a text of so many bytes.", true, json!({"bytes": integer})),
    ]});
    if let Some(tools) = listed.get_mut("tools").and_then(Value::as_array_mut).filter(|_| is_counting) {
        tools.push(count);
    }
    listed
}

/// All properties are required.
fn tool(name: &str, description: &str, is_read_only: bool, properties: Value) -> Value {
    let required: Vec<&String> =
        properties.as_object().map(|properties| properties.keys().collect()).unwrap_or_default();
    let schema =
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    let annotations = json!({
        "readOnlyHint": is_read_only, "destructiveHint": false, "idempotentHint": is_read_only, "openWorldHint": false,
    });
    json!({"name": name, "description": description, "inputSchema": schema, "annotations": annotations})
}

/// Runs a tool.
pub(super) async fn call(call: &ToolCall, effects: &Path) -> Result<Value, Fault> {
    let outcome = match call.name.as_str() {
        "echo" => echo(call),
        "add" => add(call),
        "record" => record(call, effects),
        "slow" => slow(call).await,
        "fail" => fail(call),
        "big" => big(call),
        _ => return Err(call.unknown()),
    };
    Ok(ToolResult::of(outcome).to_json())
}

fn echo(call: &ToolCall) -> Result<ToolResult, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        text: String,
    }
    call.arguments().map(|Arguments { text }| ToolResult::text(text))
}

fn add(call: &ToolCall) -> Result<ToolResult, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        a: i64,
        b: i64,
    }
    let Arguments { a, b } = call.arguments()?;
    let sum = a.checked_add(b).ok_or("the sum is too large")?;
    Ok(ToolResult::structured(json!({"sum": sum})))
}

fn record(call: &ToolCall, path: &Path) -> Result<ToolResult, String> {
    #[derive(Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        id: String,
        value: Box<RawValue>,
    }
    let arguments: Arguments = call.arguments()?;
    if !arguments.value.get().starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err("value is not a number".to_owned());
    }
    let failed = |error: &dyn std::fmt::Display| format!("nothing was recorded: {error}");
    let line = serde_json::to_string(&arguments).map_err(|error| failed(&error))?;
    effects::append(path, &line).map_err(|error| failed(&error))?;
    Ok(ToolResult::text(format!("recorded {}", arguments.id)))
}

async fn slow(call: &ToolCall) -> Result<ToolResult, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        ms: u64,
    }
    let Arguments { ms } = call.arguments()?;
    tokio::time::sleep(Duration::from_millis(ms.min(MAX_WAIT_MS))).await;
    Ok(ToolResult::text(format!("waited {ms} ms")))
}

fn fail(call: &ToolCall) -> Result<ToolResult, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {}
    let Arguments {} = call.arguments()?;
    Err("it failed, as it was asked to".to_owned())
}

fn big(call: &ToolCall) -> Result<ToolResult, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        bytes: usize,
    }
    let Arguments { bytes } = call.arguments()?;
    Ok(ToolResult::text("x".repeat(bytes.min(MAX_TEXT_BYTES))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tools_do_what_they_say() {
        let folder = tempfile::tempdir().unwrap();
        let effects_file = folder.path().join("effects.jsonl");
        let check = async |name: &str, arguments: &str, is_error: bool, text: &str| {
            let params = RawValue::from_string(format!("{{\"name\":\"{name}\",\"arguments\":{arguments}}}")).unwrap();
            let result = call(&ToolCall::read(Some(&params)).unwrap(), &effects_file).await.unwrap();
            assert_eq!(result["isError"], json!(is_error), "{name} {arguments}");
            assert_eq!(result["content"][0]["text"].as_str().unwrap(), text, "{name} {arguments}");
        };
        check("echo", r#"{"text":"hi"}"#, false, "hi").await;
        check("add", r#"{"a":2,"b":-3}"#, false, r#"{"sum":-1}"#).await;
        check("add", r#"{"a":9223372036854775807,"b":1}"#, true, "the sum is too large").await;
        check("record", r#"{"id":"one","value":1.50}"#, false, "recorded one").await;
        check("record", r#"{"id":"one","value":2}"#, false, "recorded one").await;
        check("record", r#"{"id":"two","value":"2"}"#, true, "value is not a number").await;
        check("slow", r#"{"ms":1}"#, false, "waited 1 ms").await;
        check("fail", "{}", true, "it failed, as it was asked to").await;
        check("big", r#"{"bytes":5}"#, false, "xxxxx").await;
        let expected = [r#"{"id":"one","value":1.50}"#, r#"{"id":"one","value":2}"#];
        assert_eq!(effects::lines(&effects_file).unwrap(), expected);
    }

    #[test]
    fn every_listed_tool_has_a_closed_schema() {
        let listed = listed(false);
        for tool in listed["tools"].as_array().unwrap() {
            assert_eq!(tool["inputSchema"]["type"], json!("object"));
            assert_eq!(tool["inputSchema"]["additionalProperties"], json!(false));
        }
    }
}
