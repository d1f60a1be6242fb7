//! An answer that was decided and is still to be put on the wire.

use std::time::Duration;

use http::StatusCode;

/// A decided answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) calls: Vec<Wanted>,
    /// Before every part of a stream, or once before an answer in one piece.
    pub(super) pause: Duration,
    pub(super) is_interleaved: bool,
    pub(super) ending: Ending,
}

/// A tool call of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) arguments: String,
}

/// How an answer ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    #[default]
    Complete,
    Cut,
    Hang,
    Error(StatusCode, String),
}

impl Reply {
    pub(super) fn say(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub(super) fn calling(mut self, name: &str, arguments: &str) -> Self {
        self.calls.push(Wanted { name: name.to_owned(), arguments: arguments.to_owned() });
        self
    }
}
