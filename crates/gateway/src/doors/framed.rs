//! The body of an answer by gRPC: messages, and behind them the trailers that say how the call has ended.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::Frame;
use portcullis_interop::frame::grpc::{Status, read_trailers};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use crate::doors::place::Kept;

/// Messages that come, or one that is there, and the trailers.
pub struct Framed {
    first: Option<Bytes>,
    /// A frame of trailers may come as the last piece.
    receiver: Option<mpsc::Receiver<Bytes>>,
    trailers: Option<HeaderMap>,
    /// When the client stops waiting.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The call is under way as long as messages come.
    kept: Option<Kept>,
}

impl Framed {
    /// These messages, and a good end.
    #[must_use]
    pub fn whole(messages: Bytes) -> Self {
        Self { first: Some(messages), ..Self::of(None, Status::OK) }
    }

    /// Messages as they come, and the trailers behind them. Where none come, nobody knows how it has ended.
    #[must_use]
    pub fn stream(receiver: mpsc::Receiver<Bytes>) -> Self {
        Self::of(Some(receiver), Status::new("UNKNOWN", "the answer broke off"))
    }

    fn of(receiver: Option<mpsc::Receiver<Bytes>>, end: Status) -> Self {
        Self { first: None, receiver, trailers: Some(end.headers()), deadline: None, kept: None }
    }

    /// Ends it with that time.
    pub fn end_with(&mut self, deadline: Pin<Box<Sleep>>) {
        self.deadline = Some(deadline);
    }

    /// Keeps the place among the calls under way until it is over.
    pub fn keep(&mut self, kept: Kept) {
        self.kept = self.receiver.is_some().then_some(kept);
    }

    /// Whether nothing more comes.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.first.is_none() && self.receiver.is_none() && self.trailers.is_none()
    }

    /// The next message, or the trailers.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Frame::data(first)));
        }
        if let Some(receiver) = &mut self.receiver {
            let is_late = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready());
            let halted = self.kept.as_mut().and_then(|kept| kept.poll_halted(context));
            if let Some(refusal) = halted {
                self.end(Some(Status::new("PERMISSION_DENIED", &refusal.message).headers()));
            } else if is_late {
                self.end(Some(late().headers()));
            } else {
                match receiver.poll_recv(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => self.end(None),
                    Poll::Ready(Some(piece)) => match read_trailers(&piece) {
                        None => return Poll::Ready(Some(Frame::data(piece))),
                        trailers => self.end(trailers),
                    },
                }
            }
        }
        Poll::Ready(self.trailers.take().map(Frame::trailers))
    }

    /// To drop the receiver is to leave: the relay behind it ends the call.
    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.receiver = None;
        self.kept = None;
        self.trailers = trailers.or(self.trailers.take());
    }
}

/// How a call ends whose client has stopped waiting.
#[must_use]
pub fn late() -> Status {
    Status::new("DEADLINE_EXCEEDED", "the time that the client set is over")
}

impl fmt::Debug for Framed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Framed").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_stream_ends_well_only_if_somebody_says_so() {
        for (last, expected) in
            [(Some(Status::OK.frame()), "OK"), (None, "UNKNOWN"), (Some(late().frame()), "DEADLINE_EXCEEDED")]
        {
            let (sender, receiver) = mpsc::channel(1);
            if let Some(last) = last {
                sender.send(last).await.unwrap();
            }
            drop(sender);
            let mut framed = Framed::stream(receiver);
            let end = poll_fn(|context| framed.poll_next(context)).await.unwrap().into_trailers().unwrap();
            assert_eq!(Status::read(&end).unwrap().name(), expected);
            assert!(framed.is_over());
        }
    }
}
