//! The gateway as a client of agents.
//!
//! [`ask`](ask::ask) makes what is sent from a call of any client, in what the agent speaks; [`reader`] finds replies and failures in what
//! comes back.

pub mod ask;
pub mod reader;

pub use ask::{Outgoing, ask};
pub use reader::{AnswerReader, Inbound};
