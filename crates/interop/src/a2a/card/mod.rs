//! Agent cards: what an agent says of itself, and what its clients see of it.
//!
//! A card is [read](Card::read) leniently, with a list of what is wrong; the gateway then picks the [`Interface`] to use. What clients
//! see is [written](Card::serve) anew: where to go and how to prove who one is are the gateway's, in the version they ask for; what the
//! agent says of its skills stays as it is. The agent's signature can't hold for that and is dropped.
//!
//! Keys are not held here. [`signature`] gives the exact bytes that a signature is over, so that whoever holds keys can verify the
//! agent's and make ours.

pub mod canonical;
pub mod signature;

mod interface;
mod read;
mod serve;

pub use interface::Interface;
pub use read::{Card, Skill};
pub use serve::{ByGrpc, Serving};

/// Where an agent's card is, below the agent's own path.
pub const WELL_KNOWN: &str = "/.well-known/agent-card.json";
/// Where it was before 0.3.
pub const FORMER_WELL_KNOWN: &str = "/.well-known/agent.json";
