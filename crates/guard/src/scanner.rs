//! Finding in text that comes in pieces.

use crate::look::{CONTEXT, Cursors, Hit, PATIENCE};
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

/// Looks through text as it comes in: releases what is settled and holds back what may still become a finding, at most [`Detector::window`] bytes. Prose is held back for a word or two.
///
/// However the text is cut, the findings are those of the whole.
#[derive(Debug, Clone)]
pub struct Scanner {
    detector: Detector,
    /// What is held back, after what was last released as far as looks may see it.
    held: String,
    /// Where `held` begins in the whole.
    base: usize,
    /// How much of `held` was released.
    released: usize,
    /// How much of `held` was never looked at.
    fresh: usize,
    cursors: Cursors,
    /// Found beyond what was released, where something before it may still be found.
    pending: Vec<Hit>,
}

impl Scanner {
    /// A scanner at the beginning of a text; none where only the whole can be judged.
    #[must_use]
    pub fn new(detector: &Detector) -> Option<Self> {
        detector.window().map(|_| Self {
            detector: detector.clone(),
            held: String::new(),
            base: 0,
            released: 0,
            fresh: 0,
            cursors: Cursors::new(),
            pending: Vec::new(),
        })
    }

    /// Takes the next piece.
    pub fn push(&mut self, text: &str) -> Released {
        self.held.push_str(text);
        self.fresh += text.len();
        if self.fresh * PATIENCE < self.held.len() - self.released {
            return Released { start: self.base + self.released, ..Released::default() };
        }
        self.look(false)
    }

    /// Takes the end: releases everything that is left.
    #[must_use]
    pub fn finish(mut self) -> Released {
        self.look(true)
    }

    fn look(&mut self, is_whole: bool) -> Released {
        self.fresh = 0;
        let settled = self.detector.scan(&self.held, is_whole, &mut self.cursors, &mut self.pending);
        let (ready, pending) = self.pending.drain(..).partition(|hit| hit.range.start < settled);
        self.pending = pending;
        let from = self.released;
        let mut covered = from;
        let mut findings = self.detector.settle(ready, &mut covered);
        for finding in &mut findings {
            finding.range = finding.range.start - from..finding.range.end - from;
        }
        self.released = covered.max(settled);
        let text = self.held.get(from..self.released).unwrap_or_default().to_owned();
        let start = self.base + from;
        self.forget(settled);
        Released { start, text, findings }
    }

    /// Drops what no look will see again.
    fn forget(&mut self, settled: usize) {
        let end = self.held.floor_char_boundary(settled.min(self.released).saturating_sub(CONTEXT));
        self.held.drain(..end);
        self.base += end;
        self.released -= end;
        for cursor in &mut self.cursors {
            *cursor = cursor.saturating_sub(end);
        }
        for hit in &mut self.pending {
            hit.range = hit.range.start - end..hit.range.end - end;
        }
    }
}
