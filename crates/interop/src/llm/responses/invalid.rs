//! What can't be said to a model.

use portcullis_domain::refusal::{Code, Refusal};

/// A parameter that can't be read or can't be said to a model.
pub(super) fn invalid(parameter: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidRequest, message).about(parameter)
}
