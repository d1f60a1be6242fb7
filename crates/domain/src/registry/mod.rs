//! Registry: what there is to call.
//!
//! Owns the record of what tool servers have declared. Where models and servers are comes from configuration; what a server says of
//! its tools is observed, journaled with its whole text, and so known before the server can be reached again.
//!
//! Which replica of a capability serves a session is decided by [`placement`]. Start with [`observed`].

pub mod event;
pub mod observed;
pub mod placement;

pub use observed::Observed;
pub use placement::{Placement, Placements, Replica};
