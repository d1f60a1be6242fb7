//! All that an engine is made of, as the journal keeps it, so that a question of then can be asked again of the rules of then.

use portcullis_cedar::{Engine, Facts, Problem, Source, compile};
use serde::{Deserialize, Serialize};

/// Rules, and who and what they were checked against.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MadeOf {
    /// The files.
    pub sources: Vec<Source>,
    /// Who and what there was.
    pub facts: Facts,
}

impl MadeOf {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // It has text as keys only, so that it can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What these bytes say.
    ///
    /// # Errors
    ///
    /// When they are something else.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| format!("the record of the policies can't be read: {error}"))
    }

    /// The engine that it makes.
    ///
    /// # Errors
    ///
    /// What is wrong with the rules.
    pub fn compile(&self) -> Result<Engine, Vec<Problem>> {
        compile(&self.sources, &self.facts)
    }
}
