//! How patient an engine is, with others and with the database.

use std::time::Duration;

use crate::journal::bookmark::Pace;

/// How long a gateway is believed to live without another word from it.
pub const LEASE: Duration = Duration::from_secs(10);
/// How long jobs wait for a database that is away before they are refused.
pub const OUTAGE_LIMIT: Duration = Duration::from_secs(5);

/// How patient an engine is.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long it is believed to live without another word from it.
    pub lease: Duration,
    /// How long jobs wait for a database that is away before they are refused.
    pub outage: Duration,
    /// How often bookmarks of the log are made.
    pub pace: Pace,
}

impl Default for Options {
    fn default() -> Self {
        Self { lease: LEASE, outage: OUTAGE_LIMIT, pace: Pace::USUAL }
    }
}
