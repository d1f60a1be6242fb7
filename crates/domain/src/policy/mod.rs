//! Policy: what is asked and what is answered.
//!
//! Owns the question, the decision, and the typed arguments that make a tool's JSON something that a rule can judge.
//! It never evaluates a rule: the engine (crate `portcullis-cedar`) does that outside the writer, on an immutable snapshot,
//! and its decision is handed to [`crate::admission`] as a fact together with the version of the policies that made it.
//!
//! Start with [`question`], then [`schema`] (what a tool's JSON Schema says about types) and [`arguments`] (how a call's raw
//! JSON is read by it; everything that can't be read exactly is refused). [`approval`] is what persons were asked and have said; [`guarded`] is what guardrails did.
//! [`within`] asks whether a call is within the grant of its task, and [`grants`] how much of that is left.

pub mod approval;
pub mod arguments;
pub mod event;
pub mod grants;
pub mod guarded;
pub mod moment;
pub mod provenance;
pub mod question;
pub mod schema;
pub mod state;
pub mod stated;
pub mod within;

pub use approval::{Approval, Approvals, Asks, Standing};
pub use arguments::{Arguments, Value};
pub use grants::{Grants, Within};
pub use guarded::{Deed, Guarded, Point};
pub use moment::Moment;
pub use provenance::{Origin, Said};
pub use question::{APPROVALS_LIMIT, Ask, Decision, Effect, Question, Version};
pub use schema::{Field, RecordType, Type};
pub use state::{Active, PutBack};
pub use stated::Stated;
