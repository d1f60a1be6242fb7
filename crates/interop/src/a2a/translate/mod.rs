//! What one version says, in the words of the other.
//!
//! Both directions meet in the same raw JSON: a member that neither version knows stays where it is, as it was written. What
//! one version has no place for is left out: several schemes of a webhook become the first one (1.0), and nothing else is lost.
//! An unknown member whose name would mean something in the other version is left out too, lest what was judged as meaningless
//! gets a meaning behind the gateway.
//!
//! [`params`] is for what is asked, [`result`] for what is answered and for each event of a stream; `legacy` is the older form of 1.0's JSON
//! that 0.3 writes over HTTP+JSON. The rules are those of the official libraries, and golden pairs made by them hold us to it.

pub mod params;
pub mod result;

pub(super) mod legacy;

mod edit;
mod message;
mod part;
pub(in crate::a2a) mod push;
mod task;
