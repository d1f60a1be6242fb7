//! The body of a streamed answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::Frame;
use tokio::time::{Instant, Sleep, sleep_until};

/// A body whose every frame is written out before the next one is handed over.
pub(super) struct Chunks {
    frames: Arc<[Bytes]>,
    next: usize,
    gap: Duration,
    due: Option<Pin<Box<Sleep>>>,
    /// Whether hyper was given the chance to write the frame before; it does so when a body is not ready.
    flushed: bool,
}

impl Chunks {
    pub(super) fn new(frames: Arc<[Bytes]>, gap: Duration) -> Self {
        let due = (!gap.is_zero()).then(|| Box::pin(sleep_until(Instant::now())));
        Self { frames, next: 0, gap, due, flushed: true }
    }

    fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.due {
            Some(due) => due.as_mut().poll(context),
            None if self.flushed => Poll::Ready(()),
            None => {
                self.flushed = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some(frame) = this.frames.get(this.next).cloned() else { return Poll::Ready(None) };
        if this.poll_due(context).is_pending() {
            return Poll::Pending;
        }
        this.next += 1;
        this.flushed = false;
        if let Some(due) = &mut this.due {
            // From the moment this one was due and not from now, so that late timers do not add up.
            let next = due.deadline() + this.gap;
            due.as_mut().reset(next);
        }
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }
}
