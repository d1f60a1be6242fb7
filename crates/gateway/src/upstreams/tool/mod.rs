//! MCP servers as upstreams: over Streamable HTTP, and as child processes over standard input and output.
//!
//! The wire is that of `portcullis_interop::mcp`; here are the connections; [`sessions`] gives every session its own. [`wire`] is what both ask. Start with [`http`] and [`stdio`]; [`guard`] is the small process that makes sure that a child and its children
//! end with the gateway, however the gateway ends.

pub mod guard;
pub mod http;
pub mod sessions;
pub mod stdio;
pub mod wire;
