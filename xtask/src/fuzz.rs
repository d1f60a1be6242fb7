//! Broken tokens, rules and arguments, for as long as one likes. The same targets run a little in every run of the tests (`portcullis_testkit::fuzz`).

use crate::environment::Environment;
use crate::process;
use crate::verdict::Verdict;

/// The targets: what each is called, and where it is.
const TARGETS: [(&str, &[&str]); 3] = [
    ("token", &["-p", "portcullis", "--test", "fuzz_token"]),
    ("policy", &["-p", "portcullis-cedar", "--lib", "fuzz::"]),
    ("arguments", &["-p", "portcullis", "--test", "fuzz_arguments"]),
];

/// Runs one target, or all of them one after another, for so many seconds each test.
pub(crate) fn run(environment: &Environment, seconds: &str, only: Option<&str>) -> Verdict {
    if seconds.parse::<u32>().is_err() {
        return Verdict::Failed(format!("`{seconds}` is no number of seconds"));
    }
    let targets: Vec<_> = TARGETS.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)).collect();
    if targets.is_empty() {
        let names = TARGETS.map(|(name, _)| name).join(", ");
        return Verdict::Failed(format!("there are the targets {names}"));
    }
    for (name, place) in targets {
        let mut command = process::cargo(environment, &["test", "--release"], place);
        command.args(["--", "--nocapture"]).env("PORTCULLIS_FUZZ_SECONDS", seconds);
        if let Err(problem) = process::run(command) {
            return Verdict::Failed(format!("{name}: {problem}"));
        }
    }
    Verdict::Passed("nothing was found".to_owned())
}
