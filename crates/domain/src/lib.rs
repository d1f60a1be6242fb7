//! The rules of Portcullis, and nothing else.
//!
//! Every type here is plain data and every function is pure: no clock, no socket, no disk, no randomness, no `async`.
//! What must be waited for to be known (the time, a random id, a policy decision, the length of an answer) is handed in as
//! a fact. That is why *explain*, *dry run* and *replay* are the same functions that decide live traffic.
//!
//! Start reading at [`admission`], which asks the questions of a call in order, then [`world`], which is everything that
//! the journal says, and [`event`], which is everything that it can say.

// The common words.
pub mod authority;
pub mod call;
pub mod digest;
pub mod grant;
pub mod ids;
pub mod json;
pub mod money;
pub mod profile;
pub mod refusal;
pub mod scope;
pub mod time;
pub mod value;

// The pillars. They never import one another.
pub mod identity;
pub mod journal;
pub mod ledger;
pub mod policy;
pub mod registry;
pub mod session;

// Those who know all pillars.
pub mod admission;
pub mod event;
pub mod world;
