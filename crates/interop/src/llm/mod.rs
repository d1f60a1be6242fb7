//! The languages of models: requests for completions and what comes back, whole or as a stream.
//!
//! Each dialect reads a request (what must be known to admit it), writes what goes upstream, takes the tool calls out of the
//! answer so that they can be judged, and writes what the client gets. It judges nothing itself.

pub mod chat;
pub mod responses;
