//! Agents over plain HTTP: `/agents/<agent>/…` is what stands behind one of its replicas.
//!
//! Start with [`enter`]; [`relay`] hands the answer through and settles it.

pub mod enter;
pub mod hop;
pub mod relay;

pub use enter::enter;
