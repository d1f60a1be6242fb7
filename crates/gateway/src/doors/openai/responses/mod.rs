//! Responses and conversations of the OpenAI API, over any model of the registry.
//!
//! A request for a response is said as a chat request, walks the same line as one, and what comes back is said as a response: nothing is judged here that is not judged
//! there. What is kept lies in the journal of the session ([`kept`]), so that it is there after a restart and at every gateway.
//!
//! Start with [`create`]; [`context`] is what came before; [`show`] and [`conversations`] are the rest of the API.

pub mod context;
pub mod conversations;
pub mod create;
pub mod enter;
pub mod kept;
pub mod making;
pub mod page;
pub mod show;
pub mod translate;

pub use enter::enter;
