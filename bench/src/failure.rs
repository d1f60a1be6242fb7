//! What goes wrong here ends the measurement with one sentence, so errors need no types of their own.

pub(crate) type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
