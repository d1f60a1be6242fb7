//! Noticing that a connection of HTTP/2 is used for nothing: its client can keep it open by signs of life alone, and it takes a place.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};

/// The streams of one connection.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Counts>);

#[derive(Default)]
struct Counts {
    open: AtomicU64,
    begun: AtomicU64,
}

/// A stream that is under way.
pub(super) struct Stream(Arc<Counts>);

impl Streams {
    pub(super) fn begin(&self) -> Stream {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Stream(self.0.clone())
    }

    /// Waits until there was none for so long, or twice that.
    pub(super) async fn are_quiet(&self, limit: Duration) {
        let mut before = None;
        loop {
            tokio::time::sleep(limit).await;
            let begun = self.0.begun.load(Ordering::Relaxed);
            if self.0.open.load(Ordering::Relaxed) == 0 && before.replace(begun) == Some(begun) {
                return;
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer that counts as a stream until its end.
pub(super) struct Counted<B> {
    pub(super) body: B,
    pub(super) _stream: Stream,
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_quiet_once_no_stream_is_left() {
        const LIMIT: Duration = Duration::from_millis(1);
        let streams = Streams::default();
        let stream = streams.begin();
        let while_open = tokio::time::timeout(LIMIT * 20, streams.are_quiet(LIMIT)).await;
        assert!(while_open.is_err());
        drop(stream);
        drop(streams.begin());
        streams.are_quiet(LIMIT).await;
    }
}
