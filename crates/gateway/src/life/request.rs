//! Requests with an idempotency key, from the first time that they come to the last.

use std::sync::Weak;

use bytes::Bytes;
use portcullis_domain::admission::{AnswerRequest, RequestEnd, TakeRequest};
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::CallId;
use portcullis_domain::journal::StreamId;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::once::Done;
use portcullis_domain::session::{Earlier, requests};
use tokio::sync::oneshot;

use crate::asking::Asking;
use crate::entropy::new_call;
use crate::life::{Gate, not_kept};
use crate::repetition::{Gone, Patience, UnderWay};

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
    /// Takes a request with that key. While the same one is under way it is waited for, as long as the caller does.
    ///
    /// # Errors
    ///
    /// When the key was given to another request, the outcome of the earlier one is not known and it is not harmless, the caller may not enter the session, or has
    /// left.
    pub async fn take_request(
        &self,
        asking: &Asking,
        key: &str,
        content: Digest,
        is_harmless: bool,
        caller: &mut Gone,
    ) -> Result<Taken, Refusal> {
        let mark = requests::mark(&asking.session.owner, key, content);
        loop {
            let command = TakeRequest {
                request: new_call()?,
                authority: asking.authority.clone(),
                session: asking.session.clone(),
                origin: asking.origin,
                session_budget: self.snapshot.load().session_budget(),
                mark,
                is_harmless,
            };
            let request = command.request;
            let taken = self.journal.execute(command).await.inspect_err(|_| {
                // Whether it was taken is not known. It is certainly not carried out.
                self.owed.add_request(AnswerRequest { request, end: RequestEnd::Undone });
            });
            match taken?? {
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
                Some(Earlier::Open(open)) => tokio::select! {
                    () = self.end_of(open) => {}
                    _ = &mut *caller => return Err(Refusal::new(Code::UpstreamFailed, "the caller has left")),
                },
            }
        }
    }

    /// Writes down how a request ended. Nothing of its end may be released before.
    ///
    /// # Errors
    ///
    /// When the store failed: then it is written once the store takes it again, and whoever repeats the request waits until then.
    pub async fn end_request(&self, answering: Answering, end: RequestEnd) -> Result<(), Refusal> {
        let command = AnswerRequest { request: answering.request, end };
        let ended = self.journal.execute(command.clone()).await;
        Ok(ended.inspect_err(|_| self.owed.add_request(command))?)
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
