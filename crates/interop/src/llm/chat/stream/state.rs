//! What the machine remembers: of one choice, of one round, and over all of them.

use bytes::Bytes;
use portcullis_domain::money::Tokens;

use crate::llm::chat::call::ToolCall;
use crate::llm::chat::stream::chunk::Piece;
use crate::llm::chat::stream::held::HeldCall;

/// What is known of one choice, over all rounds.
#[derive(Debug, Default)]
pub(super) struct ChoiceState {
    pub index: u64,
    pub has_role: bool,
    pub has_text: bool,
    /// How many calls the client has got, and thus the number of the next one.
    pub released: u64,
    pub released_earlier: u64,
    pub has_legacy: bool,
    /// Whether a call was ever denied, so that what the upstream says about the end need not be true any more.
    pub lacks_calls: bool,
    pub now: ChoiceRound,
}

/// What is known of one choice in this round.
#[derive(Debug, Default)]
pub(super) struct ChoiceRound {
    pub text: String,
    pub is_finished: bool,
    pub denied: usize,
    pub open: Option<HeldCall>,
    /// Number and id of the calls that are complete.
    pub closed: Vec<(Option<u64>, String)>,
}

/// What is known of this round.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub usage: Option<Tokens>,
    pub allowed: Vec<ToolCall>,
    pub denied: usize,
    pub calls: usize,
    pub text_bytes: usize,
    pub produced_bytes: usize,
    pub produced_chunks: usize,
    pub is_failed: bool,
    pub done: Option<Bytes>,
    pub tail: Vec<TailItem>,
    pub tail_bytes: usize,
}

/// What is held back until the answer is closed.
#[derive(Debug)]
pub(super) struct TailItem {
    pub piece: Piece,
    /// The choice that it ends, and the raw reason.
    pub finished: Option<(u64, String)>,
    /// It also has the last text of that choice.
    pub has_text: bool,
    /// It has the usage of this round.
    pub has_usage: bool,
}

impl ChoiceRound {
    /// The call that was open is complete: no further piece may add to it.
    pub(super) fn close_call(&mut self) -> Option<HeldCall> {
        let call = self.open.take()?;
        self.closed.push((call.index, call.id().to_owned()));
        Some(call)
    }
}
