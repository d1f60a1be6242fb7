//! The OpenAI API: chat completions, streamed or not, the list of models, and [`responses`] with their conversations.
//!
//! Start with [`enter`]; [`plain`] is a completion as a whole, [`stream`] one in pieces. Both judge every tool call in the model's answer before the client sees it.
//! [`keyed`] answers what has an idempotency key once.

pub mod complete;
pub mod enter;
pub mod keyed;
pub mod models;
pub mod plain;
pub mod reply;
pub mod responses;
pub mod settlement;
pub mod stream;

pub use enter::enter;
