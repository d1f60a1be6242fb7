//! Other programs: their output is shown as it comes and can be read along.

use std::io::{BufRead, BufReader, IsTerminal};
use std::process::{Command, Stdio};

use crate::environment::Environment;

/// `cargo <verb> <arguments>` in the checkout; on a machine nobody watches, with the lock file as it is.
pub(crate) fn cargo(environment: &Environment, verb: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new(&environment.cargo);
    command.args(verb);
    if environment.ci {
        command.arg("--locked");
    }
    command.args(arguments).current_dir(&environment.root).env("CARGO_TARGET_DIR", &environment.target);
    if environment.color.is_none() && std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command
}

/// Whether the program is there and answers.
pub(crate) fn answers(program: &str, arguments: &[&str]) -> bool {
    answer(program, arguments).is_some()
}

/// What the program prints when it succeeds, trimmed.
pub(crate) fn answer(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(crate) fn run(command: Command) -> Result<(), String> {
    run_reading(command, &mut |_| ())
}

/// Shows both outputs in the order in which they come and hands each line to `read`, without colours.
pub(crate) fn run_reading(mut command: Command, read: &mut dyn FnMut(&str)) -> Result<(), String> {
    let shown = shown(&command);
    println!("$ {shown}");
    let failed = |error: std::io::Error| format!("`{shown}`: {error}");
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    let mut child = command.spawn().map_err(failed)?;
    // It holds the writing ends; while they are open the reader would wait for more.
    drop(command);
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).map_err(failed)? > 0 {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        read(&without_colors(&text));
        line.clear();
    }
    let status = child.wait().map_err(failed)?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}`: {status}")) }
}

fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    [program].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Cuts `ESC [ … m`.
fn without_colors(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_are_read_in_order_and_colors_are_cut() {
        let mut command = Command::new("sh");
        command.args(["-c", r"echo a; echo b >&2; printf '\033[1;32mc\033[0m\n'"]);
        let mut lines = Vec::new();
        assert_eq!(run_reading(command, &mut |line| lines.push(line.trim().to_owned())), Ok(()));
        assert_eq!(lines, ["a", "b", "c"]);
    }

    #[test]
    fn a_failure_names_the_command() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        assert_eq!(run(command), Err("`sh -c exit 3`: exit status: 3".to_owned()));
    }
}
