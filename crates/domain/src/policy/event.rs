//! What the journal says about policy.

use serde::{Deserialize, Serialize};

use crate::policy::question::Version;

/// Other policies are in force from here on. The first body is their text; the second, where there is one, all that the version is the digest of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activated {
    /// The digest of rules, schema and principals.
    pub version: Version,
    /// How many rules there are.
    pub policies: u32,
    /// Whether they are all on trial: nothing is refused by them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_audit: bool,
}
