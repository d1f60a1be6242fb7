//! What each server declared last.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::ServerName;
use crate::registry::event::ToolsObserved;

/// One server's latest list of tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// The digest of the list.
    pub digest: Digest,
    /// The entry of the control stream that has the list as its body.
    pub seq: u64,
}

/// All servers that were ever seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    servers: BTreeMap<ServerName, Declared>,
}

impl Observed {
    /// What the server declared last.
    #[must_use]
    pub fn find(&self, server: &ServerName) -> Option<Declared> {
        self.servers.get(server).copied()
    }

    /// Takes in what a server declares, from the entry of that number in the control stream.
    pub fn tools_observed(&mut self, event: &ToolsObserved, seq: u64) {
        self.servers.insert(event.server.clone(), Declared { digest: event.digest, seq });
    }
}
