//! Which of the gateways that share a journal does for a session what only one of them may do, as telling agents how its waits ended.
//!
//! A run of a gateway has the lease of a session for as long as it is believed to live, by the same lease that its calls rest on. There is no second clock: whoever was found
//! dead can't write to the journal any more, so that it can't begin anything that others have taken over. What it had begun before is among its open calls, which are
//! settled in the transaction that finds it dead.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_domain::ids::SessionId;

use crate::journal::fault::StoreFault;

/// The most sessions that are asked for at a time.
const ASKED_LIMIT: usize = 1_024;

/// Gives the leases of sessions to gateways.
pub trait SessionLeases: Send + Sync {
    /// Gives this gateway the leases that no other living gateway has, `limit` at most, and says which. It blocks.
    ///
    /// # Errors
    ///
    /// When the store can't be asked.
    fn take(&self, sessions: &[SessionId], limit: usize) -> Result<Vec<SessionId>, StoreFault>;

    /// Takes them back. It blocks.
    ///
    /// # Errors
    ///
    /// When the store can't be asked.
    fn give_back(&self, sessions: &[SessionId]) -> Result<(), StoreFault>;
}

/// Nobody shares the journal: everything is this gateway's.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl SessionLeases for Alone {
    fn take(&self, sessions: &[SessionId], limit: usize) -> Result<Vec<SessionId>, StoreFault> {
        Ok(sessions.iter().take(limit).cloned().collect())
    }

    fn give_back(&self, _: &[SessionId]) -> Result<(), StoreFault> {
        Ok(())
    }
}

/// The leases that this gateway has.
pub struct Leases {
    store: Arc<dyn SessionLeases>,
    /// What was taken and not given back. Held to look or to change it, never while the store is asked. It stays true for as long as this gateway may write.
    held: Mutex<HashSet<SessionId>>,
    /// One at a time asks the store: what one has found idle must not be taken by another before it is given back.
    asking: tokio::sync::Mutex<()>,
}

impl Leases {
    /// None yet.
    #[must_use]
    pub fn new(store: Arc<dyn SessionLeases>) -> Self {
        Self { store, held: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// Whether this gateway has the session's.
    #[must_use]
    pub fn has(&self, session: &SessionId) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).contains(session)
    }

    /// Keeps of the leases only these, and takes `limit` more of them at most. Whether one was taken: what was known of its session before may be old by now, as whoever
    /// had it last may have done everything.
    ///
    /// # Errors
    ///
    /// When the store can't be asked.
    pub async fn keep(
        &self,
        wanted: impl Future<Output = BTreeSet<SessionId>>,
        limit: usize,
    ) -> Result<bool, StoreFault> {
        let _alone = self.asking.lock().await;
        let (idle, missing) = self.compare(&wanted.await, limit);
        if idle.is_empty() && missing.is_empty() {
            return Ok(false);
        }
        let store = self.store.clone();
        let ask = move || {
            if !idle.is_empty() {
                store.give_back(&idle)?;
            }
            if missing.is_empty() { Ok(Vec::new()) } else { store.take(&missing, limit) }
        };
        let taken = tokio::task::spawn_blocking(ask).await;
        let taken = taken.unwrap_or_else(|error| Err(StoreFault::Failed(error.to_string())))?;
        let has_new = !taken.is_empty();
        self.held.lock().unwrap_or_else(PoisonError::into_inner).extend(taken);
        Ok(has_new)
    }

    /// What is no longer wanted, which is not held from here on, and what is to be asked for.
    fn compare(&self, wanted: &BTreeSet<SessionId>, limit: usize) -> (Vec<SessionId>, Vec<SessionId>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = held.extract_if(|session| !wanted.contains(session)).collect();
        let asked = if limit == 0 { 0 } else { ASKED_LIMIT };
        (idle, wanted.iter().filter(|session| !held.contains(*session)).take(asked).cloned().collect())
    }
}
