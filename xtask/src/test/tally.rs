//! How many tests ran, read from what the runners print at their end.

use std::fmt;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Tally {
    /// Takes a closing line of nextest or of `cargo test`, and leaves every other line alone.
    pub(crate) fn read(&mut self, line: &str) {
        // Nextest repeats the inner closing line of a failed test, but never at the margin.
        let counts = match line.strip_prefix("test result: ") {
            Some(counts) => counts.split_once(". ").map(|(_, counts)| counts),
            None if line.trim_start().starts_with("Summary [") => line.split_once(':').map(|(_, counts)| counts),
            None => None,
        };
        for count in counts.unwrap_or_default().split([',', ';']) {
            let mut words = count.split_whitespace();
            let number = words.next().and_then(|number| number.parse::<usize>().ok()).unwrap_or_default();
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed" | "exec" | "timed") => self.failed += number,
                Some("skipped" | "ignored") => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tests: {} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, passed: usize, failed: usize, skipped: usize) {
        let mut tally = Tally::default();
        tally.read(line);
        assert_eq!(tally, Tally { passed, failed, skipped }, "in {line}");
    }

    #[test]
    fn closing_lines_of_the_runners_are_counted() {
        check("     Summary [   1.0s] 33 tests run: 20 passed (1 slow, 2 flaky), 13 failed, 4 skipped", 20, 13, 4);
        check("     Summary [   1.0s] 2/33 tests run: 0 passed, 1 timed out, 1 exec failed, 0 skipped", 0, 2, 0);
        check(
            "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 32 filtered out; finished in 0.1s",
            3,
            1,
            2,
        );
    }

    #[test]
    fn other_lines_are_left_alone() {
        check("    test result: FAILED. 0 passed; 1 failed; 0 ignored", 0, 0, 0);
        check("test a::b ... ok: 3 passed", 0, 0, 0);
    }
}
