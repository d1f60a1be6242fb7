//! One piece of a streamed answer: read for what must be known, and edited where something must not reach the client.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use portcullis_domain::json;
use portcullis_domain::refusal::Refusal;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::frame::object::{Object, span};
use crate::frame::sse::Event;
use crate::llm::chat::call::unreadable;

/// What must be known of a piece.
#[derive(Debug)]
pub(super) struct Chunk<'a> {
    pub choices: Vec<Choice<'a>>,
    /// Also where it is `null`.
    pub usage: Option<&'a RawValue>,
    pub has_error: bool,
}

/// What a piece adds to one of the answers.
#[derive(Debug)]
pub(super) struct Choice<'a> {
    pub index: u64,
    pub delta: Delta<'a>,
    pub finish_reason: Option<&'a RawValue>,
}

#[derive(Debug, Default)]
pub(super) struct Delta<'a> {
    pub has_role: bool,
    pub content: Option<&'a RawValue>,
    pub tool_calls: Vec<&'a RawValue>,
    pub function_call: Option<&'a RawValue>,
    /// Whether it says anything besides who speaks and what is called.
    pub has_content: bool,
    /// About how many bytes the model produced for it besides calls.
    pub produced_bytes: usize,
}

#[derive(Deserialize)]
struct RawChunk<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<RawChoice<'a>>>,
    #[serde(borrow, default, deserialize_with = "present")]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawChoice<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    /// Not part of the dialect, but some clients would find calls in it.
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

/// An event with its data, as it will be sent.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub raw: Bytes,
    /// The JSON in it.
    pub data: Bytes,
}

impl<'a> Chunk<'a> {
    pub(super) fn read(data: &'a [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(data).map_err(unreadable)?;
        let raw: RawChunk<'a> = serde_json::from_str(text).map_err(unreadable)?;
        let choices = raw.choices.unwrap_or_default().into_iter().map(Choice::read).collect::<Result<_, _>>();
        Ok(Self { choices: choices.map_err(unreadable)?, usage: raw.usage, has_error: raw.error.is_some() })
    }
}

impl<'a> Choice<'a> {
    fn read(raw: RawChoice<'a>) -> Result<Self, String> {
        if raw.message.map(Delta::read).transpose()?.is_some_and(|message| message.has_calls()) {
            return Err("a piece has tool calls outside of its delta".to_owned());
        }
        let delta = raw.delta.map(Delta::read).transpose()?.unwrap_or_default();
        Ok(Self { index: raw.index, delta, finish_reason: raw.finish_reason })
    }
}

impl<'a> Delta<'a> {
    fn read(raw: &'a RawValue) -> Result<Self, String> {
        let mut delta = Self::default();
        for (name, value) in json::members(raw.get())? {
            if value.get() == "null" {
                continue;
            }
            match name.as_ref() {
                "role" => delta.has_role = true,
                "tool_calls" => delta.tool_calls = json::items(value.get())?,
                "function_call" => delta.function_call = Some(value),
                name => {
                    delta.has_content |= value.get() != "\"\"";
                    if matches!(name, "content" | "reasoning_content" | "reasoning" | "refusal") {
                        delta.produced_bytes += value.get().len().saturating_sub(2);
                    }
                    if name == "content" {
                        delta.content = Some(value);
                    }
                }
            }
        }
        Ok(delta)
    }

    pub(super) fn has_calls(&self) -> bool {
        self.function_call.is_some() || !self.tool_calls.is_empty()
    }

    /// The text that it adds to the answer.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        self.content.and_then(json::text).filter(|text| !text.is_empty())
    }
}

impl Piece {
    /// The event as it came, whose data is `data`.
    pub(super) fn of_event(event: &Event, data: &Bytes) -> Self {
        Self { raw: event.raw.clone(), data: data.clone() }
    }

