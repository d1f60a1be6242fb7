//! Identity: issuing keys, the administrator that every gateway has, the keys that the gateway itself signs with, and the tokens that it hands to agents.
//!
//! Start with [`issue`]. Who a presented key stands for is asked in `portcullis_domain::identity`; roles and attributes are in [`table`].

pub mod facts;
pub mod issue;
pub mod signing;
pub mod table;
pub mod task;

/// The principal that the first start issues a key for.
pub const ADMINISTRATOR: &str = "admin";
/// The role that may manage the gateway.
pub const ADMINISTRATOR_ROLE: &str = "administrator";
