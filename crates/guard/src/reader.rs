//! Reading forward from where something may begin, so that it is known whether the end of the text was met on the way.

/// Reads forward from one place of a text, no farther than a limit. Whoever only reads by it can't depend on what comes later: if [`ran_out`](Self::ran_out) is false, more text would change nothing.
#[derive(Debug)]
pub(crate) struct Reader<'t> {
    text: &'t str,
    at: usize,
    limit: usize,
    ran_out: bool,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(text: &'t str, at: usize, window: usize) -> Self {
        Self { text, at, limit: at.saturating_add(window), ran_out: false }
    }

    /// Whether the end of the text was met before the limit.
    pub(crate) fn ran_out(&self) -> bool {
        self.ran_out
    }

    /// Where the next character begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next character; none at the end and at the limit.
    pub(crate) fn peek(&mut self) -> Option<char> {
        let next = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        match next {
            Some(next) if self.at + next.len_utf8() <= self.limit => Some(next),
            Some(_) => None,
            None => {
                self.ran_out = true;
                None
            }
        }
    }

    /// Takes the next character if it is of that class.
    pub(crate) fn one(&mut self, of: impl Fn(char) -> bool) -> bool {
        match self.peek() {
            Some(next) if of(next) => {
                self.at += next.len_utf8();
                true
            }
            Some(_) | None => false,
        }
    }

    /// Takes as many characters of that class as there are, at most so many, and says how many.
    pub(crate) fn run(&mut self, most: usize, of: impl Fn(char) -> bool) -> usize {
        let mut count = 0;
        while count < most && self.one(&of) {
            count += 1;
        }
        count
    }

    /// Takes exactly this text, or as much of it as there is.
    pub(crate) fn literal(&mut self, expected: &str) -> bool {
        expected.chars().all(|expected| self.one(|next| next == expected))
    }

    /// The text from there to here.
    pub(crate) fn since(&self, start: usize) -> &'t str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Whether the next character is none of that class; the end is none of any.
    pub(crate) fn ends(&mut self, of: impl Fn(char) -> bool) -> bool {
        !self.peek().is_some_and(of)
    }

    /// Goes back to where it was.
    pub(crate) fn back(&mut self, at: usize) {
        self.at = at;
    }
}
