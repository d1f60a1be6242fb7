//! An MCP server over Streamable HTTP for everything that the claims story does not need: tools that wait, fail, talk a lot, or
//! leave a trace of having run.
//!
//! It speaks one of two eras: with sessions (MCP 2025-11-25) or stateless (MCP 2026-07-28), and is as strict about it as the
//! specification lets it be, so that a gateway's small mistakes show. Its session ids can be guessed; it is for tests.
//!
//! `tools` says what there is to call, `sessions` and `stateless` are the two eras, `server` the rest.

mod reply;
mod server;
mod sessions;
mod stateless;
mod tools;

pub use server::{Era, ToolServerOptions, serve};
