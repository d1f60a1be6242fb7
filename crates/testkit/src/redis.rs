//! A Redis or Valkey server of a test's own: on a free loopback port, with a password, nothing kept on disk, gone with this value.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::{ChildProcess, free_port};

/// The names that the server goes by.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
/// What clients have to know.
const PASSWORD: &str = "redis-3f7b20c9";
/// How long the server may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How many ports are tried.
const PORTS_LIMIT: usize = 5;

/// A server that runs, unless it was killed.
#[derive(Debug)]
pub struct Redis {
    program: &'static str,
    folder: PathBuf,
    port: u16,
    process: Option<ChildProcess>,
}

impl Redis {
    /// Starts the server.
    ///
    /// # Errors
    ///
    /// A sentence when there is no such server on this machine, or it does not start.
    pub async fn start() -> Result<Self, String> {
        let is_there = |program: &&&str| {
            Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
        };
        let program = PROGRAMS.iter().find(is_there);
        let program = program.ok_or("there is no Redis on this machine: install package `redis-server`")?;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("portcullis-redis-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("make `{}`: {error}", folder.display()))?;
        let mut server = Self { program, folder, port: 0, process: None };
        server.settle().await?;
        Ok(server)
    }

    /// Starts it for the first time, at a port that nobody has. Somebody may take it between the choice and the start.
    async fn settle(&mut self) -> Result<(), String> {
        let mut problem = String::new();
        for _ in 0..PORTS_LIMIT {
            self.port = free_port().map_err(|error| format!("find a free port: {error}"))?;
            match self.begin().await {
                Err(taken) if taken.contains("Address already in use") => problem = taken,
                other => return other,
            }
        }
        Err(problem)
    }

    /// The URL of its database, with the password in it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{}/0", self.port)
    }

    /// Whether it was not killed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.is_some()
    }

    /// Kills it. What it knew is gone.
    ///
    /// # Errors
    ///
    /// A sentence when it can't be killed.
    pub fn crash(&mut self) -> Result<(), String> {
        let killed = self.process.take().map(|mut process| process.kill()).transpose();
        killed.map(drop).map_err(|error| format!("kill `{}`: {error}", self.program))
    }

    /// Starts it again after [`Redis::crash`], knowing nothing.
    ///
    /// # Errors
    ///
    /// A sentence when it does not start.
    pub async fn begin(&mut self) -> Result<(), String> {
        let mut command = Command::new(self.program);
        command.args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--requirepass",
            PASSWORD,
        ]);
        command.current_dir(&self.folder);
        let port = self.port;
        let process = self.process.insert(ChildProcess::spawn(command, &self.folder.join("log"))?);
        let answers = || async move { ask(port, "PING").await.is_ok_and(|answer| answer.contains("PONG")) };
        process.wait_until("the Redis answers", START_LIMIT, answers).await
    }

    /// Forgets everything, as an operator may make it.
    ///
    /// # Errors
    ///
    /// What went wrong.
    pub async fn flush(&self) -> Result<(), String> {
        let answer = ask(self.port, "FLUSHALL").await?;
        // To the password, to this, and to the farewell.
        if answer.matches("+OK").count() == 3 { Ok(()) } else { Err(answer) }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.crash();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Says one word after the password, and returns what is answered to both.
async fn ask(port: u16, word: &str) -> Result<String, String> {
    let talk = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(format!("AUTH {PASSWORD}\r\n{word}\r\nQUIT\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    talk.await.map_err(|error| format!("ask the Redis: {error}"))
}
