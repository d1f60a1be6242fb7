//! Requests with an idempotency key, from the first time that they come to the last.

use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use portcullis_domain::admission::{AnswerRequest, TakeRequest};
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::CallId;
use portcullis_domain::journal::{Body, StreamId};
use portcullis_domain::refusal::Refusal;
use portcullis_domain::session::once::Done;
use portcullis_domain::session::{Earlier, requests};
use tokio::sync::oneshot;

use crate::asking::Asking;
use crate::entropy::new_call;
use crate::journal::Journal;
use crate::life::{Gate, not_kept};
use crate::repetition::{Patience, UnderWay};

/// How often it is tried to write down that a request had no effect, while the store is away.
const ATTEMPTS_LIMIT: usize = 600;
/// How long between two attempts.
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// What became of the wish to be answered.
#[derive(Debug)]
pub enum Taken {
    /// It is a new request. Whoever gets it answers it.
    New(Answering),
    /// What it was answered before.
    Before(Bytes),
}

/// A request that is under way.
#[derive(Debug)]
pub struct Answering {
    request: CallId,
    /// Until it is answered, those who repeat it wait.
    _under_way: UnderWay,
}

impl Gate {
    /// Takes a request with that key. While the same one is under way it is waited for.
    ///
    /// # Errors
    ///
    /// When the key was given to another request, the outcome of the earlier one is not known and it is not harmless, or the caller may not enter the session.
    pub async fn take_request(
        &self,
        asking: &Asking,
        key: &str,
        content: Digest,
        is_harmless: bool,
    ) -> Result<Taken, Refusal> {
        let mark = requests::mark(&asking.session.owner, key, content);
        loop {
            let command = TakeRequest {
                request: new_call()?,
                presented: asking.key.clone(),
                session: asking.session.clone(),
                origin: asking.origin,
                session_budget: self.snapshot.load().session_budget(),
                mark,
                is_harmless,
            };
            let request = command.request;
            match self.journal.execute(command).await?? {
                None => {
                    let (_, gone) = oneshot::channel();
                    // Nobody's leaving ends it: who gave it a key comes back for the answer.
                    let patience = Patience { key: None, stays: Weak::new(), listens: Weak::new(), gone };
                    let under_way = self.repetitions.begin(request, &asking.session, mark, &patience);
                    return Ok(Taken::New(Answering { request, _under_way: under_way }));
                }
                Some(Earlier::Done(done)) => {
                    self.metrics.repeated(asking.door);
                    let body = self.recorded_in(&StreamId::Session(asking.session.clone()), done).await?;
                    return Ok(Taken::Before(body));
                }
                Some(Earlier::Open(open)) => self.end_of(open).await,
            }
        }
    }

    /// Writes down what a request was answered. Nothing of its end may be released before.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub async fn answer_request(&self, answering: Answering, answer: Bytes) -> Result<(), Refusal> {
        let command = AnswerRequest { request: answering.request, answer: Some(Body::new(answer)) };
        Ok(self.journal.execute(command).await?)
    }

    /// Writes down that a request had no effect and may be made again.
    pub async fn give_request_up(&self, answering: Answering) {
        if !give_up(&self.journal, answering.request).await {
            // It would be open as long as the process lives.
            let journal = self.journal.clone();
            tokio::spawn(async move {
                for _ in 0..ATTEMPTS_LIMIT {
                    tokio::time::sleep(ATTEMPT_PAUSE).await;
                    if give_up(&journal, answering.request).await {
                        return;
                    }
                }
            });
        }
    }

    /// What was recorded as the answer of something that was done.
    ///
    /// # Errors
    ///
    /// When it is not kept any more, or the store can't be read.
    pub async fn recorded_in(&self, stream: &StreamId, done: Done) -> Result<Bytes, Refusal> {
        let entry = self.journal.entries(stream, done.seq.saturating_sub(1), 1).await?.pop();
        let Some(placed) = entry else { return Err(not_kept(done)) };
        self.journal.body(stream, placed.position, 0).await?.ok_or_else(|| not_kept(done))
    }
}

async fn give_up(journal: &Journal, request: CallId) -> bool {
    journal.execute(AnswerRequest { request, answer: None }).await.is_ok()
}
