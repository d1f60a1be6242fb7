//! The machine itself: events in, steps out.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use portcullis_domain::money::Tokens;
use portcullis_domain::refusal::{Code, Refusal};
use serde_json::value::RawValue;

use crate::frame::object::Object;
use crate::frame::sse::{Decoder, Event};
use crate::llm::chat::call::{CallKind, Parts, ToolCall, unreadable};
use crate::llm::chat::stream::chunk::{Choice, Chunk, Piece, edit_delta};
use crate::llm::chat::stream::held::HeldCall;
use crate::llm::chat::stream::state::{ChoiceRound, ChoiceState, Round, TailItem};
use crate::llm::chat::usage;

/// The largest event of an upstream, in bytes.
pub const EVENT_LIMIT_BYTES: usize = 4 << 20;
/// The most calls in one answer.
pub const CALLS_LIMIT: usize = 128;
/// How many of them may be written by turns.
pub const OPEN_CALLS_LIMIT: usize = 16;
/// The most answers at a time.
pub const CHOICES_LIMIT: usize = 128;
/// The most text in one round, in bytes.
pub const TEXT_LIMIT_BYTES: usize = 16 << 20;
/// The most bytes that may stand behind the end of an answer.
pub const TAIL_LIMIT_BYTES: usize = 4 << 20;

/// The raw `delta` that stands between the texts of two rounds, which clients put together as one.
const GAP: &str = r#"{"content":"\n\n"}"#;

/// What the shell has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes to the client.
    Release(Bytes),
    /// Judge this call and say so with [`ChatStream::decide`]; there is no further step until then.
    Judge(ToolCall),
}

/// What was decided about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The client gets it.
    Allow,
    /// The client gets it with these arguments.
    Rewrite(String),
    /// The client never learns of it.
    Deny,
}

/// One streamed answer, over all its rounds.
#[derive(Debug)]
pub struct ChatStream {
    pub(super) asked_for_usage: bool,
    /// Which round this is, from 0.
    pub(super) round: usize,
    /// What the first piece said about the answer as a whole; all later ones say the same.
    pub(super) head: Option<Object<'static>>,
    pub(super) choices: Vec<ChoiceState>,
    /// The tokens of all rounds before this one.
    pub(super) earlier_usage: Tokens,
    pub(super) now: Round,
    decoder: Decoder,
    is_input_over: bool,
    out: BytesMut,
    /// Complete calls that were not yet handed out to be judged.
    complete: VecDeque<HeldCall>,
    /// The call that is being judged.
    judged: Option<HeldCall>,
}

impl ChatStream {
    /// A machine for the first round. `asked_for_usage` is what the client asked for, whatever was asked of the upstream.
    #[must_use]
    pub fn new(asked_for_usage: bool) -> Self {
        Self {
            asked_for_usage,
            round: 0,
            head: None,
            choices: Vec::new(),
            earlier_usage: Tokens::default(),
            now: Round::default(),
            decoder: Decoder::new(EVENT_LIMIT_BYTES),
            is_input_over: false,
            out: BytesMut::new(),
            complete: VecDeque::new(),
            judged: None,
        }
    }

    /// Takes the next bytes of the upstream's answer.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// The upstream's answer has ended, well or not.
    pub fn feed_end(&mut self) {
        self.is_input_over = true;
    }

