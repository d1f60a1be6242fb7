//! What a rule has to say about a place.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Breaks a rule; the chore fails.
    Error,
    /// Wants a second look.
    Note,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    pub(crate) path: String,
    /// Counted from 1; 0 for the file as a whole.
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Finding {
    pub(crate) fn error(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { level: Level::Error, path: path.to_owned(), line, text: text.into() }
    }

    pub(crate) fn note(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { level: Level::Note, path: path.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Note => "note",
        };
        let line = if self.line == 0 { String::new() } else { format!(":{}", self.line) };
        write!(f, "{level}: {}{line}: {}", self.path, self.text)
    }
}
