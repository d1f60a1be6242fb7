//! A response in pieces: the chat stream as it would go to a client, said as events of a response.

use bytes::Bytes;
use portcullis_domain::refusal::Refusal;
use portcullis_interop::llm::responses::ResponseStream;
use portcullis_interop::llm::responses::stream::Ended;
use portcullis_interop::refuse;
use tokio::sync::mpsc;

use crate::doors::answer::PIECES_LIMIT;
use crate::doors::openai::responses::making::Making;

/// The events of the response. When its client leaves, the chat stream has none any more either, which cancels the call.
pub(super) fn events(making: Making, pieces: mpsc::Receiver<Bytes>) -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(PIECES_LIMIT);
    tokio::spawn(run(making, pieces, sender));
    receiver
}

async fn run(making: Making, mut pieces: mpsc::Receiver<Bytes>, sender: mpsc::Sender<Bytes>) {
    let mut stream = ResponseStream::new(making.frame.clone());
    let mut failure = None;
    let mut piece = Bytes::new();
    loop {
        match stream.feed(&piece) {
            Ok(events) if events.is_empty() => {}
            Ok(events) => {
                if sender.send(events.into()).await.is_err() {
                    return;
                }
            }
            Err(refusal) => {
                failure = Some(refusal.message);
                break;
            }
        }
        let next = tokio::select! {
            next = pieces.recv() => next,
            () = sender.closed() => return,
        };
        match next {
            Some(next) => piece = next,
            None => break,
        }
    }
    // Whoever pumps the chat stream settles it to its end.
    drop(pieces);
    let ended = stream.end(failure.as_deref());
    let kept = if ended.is_failed { Ok(()) } else { making.keep(&ended.response, &ended.output).await };
    finish(&sender, ended, kept).await;
}

async fn finish(sender: &mpsc::Sender<Bytes>, ended: Ended, kept: Result<(), Refusal>) {
    let last = match kept {
        Ok(()) => ended.last,
        Err(refusal) => {
            tracing::info!(code = %refusal.code, reasons = ?refusal.reasons, "a response could not be kept");
            refuse::openai_response_event(&refusal)
        }
    };
    for events in [ended.events, last] {
        if !events.is_empty() && sender.send(events.into()).await.is_err() {
            return;
        }
    }
}
