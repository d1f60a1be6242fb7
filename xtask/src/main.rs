//! The chores of this repository, as `cargo xtask <chore>`.
//!
//! - [`tidy`] holds the rules of the tree that the compiler does not know.
//! - [`test`] is the one command that checks everything, on a fresh machine too.
//! - [`fuzz`] runs the tests with random inputs for long.
//! - [`clients`] installs the public client libraries that the integration tests speak to the gateway with.
//! - [`environment`] is the only place that asks what surrounds us; [`process`] the only one that starts other programs for
//!   a chore; [`verdict`] is how a chore ends.
//!
//! It has no dependencies, so that it is there seconds after a fresh clone.

#![allow(clippy::print_stdout, reason = "a chore speaks to the person who started it")]

mod clients;
mod environment;
mod fuzz;
mod process;
mod test;
mod tidy;
mod verdict;

use std::process::ExitCode;

use environment::Environment;
use test::Extent;
use verdict::Verdict;

const USAGE: &str = "\
usage: cargo xtask <chore>

  tidy            hold the rules of the tree: borders, cycles, lengths, words, links
  test [--fast]   run every check; --fast leaves out dependencies, doc tests and client libraries
  fuzz <seconds> [token|policy|arguments]
                  break them at random for so long, and hold what is taken against another reader
  clients         install the client libraries that the integration tests use";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let environment = Environment::read();
    let verdict = match words.as_slice() {
        ["tidy"] => tidy::run(&environment.root),
        ["test"] => test::run(&environment, Extent::Full),
        ["test", "--fast"] => test::run(&environment, Extent::Fast),
        ["fuzz", seconds] => fuzz::run(&environment, seconds, None),
        ["fuzz", seconds, target] => fuzz::run(&environment, seconds, Some(target)),
        ["clients"] => clients::install(&environment),
        ["help" | "--help" | "-h"] => Verdict::Passed(USAGE.to_owned()),
        _ => Verdict::Failed(USAGE.to_owned()),
    };
    println!("{}", verdict.message());
    if verdict.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
