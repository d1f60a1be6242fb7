//! The text in a stream, for those who must look at it before anybody else does: taken out of the events, and put back as they made it.
//!
//! It stands in front of [`ChatStream`](crate::llm::chat::stream::ChatStream), which then sees only what may go on. Events without text pass as they are and at once.

use bytes::Bytes;
use portcullis_domain::json;
use portcullis_domain::refusal::Refusal;
use serde_json::value::RawValue;

use crate::frame::object::{Object, quoted};
use crate::frame::sse::{self, Decoder, Event};
use crate::llm::chat::call::unreadable;
use crate::llm::chat::stream::machine::EVENT_LIMIT_BYTES;

/// The members of a delta, or of a message, that are text.
pub const TEXT_FIELDS: [&str; 4] = ["content", "reasoning_content", "reasoning", "refusal"];

/// Which text it is: each is put together by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The `index` of the choice.
    pub choice: u64,
    /// One of [`TEXT_FIELDS`].
    pub field: &'static str,
}

/// One event of the stream.
#[derive(Debug)]
pub enum TextEvent {
    /// There is no text in it.
    Other(Bytes),
    /// There is text in it, or a choice ends with it.
    Piece(TextPiece),
    /// Nothing comes after it.
    Done(Bytes),
}

/// An event with text.
#[derive(Debug)]
pub struct TextPiece {
    /// What is added, and to what.
    pub texts: Vec<(Slot, String)>,
    /// The choices that end with it.
    pub finished: Vec<u64>,
    raw: Bytes,
    data: Bytes,
}

/// Reads a stream.
#[derive(Debug)]
pub struct TextReader {
    decoder: Decoder,
    head: Option<Object<'static>>,
}

impl Default for TextReader {
    fn default() -> Self {
        Self { decoder: Decoder::new(EVENT_LIMIT_BYTES), head: None }
    }
}

impl TextReader {
    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// What stands behind the last event.
    #[must_use]
    pub fn rest(&self) -> Bytes {
        Bytes::copy_from_slice(self.decoder.rest())
    }

    /// The next event; none until more is fed.
    ///
    /// # Errors
    ///
    /// [`UpstreamFailed`](portcullis_domain::refusal::Code::UpstreamFailed) for what can't be read, and so not looked at.
    pub fn next_event(&mut self) -> Result<Option<TextEvent>, Refusal> {
        let Some(event) = self.decoder.next_event()? else { return Ok(None) };
        let Some(data) = event.data.clone().filter(|data| !data.trim_ascii().is_empty()) else {
            return Ok(Some(TextEvent::Other(event.raw)));
        };
        if data.trim_ascii() == b"[DONE]" {
            return Ok(Some(TextEvent::Done(event.raw)));
        }
        self.read(&event, data).map(Some).map_err(unreadable)
    }

    fn read(&mut self, event: &Event, data: Bytes) -> Result<TextEvent, String> {
        let text = std::str::from_utf8(&data).map_err(|problem| problem.to_string())?;
        let chunk = Object::read(text)?;
        if event.name.as_ref() == b"error" || chunk.raw("error").is_some_and(|raw| raw != "null") {
            return Ok(TextEvent::Other(event.raw.clone()));
        }
        if self.head.is_none() {
            let mut head = chunk.clone().into_owned();
            head.remove("usage");
            self.head = Some(head);
        }
        let (mut texts, mut finished) = (Vec::new(), Vec::new());
        for choice in choices(&chunk)? {
            let index = index(&choice)?;
            if choice.raw("message").is_some_and(|raw| raw != "null") {
                return Err("a piece says something outside of its delta".to_owned());
            }
            let delta = Object::read(delta(&choice))?;
            for field in TEXT_FIELDS {
                let Some(raw) = delta.raw(field).filter(|raw| *raw != "null") else { continue };
                let text: String =
                    serde_json::from_str(raw).map_err(|_| format!("`{field}` of a piece is not a text"))?;
                texts.push((Slot { choice: index, field }, text));
            }
            if choice.raw("finish_reason").is_some_and(|raw| raw != "null") {
                finished.push(index);
            }
        }
        if finished.is_empty() && texts.iter().all(|(_, text)| text.is_empty()) {
            return Ok(TextEvent::Other(event.raw.clone()));
        }
        Ok(TextEvent::Piece(TextPiece { texts, finished, raw: event.raw.clone(), data }))
    }

    /// An event that says this text and nothing else.
    #[must_use]
    pub fn saying(&self, slot: Slot, text: &str) -> Bytes {
        let mut chunk = self.head.clone().unwrap_or_default();
        let delta = format!("{{{}:{}}}", quoted(slot.field), quoted(text));
        let choice = format!("{{\"index\":{},\"delta\":{delta},\"finish_reason\":null}}", slot.choice);
        chunk.set("choices", format!("[{choice}]"));
        sse::event(&chunk.to_string()).into()
    }
}

impl TextPiece {
    /// The event with these texts in the place of its own, in the same order. Empty where nothing is left that a client needs; the same bytes where nothing has changed.
    ///
    /// # Errors
    ///
    /// [`UpstreamFailed`](portcullis_domain::refusal::Code::UpstreamFailed) when it can't be written anew.
    pub fn with(&self, texts: &[String]) -> Result<Bytes, Refusal> {
        if self.texts.iter().map(|(_, text)| text).eq(texts) {
            return Ok(self.raw.clone());
        }
        self.rewritten(texts).map_err(unreadable)
    }

