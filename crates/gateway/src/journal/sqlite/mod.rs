//! The embedded engine on SQLite: write-ahead log, full sync, one writing connection, one reading one.
//!
//! Start with [`engine`]; [`schema`] says what lies where, [`load`] rebuilds memory at a start, [`disk`] writes batches.

pub mod disk;
pub mod engine;
pub mod load;
pub mod schema;

pub use engine::SqliteEngine;
