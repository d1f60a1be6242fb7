//! The items of a response, made of a whole chat answer.

use portcullis_domain::refusal::{Code, Refusal};
use serde_json::Value;

use crate::llm::responses::items::{function_call, message, output_text, reasoning, refusal};
use crate::llm::responses::{Ending, Frame};

/// What a chat answer comes to.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The response.
    pub response: Value,
    /// Its items.
    pub output: Vec<Value>,
}

/// Makes the response of a chat answer.
///
/// # Errors
///
/// [`Code::UpstreamFailed`] when it is no chat answer.
pub fn answered(frame: &Frame, chat: &[u8]) -> Result<Answered, Refusal> {
    let garbled =
        |problem: String| Refusal::new(Code::UpstreamFailed, "the model gave no proper answer").because(problem);
    let chat: Value = serde_json::from_slice(chat).map_err(|error| garbled(error.to_string()))?;
    let choice = chat.pointer("/choices/0").ok_or_else(|| garbled("there is no choice".to_owned()))?;
    let ending = Ending::of(choice.get("finish_reason").and_then(Value::as_str));
    let output = items(frame, choice.get("message").unwrap_or(&Value::Null), &ending);
    Ok(Answered { response: frame.response(&ending, &output, chat.get("usage")), output })
}

fn items(frame: &Frame, said: &Value, ending: &Ending) -> Vec<Value> {
    let mut items = Vec::new();
    let text = |name: &str| said.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(thought) = text("reasoning_content").or_else(|| text("reasoning")) {
        items.push(reasoning(&frame.item("rs", items.len()), thought));
    }
    let parts: Vec<Value> =
        [text("content").map(output_text), text("refusal").map(refusal)].into_iter().flatten().collect();
    let calls = said.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !parts.is_empty() || calls.is_empty() {
        let parts = if parts.is_empty() { vec![output_text("")] } else { parts };
        items.push(message(&frame.item("msg", items.len()), ending.status(), &parts));
    }
    for call in calls {
        let text = |path: &str| call.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let id = frame.item("fc", items.len());
        items.push(function_call(&id, text("/id"), text("/function/name"), text("/function/arguments"), "completed"));
    }
    items
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::llm::responses::ResponsesRequest;

    fn frame() -> Frame {
        let request = ResponsesRequest::read(br#"{"model":"m","input":"hi","metadata":{"a":"b"}}"#).unwrap();
        Frame::new(&request, "resp_ab", 7)
    }

    fn check(message: Value, finish_reason: &str, status: &str, expected: Value) {
        let usage = json!({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 1}});
        let chat = json!({"choices": [{"message": message, "finish_reason": finish_reason}], "usage": usage});
        let answered = answered(&frame(), chat.to_string().as_bytes()).unwrap();
        assert_eq!(answered.response["output"], expected);
        assert_eq!(answered.response["status"], status);
        let usage = &answered.response["usage"];
        assert_eq!(
            (
                &usage["input_tokens"],
                &usage["output_tokens"],
                &usage["total_tokens"],
                &usage["input_tokens_details"]["cached_tokens"]
            ),
            (&json!(3), &json!(4), &json!(7), &json!(1))
        );
        assert_eq!(answered.response["metadata"], json!({"a": "b"}));
    }

    #[test]
    fn an_answer_becomes_items() {
        let text = |status: &str, text: &str| json!([message("msg_ab0000", status, &[output_text(text)])]);
        check(json!({"content": "hello"}), "stop", "completed", text("completed", "hello"));
        check(json!({"content": "hel"}), "length", "incomplete", text("incomplete", "hel"));
        check(json!({"content": null}), "stop", "completed", text("completed", ""));
        check(
            json!({"content": null, "refusal": "no"}),
            "stop",
            "completed",
            json!([message("msg_ab0000", "completed", &[refusal("no")])]),
        );
        let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        check(
            json!({"content": "so", "reasoning_content": "hm", "tool_calls": [call, call]}),
            "tool_calls",
            "completed",
            json!([
                reasoning("rs_ab0000", "hm"),
                message("msg_ab0001", "completed", &[output_text("so")]),
                function_call("fc_ab0002", "c", "f", "{}", "completed"),
                function_call("fc_ab0003", "c", "f", "{}", "completed"),
            ]),
        );
        assert_eq!(answered(&frame(), b"{}").unwrap_err().code, Code::UpstreamFailed);
    }
}
