//! How deep a policy may nest.
//!
//! Cedar reads, checks and evaluates by recursion, without a bound while it reads: some 200 brackets or 450 operators end a
//! thread of 2 MiB, and with it the process. So a text is measured before it is read.

use crate::facts::Source;
use crate::problem::Problem;

/// The largest file, in bytes.
const SOURCE_LIMIT_BYTES: usize = 1 << 20;
/// The most brackets around anything.
const BRACKETS_LIMIT: usize = 48;
/// The most operators in a policy, where a point and a `!` count as one and all others as two.
const OPERATORS_LIMIT: usize = 512;

/// Whether a source may be read, or what in it nests too deep.
pub(crate) fn check(source: &Source, problems: &mut Vec<Problem>) -> bool {
    if source.text.len() > SOURCE_LIMIT_BYTES {
        problems.push(Problem::at(source, 0, format!("the file is larger than {SOURCE_LIMIT_BYTES} bytes")));
        return false;
    }
    let mut measure = Measure::default();
    let mut rest = source.text.as_str();
    while let Some(first) = rest.chars().next() {
        let at = source.text.len() - rest.len();
        let length = measure.take(first, rest);
        if let Some(problem) = measure.problem() {
            problems.push(Problem::at(source, at, problem));
            return false;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    true
}

#[derive(Default)]
struct Measure {
    brackets: usize,
    operators: usize,
}

impl Measure {
    /// Counts what `rest` begins with and says how long that is.
    fn take(&mut self, first: char, rest: &str) -> usize {
        match first {
            '"' => return text_length(rest),
            '/' if rest.starts_with("//") => return rest.find('\n').unwrap_or(rest.len()),
            '(' | '[' | '{' => self.brackets += 1,
            ')' | ']' | '}' => self.brackets = self.brackets.saturating_sub(1),
            // `||` and `&&` are two characters.
            '.' | '!' | '|' | '&' => self.operators += 1,
            '+' | '-' | '*' => self.operators += 2,
            ';' => *self = Self::default(),
            _ if first.is_alphanumeric() || first == '_' => {
                let is_word = |character: char| character.is_alphanumeric() || character == '_';
                let length = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
                self.operators += if rest.get(..length) == Some("if") { 2 } else { 0 };
                return length;
            }
            _ => {}
        }
        first.len_utf8()
    }

    fn problem(&self) -> Option<String> {
        if self.brackets > BRACKETS_LIMIT {
            return Some(format!("more than {BRACKETS_LIMIT} brackets stand around this"));
        }
        if self.operators > OPERATORS_LIMIT {
            return Some(
                "the policy has too many operators: divide it, or compare with a set as in `[…].contains(…)`"
                    .to_owned(),
            );
        }
        None
    }
}

/// The length of the quoted text that `rest` begins with.
fn text_length(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn check_text(condition: &str, is_fine: bool) {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        let mut problems = Vec::new();
        assert_eq!(check(&fixture::source(&text), &mut problems), is_fine, "{condition}");
        assert_eq!(problems.is_empty(), is_fine, "{problems:?}");
        // What is let through is read, checked and evaluated on a thread of 2 MiB, the size of those that decide.
        if let Ok(engine) = crate::compile(&[fixture::source(&text)], &fixture::claims()) {
            assert_eq!(fixture::payment("ann", 0).decide(&engine).errors, Vec::<String>::new(), "{condition}");
        }
    }

    fn nested(open: &str, inside: &str, close: &str, times: usize) -> String {
        format!("{}{inside}{}", open.repeat(times), close.repeat(times))
    }

    #[test]
    fn what_nests_too_deep_is_not_read() {
        let within = BRACKETS_LIMIT - 1;
        for (open, inside, close) in [("(", "true", ")"), ("[", "1", "]"), ("{a:", "1", "}"), ("decimal(", "1", ")")] {
            check_text(&nested(open, inside, close, within), true);
            check_text(&nested(open, inside, close, within + 1), false);
            check_text(&nested(open, inside, close, 100_000), false);
        }
        for (open, inside) in
            [("true || ", "true"), ("1 + ", "1 > 0"), ("if true then ", "true else true"), ("principal.a && ", "true")]
        {
            check_text(&nested(open, inside, "", 170), true);
            check_text(&nested(open, inside, "", 10_000), false);
        }
        check_text(&nested("true || ", &nested("(", "true", ")", within), "", OPERATORS_LIMIT / 2), true);
        check_text(&nested("if true then ", "true ", "else true ", OPERATORS_LIMIT / 2), true);
        check_text(&format!("principal{}", ".a".repeat(OPERATORS_LIMIT)), true);
        check_text(&format!("principal{}", ".a".repeat(OPERATORS_LIMIT + 1)), false);
    }

    #[test]
    fn only_operators_count() {
        let names = nested("\"((..||\\\"((\", ", "\"\"", "", 2_000);
        check_text(
            &format!("[{names}].contains(context.door) // ((((((((((((((((((((((((((((((((((((((((((((((((((((\n"),
            true,
        );
        let many = "permit(principal, action, resource) when { true || true };\n".repeat(2_000);
        assert!(check(&fixture::source(&many), &mut Vec::new()));
    }

    #[test]
    fn a_file_has_a_largest_size() {
        let mut problems = Vec::new();
        assert!(!check(&fixture::source(&" ".repeat(SOURCE_LIMIT_BYTES + 1)), &mut problems));
        assert_eq!(problems[0].to_string(), "claims.cedar:1:1: the file is larger than 1048576 bytes");
    }
}
