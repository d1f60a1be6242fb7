//! Identity: who may come in.
//!
//! Owns the keys that the gateway issues: only the digest of a secret is ever kept. Principals with their roles and attributes come
//! from configuration, and the policy engine's snapshot holds them; or an issuer vouches for them, and their profiles are in [`vouched`].
//!
//! Start with [`key`].

pub mod disabled;
pub mod event;
pub mod key;
pub mod scope;
pub mod uses;
pub mod vouched;

pub use disabled::Disabled;
pub use key::{Key, Keys, Presented, Signing};
pub use scope::{Entrance, Scope};
pub use uses::Uses;
pub use vouched::{Seen, Vouched};
