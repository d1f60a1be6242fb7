//! The parts of MCP that the sample servers share, and a small client for tests, the demo and the agent.
//!
//! Written apart from the gateway's own reading of MCP, so that a mistake in one is not repeated in the other. Two eras are
//! spoken: sessions (2025-11-25 and 2025-06-18, *legacy*) and stateless (2026-07-28).

mod client;
mod handshake;
mod jsonrpc;
mod tool;

pub use client::{Client, ToolAnswer};
pub(crate) use handshake::{LEGACY_VERSIONS, initialized};
pub(crate) use jsonrpc::{Fault, Incoming, answer, fault_answer, read};
pub(crate) use tool::{ToolCall, ToolResult};
