//! Why the story can't go on. Whatever it is, the demo did not show what it promises, so that it ends with exit code 1.

use portcullis_testkit::http::Failure;

use crate::cli::exit::Exit;

/// What was asked could not be answered.
pub(super) fn unanswered(failure: Failure) -> Exit {
    Exit::negative(format!("the story can't go on: {failure}"))
}

/// Something is not as the story says.
pub(super) fn differs(what: impl std::fmt::Display) -> Exit {
    Exit::negative(format!("this is not as the story says: {what}"))
}
