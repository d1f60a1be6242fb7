//! Which policies are in force.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::policy::event::{Activated, RolledBack};
use crate::policy::question::Version;

/// The policies in force; none before the first start has journaled any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// Their version.
    pub version: Option<Version>,
    /// Rules of before that count instead of what the files say, where somebody has put some back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put_back: Option<PutBack>,
}

/// Rules that were put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutBack {
    /// The entry of the control stream that has their text.
    pub entry: u64,
    /// Their digest.
    pub rules: Digest,
    /// They count for as long as the files say this.
    pub instead_of: Digest,
}

impl Active {
    /// Takes in that other policies are in force.
    pub fn activated(&mut self, event: &Activated) {
        self.version = Some(event.version);
    }

    /// Takes in that rules of before count.
    pub fn rolled_back(&mut self, event: &RolledBack) {
        let RolledBack { entry, rules, instead_of, .. } = *event;
        self.put_back = Some(PutBack { entry, rules, instead_of });
    }

    /// Takes in that the files count.
    pub fn rolled_forward(&mut self) {
        self.put_back = None;
    }

    /// The rules that count where the files say that.
    #[must_use]
    pub fn counting(&self, written: Digest) -> Digest {
        let put_back = self.put_back.as_ref().filter(|put_back| put_back.instead_of == written);
        put_back.map_or(written, |put_back| put_back.rules)
    }
}
