//! The claims server of the reference story: an MCP server over stdio with three tools, one of which pays money.
//!
//! It never says no to an amount. That `approve_payment` did not run is proved by the payments file, to which every payment
//! is appended, and fsynced, before it is answered. Look at `tools` for what the tools take, at `server` for the wire.

mod server;
mod tools;

pub use server::{serve, serve_stdio};
