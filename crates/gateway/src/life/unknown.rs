//! Calls of what there is not, as far as the caller may know.

use bytes::Bytes;
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::Refusal;

use crate::asking::Asking;
use crate::life::{Gate, Terms, Tool};
use crate::snapshot::Setting;
use crate::snapshot::{Snapshot, no_tool};

impl Gate {
    /// Refuses a call of a tool that there is not, or that is `hidden` from the caller. Both are written down alike, but for the reasons, which only operators read.
    pub async fn refuse_tool(&self, asking: &Asking, name: &str, hidden: Option<(&Tool, &str)>) -> Refusal {
        let nothing = Body::new(Bytes::new());
        let know = |snapshot: &Snapshot, setting: &Setting| snapshot.know_no_tool(asking, setting, name, hidden);
        let refused = self.admit(asking, None, &nothing, Terms::default(), know).await;
        refused.err().unwrap_or_else(|| no_tool(name))
    }
}
