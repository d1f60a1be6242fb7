//! A decided answer in the words of OpenAI Chat Completions: in one piece or as the chunks of a stream.

use serde_json::{Value, json};

use super::reply::{Reply, Wanted};
use super::request::ChatRequest;
use crate::json::with;

/// The time that all answers were made at: the same request has the same answer.
const CREATED: u64 = 1_790_000_000;
/// How many characters of a tool call's arguments come in one chunk, and count as one token.
const FRAGMENT_CHARS: usize = 5;

/// The answer in one piece.
pub(super) fn whole(request: &ChatRequest, reply: &Reply) -> String {
    let has_text = !reply.text.is_empty() || reply.calls.is_empty();
    let mut message = json!({"role": "assistant", "content": has_text.then_some(&reply.text)});
    if !reply.calls.is_empty() {
        let call = |(index, call): (usize, &Wanted)| {
            let function = json!({"name": call.name, "arguments": call.arguments});
            json!({"id": call_id(request, index), "type": "function", "function": function})
        };
        message = with(message, "tool_calls", reply.calls.iter().enumerate().map(call).collect());
    }
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(reply)});
    let answer = envelope(request, "chat.completion", json!([choice]));
    with(answer, "usage", usage(request, reply)).to_string()
}

/// The chunks of a stream, without what marks its end.
pub(super) struct Chunks {
    /// The role, then the words.
    pub(super) text: Vec<String>,
    /// The tool calls, the reason why the answer ends and, where it was asked for, the usage.
    pub(super) rest: Vec<String>,
}

/// The answer as chunks: a word or a few characters of a tool call's arguments each.
pub(super) fn chunks(request: &ChatRequest, reply: &Reply) -> Chunks {
    let chunk = |delta: Value, finish_reason: Value| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        let chunk = envelope(request, "chat.completion.chunk", json!([choice]));
        let chunk = if request.wants_usage { with(chunk, "usage", Value::Null) } else { chunk };
        chunk.to_string()
    };
    let opening = json!({"role": "assistant", "content": if reply.text.is_empty() { Value::Null } else { json!("") }});
    let words = words(&reply.text).map(|word| json!({"content": word}));
    let text = [opening].into_iter().chain(words).map(|delta| chunk(delta, Value::Null)).collect();
    let mut rest: Vec<String> =
        call_deltas(request, reply).into_iter().map(|delta| chunk(delta, Value::Null)).collect();
    rest.push(chunk(json!({}), json!(finish_reason(reply))));
    if request.wants_usage {
        let last = envelope(request, "chat.completion.chunk", json!([]));
        rest.push(with(last, "usage", usage(request, reply)).to_string());
    }
    Chunks { text, rest }
}

fn envelope(request: &ChatRequest, object: &str, choices: Value) -> Value {
    json!({
        "id": format!("chatcmpl-{:.24}", request.digest.to_string()),
        "object": object,
        "created": CREATED,
        "model": request.model,
        // Every client shows this member, so it is where a test can see which unknown members have arrived.
        "system_fingerprint": format!("scripted {}", request.unknown).trim_end(),
        "choices": choices,
    })
}

fn call_id(request: &ChatRequest, index: usize) -> String {
    format!("call_{:.20}_{index}", request.digest.to_string())
}

/// What follows the text of a stream: each call first with its name, then its arguments in fragments.
fn call_deltas(request: &ChatRequest, reply: &Reply) -> Vec<Value> {
    let calls: Vec<Vec<Value>> = reply
        .calls
        .iter()
        .enumerate()
        .map(|(index, call)| {
            let function = json!({"name": call.name, "arguments": ""});
            let opening =
                json!({"index": index, "id": call_id(request, index), "type": "function", "function": function});
            let fragments =
                fragments(call).map(|fragment| json!({"index": index, "function": {"arguments": fragment}}));
            let deltas = [opening].into_iter().chain(fragments);
            deltas.map(|call| json!({"tool_calls": [call]})).collect()
        })
        .collect();
    if !reply.is_interleaved {
        return calls.concat();
    }
    let longest = calls.iter().map(Vec::len).max().unwrap_or_default();
    (0..longest).flat_map(|round| calls.iter().filter_map(move |deltas| deltas.get(round).cloned())).collect()
}

