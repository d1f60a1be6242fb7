//! The chat completion side of the mock upstream: one answer, and the same as a stream of chunks.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Either;
use serde::Deserialize;
use serde_json::json;

use super::{
    chunks::Chunks,
    counters::Counters,
    reply::{self, Body, empty},
};
use crate::calls::MARK;

pub(super) const MODELS: &str =
    r#"{"object":"list","data":[{"id":"bench-model","object":"model","created":0,"owned_by":"bench"}]}"#;
const ANSWER_BYTES: usize = 1024;

/// Built once; an answer is a reference to it.
pub(super) struct Answers {
    whole: Bytes,
    stream: Arc<[Bytes]>,
    stream_with_usage: Arc<[Bytes]>,
    /// Pause between the chunks of a stream.
    gap: Duration,
}

#[derive(Deserialize)]
struct Ask {
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
}

#[derive(Deserialize, Default)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

pub(super) fn complete(answers: &Answers, counters: &Counters, body: &[u8]) -> Response<Body> {
    let Ok(ask) = serde_json::from_slice::<Ask>(body) else { return empty(StatusCode::BAD_REQUEST) };
    counters.served.fetch_add(1, Ordering::Relaxed);
    if !ask.stream {
        return reply::json(answers.whole.clone());
    }
    let frames = if ask.stream_options.include_usage { &answers.stream_with_usage } else { &answers.stream };
    let chunks = Chunks::new(Arc::clone(frames), answers.gap);
    let mut response = Response::new(Either::Right(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

impl Answers {
    /// `chunks` counts the chunks with content; role, finish, usage and the end mark come on top.
    pub(super) fn new(chunks: usize, gap: Duration) -> Self {
        let usage =
            json!({"prompt_tokens": 230, "completion_tokens": chunks.max(1), "total_tokens": 230 + chunks.max(1)});
        let mut frames = vec![chunk(&json!({"role": "assistant", "content": ""}), None)];
        for index in 1..=chunks {
            let word = if index == chunks { MARK.to_owned() } else { format!("token{index:03} ") };
            frames.push(chunk(&json!({"content": word}), None));
        }
        frames.push(chunk(&json!({}), Some("stop")));
        let done = || event("[DONE]");
        let stream = frames.iter().cloned().chain([done()]).collect();
        let last = event(&json!({
            "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_750_000_000, "model": "bench-model",
            "choices": [], "usage": usage,
        }).to_string());
        Self {
            whole: whole(&usage),
            stream,
            stream_with_usage: frames.into_iter().chain([last, done()]).collect(),
            gap,
        }
    }
}

fn whole(usage: &serde_json::Value) -> Bytes {
    let answer = |content: &str| {
        json!({
            "id": "chatcmpl-bench", "object": "chat.completion", "created": 1_750_000_000, "model": "bench-model",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "logprobs": null, "finish_reason": "stop"}],
            "usage": usage,
        })
        .to_string()
    };
    let room = ANSWER_BYTES.saturating_sub(answer(MARK).len());
    let padding: String = " lorem ipsum dolor sit amet".chars().cycle().take(room).collect();
    answer(&format!("{MARK}{padding}")).into()
}

fn chunk(delta: &serde_json::Value, finish: Option<&str>) -> Bytes {
    event(
        &json!({
            "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_750_000_000, "model": "bench-model",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
        })
        .to_string(),
    )
}

fn event(data: &str) -> Bytes {
    format!("data: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_answer_has_its_size_and_a_stream_its_chunks() {
        let answers = Answers::new(50, Duration::ZERO);
        assert_eq!(answers.whole.len(), ANSWER_BYTES);
        assert_eq!(answers.stream.len(), 50 + 3);
        assert_eq!(answers.stream_with_usage.len(), 50 + 4);
    }
}
