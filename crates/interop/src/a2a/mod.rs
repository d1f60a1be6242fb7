//! Agent2Agent, on both faces: towards clients as the agent, towards agents as a client. Versions 1.0 and 0.3, by JSON-RPC, HTTP+JSON and
//! gRPC, in every pairing.
//!
//! A call goes through here so:
//!
//! ```text
//! client ──► ingress ──► A2aCall ──► edited ──► egress::ask ──► agent
//! client ◄── answer ◄── Reply::renamed ◄── Reply ◄── egress::AnswerReader ◄── agent
//! ```
//!
//! Raw JSON passes. What a client claims (contexts, tasks, webhooks) is found and replaced where it stands, and only what differs
//! between the versions is [translated](translate); when both sides speak the same, a text that needs no edit passes byte for byte. Ids are
//! mapped by the caller and never trusted here: [`walk`] finds them under every name that an agent would take for theirs.
//!
//! Start reading at [`version`] and [`method`], then [`ingress`], [`call`], [`reply`] and [`egress`]. [`card`] is what agents say of themselves; [`failure`] and
//! [`refusal`] are the ways of saying no.

pub mod answer;
pub mod call;
pub mod card;
pub mod egress;
pub mod failure;
pub mod grpc;
pub mod ingress;
pub mod kept;
pub mod listing;
pub mod method;
pub mod parked;
pub mod pieces;
pub mod refusal;
pub mod reply;
pub mod state;
pub mod translate;
pub mod version;
pub mod walk;
pub mod webhook;

mod query;
mod route;
mod shape;
mod status;

pub use call::{A2aCall, Change, Edits, News, Webhook};
pub use card::{Card, Interface};
pub use failure::{Failure, Kind};
pub use method::Method;
pub use reply::{Payload, Reply};
pub use state::TaskState;
pub use version::{Binding, Dialect, Version};
pub use walk::Named;
