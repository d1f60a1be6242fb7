//! The embedded engine on SQLite: write-ahead log, full sync, one writing connection, one reading one.
//!
//! Start with [`engine`]; [`schema`] says what lies where and how the file is opened, [`load`] and [`decode`] rebuild memory at a start, [`disk`] writes batches and
//! [`fold`] folds the log back, [`read`] finds entries and bodies.

pub mod copy;
pub mod decode;
pub mod disk;
pub mod engine;
pub mod fold;
pub mod load;
pub mod read;
pub mod schema;

pub use engine::SqliteEngine;

#[cfg(test)]
mod tests;
