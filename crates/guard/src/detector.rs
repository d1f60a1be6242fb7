//! A rule's detector, ready to be used.

use serde_json::Value;

use crate::{Finding, Spec};

/// Why a rule can't be used: a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSpec(pub String);

/// What a rule looks for, compiled. Copies share what they are made of.
#[derive(Debug, Clone)]
pub struct Detector {}

impl Detector {
    /// Compiles what a rule says.
    ///
    /// # Errors
    ///
    /// A sentence about the first thing that is wrong with it.
    pub fn new(_spec: &Spec) -> Result<Self, BadSpec> {
        Err(BadSpec("there is no detector for it yet".to_owned()))
    }

    /// What is in a text: in order, none overlapping another, each range inside the text and between characters.
    #[must_use]
    pub fn find(&self, _text: &str) -> Vec<Finding> {
        Vec::new()
    }

    /// What is in JSON: in its strings, its numbers and the names of its members, each with its place.
    #[must_use]
    pub fn find_json(&self, _value: &Value) -> Vec<Finding> {
        Vec::new()
    }

    /// How much of a stream must be held back at most to find the same as in the whole, in bytes; none where only the whole can be judged.
    #[must_use]
    pub fn window(&self) -> Option<usize> {
        None
    }
}
