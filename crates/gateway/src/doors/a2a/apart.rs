//! Calls that outlast whoever makes them.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::a2a::{Failure, refusal};
use tokio::sync::oneshot;

use crate::repetition::Patience;

/// The headers by which a call belongs to a trace (W3C Trace Context).
const TRACE: [HeaderName; 2] = [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];

/// Does it in a task of its own, so that it is settled even when the caller leaves. Whether the agent goes on with its task is the agent's affair.
///
/// # Errors
///
/// By a fault of the gateway.
pub async fn apart<F, W>(key: Option<String>, work: W) -> Result<F::Output, Failure>
where
    W: FnOnce(Patience) -> F,
    F: Future + Send + 'static,
    F::Output: Send,
{
    let (stays, gone) = oneshot::channel::<()>();
    let (stays, listens) = (Arc::new(stays), Arc::new(()));
    let patience = Patience { key, stays: Arc::downgrade(&stays), listens: Arc::downgrade(&listens), gone };
    let worked = tokio::spawn(work(patience)).await;
    drop((stays, listens));
    worked.map_err(|error| {
        let refusal = Refusal::new(Code::UpstreamFailed, "the call ended by a fault of the gateway");
        refusal::failure(&refusal.because(error.to_string()))
    })
}

/// The headers by which a call belongs to a trace.
#[must_use]
pub fn trace(headers: &HeaderMap) -> HeaderMap {
    TRACE.into_iter().filter_map(|name| Some((name.clone(), headers.get(&name)?.clone()))).collect()
}
