//! Long files and long functions. Tests do not count: a table of cases may be as long as it likes.

use super::files::Files;
use super::finding::Finding;
use super::items::{functions, without_tests};
use super::lexer::tokens;
use super::rules::{FILE_LINES, FUNCTION_LINES};

pub(crate) fn check(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.ending(".rs") {
        let production = without_tests(&tokens(text));
        let lines = text.lines().count() - production.test_lines;
        findings.extend(judge(path, 0, lines, FILE_LINES, "lines before its tests"));
        for function in functions(&production.spots) {
            let what = format!("lines in `{}`", function.name);
            findings.extend(judge(path, function.line, function.lines, FUNCTION_LINES, &what));
        }
    }
    findings
}

fn judge(path: &str, line: usize, lines: usize, (look, stop): (usize, usize), what: &str) -> Option<Finding> {
    let text = format!("{lines} {what}");
    match lines {
        _ if lines > stop => Some(Finding::error(path, line, format!("{text}, the limit is {stop}"))),
        _ if lines > look => Some(Finding::note(path, line, format!("{text} want a second look"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_sizes(text: &str, expected: &[&str]) {
        let found: Vec<String> = check(&Files::of(&[("a.rs", text)])).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn long_functions_are_noted_and_longer_ones_refused() {
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "x;\n".repeat(lines - 2));
        check_sizes(&function(60), &[]);
        check_sizes(&function(61), &["note: a.rs:1: 61 lines in `f` want a second look"]);
        check_sizes(&function(121), &["error: a.rs:1: 121 lines in `f`, the limit is 120"]);
    }

    #[test]
    fn tests_do_not_make_a_file_long() {
        let text = |production: usize| {
            format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "//\n".repeat(production), "\n".repeat(900))
        };
        check_sizes(&text(500), &[]);
        check_sizes(&text(501), &["note: a.rs: 501 lines before its tests want a second look"]);
        check_sizes(&text(801), &["error: a.rs: 801 lines before its tests, the limit is 800"]);
    }
}
