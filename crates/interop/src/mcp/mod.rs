//! The Model Context Protocol, on both faces: towards agents as a server, towards upstream servers as a client.
//!
//! It has two eras ([`version`]), and either face may meet either. The *modern* one (2026-07-28) is stateless: each request
//! says in its `_meta` who sends it and what it can do, and repeats in headers what it asks for. The *legacy* one (2024-11-05 to 2025-11-25) begins with
//! `initialize`. Here is all that differs between them; the gateway's core sees the same call from both.
//!
//! Raw JSON passes: the envelope of a message, its headers and `_meta` are made anew on each face, but a tool, its arguments
//! and its result stay as they were written, except for the members that the other era does not know.
//!
//! Serves tools and [`resource`]s, and may ask whoever is in front of a client whether a call may be made ([`elicit`]). Start reading at [`ingress`] (what an agent asks) and [`answer`] (what it gets), then [`egress`]
//! (what an upstream is asked, and how its answer is read). [`tool`] is an entry of a list on its way from one to the other;
//! [`header`] and [`mirror`] are what the modern era repeats in headers.

pub mod answer;
pub mod egress;
pub mod elicit;
pub mod header;
pub mod ingress;
pub mod mirror;
pub mod resource;
pub mod tool;
pub mod version;

mod meta;

pub use tool::Tool;
pub use version::{Era, Version};
