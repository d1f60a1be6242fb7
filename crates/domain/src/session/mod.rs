//! Session: a durable conversation that belongs to one principal.
//!
//! Owns which sessions there are, whether they are open, and their versioned scratchpad. The history is the session's stream itself; the
//! values of the scratchpad are bodies of its entries. So what stays in memory for a session is small.
//!
//! Start with [`state`]; [`scratchpad`] has the rules for its values, [`history`] those for messages that repeat, [`once`] those for calls that do, [`wait`] those for what it waits for, [`push`] those for news of its tasks, [`agent_tasks`] those for tasks that outlast their calls.

pub mod agent_tasks;
pub mod event;
pub mod history;
pub mod once;
pub mod push;
pub mod records;
pub mod requests;
pub mod scratchpad;
pub mod state;
pub mod wait;

pub use agent_tasks::AgentTasks;
pub use event::StateKey;
pub use once::{Earlier, Mark, Repetition};
pub use push::Pushes;
pub use records::Records;
pub use requests::Requests;
pub use scratchpad::Expected;
pub use state::{Origin, Session, Sessions, Status, Turn};
pub use wait::Waits;
