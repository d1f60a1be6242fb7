//! A model's answer in pieces: text flows on at once, tool calls are held until they are complete and judged.
//!
//! The machine waits for nothing. The shell feeds it what the upstream sends and takes [`Step`]s from it: bytes for the client,
//! or a call that must be judged before anything else happens. What ends an answer (the finish reason, the usage, `[DONE]`) is held
//! back until the shell has decided between closing the answer and asking the model again, which continues the same answer:
//!
//! ```text
//! feed ──► next_step ──► Release(bytes)            to the client
//!     ▲        │    └──► Judge(call) ──► decide    allow: released; deny: gone
//!     └────────┘ none: feed more, or feed_end
//! is_over ──► end ──► StreamEnd ──► close(note)    the tail, and `[DONE]` apart from it
//!                              └──► go_on          the machine for the next round
//! ```
//!
//! What the client puts together from the pieces is what was judged: a call whose pieces clients could read in more than one way
//! is written anew as one piece.
//!
//! Start reading at [`machine`]; `chunk` reads and edits one piece, `held` is a call that is not complete yet, [`end`] is how it ends; [`text`] is for those who look at text before the machine does.

pub mod end;
pub mod machine;
pub mod text;

mod chunk;
mod held;
mod state;

#[cfg(test)]
mod tests;

pub use end::{Closing, StreamEnd};
pub use machine::{ChatStream, Step, Verdict};
