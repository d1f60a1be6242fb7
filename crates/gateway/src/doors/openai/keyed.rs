//! Requests with an idempotency key: each is answered once, and a repetition gets the recorded answer, a stream as the bytes of the stream.
//!
//! Whoever leaves does not end such a request: it is recorded to its end, for when the caller comes back.

use std::future::Future;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderName, Response};
use portcullis_domain::admission::RequestEnd;
use portcullis_domain::digest::Digest;
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::frame::http::{read_response, write_response};
use portcullis_interop::refuse;
use tokio::sync::{mpsc, oneshot};

use crate::asking::{Asking, Effect};
use crate::doors::answer::{self, Answer, PIECES_LIMIT, REPLAYED};
use crate::doors::openai::reply::{Reply, of_call};
use crate::doors::place::CallPlace;
use crate::life::Gate;
use crate::life::request::{Answering, Taken};

/// The longest answer that is kept for repetitions, in bytes. A request with a longer one is made again, where that does no harm.
const KEPT_LIMIT_BYTES: usize = 4 << 20;

/// Which request it is.
#[derive(Debug)]
pub struct Key {
    /// The key that the caller gave.
    pub key: String,
    /// What must be the same for it to be the same request.
    pub content: Digest,
    /// Whether it may be made again when nobody knows what became of it.
    pub is_harmless: bool,
    /// Its place among the calls under way, which it keeps when its caller has left.
    pub place: CallPlace,
}

/// Answers the request as it was answered before, or by `reply` and keeps that.
///
/// # Errors
///
/// Why it can't be answered.
pub async fn answer(
    gate: Arc<Gate>,
    asking: Asking,
    key: Key,
    reply: impl Future<Output = Result<Reply, Refusal>> + Send + 'static,
) -> Result<Answer, Refusal> {
    let (_listens, mut caller) = oneshot::channel::<()>();
    // In a task of its own: a caller who leaves now would else leave a request behind that nobody answers.
    let work = tokio::spawn(async move {
        match gate.take_request(&asking, &key.key, key.content, key.is_harmless, &mut caller).await? {
            Taken::Before(recorded) => replayed(&recorded),
            Taken::New(answering) => {
                let Key { is_harmless, place, .. } = key;
                let request = Request { gate, answering, is_harmless, effect: asking.effect, _place: place };
                kept(request, reply).await.map(Reply::into_answer)
            }
        }
    });
    work.await.unwrap_or_else(|error| Err(crashed(&error)))
}

fn replayed(recorded: &Bytes) -> Result<Answer, Refusal> {
    let response = read_response(recorded).map_err(|problem| {
        Refusal::new(Code::NotFound, "the answer of this request is not kept any more").because(problem)
    })?;
    Ok(answer::with_header(answer::of(response), REPLAYED, "true"))
}

/// A request that is being answered.
struct Request {
    gate: Arc<Gate>,
    answering: Answering,
    /// Whether it may be made again when nobody knows what became of it.
    is_harmless: bool,
    /// What it may have done.
    effect: Effect,
    _place: CallPlace,
}

impl Request {
    async fn answered(self, answer: Bytes) -> Result<(), Refusal> {
        self.gate.end_request(self.answering, RequestEnd::Answered(Body::new(answer))).await
    }

    /// There is no answer that could be given again. It may be made again unless it may have done something by then.
    async fn unanswered(self) {
        let is_lost = !self.is_harmless && self.effect.is_possible();
        let end = if is_lost { RequestEnd::Unknown } else { RequestEnd::Undone };
        if let Err(refusal) = self.gate.end_request(self.answering, end).await {
            tracing::warn!(%refusal, "the end of a request could not be written down yet");
        }
    }
}

