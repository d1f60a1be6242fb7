//! OpenAI Responses, `POST /v1/responses` (<https://platform.openai.com/docs/api-reference/responses>), said to a model in Chat Completions.
//!
//! [`request`] reads what the client sends; [`input`] turns items into messages and [`tools`] declarations into theirs; [`object`] is the response that the client gets,
//! [`output`] makes its items of a whole answer and [`stream`] its events of one in pieces. Nothing is judged here: that is done on the chat request and on the
//! chat answer, before they are translated.

pub mod input;
mod invalid;
mod items;
pub mod object;
pub mod output;
pub mod request;
pub mod stream;
pub mod tools;

pub use object::{Ending, Frame};
pub use request::ResponsesRequest;
pub use stream::ResponseStream;
