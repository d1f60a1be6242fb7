//! Identity: issuing keys, principals that others vouch for, the administrator that every gateway has, the keys that the gateway itself signs with, and the tokens that it hands to agents.
//!
//! Start with [`issue`], and with [`issuers`] for those who come with a token of their own issuer ([`jwt`] reads it, [`mapping`] says what it means here). What the gateway says to other authorization servers is in [`assertion`]. Client certificates are another way of being vouched for: [`certificates`]. Who a presented key stands for is asked in `portcullis_domain::identity`; roles and attributes are in [`table`].

pub mod assertion;
pub mod certificate;
pub mod certificates;
pub mod declared;
pub mod facts;
pub mod issue;
pub mod issuer;
pub mod issuers;
pub mod jwt;
pub mod mapping;
pub mod signing;
pub mod spiffe;
pub mod table;
pub mod task;
pub mod uses;

/// The principal that the first start issues a key for.
pub const ADMINISTRATOR: &str = "admin";
/// The role that may manage the gateway.
pub const ADMINISTRATOR_ROLE: &str = "administrator";
