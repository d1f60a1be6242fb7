//! Ledger: what calls may cost and what they have cost.
//!
//! Owns accounts, grants, holds and charges, all in integers. The one law: on every account that has a grant,
//! `held + spent ≤ granted`, whatever is admitted, settled or lost in whatever order. What a call turns out to cost beyond its hold
//! and beyond what is left is not charged but recorded as *overrun*, so that it is seen and nothing is spent twice. A grant that is lowered below
//! what is held and spent already takes nothing back: until it fits again nothing more is held, and nothing is charged beyond its hold.
//!
//! Start with [`book`]; [`estimate`] says what a model call may cost before it is made.

pub mod account;
pub mod book;
pub mod estimate;
pub mod event;
pub mod rate;

pub use account::Account;
pub use book::{Balance, Book, Charge, Payer};
pub use rate::Rate;
