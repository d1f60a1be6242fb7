//! The gateway as a client of upstream servers.
//!
//! [`ask`] makes what is sent, [`reader`] finds the messages in the body of an HTTP answer, and [`reply`] reads what they say:
//!
//! ```text
//! discover ──► read_discovery ──► a greeting: modern
//!                     └─ none ──► initialize ──► read_initialized ──► initialized (202)
//! list_tools ──► read_tools, page by page        call_tool ──► read_called
//! ```
//!
//! A legacy server that answers 404 has forgotten the session that it gave: greet it again.

pub mod ask;
pub mod reader;
pub mod reply;

pub use ask::{Call, Client, Outgoing, Peer, discover, initialize};
pub use reader::{AnswerReader, Inbound, Outcome};
pub use reply::{Greeting, ToolPage, read_called, read_discovery, read_failure, read_initialized, read_tools};
