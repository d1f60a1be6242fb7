//! The guard of a child process: `portcullis guard -- PROGRAM ARGUMENTS…`, between the gateway and an MCP server on standard input and output.
//!
//! It starts the program in a process group of its own and hands its own standard input on. When that input ends, because the gateway stopped the server or died in any way, it gives the
//! program a moment to end by itself and then kills the whole group, children of the child included. A child that leaves the group by itself (`setsid`) is not found: that is a known hole.

use std::io::{Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

/// How long a program may take to end by itself once its input has ended.
const GRACE: Duration = Duration::from_secs(2);
/// How long it may take after being asked by a signal.
const TERM_GRACE: Duration = Duration::from_secs(1);

/// What the guard waits for.
enum Event {
    InputEnded,
    ProgramEnded(ExitCode),
}

/// Runs the program and returns its exit code.
#[must_use]
pub fn run(argv: &[String]) -> ExitCode {
    let Some((program, arguments)) = argv.split_first() else { return ExitCode::from(64) };
    let spawned = Command::new(program).args(arguments).stdin(Stdio::piped()).process_group(0).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "can't start `{program}`: {error}");
            return ExitCode::from(127);
        }
    };
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (sender, events) = sync_channel(2);
    if let Some(sink) = child.stdin.take() {
        let end = InputEnd { is_told: Arc::new(AtomicBool::new(false)), sender: sender.clone() };
        let watched = end.clone();
        std::thread::spawn(move || watch_input(&watched));
        std::thread::spawn(move || hand_on_input(sink, &end));
    }
    std::thread::spawn(move || {
        let code = child.wait().map_or(ExitCode::FAILURE, code_of);
        let _ = sender.send(Event::ProgramEnded(code));
    });
    let code = wait(&events, group);
    end_group(group, Signal::KILL);
    code
}

/// Who tells that the input has ended, once.
#[derive(Clone)]
struct InputEnd {
    /// Set by whoever tells it first.
    is_told: Arc<AtomicBool>,
    sender: SyncSender<Event>,
}

impl InputEnd {
    fn tell(&self) {
        if !self.is_told.swap(true, Ordering::AcqRel) {
            let _ = self.sender.send(Event::InputEnded);
        }
    }
}

/// Sees that nobody is left at the other end. A program that does not read holds up what is handed on to it, but not this.
fn watch_input(end: &InputEnd) {
    let input = std::io::stdin();
    let mut watched = [PollFd::new(&input, PollFlags::empty())];
    loop {
        match poll(&mut watched, None) {
            Ok(_) => return end.tell(),
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn hand_on_input(mut sink: ChildStdin, end: &InputEnd) {
    let mut source = std::io::stdin().lock();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = source.read(&mut buffer) {
        let Some(read) = buffer.get(..length) else { break };
        if sink.write_all(read).and_then(|()| sink.flush()).is_err() {
            break;
        }
    }
    drop(sink);
    end.tell();
}

/// Waits until the program ends; once its input has ended, only for so long.
fn wait(events: &Receiver<Event>, group: Option<Pid>) -> ExitCode {
    match events.recv() {
        Ok(Event::ProgramEnded(code)) => return code,
        Ok(Event::InputEnded) | Err(_) => {}
    }
    for (patience, signal) in [(GRACE, Signal::TERM), (TERM_GRACE, Signal::KILL)] {
        if let Ok(Event::ProgramEnded(code)) = events.recv_timeout(patience) {
            return code;
        }
        end_group(group, signal);
    }
    match events.recv() {
        Ok(Event::ProgramEnded(code)) => code,
        Ok(Event::InputEnded) | Err(_) => ExitCode::FAILURE,
    }
}

fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Signals the group that the program leads. A group that has ended already needs no signal.
fn end_group(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        let _ = kill_process_group(group, signal);
    }
}
