//! The command line: starting the gateway, and asking it.
//!
//! Start with [`arguments`], which is also the help that people read. Every command has a file. What a command prints goes to standard output, what went wrong to standard error, and
//! the exit code tells which of the two it was.

pub mod api;
mod approval;
pub mod arguments;
pub mod check;
pub mod demo;
pub mod exit;
pub mod grant;
mod identity;
pub mod journal;
pub mod policy;
pub mod print;
pub mod run;
pub mod session;
pub mod store;
pub mod up;

pub use run::run;
