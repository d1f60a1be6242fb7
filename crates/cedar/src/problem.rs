//! What is wrong with rules or facts, and what was probably meant.

use std::fmt;

use cedar_policy::ffi::DetailedError;

use crate::facts::Source;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The rules are not taken.
    Error,
    /// The rules are taken, and somebody should look.
    Warning,
}

/// Something wrong with a rule, or with a fact that rules rely on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, or the table of the configuration.
    pub file: String,
    /// The line, from 1; 0 where there is none.
    pub line: usize,
    /// The column in characters, from 1; 0 where there is none.
    pub column: usize,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.file)?;
        if self.line > 0 {
            write!(out, ":{}:{}", self.line, self.column)?;
        }
        let severity = if self.is_error() { "" } else { "warning: " };
        write!(out, ": {severity}{}", self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(out, "; did you mean `{suggestion}`?"),
            None => Ok(()),
        }
    }
}

impl Problem {
    /// Whether the rules can't be taken because of it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// An error in a source, at the byte `offset`.
    pub(crate) fn at(source: &Source, offset: usize, message: impl Into<String>) -> Self {
        let (line, column) = position(&source.text, offset);
        let (file, message) = (source.file.clone(), message.into());
        Self { file, line, column, severity: Severity::Error, message, suggestion: None }
    }

    /// An error in a table of the configuration.
    pub(crate) fn in_table(table: &str, message: impl Into<String>) -> Self {
        let (file, message) = (table.to_owned(), message.into());
        Self { file, line: 0, column: 0, severity: Severity::Error, message, suggestion: None }
    }

    /// What Cedar has to say, at the place it names or else at `offset`.
    pub(crate) fn of_cedar(source: &Source, offset: usize, error: &DetailedError) -> Self {
        let offset = error.source_locations.first().map_or(offset, |label| label.loc.start);
        let mut problem = Self::at(source, offset, without_policy_id(&error.message));
        let Some(help) = error.help.as_deref().map(without_policy_id) else { return problem };
        match help.strip_prefix("did you mean `").and_then(|rest| rest.strip_suffix("`?")) {
            Some(suggestion) => {
                problem.suggestion = Some(suggestion.to_owned()).filter(|_| is_near(&problem.message, suggestion))
            }
            None => problem.message = format!("{}: {help}", problem.message),
        }
        problem
    }

    pub(crate) fn suggesting(mut self, suggestion: Option<&str>) -> Self {
        self.suggestion = suggestion.map(str::to_owned);
        self
    }

    pub(crate) fn into_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

/// The name that was probably meant by `word`: the one with the fewest slips, if these are less than a third of it.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let slips = |name: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase());
    let allowed = (word.chars().count() / 3).max(1);
    let near = names.into_iter().map(|name| (slips(name), name)).filter(|(slips, _)| *slips <= allowed);
    near.min().map(|(_, name)| name)
}

/// Whether `suggestion` may be meant by the name that `message` is about. Cedar always has one, however far.
fn is_near(message: &str, suggestion: &str) -> bool {
    let name = message.split('`').nth(1).unwrap_or_default();
    let last = name.rsplit_once('.').map_or(name, |(_, last)| last);
    nearest(last, [suggestion]).is_some()
}

/// Line and column of the byte `offset`, both from 1.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// Cedar begins its sentences with the policy they are about; here they begin with the place.
fn without_policy_id(message: &str) -> &str {
    match message.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, ")) {
        Some((_, rest)) => rest,
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters() {
        let text = "ab\nä·x\n";
        for (offset, expected) in [(0, (1, 1)), (1, (1, 2)), (3, (2, 1)), (7, (2, 3)), (99, (3, 1))] {
            assert_eq!(position(text, offset), expected, "{offset}");
        }
    }

    #[test]
    fn a_problem_is_one_line_that_an_editor_can_follow() {
        let source = Source { file: "policies/claims.cedar".to_owned(), text: "a\nbc".to_owned() };
        let problem = Problem::at(&source, 3, "attribute `amuont` not found").suggesting(Some("amount"));
        let expected = "policies/claims.cedar:2:2: attribute `amuont` not found; did you mean `amount`?";
        assert_eq!(problem.to_string(), expected);
        let problem = Problem::in_table("identity", "odd").into_warning();
        assert_eq!(problem.to_string(), "identity: warning: odd");
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        assert_eq!(nearest("ajduster", ["manager", "adjuster"]), Some("adjuster"));
        assert_eq!(nearest("cat", ["dog", "bird"]), None);
    }
}
