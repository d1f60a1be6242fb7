//! Policy: the rules of the configuration, read and compiled. The engine itself is the crate `portcullis_cedar`.
//!
//! Start with [`load`].

pub mod load;
pub mod made_of;
pub mod rulebook;
pub mod table;
