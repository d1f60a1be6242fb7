//! What can go wrong with a store. A fault is not a refusal: nobody decided anything.

use portcullis_domain::refusal::{Code, Refusal};

use crate::entropy::NoEntropy;

/// A store that did not do what it should.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreFault {
    /// Reading or writing failed; whether what was being written is there, only the next start will tell.
    #[error("the store failed: {0}")]
    Failed(String),
    /// The engine has ended, by a fault before or because it was asked to.
    #[error("the store is not open any more")]
    Closed,
    /// More waits for the writer than it may.
    #[error("the store has too much to do")]
    Busy,
    /// The database can't be reached or does not take anything for now. Nothing was done; the same may work later.
    #[error("the database is away: {0}")]
    Away(String),
    /// What is in the store is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The store can't be opened: used by somebody else, of another version, without its keys.
    #[error("{0}")]
    Unusable(String),
}

impl From<NoEntropy> for StoreFault {
    fn from(fault: NoEntropy) -> Self {
        Self::Failed(fault.to_string())
    }
}

impl From<StoreFault> for Refusal {
    /// Without the record nothing may happen: the caller is told so, the operator reads why.
    fn from(fault: StoreFault) -> Self {
        let code = match fault {
            StoreFault::Busy => Code::TooMany,
            StoreFault::Failed(_)
            | StoreFault::Away(_)
            | StoreFault::Closed
            | StoreFault::Damaged(_)
            | StoreFault::Unusable(_) => Code::StoreUnavailable,
        };
        Self::new(code, "the gateway can't write its journal at the moment, so nothing was done")
            .because(fault.to_string())
    }
}