    /// An event with this JSON.
    pub(super) fn of_json(json: &str) -> Self {
        let raw = Bytes::from(["data: ", json, "\n\n"].concat());
        Self { data: raw.slice(6..raw.len().saturating_sub(2)), raw }
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.data).unwrap_or_default()
    }

    /// The event without the member whose raw value is `value`, and otherwise the same bytes. None when the member's name is
    /// not written plainly before its value.
    pub(super) fn without_member(&self, name: &str, value: &RawValue) -> Option<Self> {
        let whole = span(&self.raw, &self.data)?;
        let place = span(&self.data, value.get().as_bytes())?;
        let before = self.data.get(..place.start)?.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
        let before = before.strip_suffix(b"\"")?.strip_suffix(name.as_bytes())?.strip_suffix(b"\"")?.trim_ascii_end();
        let after = self.data.get(place.end..)?;
        let (before, after) = match before.strip_suffix(b",") {
            Some(before) => (before, after),
            None => (before, after.trim_ascii_start().strip_prefix(b",").unwrap_or(after)),
        };
        let mut raw = BytesMut::with_capacity(self.raw.len());
        for part in [self.raw.get(..whole.start)?, before, after, self.raw.get(whole.end..)?] {
            raw.extend_from_slice(part);
        }
        let raw = raw.freeze();
        Some(Self { data: raw.slice(whole.start..whole.start + before.len() + after.len()), raw })
    }

    /// The same with only its choice number `place`, after an edit of that choice.
    pub(super) fn of_choice(
        &self,
        place: usize,
        edit: impl FnOnce(&mut Object<'_>) -> Result<(), String>,
    ) -> Result<Self, String> {
        let mut chunk = Object::read(self.text())?;
        let choices = json::items(chunk.raw("choices").unwrap_or("[]"))?;
        let mut choice = Object::read(choices.get(place).map_or("{}", |raw| raw.get()))?;
        edit(&mut choice)?;
        let choices = format!("[{choice}]");
        chunk.set("choices", choices);
        Ok(Self::of_json(&chunk.to_string()))
    }

    /// The same with another value of a member of its only choice.
    pub(super) fn with(&self, name: &'static str, raw: &str) -> Result<Self, String> {
        self.of_choice(0, |choice| {
            choice.set(name, raw.to_owned());
            Ok(())
        })
    }
}

/// Edits the delta of a choice.
pub(super) fn edit_delta(choice: &mut Object<'_>, edit: impl FnOnce(&mut Object<'_>)) -> Result<(), String> {
    let mut delta = Object::read(choice.raw("delta").filter(|raw| *raw != "null").unwrap_or("{}"))?;
    edit(&mut delta);
    let delta = delta.to_string();
    choice.set("delta", delta);
    Ok(())
}

/// A raw value, where `null` is one too.
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(input).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_cut_out_and_nothing_else_moves() {
        for (data, expected) in [
            (r#"{"a":1,"usage":null}"#, Some(r#"{"a":1}"#)),
            (r#"{ "a": 1.0 , "usage" : null , "b":"\u0041" }"#, Some(r#"{ "a": 1.0  , "b":"\u0041" }"#)),
            (r#"{"usage": null, "b": 2}"#, Some(r#"{ "b": 2}"#)),
            (r#"{"usage":null}"#, Some("{}")),
            (r#"{"usage":{"prompt_tokens":1},"choices":[]}"#, Some(r#"{"choices":[]}"#)),
            (r#"{"b":2,"us\u0061ge":null}"#, None),
        ] {
            let piece = Piece::of_json(data);
            let chunk = Chunk::read(&piece.data).unwrap();
            let cut = piece.without_member("usage", chunk.usage.unwrap());
            assert_eq!(
                cut.as_ref().map(|cut| cut.raw.to_vec()),
                expected.map(|data| format!("data: {data}\n\n").into_bytes())
            );
            assert_eq!(cut.as_ref().map(Piece::text), expected);
        }
    }
}
