//! The one command that checks everything: what passes here passes in CI, and nothing is checked elsewhere.
//!
//! [`steps`] is the list, in the order in which a mistake is cheapest to find. A step that fails does not stop the others, so
//! that one run shows all there is to mend. On a machine nobody watches (`CI` is set) a missing tool is a failure; a person
//! may go on without it and is told.

mod run;
mod steps;
mod tally;

pub(crate) use run::{Extent, run};
