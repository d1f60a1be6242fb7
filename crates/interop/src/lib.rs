//! The languages of Portcullis: bytes on one side, calls and refusals on the other, and nothing that waits.
//!
//! Owns every wire format. Works on raw JSON: what the gateway does not judge passes as it was written, so that unknown
//! members survive and no number is rewritten. Must never open a socket, read a clock or hold a policy: what was decided is
//! handed in, and what is to be decided is handed out.
//!
//! Start reading at [`frame`] (what lies under the dialects), then one dialect, as in [`llm::chat`], [`mcp`] or [`a2a`]; [`refuse`] turns a
//! refusal into each dialect's own way of saying no.

pub mod a2a;
pub mod decision;
pub mod frame;
pub mod llm;
pub mod mcp;
pub mod refuse;
