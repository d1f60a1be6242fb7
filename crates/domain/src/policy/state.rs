//! Which policies are in force.

use serde::{Deserialize, Serialize};

use crate::policy::event::Activated;
use crate::policy::question::Version;

/// The policies in force; none before the first start has journaled any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// Their version.
    pub version: Option<Version>,
}

impl Active {
    /// Takes in that other policies are in force.
    pub fn activated(&mut self, event: &Activated) {
        self.version = Some(event.version);
    }
}
