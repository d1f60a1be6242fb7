//! Log lines for operators, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging. The filter is that of `RUST_LOG`'s grammar, as in `info,portcullis=debug`.
pub fn start(filter: &str, as_json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    // A second start, as in tests, keeps the first.
    let _ = if as_json { builder.json().try_init() } else { builder.try_init() };
}
