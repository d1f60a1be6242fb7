//! What became of calls and could not be written down, because the store was away or had too much to do.
//!
//! The callers were refused, and nothing that followed was answered. But the calls are open in the journal, or may be, and hold money; a store that comes back while
//! the process lives has no start at which they would be found. So the end of each is kept here and written as soon as the store takes it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use portcullis_domain::admission::Settle;

use crate::journal::Journal;

/// How many ends are kept. Beyond it the oldest are left to whoever settles the calls of a gateway that has ended.
const OWED_LIMIT: usize = 4_096;

/// The ends that are still to be written.
#[derive(Default)]
pub struct Owed {
    /// The oldest first. Held to put in or take out one.
    ends: Mutex<VecDeque<Settle>>,
}

impl Owed {
    /// Keeps the end of a call.
    pub fn add(&self, end: Settle) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if ends.len() >= OWED_LIMIT
            && let Some(oldest) = ends.pop_front()
        {
            tracing::error!(call = %oldest.call, "too many ends of calls can't be written; this one is given up and its hold stays");
        }
        ends.push_back(end);
    }

    /// Writes what is kept, as far as the store takes it. A call that is not open was settled by others or never admitted.
    pub async fn pay(&self, journal: &Journal) {
        loop {
            let next = self.ends.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(end) = next else { return };
            match journal.execute(end.clone()).await {
                Ok(outcome) => {
                    tracing::info!(call = %end.call, was_open = outcome.is_ok(), "the end of a call was written later")
                }
                Err(fault) => {
                    tracing::debug!(%fault, "ends of calls still can't be written");
                    return self.ends.lock().unwrap_or_else(PoisonError::into_inner).push_front(end);
                }
            }
        }
    }
}
