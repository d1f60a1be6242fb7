//! An agent's answer on its way to the caller: its end leaves once the call is settled.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderMap};
use http::{Response, StatusCode};
use portcullis_domain::event::Outcome;
use portcullis_domain::refusal::Refusal;
use portcullis_interop::frame::http::write_response;
use tokio::sync::mpsc;

use crate::doors::agents::hop::is_own;
use crate::doors::answer::{self, Answer, BrokenOff, PIECES_LIMIT};
use crate::life::Gate;
use crate::life::agent::{Reply, settle};
use crate::reply::UpstreamFault;

/// The largest answer that is kept, in bytes. Of a longer one the journal says that it was given, and a repetition can't have it again.
const KEPT_LIMIT_BYTES: usize = 1 << 20;

/// Hands the answer through. One whose length is known and small is read whole and settled first; others flow on piece by piece, and their end waits.
///
/// # Errors
///
/// When the replica breaks off before anything was handed through, or the store failed.
pub async fn relay(gate: Arc<Gate>, reply: Reply) -> Result<Answer, Refusal> {
    let status = reply.answer.status;
    let headers = shown(&reply.answer.headers);
    let length = reply.answer.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut relay = Relay { gate, reply, kept: Some(BytesMut::new()), status, headers: headers.clone() };
    let mut answer = if length.is_some_and(|length| length <= KEPT_LIMIT_BYTES) {
        answer::whole(status.as_u16(), "application/octet-stream", relay.whole().await?)
    } else {
        let (sender, receiver) = mpsc::channel(PIECES_LIMIT);
        tokio::spawn(relay.pump(sender));
        answer::relayed(status.as_u16(), receiver)
    };
    *answer.headers_mut() = headers;
    Ok(answer)
}

struct Relay {
    gate: Arc<Gate>,
    reply: Reply,
    /// What came so far; none once it is too much.
    kept: Option<BytesMut>,
    status: StatusCode,
    headers: HeaderMap,
}

impl Relay {
    async fn whole(&mut self) -> Result<Bytes, Refusal> {
        loop {
            let piece = tokio::select! {
                piece = self.reply.answer.body.next() => piece,
                _ = &mut self.reply.patience.gone => {
                    self.gate.settle(settle(self.reply.call, Outcome::Aborted, None)).await?;
                    return Err(UpstreamFault::Broken("the caller has left".to_owned()).refusal("the agent"));
                }
            };
            match piece {
                Ok(Some(piece)) => self.keep(&piece),
                Ok(None) => {
                    self.settle().await?;
                    return Ok(self.kept.take().unwrap_or_default().freeze());
                }
                Err(fault) => {
                    self.gate.settle(settle(self.reply.call, fault.outcome(), None)).await?;
                    return Err(fault.refusal("the agent"));
                }
            }
        }
    }

    async fn pump(mut self, sender: mpsc::Sender<Result<Bytes, BrokenOff>>) {
        loop {
            let piece = tokio::select! {
                piece = self.reply.answer.body.next() => piece,
                () = sender.closed() => return self.end(Outcome::Aborted).await,
            };
            match piece {
                Ok(Some(piece)) => {
                    self.keep(&piece);
                    if sender.send(Ok(piece)).await.is_err() {
                        return self.end(Outcome::Aborted).await;
                    }
                }
                Ok(None) => {
                    if let Err(refusal) = self.settle().await {
                        let _ = sender.send(Err(BrokenOff(refusal.message))).await;
                    }
                    return;
                }
                Err(fault) => {
                    self.end(fault.outcome()).await;
                    let _ = sender.send(Err(BrokenOff(fault.to_string()))).await;
                    return;
                }
            }
        }
    }

    fn keep(&mut self, piece: &Bytes) {
        let is_too_much = self.kept.as_ref().is_none_or(|kept| kept.len() + piece.len() > KEPT_LIMIT_BYTES);
        match &mut self.kept {
            Some(kept) if !is_too_much => kept.extend_from_slice(piece),
            Some(_) | None => self.kept = None,
        }
    }

    /// The answer came whole. A status that says "not now" means that nothing was done.
    async fn settle(&self) -> Result<(), Refusal> {
        let is_undone = matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        let outcome = if is_undone { Outcome::Failed } else { Outcome::Completed };
        let answer = self.kept.as_ref().map(|kept| {
            let mut response = Response::new(Bytes::copy_from_slice(kept));
            *response.status_mut() = self.status;
            *response.headers_mut() = self.headers.clone();
            write_response(&response)
        });
        self.gate.settle(settle(self.reply.call, outcome, answer)).await.map(drop)
    }

    async fn end(&self, outcome: Outcome) {
        if let Err(refusal) = self.gate.settle(settle(self.reply.call, outcome, None)).await {
            tracing::error!(call = %self.reply.call, %refusal, "a call of an agent could not be settled");
        }
    }
}

fn shown(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| !is_own(name, headers));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}
