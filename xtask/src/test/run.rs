//! Runs the steps, each under a heading and with its time, and closes with what is left to mend.

use std::time::{Duration, Instant};

use super::steps::{FAST, FULL, Step};
use super::tally::Tally;
use crate::environment::Environment;
use crate::verdict::Verdict;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything, with client libraries.
    Full,
    /// What a person runs before every commit.
    Fast,
}

pub(crate) fn run(environment: &Environment, extent: Extent) -> Verdict {
    let steps = match extent {
        Extent::Full => FULL,
        Extent::Fast => FAST,
    };
    let mut tally = Tally::default();
    let mut ended = Vec::new();
    for step in steps {
        println!("\n== {} ==", step.name);
        let started = now();
        let verdict = (step.run)(environment, &mut tally);
        let took = started.elapsed();
        println!("{} {} after {}: {}", step.name, verdict.word(), seconds(took), verdict.message());
        ended.push((step, verdict, took));
    }
    close(&ended, &tally)
}

fn close(ended: &[(&Step, Verdict, Duration)], tally: &Tally) -> Verdict {
    println!("\n== summary ==");
    for (step, verdict, took) in ended {
        let why =
            if matches!(verdict, Verdict::Passed(_)) { String::new() } else { format!(": {}", verdict.message()) };
        println!("{:8} {:>8}  {}{why}", verdict.word(), seconds(*took), step.name);
    }
    let closing = tally.to_string();
    if ended.iter().any(|(_, verdict, _)| verdict.failed()) {
        Verdict::Failed(closing)
    } else {
        Verdict::Passed(closing)
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[expect(clippy::disallowed_methods, reason = "a step is timed for the person who waits for it")]
fn now() -> Instant {
    Instant::now()
}
