//! What was found, and where.

use std::ops::Range;

/// One thing that was found. It never contains what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is, as `aws_access_key`, `email`, `sql_drop`.
    pub kind: String,
    /// The JSON pointer (RFC 6901) to the value that it is in; empty for text and for a whole JSON value.
    pub place: String,
    /// Whether it is in the name of the member at that place instead of its value.
    pub in_name: bool,
    /// Where it is in the text, or in the string at that place, in bytes. Of a number: in its digits. Empty where something is missing or a whole array or object is meant.
    pub range: Range<usize>,
    /// What can stand there instead, as `[EMAIL]`.
    pub replacement: String,
    /// Why, as a sentence for people without a full stop, where the kind alone does not say it.
    pub reason: Option<String>,
}

impl Finding {
    /// Something in a text.
    pub(crate) fn new(kind: impl Into<String>, range: Range<usize>, replacement: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            place: String::new(),
            in_name: false,
            range,
            replacement: replacement.into(),
            reason: None,
        }
    }

    /// The same, at a place.
    pub(crate) fn at(mut self, place: &str, in_name: bool) -> Self {
        place.clone_into(&mut self.place);
        self.in_name = in_name;
        self
    }

    /// The same, with a reason.
    pub(crate) fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}
