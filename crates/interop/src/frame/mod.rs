//! What lies under the dialects: Server-Sent Events, JSON-RPC envelopes, and JSON objects that are edited without being retyped.
//!
//! Knows no method, no member and no event name of any dialect.

pub mod grpc;
pub mod http;
pub mod jsonrpc;
pub mod sse;

pub(crate) mod object;
pub(crate) mod proto;
