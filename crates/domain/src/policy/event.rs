//! What the journal says about policy.

use serde::{Deserialize, Serialize};

use crate::policy::question::Version;

/// Other policies are in force from here on. The body is their text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activated {
    /// The digest of rules, schema and principals.
    pub version: Version,
    /// How many rules there are.
    pub policies: u32,
}
