//! Agents that speak Agent2Agent: `/a2a/<agent>` by JSON-RPC, `/a2a/<agent>/…` by HTTP+JSON, the service `A2AService` by gRPC, `/a2a/<agent>/.well-known/agent-card.json` for the card.
//!
//! A context of the client is a session, and a task belongs to its session; what the agent knows them by is never shown, and what the client says is never passed
//! on ([`names`] says how). News of tasks come to the gateway ([`news`]) and go on to where the client wants them ([`push`]).
//!
//! A message that a person must say yes to first is a task of the gateway's own until the agent has it ([`parked`]).
//!
//! Start with [`enter`]; [`claims`] reads which session and task a call is about, [`relay`] hands the answer through and settles it, [`list`] puts together what is asked of all contexts, [`card`] shows what agents say of themselves.

pub mod apart;
pub mod card;
pub mod claims;
pub mod enter;
pub mod grpc;
pub mod list;
pub mod names;
pub mod news;
pub mod parked;
pub mod push;
pub mod refuse;
pub mod relay;

pub use enter::enter;
