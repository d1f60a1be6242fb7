//! Journal: the engines that make entries durable, and the one handle that everything else uses.
//!
//! Owns the store: its files, its keys, its writer. Nobody else opens a database. An engine decides a [`Command`] on the world as it is, writes the entries, and
//! only then gives the answer away: that is invariants 1 and 2 in one place. A write that fails after a decision ends the engine, since memory and disk may
//! differ from then on; the next start rebuilds memory from disk.
//!
//! Start with [`engine`] (what an engine is), then [`handle`] (what callers see), then [`sequencer`] and [`sqlite`] (the embedded engine). [`verify`] and [`show`] read a
//! journal from outside, [`copy`] carries a whole one into another store.
//!
//! [`Command`]: portcullis_domain::admission::Command

pub mod engine;
pub mod fault;
pub mod handle;
pub mod leases;

pub mod bookmark;
pub mod decider;
pub mod files;
pub mod keeper;
pub mod page;
pub mod postgres;
pub mod replay;
pub mod sequencer;
pub mod sqlite;
pub mod streams;
pub mod table;
pub mod vault;

pub mod audit;
pub mod copy;
pub mod migrate;
pub mod show;
pub mod verify;

#[cfg(test)]
mod conformance;

pub use audit::Report;
pub use engine::{Engine, Job, Stored};
pub use fault::StoreFault;
pub use handle::{Journal, Placed};
pub use verify::{verify, verify_against};
