//! Identity: who may come in.
//!
//! Owns the keys that the gateway issues: only the digest of a secret is ever kept. Principals with their roles and attributes come
//! from configuration; the policy engine's snapshot holds them.
//!
//! Start with [`key`].

pub mod disabled;
pub mod event;
pub mod key;

pub use disabled::Disabled;
pub use key::{Key, Keys, Presented, Signing};
