//! The steps and the tools they need.

use std::process::Command;

use super::tally::Tally;
use crate::environment::Environment;
use crate::verdict::Verdict;
use crate::{clients, process, tidy};

pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Environment, &mut Tally) -> Verdict,
}

const FORMAT: Step = Step { name: "format", run: format };
const TIDY: Step = Step { name: "tidy", run: |environment, _| tidy::run(&environment.root) };
const CLIPPY: Step = Step { name: "clippy", run: clippy };
const DEPENDENCIES: Step = Step { name: "dependencies", run: dependencies };
const CLIENTS: Step = Step { name: "clients", run: client_libraries };
const SERVERS: Step = Step { name: "servers", run: |environment, _| clients::servers(environment) };
const TESTS: Step = Step { name: "tests", run: every_test };
const QUICK_TESTS: Step = Step { name: "tests", run: quick_tests };
const DOC_TESTS: Step = Step { name: "doc tests", run: doc_tests };

pub(crate) const FAST: &[Step] = &[FORMAT, TIDY, CLIPPY, QUICK_TESTS];
/// Clients are installed before the tests, so that one run of the tests includes those that speak through them.
pub(crate) const FULL: &[Step] = &[FORMAT, TIDY, CLIPPY, DEPENDENCIES, CLIENTS, SERVERS, TESTS, DOC_TESTS];

fn format(environment: &Environment, _: &mut Tally) -> Verdict {
    let mut command = Command::new(&environment.cargo);
    command.args(["fmt", "--all", "--check"]).current_dir(&environment.root);
    verdict(process::run(command))
}

fn clippy(environment: &Environment, _: &mut Tally) -> Verdict {
    let arguments = ["--workspace", "--all-targets", "--", "-D", "warnings"];
    verdict(process::run(process::cargo(environment, &["clippy"], &arguments)))
}

/// The version that `deny.toml` was written for.
const DENY_VERSION: &str = "0.20.2";

/// Licences, banned crates and sources. Advisories need a database from outside, so they are no part of this.
fn dependencies(environment: &Environment, _: &mut Tally) -> Verdict {
    let Some(deny) = cargo_deny(environment) else {
        return Verdict::missing(environment.ci, format!("cargo-deny {DENY_VERSION} could not be installed"));
    };
    let mut command = Command::new(deny);
    if environment.ci {
        command.arg("--locked");
    }
    command.args(["--workspace", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
    command.current_dir(&environment.root);
    verdict(process::run(command))
}

/// The machine's own, or one installed once beside what is built. Unoptimised it is there in half the time, and it runs for
/// two seconds.
fn cargo_deny(environment: &Environment) -> Option<String> {
    let installed = environment.tools().join("bin/cargo-deny").to_string_lossy().into_owned();
    let there = ["cargo-deny", installed.as_str()].into_iter().find(|deny| process::answers(deny, &["--version"]));
    if let Some(deny) = there {
        return Some(deny.to_owned());
    }
    let mut install = Command::new(&environment.cargo);
    install.args(["install", "cargo-deny", "--locked", "--debug", "--version", DENY_VERSION]);
    install.arg("--root").arg(environment.tools());
    let build = environment.tools().join("build");
    install.arg("--target-dir").arg(&build).current_dir(&environment.root);
    let outcome = process::run(install);
    // Half a gigabyte that nobody needs again; that it may stay behind is no reason to fail.
    let _ = std::fs::remove_dir_all(build);
    outcome.ok().map(|()| installed)
}

fn client_libraries(environment: &Environment, _: &mut Tally) -> Verdict {
    match clients::install(environment) {
        Verdict::Failed(message) => Verdict::missing(environment.ci, message),
        verdict @ (Verdict::Passed(_) | Verdict::Skipped(_)) => verdict,
    }
}

fn quick_tests(environment: &Environment, tally: &mut Tally) -> Verdict {
    verdict(process::run_reading(runner(environment, false), &mut |line| tally.read(line)))
}

/// With client libraries, tests that are ignored without them run too.
fn every_test(environment: &Environment, tally: &mut Tally) -> Verdict {
    let clients = clients::ready(environment);
    let mut command = runner(environment, clients.is_some());
    command.envs(clients.map(|folder| (clients::VARIABLE, folder)));
    verdict(process::run_reading(command, &mut |line| tally.read(line)))
}

/// Nextest gives each test a process and a time; without it `cargo test` runs the same tests.
fn runner(environment: &Environment, ignored_too: bool) -> Command {
    if process::answers(&environment.cargo, &["nextest", "--version"]) {
        let ignored: &[&str] = if ignored_too { &["--run-ignored", "all"] } else { &[] };
        let arguments = [&["--workspace", "--no-fail-fast", "--status-level", "slow"], ignored].concat();
        return process::cargo(environment, &["nextest", "run"], &arguments);
    }
    let ignored: &[&str] = if ignored_too { &["--", "--include-ignored"] } else { &[] };
    let arguments = [&["--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"], ignored].concat();
    process::cargo(environment, &["test"], &arguments)
}

fn doc_tests(environment: &Environment, tally: &mut Tally) -> Verdict {
    let command = process::cargo(environment, &["test"], &["--workspace", "--doc", "--quiet"]);
    verdict(process::run_reading(command, &mut |line| tally.read(line)))
}

fn verdict(outcome: Result<(), String>) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Passed("as it should be".to_owned()),
        Err(message) => Verdict::Failed(message),
    }
}
