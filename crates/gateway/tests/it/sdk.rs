//! The Python package of `sdk/python`: its own tests, which start the binary themselves, and what its checkers say of it.
//!
//! Each framework has an environment of its own, as they do not agree on what they need; `cargo xtask test` installs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clients::libraries;

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/python").canonicalize().unwrap()
}

/// Runs a module of that environment in the package's folder to its end, which must be a good one, and tells what it said.
fn run(environment: &str, module: &[&str]) -> String {
    let mut command = Command::new(libraries().join(environment).join("bin/python"));
    command.arg("-m").args(module).current_dir(package());
    command.env("PORTCULLIS_BIN", env!("CARGO_BIN_EXE_portcullis"));
    command.env("PYTHONPATH", package().join("src")).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{module:?}\n{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Runs the tests in that file; so many must have passed, and none may have been left out.
fn check(environment: &str, file: &str, passed: usize) {
    let said = run(environment, &["pytest", "-p", "no:cacheprovider", file]);
    let last = said.lines().last().unwrap_or_default();
    let count = last.split_once(" passed").and_then(|(count, _)| count.parse::<usize>().ok()).unwrap_or_default();
    assert!(count >= passed && !last.contains("skipped") && !last.contains("xfailed"), "{said}");
}

#[test]
#[ignore = "needs client libraries: cargo xtask test"]
fn the_python_client_keeps_its_promises() {
    check("sdk-langgraph", "tests/test_client.py", 20);
}

#[test]
#[ignore = "needs client libraries: cargo xtask test"]
fn the_checkpointer_of_langgraph_keeps_its_promises() {
    check("sdk-langgraph", "tests/test_langgraph.py", 17);
}

#[test]
#[ignore = "needs client libraries: cargo xtask test"]
fn sessions_are_carried_into_the_clients_of_others() {
    check("sdk-langgraph", "tests/test_connect.py", 4);
}

#[test]
#[ignore = "needs client libraries: cargo xtask test"]
fn agents_of_autogen_are_saved_and_loaded() {
    check("sdk-autogen", "tests/test_autogen.py", 3);
}

#[test]
#[ignore = "needs client libraries: cargo xtask test"]
fn flows_of_crewai_are_persisted_and_continued() {
    check("sdk-crewai", "tests/test_crewai.py", 6);
}

#[test]
#[ignore = "needs client libraries: cargo xtask test"]
fn the_package_is_typed_and_in_good_form() {
    const CACHE: &str = "--cache-dir=/dev/null";
    run("sdk-langgraph", &["mypy", CACHE, "--exclude", r"crewai\.py$"]);
    run("sdk-crewai", &["mypy", CACHE, "src/portcullis/crewai.py"]);
    let everything = [".", "../../examples/claims-langgraph", "--config", "pyproject.toml", "--no-cache"];
    run("sdk-langgraph", &[&["ruff", "check"], everything.as_slice()].concat());
    run("sdk-langgraph", &[&["ruff", "format", "--check"], everything.as_slice()].concat());
}
