//! The cluster engine on PostgreSQL: one totally ordered log that any number of gateways write, each with the same memory as a replica of it.
//!
//! A batch is one transaction. It locks the one row of the table `head`, reads what others have written meanwhile, decides on the world as it is then, writes, moves
//! the head and commits. So every decision of every gateway stands in one order, and what the embedded engine promises holds here for the same reasons.
//! One lock is taken for a batch, not for a call: under load many calls share it.
//!
//! Start with [`engine`], then [`writer`], which has the life of a batch and what happens when the database goes away in the middle of one. [`link`] is every statement
//! that the writer speaks, [`follow`] takes others' entries into memory, [`members`] knows who is alive, [`renew`] says so while memory is read, [`leases`] knows who looks after which session.
//! [`schema`] says what lies where, [`keys`] that all gateways of a store have the same secrets, [`address`] and [`tls`] how the database is reached, [`read`] finds entries and
//! bodies, [`outside`] reads beside all gateways, [`copy`] is a database as one side of a copy.

pub mod address;
pub mod connect;
pub mod copy;
pub mod engine;
pub mod follow;
pub mod keys;
pub mod leases;
pub mod link;
pub mod members;
pub mod options;
pub mod outside;
pub mod read;
pub mod renew;
pub mod schema;
pub mod tls;
pub mod trouble;
pub mod writer;

pub use engine::PostgresEngine;
pub use options::Options;

#[cfg(test)]
mod tests;
