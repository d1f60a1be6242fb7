//! Registry: the catalogue of what there is to call, made from the configuration and from what tool servers declare.
//!
//! Owns the names: every tool is called `server__tool` here, and a model's own word for a tool is resolved to all tools that it may mean. It connects to nothing.
//!
//! Start with [`catalogue`].

pub mod agent;
pub mod catalogue;
pub mod credential;
pub mod deployment;
pub mod model;
pub mod own;
pub mod statement;
pub mod table;
pub mod tool;

pub use agent::Agent;
pub use catalogue::Catalogue;
pub use model::{Deployment, Model};
pub use tool::Tool;
