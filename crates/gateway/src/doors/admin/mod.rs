//! The gateway's own API under `/api/v1`: sessions for their owners, everything for administrators. Errors are problem details (RFC 9457).
//!
//! Start with [`enter`]; each noun has a file.

pub mod approval;
pub mod enter;
pub mod form;
pub mod grant;
pub mod health;
pub mod identity;
pub mod ledger;
pub mod policy;
pub mod resolve;
pub mod session;
pub mod state;
pub mod wait;

pub use enter::enter;