/// The reply, which is written down before its end is released. A panic ends it as an error does.
async fn kept(
    request: Request,
    reply: impl Future<Output = Result<Reply, Refusal>> + Send + 'static,
) -> Result<Reply, Refusal> {
    let reply = tokio::spawn(reply).await.unwrap_or_else(|error| Err(crashed(&error)));
    match reply {
        Ok(Reply::Whole(response)) if response.status().is_success() && response.body().len() <= KEPT_LIMIT_BYTES => {
            request.answered(write_response(&response)).await?;
            Ok(Reply::Whole(response))
        }
        Ok(Reply::Stream(call, pieces)) => {
            let (sender, receiver) = mpsc::channel(PIECES_LIMIT);
            let head = of_call(Response::new(Bytes::new()), call);
            tokio::spawn(Tee { kept: Some(BytesMut::new()), head, sender }.run(request, pieces));
            Ok(Reply::Stream(call, receiver))
        }
        reply => {
            request.unanswered().await;
            reply
        }
    }
}

/// Hands a stream through and keeps it.
struct Tee {
    /// What came so far; none once it is too much.
    kept: Option<BytesMut>,
    /// The head of the answer.
    head: Response<Bytes>,
    /// The client, which may have left.
    sender: mpsc::Sender<Bytes>,
}

impl Tee {
    async fn run(mut self, request: Request, mut pieces: mpsc::Receiver<Bytes>) {
        let (mut end, mut is_failed) = (Vec::new(), false);
        while let Some(piece) = pieces.recv().await {
            is_failed |= is_failure(&piece);
            self.keep(&piece);
            if is_end(&piece) {
                end.push(piece);
            } else {
                let _ = self.sender.send(piece).await;
            }
        }
        match self.kept.take().filter(|_| !is_failed) {
            None => request.unanswered().await,
            Some(kept) => {
                let recorded = recorded(std::mem::take(&mut self.head), kept.freeze());
                if let Err(refusal) = request.answered(recorded).await {
                    end = vec![refuse::openai_event(&refusal).into()];
                }
            }
        }
        for piece in end {
            let _ = self.sender.send(piece).await;
        }
    }

    fn keep(&mut self, piece: &Bytes) {
        match &mut self.kept {
            Some(kept) if kept.len() + piece.len() <= KEPT_LIMIT_BYTES => kept.extend_from_slice(piece),
            Some(_) | None => self.kept = None,
        }
    }
}

/// The answer as it is kept: with the headers of a stream, so that it is read as one again.
fn recorded(mut head: Response<Bytes>, body: Bytes) -> Bytes {
    let headers = head.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    write_response(&head.map(|_| body))
}

/// Whether a piece ends a stream well: it is released once the record is safe. What comes out of a model's stream is one event a piece at its end.
fn is_end(piece: &[u8]) -> bool {
    let is_done = piece.strip_prefix(b"data:").is_some_and(|rest| rest.trim_ascii() == b"[DONE]");
    is_done
        || [&b"event: response.completed\n"[..], b"event: response.incomplete\n"]
            .iter()
            .any(|end| piece.starts_with(end))
}

/// Whether a piece says that the stream has failed.
fn is_failure(piece: &[u8]) -> bool {
    piece.split(|byte| *byte == b'\n').any(|line| {
        let data = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii_start);
        data.is_some_and(|data| data.starts_with(b"{\"error\""))
            || line == b"event: response.failed"
            || line == b"event: error"
    })
}

fn crashed(error: &tokio::task::JoinError) -> Refusal {
    Refusal::new(Code::UpstreamFailed, "the call ended by a fault of the gateway").because(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_stream_is_told_from_what_a_model_says() {
        for (piece, end, failure) in [
            ("data: [DONE]\n\n", true, false),
            ("data:[DONE]\r\n\r\n", true, false),
            ("data: {\"choices\":[{\"delta\":{\"content\":\"data: [DONE]\"}}]}\n\n", false, false),
            ("event: response.completed\ndata: {}\n\n", true, false),
            ("event: response.output_text.delta\ndata: {}\n\n", false, false),
            ("data: {\"error\":{}}\n\n", false, true),
            ("data: {}\n\ndata:{\"error\":{}}\n\n", false, true),
            ("event: response.failed\ndata: {}\n\n", false, true),
        ] {
            assert_eq!((is_end(piece.as_bytes()), is_failure(piece.as_bytes())), (end, failure), "{piece}");
        }
    }
}