fn finish_reason(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "stop" } else { "tool_calls" }
}

fn usage(request: &ChatRequest, reply: &Reply) -> Value {
    let calls: usize = reply.calls.iter().map(|call| 1 + fragments(call).count()).sum();
    let completion_tokens = u64::try_from(words(&reply.text).count() + calls).unwrap_or(u64::MAX);
    json!({
        "prompt_tokens": request.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": request.prompt_tokens.saturating_add(completion_tokens),
    })
}

/// The words with the blanks after them; each is a token.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([' ', '\n'])
}

fn fragments(call: &Wanted) -> impl Iterator<Item = String> {
    let letters: Vec<char> = call.arguments.chars().collect();
    let fragments: Vec<String> = letters.chunks(FRAGMENT_CHARS).map(|letters| letters.iter().collect()).collect();
    fragments.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(extra: &str) -> ChatRequest {
        let body = format!("{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]{extra}}}");
        ChatRequest::read(&body).unwrap()
    }

    fn calling() -> Reply {
        Reply::say("Two calls.").calling("a", "{\"ü\":1234567}").calling("b", "[]")
    }

    /// What a client makes of the chunks: the text, and the arguments of each call.
    fn gather(chunks: &[Value]) -> (String, Vec<String>) {
        let (mut text, mut calls) = (String::new(), Vec::new());
        for delta in chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta")) {
            text.push_str(delta["content"].as_str().unwrap_or_default());
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
                if index == calls.len() {
                    calls.push(format!("{} ", call["function"]["name"].as_str().unwrap()));
                }
                calls[index].push_str(call["function"]["arguments"].as_str().unwrap());
            }
        }
        (text, calls)
    }

    #[test]
    fn a_stream_says_the_same_as_the_answer_in_one_piece() {
        for is_interleaved in [false, true] {
            let reply = Reply { is_interleaved, ..calling() };
            let request = request(",\"stream_options\":{\"include_usage\":true}");
            let whole: Value = serde_json::from_str(&whole(&request, &reply)).unwrap();
            let Chunks { text, rest } = chunks(&request, &reply);
            let chunks: Vec<Value> =
                text.iter().chain(&rest).map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
            let (text, calls) = gather(&chunks);
            assert_eq!(whole["choices"][0]["message"]["content"], json!(text));
            assert_eq!(calls, ["a {\"ü\":1234567}", "b []"]);
            assert_eq!(
                whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"],
                json!("{\"ü\":1234567}")
            );
            assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], json!("tool_calls"));
            assert_eq!(chunks[chunks.len() - 1]["usage"], whole["usage"]);
            assert_eq!(chunks[chunks.len() - 1]["choices"], json!([]));
            // Two words, two names, three and one fragments.
            assert_eq!(whole["usage"], json!({"prompt_tokens": 8, "completion_tokens": 8, "total_tokens": 16}));
        }
    }

    #[test]
    fn usage_is_streamed_only_when_it_was_asked_for() {
        let Chunks { text, rest } = chunks(&request(""), &calling());
        assert!(text.iter().chain(&rest).all(|chunk| !chunk.contains("usage")));
    }

    #[test]
    fn ids_follow_from_the_request_and_unknown_members_are_shown() {
        let shown = |extra: &str| serde_json::from_str::<Value>(&whole(&request(extra), &calling())).unwrap();
        let call_id = |answer: &Value| answer["choices"][0]["message"]["tool_calls"][1]["id"].clone();
        assert_eq!(shown(""), shown(""));
        assert_ne!(call_id(&shown("")), call_id(&shown(",\"seed\":2")));
        assert_eq!(shown(",\"seed\":2")["system_fingerprint"], json!("scripted {\"seed\":2}"));
        assert_eq!(shown("")["system_fingerprint"], json!("scripted"));
    }
}
