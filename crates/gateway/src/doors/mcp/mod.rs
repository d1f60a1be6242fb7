//! The Model Context Protocol over Streamable HTTP: `/mcp` has all tools as `server__tool`, `/mcp/<toolset>` a selection under the servers' own names. Both have the session's memory as resources.
//!
//! Both eras are spoken. Whatever policy says is HTTP 200 and a result that a model can read; only faults of the protocol are errors. Start with [`enter`]; [`transport`] is the session
//! of the transport, which is never ours.

pub mod call;
pub mod elicit;
pub mod enter;
pub mod list;
mod resources;
pub mod server;
pub mod transport;

pub use enter::enter;
