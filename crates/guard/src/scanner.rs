//! Finding in text that comes in pieces.

use crate::{Detector, Finding};

/// What may go on, and what was found in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Released {
    /// Where the text begins in the whole, in bytes.
    pub start: usize,
    /// The next piece of the text, as it came in; may be empty. All pieces together are the text.
    pub text: String,
    /// What was found, each wholly inside this piece, with ranges in it: made for [`mask`](crate::mask).
    pub findings: Vec<Finding>,
}

/// Looks through text as it comes in: releases what is settled and holds back what may still become a finding, at most [`Detector::window`] bytes and what the last character lacks.
///
/// However the text is cut, the findings are those of the whole.
#[derive(Debug, Clone)]
pub struct Scanner {
    #[expect(dead_code, reason = "nothing can make one until there are detectors for streams")]
    detector: Detector,
}

impl Scanner {
    /// A scanner at the beginning of a text; none where only the whole can be judged.
    #[must_use]
    pub fn new(detector: &Detector) -> Option<Self> {
        detector.window().map(|_| Self { detector: detector.clone() })
    }

    /// Takes the next piece.
    pub fn push(&mut self, _text: &str) -> Released {
        Released::default()
    }

    /// Takes the end: releases everything that is left.
    #[must_use]
    pub fn finish(self) -> Released {
        Released::default()
    }
}
