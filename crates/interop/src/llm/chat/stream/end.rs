//! How a streamed answer ends: what came of the round, and what the client gets last.

use bytes::{Bytes, BytesMut};
use portcullis_domain::money::Tokens;
use portcullis_domain::refusal::Refusal;

use crate::frame::object::{Object, quoted};
use crate::llm::chat::call::{ToolCall, unreadable};
use crate::llm::chat::stream::chunk::Piece;
use crate::llm::chat::stream::machine::{ChatStream, written};
use crate::llm::chat::stream::state::{ChoiceState, TailItem};
use crate::llm::chat::usage;

const TOOL_CALLS: &str = r#""tool_calls""#;
const FUNCTION_CALL: &str = r#""function_call""#;
const STOP: &str = r#""stop""#;

/// What came of one round.
#[derive(Debug)]
pub struct StreamEnd {
    /// The provider's count for this round.
    pub usage: Option<Tokens>,
    /// The calls that the client got in this round.
    pub allowed: Vec<ToolCall>,
    /// How many calls were denied in this round.
    pub denied: usize,
    /// The text of each choice in this round, by its index.
    pub texts: Vec<(u64, String)>,
    /// Whether the upstream said that it was at the end: `[DONE]`, or all choices finished. False also when it sent an error.
    pub is_complete: bool,
    /// Whether the upstream sent an error, which the client got.
    pub is_failed: bool,
    /// About how many bytes of text, reasoning and calls the model produced: for an estimate where there is no usage.
    pub produced_bytes: usize,
    /// In how many pieces.
    pub produced_chunks: usize,
    stream: ChatStream,
}

/// The last bytes of an answer. The second part can be released later than the first, once the record is safe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Closing {
    /// The note, the finish reason, and the usage if the client asked for it.
    pub tail: Bytes,
    /// `[DONE]`, if the upstream sent it.
    pub done: Bytes,
}

impl ChatStream {
    /// What came of this round. Calls that are not decided by now are gone.
    #[must_use]
    pub fn end(mut self) -> StreamEnd {
        let is_finished = !self.choices.is_empty() && self.choices.iter().all(|choice| choice.now.is_finished);
        StreamEnd {
            usage: self.now.usage,
            allowed: std::mem::take(&mut self.now.allowed),
            denied: self.now.denied,
            texts: self.choices.iter_mut().map(|choice| (choice.index, std::mem::take(&mut choice.now.text))).collect(),
            is_complete: !self.now.is_failed && (is_finished || self.now.done.is_some()),
            is_failed: self.now.is_failed,
            produced_bytes: self.now.produced_bytes,
            produced_chunks: self.now.produced_chunks,
            stream: self,
        }
    }
}

impl StreamEnd {
    /// The last bytes for the client. The note, if there is one, is written behind the text of each choice from which a call
    /// was taken in this round. A choice without any call left does not end with `tool_calls`. With more than one round, the usage is the sum.
    ///
    /// # Errors
    ///
    /// [`UpstreamFailed`](portcullis_domain::refusal::Code::UpstreamFailed) when a piece that must be written anew has a member twice.
    pub fn close(mut self, note: Option<&str>) -> Result<Closing, Refusal> {
        let mut tail = BytesMut::new();
        let items = std::mem::take(&mut self.stream.now.tail);
        for item in items {
            self.close_item(item, note, &mut tail).map_err(unreadable)?;
        }
        let is_done = self.stream.now.done.is_some();
        let left: Vec<u64> = self
            .stream
            .choices
            .iter()
            .filter(|choice| choice.now.denied > 0 && !choice.now.is_finished)
            .map(|choice| choice.index)
            .collect();
        for index in left {
            self.write_note(index, note, &mut tail);
            if is_done {
                let reason = self.choice(index).map_or(STOP, |choice| ended_by(choice, TOOL_CALLS));
                tail.extend_from_slice(&written(self.stream.head.as_ref(), index, "{}", reason).raw);
            }
        }
        Ok(Closing { tail: tail.freeze(), done: self.stream.now.done.unwrap_or_default() })
    }

    /// Goes on with another round in the same answer: the machine for it, and the text that was held back with the end of this one.
    ///
    /// # Errors
    ///
    /// [`UpstreamFailed`](portcullis_domain::refusal::Code::UpstreamFailed) when a piece that must be written anew has a member twice.
    pub fn go_on(mut self) -> Result<(Bytes, ChatStream), Refusal> {
        let mut released = BytesMut::new();
        for item in std::mem::take(&mut self.stream.now.tail).into_iter().filter(|item| item.has_text) {
            released.extend_from_slice(&unfinished(&item.piece).map_err(unreadable)?.raw);
        }
        Ok((released.freeze(), self.stream.next_round()))
    }

    fn close_item(&mut self, item: TailItem, note: Option<&str>, tail: &mut BytesMut) -> Result<(), String> {
        let mut piece = item.piece;
        if item.has_usage && self.stream.round > 0 {
            let total = self.stream.earlier_usage.plus(self.stream.now.usage.unwrap_or_default());
            let mut chunk = Object::read(piece.text())?;
            let sum = usage::replaced(chunk.raw("usage"), total)?;
            chunk.set("usage", sum);
            piece = Piece::of_json(&chunk.to_string());
        }
        if let Some((index, reason)) = item.finished {
            let is_noted = note.is_some() && self.choice(index).is_some_and(|choice| choice.now.denied > 0);
            if is_noted && item.has_text {
                tail.extend_from_slice(&unfinished(&piece)?.raw);
                piece = piece.with("delta", "{}")?;
            }
            if is_noted {
                self.write_note(index, note, tail);
            }
            let right = self.choice(index).map_or(reason.as_str(), |choice| ended_by(choice, &reason)).to_owned();
            if right != reason {
                piece = piece.with("finish_reason", &right)?;
            }
        }
        tail.extend_from_slice(&piece.raw);
        Ok(())
    }

    fn write_note(&mut self, index: u64, note: Option<&str>, tail: &mut BytesMut) {
        let (Some(note), Some(choice)) = (note, self.stream.choices.iter_mut().find(|choice| choice.index == index))
        else {
            return;
        };
        let gap = if choice.has_text { "\n\n" } else { "" };
        let mut delta = Object::default();
        if !choice.has_role {
            delta.set("role", r#""assistant""#);
        }
        delta.set("content", quoted(&format!("{gap}{note}")));
        (choice.has_role, choice.has_text) = (true, true);
        tail.extend_from_slice(&written(self.stream.head.as_ref(), index, &delta.to_string(), "null").raw);
    }

    fn choice(&self, index: u64) -> Option<&ChoiceState> {
        self.stream.choices.iter().find(|choice| choice.index == index)
    }
}

/// The reason why a choice ends, which must fit the calls that the client has got: the upstream speaks of all that it sent in this round.
fn ended_by<'a>(choice: &ChoiceState, reason: &'a str) -> &'a str {
    let has_calls = choice.released > 0 || choice.has_legacy;
    match reason {
        TOOL_CALLS | FUNCTION_CALL if choice.lacks_calls && !has_calls => STOP,
        STOP if choice.released_earlier > 0 => TOOL_CALLS,
        _ => reason,
    }
}

/// The piece without the end of its choice, and without the usage that comes with it.
fn unfinished(piece: &Piece) -> Result<Piece, String> {
    let piece = piece.with("finish_reason", "null")?;
    let mut chunk = Object::read(piece.text())?;
    chunk.remove("usage");
    Ok(Piece::of_json(&chunk.to_string()))
}