    fn rewritten(&self, texts: &[String]) -> Result<Bytes, String> {
        let text = std::str::from_utf8(&self.data).map_err(|problem| problem.to_string())?;
        let mut chunk = Object::read(text)?;
        let mut texts = texts.iter();
        let (mut written, mut is_empty) = (Vec::new(), chunk.raw("usage").is_none_or(|raw| raw == "null"));
        for mut choice in choices(&chunk)? {
            let mut delta = Object::read(delta(&choice))?.into_owned();
            for field in TEXT_FIELDS {
                if delta.raw(field).is_some_and(|raw| raw != "null") {
                    delta.set(field, quoted(texts.next().map_or("", String::as_str)));
                }
            }
            is_empty &= choice.raw("finish_reason").is_none_or(|raw| raw == "null")
                && delta.iter().all(|(_, raw)| raw == "null" || raw == "\"\"");
            let delta = delta.to_string();
            choice.set("delta", delta);
            written.push(choice.to_string());
        }
        if is_empty {
            return Ok(Bytes::new());
        }
        let written = format!("[{}]", written.join(","));
        chunk.set("choices", written);
        Ok(sse::event(&chunk.to_string()).into())
    }
}

fn choices<'a>(chunk: &Object<'a>) -> Result<Vec<Object<'static>>, String> {
    let raw = chunk.raw("choices").filter(|raw| *raw != "null").unwrap_or("[]");
    json::items(raw)?.into_iter().map(RawValue::get).map(|raw| Object::read(raw).map(Object::into_owned)).collect()
}

fn index(choice: &Object<'_>) -> Result<u64, String> {
    let raw = choice.raw("index").filter(|raw| *raw != "null").unwrap_or("0");
    raw.parse().map_err(|_| "`index` of a choice is not a number".to_owned())
}

fn delta<'a>(choice: &'a Object<'_>) -> &'a str {
    choice.raw("delta").filter(|raw| *raw != "null").unwrap_or("{}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stream: &str) -> (TextReader, Option<TextEvent>) {
        let mut reader = TextReader::default();
        reader.feed(stream.as_bytes());
        let event = reader.next_event().unwrap();
        (reader, event)
    }

    fn check(data: &str, texts: &[&str], with: &[&str], expected: &str) {
        let (_, event) = piece(&format!("data: {data}\n\n"));
        let Some(TextEvent::Piece(piece)) = event else { panic!("{data} has no text") };
        let found: Vec<&str> = piece.texts.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(found, texts, "{data}");
        let with: Vec<String> = with.iter().map(|text| (*text).to_owned()).collect();
        let expected = if expected.is_empty() { String::new() } else { format!("data: {expected}\n\n") };
        assert_eq!(std::str::from_utf8(&piece.with(&with).unwrap()).unwrap(), expected);
    }

    #[test]
    fn text_is_put_back_and_nothing_else_changes() {
        let one = r#"{"id":"x","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":null}"#;
        check(one, &["a"], &["a"], one);
        check(one, &["a"], &["b\n"], &one.replace("\"a\"", "\"b\\n\""));
        check(one, &["a"], &[""], "");
        let role = r#"{"choices":[{"index":1,"delta":{"role":"assistant","content":"a"}}],"x":1.50}"#;
        check(role, &["a"], &[""], &role.replace("\"a\"", "\"\""));
        let end = r#"{"choices":[{"delta":{"reasoning":"r","content":"a"},"finish_reason":"stop"}]}"#;
        check(end, &["a", "r"], &["", "q"], &end.replace("\"a\"", "\"\"").replace("\"r\"", "\"q\""));
        let last = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
        check(last, &[], &[], last);
        let counted = r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}"#;
        check(counted, &["a"], &[""], &counted.replace("\"a\"", "\"\""));
    }

    #[test]
    fn what_has_no_text_passes_as_it_is() {
        for raw in [
            ": ping\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n",
            "event: error\ndata: {\"error\":{\"message\":\"x\"}}\n\n",
        ] {
            let (_, event) = piece(raw);
            assert!(matches!(&event, Some(TextEvent::Other(passed)) if passed == raw.as_bytes()), "{event:?}");
        }
        assert!(matches!(piece("data: [DONE]\n\n").1, Some(TextEvent::Done(_))));
    }

    #[test]
    fn text_where_it_can_not_be_looked_at_is_no_answer() {
        for data in [
            r#"{"choices":[{"delta":{"content":[{"type":"text","text":"a"}]}}]}"#,
            r#"{"choices":[{"message":{"content":"a"}}]}"#,
            r#"{"choices":[{"delta":{"content":"a","content":"b"}}]}"#,
            "{",
        ] {
            let mut reader = TextReader::default();
            reader.feed(format!("data: {data}\n\n").as_bytes());
            assert!(reader.next_event().is_err(), "{data}");
        }
    }

    #[test]
    fn what_is_said_besides_is_of_the_same_answer() {
        let (reader, _) = piece("data: {\"id\":\"x\",\"created\":1,\"choices\":[],\"usage\":null}\n\n");
        let said = reader.saying(Slot { choice: 2, field: "content" }, "\"");
        let expected =
            r#"{"id":"x","created":1,"choices":[{"index":2,"delta":{"content":"\""},"finish_reason":null}]}"#;
        assert_eq!(said, format!("data: {expected}\n\n"));
    }
}
