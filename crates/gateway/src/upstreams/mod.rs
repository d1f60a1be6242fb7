//! Upstreams: what calls are forwarded to.
//!
//! Owns connections, child processes and credentials. It forwards an [`Admitted`] and nothing else; what goes out is what was judged. It never tries a call again by
//! itself: whether that would be right, only the caller can know.
//!
//! Start with [`egress`]; [`model`] speaks to model APIs, [`tool`] to MCP servers, [`agent`] and [`a2a`] to agents, whose [`replicas`] and [`cards`] it looks after. [`push`] calls what clients
//! name, as far as the [`guard`] lets it, and [`issuer`] calls issuers and authorization servers; [`oauth`] gets tokens for upstreams that way.
//!
//! [`Admitted`]: portcullis_domain::admission::Admitted

pub mod a2a;
pub mod agent;
pub mod cards;
pub mod client;
pub mod egress;
pub mod guard;
pub mod issuer;
pub mod model;
pub mod oauth;
pub mod push;
pub mod replicas;
pub mod tool;

pub use egress::Egress;
