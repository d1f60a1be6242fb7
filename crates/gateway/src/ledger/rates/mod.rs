//! How often calls may be made: windows of limits, counted in a Redis that several gateways share, or here.
//!
//! Nothing of it is in the record, and all of it may be lost at any time: a lost window is an empty one. The rule for one window is
//! [`portcullis_domain::ledger::Rate`].

mod counted;
mod here;
mod shared;
pub mod table;
mod window;

pub use counted::Rates;
