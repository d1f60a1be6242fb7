//! A regular expression of the configuration. The engine knows no backtracking; what it may find is bounded, so that streams can be looked through.

use regex_automata::meta::{Builder, Config, Regex};
use regex_automata::{Anchored, Input};

use crate::look::{CONTEXT, Hit};
use crate::spec::Pattern;

/// What a compiled expression may take, in bytes.
const SIZE_LIMIT: usize = 1 << 20;
/// How long the text of an expression may be, in bytes.
const TEXT_LIMIT: usize = 4 << 10;
const LONGEST: u16 = 256;

#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) name: String,
    pub(crate) replacement: String,
    regex: Regex,
    longest: usize,
}

impl Expression {
    pub(crate) fn new(rule: &Pattern) -> Result<Self, String> {
        let name = rule.name.clone();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            return Err(format!("`{name}` can't be the name of a pattern: those have a-z, 0-9 and `_`"));
        }
        let longest = usize::from(rule.longest.unwrap_or(LONGEST));
        if longest == 0 {
            return Err(format!("the longest find of `{name}` must be more than 0 bytes"));
        }
        let regex = compile(&rule.regex).map_err(|error| format!("the expression of `{name}`: {error}"))?;
        let replacement = rule.replacement.clone().unwrap_or_else(|| format!("[{}]", name.to_ascii_uppercase()));
        let known = Self { name, replacement, regex, longest };
        known.check()?;
        Ok(known)
    }

    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if self.regex.is_match("") {
            return Err(format!("the expression of `{name}` finds the empty text, and so finds it everywhere"));
        }
        let mut found = Vec::new();
        self.scan(&self.replacement, true, &mut 0, &mut found);
        if found.is_empty() { Ok(()) } else { Err(format!("the replacement of `{name}` would be found by it again")) }
    }

    /// How far a find may reach, with what is looked at around it, in bytes.
    pub(crate) fn window(&self) -> usize {
        self.longest + CONTEXT
    }

    /// As [`Looks::scan`](crate::look::Looks::scan): the first place where something not longer than the longest begins, and on from its end.
    pub(crate) fn scan(&self, text: &str, is_whole: bool, cursor: &mut usize, hits: &mut Vec<Hit>) -> usize {
        let settled =
            if is_whole { text.len() } else { text.floor_char_boundary(text.len().saturating_sub(self.window())) };
        let mut at = *cursor;
        while at < settled {
            // Whatever begins in the first half of this piece and is not too long lies in it: time is linear though long finds may be met and left.
            let half = text.ceil_char_boundary(at + self.longest);
            let piece = Input::new(text).span(at..text.ceil_char_boundary(half + self.longest));
            let Some(begin) = self.regex.search(&piece).map(|found| found.start()).filter(|&begin| begin < half) else {
                at = half.min(settled);
                continue;
            };
            if begin >= settled {
                break;
            }
            let end = text.floor_char_boundary(begin + self.longest);
            let here = Input::new(text).span(begin..end).anchored(Anchored::Yes);
            match self.regex.search(&here).filter(|found| !found.is_empty()) {
                Some(found) => {
                    hits.push(Hit { look: 0, range: found.range() });
                    at = found.end();
                }
                None => at = text.ceil_char_boundary(begin + 1),
            }
        }
        *cursor = at.max(settled).max(*cursor);
        settled
    }
}

fn compile(text: &str) -> Result<Regex, String> {
    if text.len() > TEXT_LIMIT {
        return Err(format!("it is longer than {TEXT_LIMIT} bytes"));
    }
    let limits = Config::new().nfa_size_limit(Some(SIZE_LIMIT)).onepass_size_limit(Some(SIZE_LIMIT));
    Builder::new().configure(limits).build(text).map_err(|error| match error.syntax_error() {
        Some(syntax) => syntax.to_string(),
        None => error
            .size_limit()
            .map_or_else(|| error.to_string(), |limit| format!("compiled, it is over the limit of {limit} bytes")),
    })
}
