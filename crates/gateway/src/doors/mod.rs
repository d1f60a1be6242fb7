//! Doors: where calls come in.
//!
//! Owns the listener, the recognition of callers, and the answers in each caller's own protocol. A door never decides: it reads, hands over to [`crate::life`], and writes.
//! Errors become answers in one place per door.
//!
//! Start with [`router`]; [`caller`] says who is listened to; [`openai`], [`mcp`], [`agents`] and [`a2a`] are the languages.

pub mod a2a;
pub mod admin;
pub mod agents;
pub mod answer;
pub mod approvals;
pub mod arrived;
pub mod caller;
pub mod events;
pub mod framed;
pub mod handshake;
pub mod links;
pub mod mcp;
pub mod metadata;
pub mod oauth;
pub mod once;
pub mod openai;
pub mod opening;
pub mod path;
pub mod place;
mod quiet;
pub mod recognise;
pub mod router;
pub mod sealed;
pub mod serve;
pub mod task;
