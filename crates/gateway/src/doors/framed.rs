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

use crate::doors::place::CallPlace;

/// Messages that come, or one that is there, and the trailers.
pub struct Framed {
    first: Option<Bytes>,
    /// A frame of trailers may come as the last piece.
    receiver: Option<mpsc::Receiver<Bytes>>,
    trailers: Option<HeaderMap>,
    /// When the client stops waiting.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The call is under way as long as messages come.
    place: Option<CallPlace>,
}

impl Framed {
    /// These messages, and a good end.
    #[must_use]
    pub fn whole(messages: Bytes) -> Self {
        Self { first: Some(messages), ..Self::of(None) }
    }

    /// Messages as they come. Unless trailers come too, the end is a good one.
    #[must_use]
    pub fn stream(receiver: mpsc::Receiver<Bytes>) -> Self {
        Self::of(Some(receiver))
    }

    fn of(receiver: Option<mpsc::Receiver<Bytes>>) -> Self {
        Self { first: None, receiver, trailers: Some(Status::OK.headers()), deadline: None, place: None }
    }

    /// Ends it with that time.
    pub fn end_with(&mut self, deadline: Pin<Box<Sleep>>) {
        self.deadline = Some(deadline);
    }

    /// Keeps the place among the calls under way until it is over.
    pub fn keep(&mut self, place: CallPlace) {
        self.place = self.receiver.is_some().then_some(place);
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
            if is_late {
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
        self.place = None;
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
