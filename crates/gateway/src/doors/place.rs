//! Places among the calls under way.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

/// A place among the calls under way. Whatever goes on when its caller has left keeps it too.
pub type CallPlace = Arc<OwnedSemaphorePermit>;
