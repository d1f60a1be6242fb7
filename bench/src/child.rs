//! A proxy as a child process: started on its core, waited for, stopped.

use std::{
    ffi::OsStr,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{failure::Result, wire::Connection};

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Stopped when dropped.
pub(crate) struct Child {
    process: process::Child,
    log: PathBuf,
}

impl Child {
    /// Runs the program on the given cores with all it says going to a log in the folder.
    pub(crate) fn start<I: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = I>,
        cores: &str,
        folder: &Path,
    ) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        // taskset replaces itself by the program, so the child's id is the program's.
        let mut command = Command::new("taskset");
        command.args(["-c", cores]).arg(program).args(arguments).stdin(process::Stdio::null());
        let process =
            command.stdout(output.try_clone()?).stderr(output).spawn().map_err(|error| format!("taskset: {error}"))?;
        Ok(Self { process, log })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until `GET path` answers 200.
    pub(crate) async fn ready(&mut self, address: SocketAddr, path: &str) -> Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let start = Instant::now();
        while start.elapsed() < START_LIMIT {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("ended at its start ({status}): {}", self.last_words()).into());
            }
            if let Ok(mut connection) = Connection::open(address).await
                && connection.exchange(request.as_bytes()).await.is_ok_and(|answer| answer.status == 200)
            {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        Err(format!("not ready in time: {}", self.last_words()).into())
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Asks first: a killed nginx master would leave its worker behind.
    fn stop(&mut self) {
        if let Some(id) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(id, Signal::TERM);
        }
        let start = Instant::now();
        while start.elapsed() < STOP_LIMIT {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port nobody listens on at this moment.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Where a program is, if it is installed.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    // nginx lives in a folder that the path of an ordinary user does not name.
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&folders).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]).collect::<Vec<_>>();
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}
