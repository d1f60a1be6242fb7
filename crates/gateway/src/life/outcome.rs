//! What came of a call, as its session's entries tell it.

use bytes::Bytes;
use portcullis_domain::event::{Event, Outcome};
use portcullis_domain::ids::{CallId, SessionId};
use portcullis_domain::journal::StreamId;

use crate::journal::StoreFault;
use crate::life::Gate;

/// How many entries of a session are read at a time.
const PAGE: usize = 500;

impl Gate {
    /// How a call of the session has ended, by an entry behind that number, and what it was answered with, as far as that is kept; none where no entry says so.
    ///
    /// # Errors
    ///
    /// When the store can't be read.
    pub async fn outcome_of(
        &self,
        session: &SessionId,
        after: u64,
        call: CallId,
    ) -> Result<Option<(Outcome, Option<Bytes>)>, StoreFault> {
        let stream = StreamId::Session(session.clone());
        let mut after = after;
        loop {
            let page = self.journal.entries(&stream, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(None) };
            after = last.entry.seq;
            let settled = page.iter().find_map(|placed| {
                let Event::CallSettled(settled) = &placed.entry.event else { return None };
                (settled.call == call).then_some((placed.position, settled.outcome))
            });
            if let Some((position, outcome)) = settled {
                return Ok(Some((outcome, self.journal.body(&stream, position, 0).await.ok().flatten())));
            }
        }
    }
}
