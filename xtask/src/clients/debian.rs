//! Interpreters that the machine lacks, from Debian's packages, where we may install them.

use std::process::Command;

use crate::process;

/// Makes sure that `program` answers, with `packages` installed if it does not.
pub(crate) fn need(program: &str, question: &[&str], packages: &[&str]) -> Result<(), String> {
    if process::answers(program, question) {
        return Ok(());
    }
    let wish = format!("`{program}` is missing: install {}", packages.join(" "));
    if !process::answers("apt-get", &["--version"]) {
        return Err(wish);
    }
    for arguments in [&["update"], [&["install", "--yes", "--no-install-recommends"], packages].concat().as_slice()] {
        let Some(mut command) = as_root("apt-get") else { return Err(wish) };
        command.args(arguments);
        process::run(command)?;
    }
    if process::answers(program, question) { Ok(()) } else { Err(wish) }
}

/// We are root, or `sudo` lets us be without a question.
fn as_root(program: &str) -> Option<Command> {
    let environment = "DEBIAN_FRONTEND=noninteractive";
    if process::answer("id", &["-u"])? == "0" {
        let mut command = Command::new("env");
        command.args([environment, program]);
        return Some(command);
    }
    process::answers("sudo", &["-n", "true"]).then(|| {
        let mut command = Command::new("sudo");
        command.args(["-n", environment, program]);
        command
    })
}
