//! Waiting to be told to stop.

use tokio::sync::watch;

/// Waits until `stop` says so.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone can't say anything else any more.
    let _ = stop.wait_for(|stop| *stop).await;
}
