//! Keys that stand in the configuration.

use std::path::Path;

use portcullis_domain::admission::DeclareKeys;
use portcullis_domain::identity::Keys;

use crate::assemble::Assembly;
use crate::config::Config;
use crate::identity::declared;

/// The keys of a configuration, if none of them was something else before.
///
/// # Errors
///
/// Everything that is wrong with them.
pub(super) fn read(config: &Config, base: &Path, keys: &Keys) -> Result<DeclareKeys, Vec<String>> {
    let wanted = DeclareKeys { keys: declared::read(&config.identity.keys, base)? };
    let say = |key| {
        let name = declared::name(key);
        format!("identity.keys.{name} was another key, or for something else, before: give what is new another name")
    };
    let others: Vec<String> = wanted.others(keys).map(say).collect();
    if others.is_empty() { Ok(wanted) } else { Err(others) }
}

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
