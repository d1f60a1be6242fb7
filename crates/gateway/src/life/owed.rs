//! What became of calls and requests and could not be written down, because the store was away or had too much to do.
//!
//! The callers were refused, and nothing that followed was answered. But the calls are open in the journal, or may be, and hold money, and requests keep those waiting who
//! repeat them; a store that comes back while the process lives has no start at which they would be found. So the end of each is kept here and written as soon as the
//! store takes it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use portcullis_domain::admission::{AnswerRequest, Settle};
use portcullis_domain::ids::CallId;

use crate::journal::{Journal, StoreFault};

/// How many ends are kept. Beyond it the oldest are left to whoever settles the calls of a gateway that has ended.
const OWED_LIMIT: usize = 4_096;

/// The ends that are still to be written.
#[derive(Default)]
pub struct Owed {
    /// The oldest first. Held to put in or take out one.
    ends: Mutex<VecDeque<End>>,
}

#[derive(Clone)]
enum End {
    Call(Settle),
    Request(AnswerRequest),
}

impl End {
    fn id(&self) -> CallId {
        match self {
            Self::Call(settle) => settle.call,
            Self::Request(answer) => answer.request,
        }
    }

    /// Writes it. What is not open was ended by others or never began.
    async fn write(self, journal: &Journal) -> Result<(), StoreFault> {
        match self {
            Self::Call(settle) => journal.execute(settle).await.map(drop),
            Self::Request(answer) => journal.execute(answer).await,
        }
    }
}

impl Owed {
    /// Keeps the end of a call.
    pub fn add(&self, end: Settle) {
        self.keep(End::Call(end));
    }

    /// Keeps the end of a request.
    pub fn add_request(&self, end: AnswerRequest) {
        self.keep(End::Request(end));
    }

    fn keep(&self, end: End) {
        let mut ends = self.lock();
        if ends.len() >= OWED_LIMIT
            && let Some(oldest) = ends.pop_front()
        {
            tracing::error!(id = %oldest.id(), "too many ends of calls and requests can't be written; this one is given up and stays open");
        }
        ends.push_back(end);
    }

    /// Writes what is kept, as far as the store takes it.
    pub async fn pay(&self, journal: &Journal) {
        loop {
            let next = self.lock().pop_front();
            let Some(end) = next else { return };
            match end.clone().write(journal).await {
                Ok(()) => tracing::info!(id = %end.id(), "the end of a call or request was written later"),
                Err(fault) => {
                    tracing::debug!(%fault, "ends of calls and requests still can't be written");
                    return self.lock().push_front(end);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<End>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
