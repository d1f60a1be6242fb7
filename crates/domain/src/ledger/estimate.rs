//! What a model call may cost before it is made.
//!
//! The provider's own count is the truth and comes with the answer. Before that, input is estimated from the text's length, on
//! the high side, and output from the most that may be produced.

use crate::money::Tokens;

/// Bytes of text to a token. Common tokenizers average three to four in English and some two in dense text (digits, code in other scripts);
/// two keeps the estimate above the truth for nearly all text.
const BYTES_PER_TOKEN: u64 = 2;

/// Tokens that frame each message, by the counting guides of model providers (three to four).
const TOKENS_PER_MESSAGE: u64 = 4;

/// Tokens that a picture may take where its size is not known.
const TOKENS_PER_IMAGE: u64 = 1_600;

/// What is known of a request before it is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of text in messages and tool declarations.
    pub text_bytes: u64,
    /// How many messages.
    pub messages: u64,
    /// How many pictures.
    pub images: u64,
    /// The most tokens that may be produced, over all choices.
    pub output_limit: u64,
}

/// The most tokens that a request of this shape is expected to take.
#[must_use]
pub fn request(shape: Shape) -> Tokens {
    let text = shape.text_bytes.div_ceil(BYTES_PER_TOKEN);
    let framing = shape.messages.saturating_mul(TOKENS_PER_MESSAGE);
    let images = shape.images.saturating_mul(TOKENS_PER_IMAGE);
    Tokens { input: text.saturating_add(framing).saturating_add(images), output: shape.output_limit }
}

/// The tokens that an answer took which ended before the provider said so: a token for every piece that came, or what
/// its text makes at four bytes to a token where that is more.
#[must_use]
pub fn produced(pieces: u64, text_bytes: u64) -> u64 {
    pieces.max(text_bytes.div_ceil(4))
}
