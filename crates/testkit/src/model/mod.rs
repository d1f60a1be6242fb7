//! A scripted model that speaks OpenAI Chat Completions: it looks like a model to every client and says what a test needs.
//!
//! It is stateless: an answer, down to its ids, follows from the bytes of the request alone, so a run can be repeated and a
//! replica replaced. To a user message with *directives* it does as told ([`directives`]); otherwise, where the tools of the
//! claims story are declared, it acts as the claims *adjuster*; otherwise it says what it heard. It checks no rule: a model
//! that always tries is what the gateway is tested against.
//!
//! Read on in `script`, which decides; `answer` puts the decision on the wire; `server` is the rest.

mod adjuster;
mod answer;
pub mod directives;
mod reply;
mod request;
mod script;
mod server;
mod turn;

pub use server::{ModelOptions, serve};
