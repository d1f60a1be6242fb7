//! Guards for processes that a test or the demo starts, and waiting for a condition rather than for a time.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;

/// How long to wait before a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How much of a process's output stands in an error, in bytes.
const SHOWN_OUTPUT_BYTES: usize = 4_000;
/// The ports that servers get: below those that the system gives to whoever connects (32768 and up on Linux), or a connection could take the port between the choice and the start of the server.
const FIRST_PORT: u16 = 20_000;
/// How many there are.
const PORTS: u32 = 12_000;

/// A process that does not outlive this value: it is killed, by its id and alone, when the value is dropped.
#[derive(Debug)]
pub struct ChildProcess {
    child: Child,
    name: String,
    output: PathBuf,
}

impl ChildProcess {
    /// Starts `command` with its standard output and error appended to the file `output`, and no standard input.
    ///
    /// # Errors
    ///
    /// A sentence when the file or the process cannot be made.
    pub fn spawn(mut command: Command, output: &Path) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = File::options().append(true).create(true).open(output);
        let started = file.and_then(|file| {
            let copy = file.try_clone()?;
            command.stdin(Stdio::null()).stdout(file).stderr(copy).spawn()
        });
        let child = started.map_err(|error| format!("start `{name}`: {error}"))?;
        Ok(Self { child, name, output: output.to_owned() })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far, together with what an earlier process wrote to the same file.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read(&self.output).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// How it ended; none while it runs.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until `condition` holds, for `limit` at most; `what` is named when it does not, as in "the gateway is ready".
    ///
    /// # Errors
    ///
    /// A sentence with the end of the output, at once when the process has ended.
    pub async fn wait_until<C, W>(&mut self, what: &str, limit: Duration, mut condition: C) -> Result<(), String>
    where
        C: FnMut() -> W,
        W: Future<Output = bool>,
    {
        let wait = async {
            while !condition().await {
                if let Ok(Some(status)) = self.child.try_wait() {
                    return Err(format!("`{}` ended with {status}", self.name));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Ok(())
        };
        let outcome = tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| Err(format!("it took {limit:?}")));
        outcome.map_err(|reason| format!("wait until {what}: {reason}; the output ends with:\n{}", self.output_end()))
    }

    /// Waits until it has ended by itself, for `limit` at most.
    ///
    /// # Errors
    ///
    /// A sentence with the end of the output when it still runs.
    pub async fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let wait = async {
            loop {
                if let Some(status) =
                    self.child.try_wait().map_err(|error| format!("ask for `{}`: {error}", self.name))?
                {
                    return Ok(status);
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let outcome = tokio::time::timeout(limit, wait).await;
        outcome.unwrap_or_else(|_| {
            let (name, output) = (&self.name, self.output_end());
            Err(format!("`{name}` still runs after {limit:?}; the output ends with:\n{output}"))
        })
    }

    /// Kills it (SIGKILL) and waits until it is gone. It is no error when it had ended before.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// Asks it to end (SIGTERM) and does not wait.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn terminate(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Stops it where it is (SIGSTOP), until [`ChildProcess::resume`].
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn pause(&mut self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn resume(&mut self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        // The id is still ours: the process was not waited for, so nobody else can have got it.
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("the process has no id"))?;
        Ok(kill_process(id, signal)?)
    }

    fn output_end(&self) -> String {
        let output = self.output();
        let start = output.len().saturating_sub(SHOWN_OUTPUT_BYTES);
        let start = (start..=output.len()).find(|&at| output.is_char_boundary(at)).unwrap_or(output.len());
        output.get(start..).unwrap_or_default().to_owned()
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // Nobody is left to tell: it has ended, or the operating system will not let us.
        let _ = self.kill();
    }
}

/// Waits until `condition` holds, for `limit` at most; `what` is named when it does not, as in "the call was settled".
///
/// # Errors
///
/// A sentence when it took longer.
pub async fn wait_until<C, W>(what: &str, limit: Duration, mut condition: C) -> Result<(), String>
where
    C: FnMut() -> W,
    W: Future<Output = bool>,
{
    let wait = async {
        while !condition().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(limit, wait).await.map_err(|_| format!("wait until {what}: it took {limit:?}"))
}

/// A listener on a free loopback port, and its base URL.
///
/// # Errors
///
/// What the operating system says.
pub async fn listen() -> io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

/// A loopback port that is free now, for a process that must be told its port. Somebody else may take it before; where it is
/// possible, bind with [`listen`] instead.
///
/// # Errors
///
/// What the operating system says.
pub fn free_port() -> io::Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at once begin far from one another, so that two seldom choose the same.
    let first = std::process::id().wrapping_mul(61);
    let mut taken = io::ErrorKind::AddrInUse.into();
    for _ in 0..PORTS {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = FIRST_PORT + u16::try_from(offset).unwrap_or_default();
        match std::net::TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(error) => taken = error,
        }
    }
    Err(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> (ChildProcess, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        (ChildProcess::spawn(command, &folder.path().join("output")).unwrap(), folder)
    }

    fn runs(id: u32) -> bool {
        let id = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        rustix::process::test_kill_process(id).is_ok()
    }

    #[tokio::test]
    async fn a_process_is_ready_when_the_condition_holds_and_is_gone_when_it_is_dropped() {
        let (mut child, _folder) = shell("echo ready; echo oops >&2; exec sleep 1000");
        let output = child.output.clone();
        let ready = || async { std::fs::read_to_string(&output).is_ok_and(|text| text.contains("oops")) };
        child.wait_until("the shell is ready", LIMIT, ready).await.unwrap();
        assert_eq!(child.output(), "ready\noops\n");
        let id = child.id();
        assert!(runs(id));
        drop(child);
        assert!(!runs(id));
    }

    #[tokio::test]
    async fn a_process_that_ends_too_early_is_told_with_its_output() {
        let (mut child, _folder) = shell("echo no port; exit 3");
        let message = child.wait_until("it listens", LIMIT, || async { false }).await.unwrap_err();
        for part in ["wait until it listens", "ended with exit status: 3", "no port"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[tokio::test]
    async fn a_process_ends_by_itself_when_asked_and_at_once_when_killed() {
        let (mut child, _folder) = shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done");
        let output = child.output.clone();
        let up = || async { std::fs::read_to_string(&output).is_ok_and(|text| text.contains("up")) };
        child.wait_until("it is up", LIMIT, up).await.unwrap();
        assert!(child.wait_for_end(Duration::from_millis(1)).await.unwrap_err().contains("still runs"));
        child.terminate().unwrap();
        assert!(child.wait_for_end(LIMIT).await.unwrap().success());
        assert_eq!(child.output(), "up\nbye\n");
        let (mut child, _folder) = shell("trap '' TERM; exec sleep 1000");
        assert!(!child.kill().unwrap().success());
        assert!(child.ended().unwrap().is_some());
        child.kill().unwrap();
        child.terminate().unwrap();
    }

    #[tokio::test]
    async fn waiting_has_a_limit() {
        let message = wait_until("it rains", Duration::from_millis(30), || async { false }).await.unwrap_err();
        assert_eq!(message, "wait until it rains: it took 30ms");
        wait_until("it rains", LIMIT, || async { true }).await.unwrap();
        assert_ne!(free_port().unwrap(), 0);
    }
}
