//! Telemetry: what is counted and logged. It may be dropped at any time; the record is the journal.

pub mod logging;
pub mod metrics;

pub use metrics::Metrics;
