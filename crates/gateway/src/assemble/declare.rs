//! Keys that stand in the configuration.

use portcullis_domain::admission::DeclareKeys;

use crate::assemble::Assembly;
use crate::identity::declared;

impl Assembly {
    /// Makes these keys those that count, if they are others than before. Of gateways that share a journal, the one whose configuration changed last is right.
    ///
    /// # Errors
    ///
    /// A sentence when they can't be journaled.
    pub(super) async fn declare(&mut self, wanted: DeclareKeys) -> Result<(), String> {
        if self.declared.as_ref() == Some(&wanted.keys) {
            return Ok(());
        }
        let done = self.gate.journal.execute(wanted.clone()).await.map_err(|fault| fault.to_string())?;
        for key in done.map_err(|refusal| refusal.to_string())? {
            let name = declared::name(&key);
            tracing::warn!("identity.keys.{name} was taken back and opens nothing: give a new key another name");
        }
        self.declared = Some(wanted.keys);
        Ok(())
    }
}
