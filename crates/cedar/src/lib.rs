//! The policy engine behind [`portcullis_domain::policy`]: Cedar, with a schema generated from what the gateway knows.
//!
//! Owns how rules are read, checked and evaluated. It never decides what happens after a *no*, keeps no time, reads no file
//! and knows no protocol: sources and facts come in as data, and a [`Question`](portcullis_domain::policy::Question) becomes
//! a [`Decision`](portcullis_domain::policy::Decision).
//!
//! # The model
//!
//! ```text
//! Principal in Role        the attributes of the identity table, typed by all principals together; of principals that an issuer
//!                          vouches for, what it says, which comes with the question
//! Tool in Server           read_only, destructive, idempotent: where the server says so
//! Model, Function          a function is what the registry does not know: the client's own, or the provider's
//!
//! Action::"call_model"     on a Model
//! Action::"call_agent"     on an Agent
//! Action::"call_function"  on a Function
//! Action::"call_tool"      the group of all tools; each is an action of its own, as in Action::"claims__approve_payment",
//!                          so that `context.arguments` has the types of that tool's schema
//!
//! context                  arguments, origins, stated (tools only)
//!                          subject (a Principal), depth, through (a set of names): who asked first, and the agents through whom
//!                          session { owner, name, spent (dollars), calls, refused, age_s }
//!                          time { date (as 20261122), weekday (1 is Monday), hour, minute, unix_s }, in UTC
//!                          door (also called protocol), place
//! ```
//!
//! # What is always so
//!
//! - Nothing is allowed that no rule permits; a rule that forbids wins; a rule that can't be evaluated denies.
//! - What is misspelt is found by [`compile`], strictly typed, with its line and what was meant.
//! - A decision depends on nothing but the question and what [`Engine::version`] is the digest of.
//!
//! # Why it is fast
//!
//! Cedar evaluates every rule it is given, at one to three microseconds each, so it is given few (`slice`): for a principal
//! and a capability the scopes of all rules are settled once, and so is every rule that does not read the context. What is
//! left for the moment of the call are the rules that judge arguments; where there are none, the decision is ready.
//! Principals that no rule can tell apart share slices, and so do functions that no rule names, so that the number of slices
//! follows the configuration and not what models invent.
//!
//! Start with [`compile`], then `rule` (what is made of one statement) and `slice` (what is asked at run time). The module
//! `oracle` holds the engine against Cedar's own authorizer over all rules as they were written.

mod facts;
mod problem;

mod annotation;
mod attributes;
mod check;
mod compile;
mod findings;
mod names;
mod nesting;
mod presence;
mod schema;
mod source;
mod version;

mod argument;
mod context;
mod entity;
mod lower;
mod reads;
mod rule;
mod scope;

mod engine;
mod population;
mod slice;
mod trial;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod oracle;
#[cfg(all(test, not(debug_assertions)))]
mod speed;

pub use compile::compile;
pub use engine::Engine;
pub use facts::{Facts, Issuer, Mode, Principal, Source, Tool};
pub use problem::{Problem, Severity};
pub use version::version_of;
