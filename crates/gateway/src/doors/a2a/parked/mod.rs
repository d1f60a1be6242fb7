//! Messages that a person must say yes to before the agent gets them. For the client each is a task that needs input, until somebody has said yes or no, or its time is over.
//!
//! Nothing is kept for it: the name of such a task is sealed and holds the approval, and what the journal says of that is how the task stands. Once somebody has said yes the gateway
//! hands the message on by itself, at most once, as it makes approved tool calls. From then on the name stands for what the agent has made of it: all that is asked of it is asked
//! of the agent's own task.
//!
//! Start with [`answer`]; [`stand`] reads how it stands, [`run`] hands the message on, [`listed`] is for lists. Must never answer for a person: only a decision that its owner sends by themself counts, and
//! only where a rule says so.

mod answer;
mod listed;
mod run;
mod stand;

pub use answer::{Meant, Parked};
pub use listed::{Listed, of_caller};
pub use run::run;
