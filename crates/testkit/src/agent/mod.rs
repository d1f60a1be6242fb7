//! The claims agent: a small real agent that drives a model and tools through the gateway and keeps nothing itself.
//!
//! All that it knows is in its session. It reads the history (`GET /api/v1/sessions/{session}/history`), finds out from the
//! last messages what is to be done next (`conversation`), does it, and writes down that it did
//! (`PUT /api/v1/sessions/{session}/state/step`). Kill it at any instant and start it anew, on another machine if you like: it
//! continues exactly there. A tool call that it made before it was killed is made again under the same `Idempotency-Key`,
//! the id of the model's tool call; that it does not run twice is the gateway's promise.
//!
//! [`serve`] makes a service of it, as replicas behind the gateway are.
//!
//! `turn` is one step of it, `gateway` its view of the other side, `narrator` what a person reads.

mod conversation;
mod gateway;
mod narrator;
mod options;
mod replica;
mod run;
mod turn;

#[cfg(test)]
mod fake_gateway;
#[cfg(test)]
mod tests;

pub use options::{AgentOptions, AgentReport, Form};
pub use replica::{ReplicaOptions, serve};
pub use run::run;
