//! What the journal says about the catalogue.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::ServerName;

/// A server declares other tools than before. The body is its list of tools, as it sent them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolsObserved {
    /// The server.
    pub server: ServerName,
    /// The digest of the list.
    pub digest: Digest,
    /// How many tools there are.
    pub tools: u32,
}