    /// Whether there is nothing more to come in this round: `[DONE]` was read or the input is over, and all calls are decided.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let is_settled = self.judged.is_none() && self.complete.is_empty() && self.out.is_empty();
        is_settled
            && (self.now.done.is_some()
                || (self.is_input_over && self.choices.iter().all(|choice| choice.now.open.is_empty())))
    }

    /// What is to be done next; none until more is fed, or until the last call is decided.
    ///
    /// # Errors
    ///
    /// [`Code::UpstreamFailed`] for what can't be read, and so not judged; [`Code::TooLarge`] for what is over a limit. The
    /// answer can't go on then, and nothing that is held may be released.
    pub fn next_step(&mut self) -> Result<Option<Step>, Refusal> {
        while self.judged.is_none() {
            if let Some(call) = self.complete.pop_front() {
                if !self.out.is_empty() {
                    self.complete.push_front(call);
                    break;
                }
                let step = Step::Judge(call.tool_call());
                self.judged = Some(call);
                return Ok(Some(step));
            }
            match self.decoder.next_event()? {
                Some(event) => self.take_event(&event)?,
                None if self.is_input_over && self.take_rest() => {}
                None => break,
            }
        }
        let out = self.out.split().freeze();
        Ok((!out.is_empty()).then_some(Step::Release(out)))
    }

    /// Says what was decided about the call that is being judged.
    pub fn decide(&mut self, verdict: Verdict) {
        let Some(mut call) = self.judged.take() else { return };
        let Some(choice) = self.choices.iter_mut().find(|choice| choice.index == call.choice) else { return };
        let verdict = match verdict {
            Verdict::Rewrite(arguments) => {
                call.rewrite(arguments);
                Verdict::Allow
            }
            verdict @ (Verdict::Allow | Verdict::Deny) => verdict,
        };
        match verdict {
            Verdict::Deny => {
                choice.lacks_calls = true;
                choice.now.denied += 1;
                self.now.denied += 1;
            }
            Verdict::Allow | Verdict::Rewrite(_) => {
                let tool_call = call.tool_call();
                if let Some(pieces) = call.raw_as(choice.released) {
                    choice.has_role |= call.carries_role;
                    pieces.iter().for_each(|piece| self.out.extend_from_slice(piece));
                } else {
                    let role = (!choice.has_role).then_some("assistant");
                    choice.has_role = true;
                    let delta = call.delta(choice.released, role);
                    let piece = written(self.head.as_ref(), call.choice, &delta, "null");
                    self.out.extend_from_slice(&piece.raw);
                }
                match tool_call.kind {
                    CallKind::Function | CallKind::Custom => choice.released += 1,
                    CallKind::Legacy => choice.has_legacy = true,
                }
                self.now.allowed.push(tool_call);
            }
        }
    }

    /// The machine for the next round, with what must be remembered.
    pub(super) fn next_round(mut self) -> Self {
        for choice in &mut self.choices {
            choice.now = ChoiceRound::default();
            choice.released_earlier = choice.released;
            choice.needs_gap = choice.has_text;
        }
        self.earlier_usage = self.earlier_usage.plus(self.now.usage.unwrap_or_default());
        let (round, head, choices, earlier_usage) = (self.round + 1, self.head, self.choices, self.earlier_usage);
        Self { round, head, choices, earlier_usage, ..Self::new(self.asked_for_usage) }
    }

    fn take_event(&mut self, event: &Event) -> Result<(), Refusal> {
        if self.now.done.is_some() {
            return Ok(());
        }
        let Some(data) = event.data.as_ref().filter(|data| !data.trim_ascii().is_empty()) else {
            return self.pass(&event.raw);
        };
        if data.trim_ascii() == b"[DONE]" {
            self.complete_all();
            self.now.done = Some(event.raw.clone());
            return Ok(());
        }
        let chunk = Chunk::read(data)?;
        if chunk.has_error || event.name.as_ref() == b"error" {
            self.now.is_failed = true;
            self.choices.iter_mut().for_each(|choice| choice.now.open.clear());
            self.out.extend_from_slice(&event.raw);
            return Ok(());
        }
        if self.head.is_none() {
            self.head = Some(head_of(data)?);
        }
        self.take_usage(&chunk);
        let piece = self.edited(Piece::of_event(event, data), &chunk)?;
        self.take_chunk(piece, &chunk)
    }

    /// The input is over: what is open is complete. True if that changed anything.
    fn take_rest(&mut self) -> bool {
        if self.now.done.is_some() {
            return false;
        }
        // Some servers leave out the empty line behind their last one.
        if matches!(self.decoder.rest().trim_ascii(), b"data: [DONE]" | b"data:[DONE]") {
            self.now.done = Some(Bytes::copy_from_slice(self.decoder.rest()));
        }
        self.complete_all();
        self.now.done.is_some() || !self.complete.is_empty()
    }

    fn take_usage(&mut self, chunk: &Chunk<'_>) {
        if let Some(tokens) = chunk.usage.and_then(|raw| usage::read(raw.get())) {
            self.now.usage = Some(tokens);
        }
    }

    /// The piece without what the client did not ask for, and saying the same about the answer as the first one did.
    fn edited(&self, piece: Piece, chunk: &Chunk<'_>) -> Result<Piece, Refusal> {
        let unasked = chunk.usage.filter(|_| !self.asked_for_usage);
        if self.round == 0 {
            let Some(raw) = unasked else { return Ok(piece) };
            if let Some(cut) = piece.without_member("usage", raw) {
                return Ok(cut);
            }
        }
        let mut object = Object::read(piece.text()).map_err(unreadable)?;
        if unasked.is_some() {
            object.remove("usage");
        }
        if self.round > 0
            && let Some(head) = &self.head
        {
            for name in ["id", "created", "model"] {
                if let Some(raw) = head.raw(name) {
                    object.set(name, raw);
                }
            }
        }
        Ok(Piece::of_json(&object.to_string()))
    }

    fn take_chunk(&mut self, piece: Piece, chunk: &Chunk<'_>) -> Result<(), Refusal> {
        let has_usage = chunk.usage.is_some_and(|raw| raw.get() != "null");
        if chunk.choices.is_empty() {
            return match has_usage {
                false => self.pass(&piece.raw),
                true if self.asked_for_usage => {
                    self.hold_back(TailItem { piece, finished: None, has_text: false, has_usage })
                }
                true => Ok(()),
            };
        }
        let mut is_flowing = true;
        for choice in &chunk.choices {
            self.account(choice)?;
            let repeats_role = self.round > 0 && choice.delta.has_role;
            is_flowing &= !repeats_role && choice.finish_reason.is_none() && !choice.delta.has_calls();
        }
        if is_flowing {
            for choice in chunk.choices.iter().filter(|choice| choice.delta.has_role) {
                self.state(choice.index)?.has_role = true;
            }
            self.out.extend_from_slice(&piece.raw);
            return Ok(());
        }
        for (place, choice) in chunk.choices.iter().enumerate() {
            self.take_choice(&piece, chunk, place, choice)
                .map_err(|refusal| refusal.about(format!("choices[{place}]")))?;
        }
        Ok(())
    }

    /// Notes what a piece adds to a choice, whether or not it is released.
    fn account(&mut self, choice: &Choice<'_>) -> Result<(), Refusal> {
        let delta = &choice.delta;
        let text = delta.text();
        self.now.produced_bytes += delta.produced_bytes;
        self.now.produced_chunks += 1;
        self.now.text_bytes += text.as_ref().map_or(0, |text| text.len());
        if self.now.text_bytes > TEXT_LIMIT_BYTES {
            return Err(Refusal::new(
                Code::TooLarge,
                format!("the model's answer is larger than {TEXT_LIMIT_BYTES} bytes"),
            ));
        }
        let state = self.state(choice.index)?;
        let Some(text) = text else { return Ok(()) };
        state.has_text = true;
        state.now.text.push_str(&text);
        if std::mem::take(&mut state.needs_gap) {
            let gap = written(self.head.as_ref(), choice.index, GAP, "null");
            self.out.extend_from_slice(&gap.raw);
        }
        Ok(())
    }

    /// Takes a choice that has calls, ends, or says again who speaks.
    fn take_choice(
        &mut self,
        piece: &Piece,
        chunk: &Chunk<'_>,
        place: usize,
        choice: &Choice<'_>,
    ) -> Result<(), Refusal> {
        let delta = &choice.delta;
        let drops_role = self.round > 0 && self.state(choice.index)?.has_role;
        let is_alone = chunk.choices.len() == 1;
        let clean = |choice: &mut Object<'_>| match drops_role {
            true => edit_delta(choice, |delta| {
                delta.remove("role");
            }),
            false => Ok(()),
        };
        let own = if is_alone && !(drops_role && delta.has_role) {
            piece.clone()
        } else {
            piece.of_choice(place, clean).map_err(unreadable)?
        };
        if !delta.has_calls() {
            let has_text = delta.text().is_some();
            // Where the end has no text, another round may throw it away with who speaks in it.
            self.state(choice.index)?.has_role |= delta.has_role && (has_text || choice.finish_reason.is_none());
            return match choice.finish_reason {
                Some(reason) => self.finish(own, choice.index, reason, has_text, chunk),
                None => {
                    self.out.extend_from_slice(&own.raw);
                    Ok(())
                }
            };
        }
        if delta.has_content {
            self.state(choice.index)?.has_role |= delta.has_role;
            self.out.extend_from_slice(&without_calls(&own).map_err(unreadable)?.raw);
        }
        let call_count = delta.tool_calls.len() + usize::from(delta.function_call.is_some());
        let is_only_call = call_count == 1 && !delta.has_content && choice.finish_reason.is_none();
        let carries_role = delta.has_role && !drops_role && !delta.has_content;
        let raw = is_only_call.then_some(&own.raw);
        for call in &delta.tool_calls {
            self.absorb(choice.index, Parts::read(call.get()).map_err(unreadable)?, raw, carries_role)?;
        }
        if let Some(call) = delta.function_call {
            self.absorb(choice.index, Parts::read_legacy(call).map_err(unreadable)?, raw, carries_role)?;
        }
        let Some(reason) = choice.finish_reason else { return Ok(()) };
        let bare = own.with("delta", "{}").map_err(unreadable)?;
        self.finish(bare, choice.index, reason, false, chunk)
    }

    /// A choice has come to its end: its last call is complete, and the piece that says so is held back.
    fn finish(
        &mut self,
        piece: Piece,
        index: u64,
        reason: &RawValue,
        has_text: bool,
        chunk: &Chunk<'_>,
    ) -> Result<(), Refusal> {
        let has_usage = self.asked_for_usage && chunk.usage.is_some_and(|raw| raw.get() != "null");
        let state = self.state(index)?;
        state.now.is_finished = true;
        let open = state.now.close_calls();
        self.complete.extend(open);
        self.hold_back(TailItem { piece, finished: Some((index, reason.get().to_owned())), has_text, has_usage })
    }

    fn absorb(&mut self, index: u64, parts: Parts<'_>, raw: Option<&Bytes>, carries_role: bool) -> Result<(), Refusal> {
        let calls = self.now.calls;
        let state = self.state(index)?;
        let continued = state.now.open.iter().rposition(|open| open.is_continued_by(&parts));
        let complete = if continued.is_some() { Vec::new() } else { state.now.close_whole_calls() };
        if continued.is_none() {
            let id = parts.id.as_deref().unwrap_or_default();
            if state.now.closed.iter().any(|(closed, known)| *closed == parts.index && (id.is_empty() || known == id)) {
                return Err(unreadable("a tool call went on after the next one had begun"));
            }
            if state.now.open.len() == OPEN_CALLS_LIMIT {
                return Err(Refusal::new(
                    Code::TooLarge,
                    format!("the model writes more than {OPEN_CALLS_LIMIT} tool calls at a time"),
                ));
            }
            if calls == CALLS_LIMIT {
                return Err(Refusal::new(
                    Code::TooLarge,
                    format!("the model's answer has more than {CALLS_LIMIT} tool calls"),
                ));
            }
            self.now.calls += 1;
        }
        let state = self.state(index)?;
        let position = state.now.closed.len() + state.now.open.len();
        let place = continued.unwrap_or(state.now.open.len());
        if continued.is_none() {
            state.now.open.push(HeldCall::new(index, position, parts.index));
        }
        let Some(call) = state.now.open.get_mut(place) else { return Err(unreadable("a tool call is lost")) };
        call.carries_role |= carries_role;
        let produced = call.absorb(parts, raw.cloned())?;
        self.now.produced_bytes += produced;
        self.complete.extend(complete);
        Ok(())
    }

    fn complete_all(&mut self) {
        let open = self.choices.iter_mut().flat_map(|choice| choice.now.close_calls());
        self.complete.extend(open);
    }

    /// Passes what belongs to no choice: at once, or behind the end if that has been read.
    fn pass(&mut self, raw: &Bytes) -> Result<(), Refusal> {
        let is_ending = !self.now.tail.is_empty() && self.choices.iter().all(|choice| choice.now.is_finished);
        if is_ending {
            let piece = Piece { raw: raw.clone(), data: Bytes::new() };
            return self.hold_back(TailItem { piece, finished: None, has_text: false, has_usage: false });
        }
        self.out.extend_from_slice(raw);
        Ok(())
    }

    fn hold_back(&mut self, item: TailItem) -> Result<(), Refusal> {
        self.now.tail_bytes += item.piece.raw.len();
        if self.now.tail_bytes > TAIL_LIMIT_BYTES {
            return Err(Refusal::new(
                Code::TooLarge,
                format!("the end of the model's answer is larger than {TAIL_LIMIT_BYTES} bytes"),
            ));
        }
        self.now.tail.push(item);
        Ok(())
    }

    fn state(&mut self, index: u64) -> Result<&mut ChoiceState, Refusal> {
        let place = match self.choices.iter().position(|choice| choice.index == index) {
            Some(place) => place,
            None if self.choices.len() < CHOICES_LIMIT => {
                self.choices.push(ChoiceState { index, ..ChoiceState::default() });
                self.choices.len() - 1
            }
            None => {
                return Err(Refusal::new(
                    Code::TooLarge,
                    format!("the model's answer has more than {CHOICES_LIMIT} choices"),
                ));
            }
        };
        self.choices.get_mut(place).ok_or_else(|| unreadable("a choice is lost"))
    }
}

/// A piece of our own, under the same head as all others.
pub(super) fn written(head: Option<&Object<'static>>, choice: u64, delta: &str, reason: &str) -> Piece {
    let mut chunk = head.cloned().unwrap_or_default();
    chunk.set("choices", format!("[{{\"index\":{choice},\"delta\":{delta},\"finish_reason\":{reason}}}]"));
    Piece::of_json(&chunk.to_string())
}

/// What a piece says about the answer as a whole.
fn head_of(data: &Bytes) -> Result<Object<'static>, Refusal> {
    let text = std::str::from_utf8(data).map_err(unreadable)?;
    let mut head = Object::read(text).map_err(unreadable)?.into_owned();
    for name in ["choices", "usage", "obfuscation"] {
        head.remove(name);
    }
    Ok(head)
}

/// What is left of a piece of one choice without its calls and its end.
fn without_calls(piece: &Piece) -> Result<Piece, String> {
    piece.of_choice(0, |choice| {
        choice.set("finish_reason", "null");
        edit_delta(choice, |delta| {
            delta.remove("tool_calls");
            delta.remove("function_call");
        })
    })
}
