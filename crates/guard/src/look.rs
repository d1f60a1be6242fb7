//! Many looks at one text at once, of text that is whole or comes in pieces.
//!
//! A look begins at a character, reads forward through a [`Reader`] and says what it found. It sees two characters before that place and at most its window after it. So whether it finds something there
//! is settled as soon as it did not meet the end of what is there, and a scan of pieces finds what a scan of the whole finds. Every place is read at most once by each look, at most one window far,
//! and all looks but those of long things have small windows; long ones (JWT, PEM) can't begin inside of one another: hence linear time.

use std::ops::Range;

use crate::reader::Reader;

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) kind: &'static str,
    pub(crate) replacement: &'static str,
    /// How far it reads at most, in bytes.
    pub(crate) window: usize,
    /// Which characters may not stand before it.
    pub(crate) not_after: fn(char) -> bool,
    pub(crate) read: Read,
}

/// How it reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Read {
    /// A prefix and then a run of characters of a class, of such a length, after which none of a word comes.
    Token(Token),
    /// Whatever else: which characters it may begin with, and what reads on and says where in the text it is.
    Code(fn(char) -> bool, fn(&mut Reader<'_>) -> Option<Range<usize>>),
}

/// A prefix and what follows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) prefix: &'static str,
    pub(crate) of: fn(char) -> bool,
    pub(crate) least: usize,
    pub(crate) most: usize,
    /// What else must be true of what follows the prefix.
    pub(crate) valid: fn(&str) -> bool,
}

/// How much before a place is looked at, in bytes: two characters.
pub(crate) const CONTEXT: usize = 8;

/// The text is looked at again when a part of what is held back is new: one in so many. Pieces may be as small as a letter, and a long key would be read from its beginning with each.
pub(crate) const PATIENCE: usize = 16;

/// Something that was found, by the number of its look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) look: usize,
    pub(crate) range: Range<usize>,
}

/// How far each look has come in a text: it begins nowhere before that any more.
pub(crate) type Cursors = Vec<usize>;

/// Looks sorted by what they may begin with.
#[derive(Debug)]
pub(crate) struct Looks {
    looks: Vec<Look>,
    by_ascii: Vec<Vec<usize>>,
    others: Vec<usize>,
}

impl Looks {
    pub(crate) fn new(looks: Vec<Look>) -> Self {
        let beginning_with = |first: char| -> Vec<usize> {
            looks
                .iter()
                .enumerate()
                .filter(|(_, look)| look.read.may_begin_with(first))
                .map(|(number, _)| number)
                .collect()
        };
        let by_ascii = (0..128_u8).map(|byte| beginning_with(char::from(byte))).collect();
        // What begins with any letter begins with this one.
        let others = beginning_with('ß');
        Self { looks, by_ascii, others }
    }

    pub(crate) fn looks(&self) -> &[Look] {
        &self.looks
    }

    /// Looks on from where it has come, adds what it finds, and says before which place everything is settled.
    pub(crate) fn scan(&self, text: &str, is_whole: bool, cursors: &mut Cursors, hits: &mut Vec<Hit>) -> usize {
        cursors.resize(self.looks.len(), 0);
        let mut cut: Vec<Option<usize>> = vec![None; self.looks.len()];
        let begin = text.floor_char_boundary(cursors.iter().copied().min().unwrap_or(text.len()));
        let mut before = Before::of(text.get(..begin).unwrap_or_default());
        for (offset, first) in text.get(begin..).unwrap_or_default().char_indices() {
            let at = begin + offset;
            let numbers = if first.is_ascii() { self.by_ascii.get(first as usize) } else { Some(&self.others) };
            for &number in numbers.into_iter().flatten() {
                let (Some(look), Some(cursor), Some(cut)) =
                    (self.looks.get(number), cursors.get_mut(number), cut.get_mut(number))
                else {
                    continue;
                };
                if cut.is_some() || at < *cursor || !look.read.may_begin_with(first) || before.is(look.not_after) {
                    continue;
                }
                let mut reader = Reader::new(text, at, look.window);
                let found = look.read.read(&mut reader);
                if reader.ran_out() && !is_whole {
                    *cut = Some(at);
                } else if let Some(range) = found {
                    *cursor = range.end;
                    hits.push(Hit { look: number, range });
                }
            }
            before.push(first);
        }
        for (cursor, cut) in cursors.iter_mut().zip(&cut) {
            *cursor = (*cursor).max(cut.unwrap_or(text.len()));
        }
        cut.into_iter().flatten().min().unwrap_or(text.len())
    }
}

impl Read {
    fn read(&self, reader: &mut Reader<'_>) -> Option<Range<usize>> {
        match self {
            Self::Token(token) => token.read(reader),
            Self::Code(_, read) => read(reader),
        }
    }

    fn may_begin_with(&self, first: char) -> bool {
        match self {
            Self::Token(token) => token.prefix.starts_with(first),
            Self::Code(may, _) => may(first),
        }
    }
}

impl Token {
    fn read(&self, reader: &mut Reader<'_>) -> Option<Range<usize>> {
        let start = reader.at();
        if !reader.literal(self.prefix) {
            return None;
        }
        let rest = reader.at();
        let count = reader.run(self.most, self.of);
        let is_whole = reader.ends(|next| is_word(next) || (self.of)(next));
        // A name that ends with `=` may stay.
        let start = if self.prefix.ends_with('=') { rest } else { start };
        (count >= self.least && is_whole && (self.valid)(reader.since(rest))).then(|| start..reader.at())
    }
}

/// The two characters before a place.
struct Before {
    last: Option<char>,
    last_but_one: Option<char>,
}

impl Before {
    fn of(text: &str) -> Self {
        let mut back = text.chars().rev();
        Self { last: back.next(), last_but_one: back.next() }
    }

    fn push(&mut self, next: char) {
        self.last_but_one = self.last.replace(next);
    }

    /// Whether the last is of that class. The letter of an escape, as in `\n`, belongs to the escape and not to what follows.
    fn is(&self, of: fn(char) -> bool) -> bool {
        let Some(last) = self.last else { return false };
        let is_escape = matches!(last, 'n' | 'r' | 't') && self.last_but_one == Some('\\');
        !is_escape && of(last)
    }
}

/// What words and numbers are made of.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
