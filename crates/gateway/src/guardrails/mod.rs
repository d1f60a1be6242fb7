//! Guardrails: what is in a call is looked at on its way in and out, and stopped, changed, marked or noted by rules that stand in order.
//!
//! Owns the table of the configuration, what is made of it, and everything about a rule that needs no waiting. What is looked for is the crate `portcullis-guard`'s; who asks services and
//! what becomes of a call is `life::guard`'s. It never keeps anything of what was found.
//!
//! Start with [`table`], then [`rule`] (one rule and what it says of a text), [`content`] (what of a call is looked at, and how it is written anew), [`said`] (what of a tool's answer has a shape), [`stage`] (the same for text in pieces), [`service`] (what services are asked).

pub mod content;
pub mod rule;
pub mod said;
pub mod service;
pub mod stage;
pub mod table;

pub use content::Content;
pub use rule::{Guardrails, Rule, Ruling};
