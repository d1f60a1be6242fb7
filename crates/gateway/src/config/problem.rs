//! What is wrong with a configuration, and where.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; 0 where it is the file as a whole.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// Whether the gateway can work with it all the same.
    pub is_warning: bool,
}

impl Problem {
    /// An error of the file as a whole.
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, message: message.into(), suggestion: None, is_warning: false }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_warning { "warning" } else { "error" };
        match self.line {
            0 => write!(out, "{}: {kind}: {}", self.file, self.message)?,
            line => write!(out, "{}:{line}:{}: {kind}: {}", self.file, self.column, self.message)?,
        }
        self.suggestion.iter().try_for_each(|suggestion| write!(out, "; {suggestion}"))
    }
}
