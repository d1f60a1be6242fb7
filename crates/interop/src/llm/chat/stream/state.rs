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
    /// Whether a gap belongs before the next text: the round before had some.
    pub needs_gap: bool,
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
    /// Calls that may go on, in the order in which they began: more than one where an upstream writes them by turns.
    pub open: Vec<HeldCall>,
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
    /// The calls that were open are complete: no further piece may add to them.
    pub(super) fn close_calls(&mut self) -> Vec<HeldCall> {
        self.close_while(|_| true)
    }

    /// The first of the open calls that are whole are complete, now that another begins. Behind one that is not whole all stay open, so that the order stays.
    pub(super) fn close_whole_calls(&mut self) -> Vec<HeldCall> {
        self.close_while(HeldCall::is_whole)
    }

    fn close_while(&mut self, is_complete: impl Fn(&HeldCall) -> bool) -> Vec<HeldCall> {
        let count = self.open.iter().take_while(|call| is_complete(call)).count();
        let calls: Vec<HeldCall> = self.open.drain(..count).collect();
        self.closed.extend(calls.iter().map(|call| (call.index, call.id().to_owned())));
        calls
    }
}
