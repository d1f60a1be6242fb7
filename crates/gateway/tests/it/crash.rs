//! A crash test: the gateway is killed (SIGKILL) at random instants under load, again and again, and judged after each start.
//!
//! Callers note what they were told; sample servers note what they did. After each kill the next start must be quick, and then notes, effects and
//! journal are held against one another: nothing acknowledged is missing, no tool ran twice or without an entry, nothing is held any more, and the
//! oracle finds the whole record lawful. Some kills hit the start itself, so that recovering is interrupted as well.
//!
//! `PORTCULLIS_CRASH_ROUNDS` says how often it is killed (20), `PORTCULLIS_CRASH_SEED` repeats the choices of another run; the instants that they
//! meet differ all the same. A test that fails leaves its folder and says where.
//!
//! What it can't show: a kill does not take away what the system has yet to write, so that synchronous writing is not put to the test here.
//!
//! Start with [`rounds`]; [`callers`] is the load, [`judge`] the verdict.

mod callers;
mod chance;
mod chats;
mod chores;
mod journal;
mod judge;
mod notes;
mod processes;
mod report;
mod rounds;
mod site;
mod tools;
mod values;

use std::hash::{BuildHasher as _, RandomState};

use rounds::Options;

/// How often the gateway is killed where nothing else is asked for.
const ROUNDS: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_a_caller_was_told_survives_a_kill_and_no_tool_runs_twice() {
    let seed = number("PORTCULLIS_CRASH_SEED").unwrap_or_else(|| RandomState::new().hash_one("crash"));
    let options = Options { rounds: number("PORTCULLIS_CRASH_ROUNDS").unwrap_or(ROUNDS), seed };
    let repeat = format!("repeat with PORTCULLIS_CRASH_SEED={seed} PORTCULLIS_CRASH_ROUNDS={}", options.rounds);
    eprintln!("{repeat}");
    match rounds::run(&options).await {
        Ok(report) => eprintln!("{report}"),
        Err(problem) => panic!("{problem}\n{repeat}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is configured by its environment")]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}
