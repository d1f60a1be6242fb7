//! What Portcullis is shown and tested with: a scripted model, sample MCP servers, an agent, and guards for processes.
//!
//! It is used by `portcullis demo`, by tests and by benches, and it knows the gateway from outside only: it speaks to it as any
//! client or upstream would. Nothing here enforces a rule; that the gateway does is what is shown.
//!
//! Start with [`model`], [`claims`] and [`agent`], the three players of the reference story; [`tool_server`] is the MCP server
//! for everything that the story does not need. [`process`], [`postgres`] and [`http`] are what a test does with them, [`authority`] proves names, [`fuzz`] makes cases without end, [`effects`] is how
//! it finds out what really ran.

// The players.
pub mod agent;
pub mod claims;
pub mod model;
pub mod tool_server;

// What a test holds in its hands.
pub mod authority;
pub mod effects;
pub mod fuzz;
pub mod http;
pub mod mcp;
pub mod oracle;
pub mod postgres;
pub mod process;

// What players share.
mod amount;
mod bearer;
mod chat;
mod json;
mod record;
