//! OpenAI Chat Completions, `POST /v1/chat/completions` (<https://platform.openai.com/docs/api-reference/chat>).
//!
//! [`request`] reads what the client sends and writes what goes upstream; [`answer`] does the same for a whole answer,
//! [`stream`] for one in pieces. All three speak of [`call::ToolCall`]s. What is not judged, priced or renamed passes as it was written.

pub mod answer;
pub mod call;
pub mod request;
pub mod stream;

mod usage;

pub use answer::ChatAnswer;
pub use call::{CallKind, ToolCall, assistant_message};
pub use request::{ChatRequest, Round};
