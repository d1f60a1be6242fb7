//! A PostgreSQL server of a test's own: in a folder of its own, on a free loopback port, gone with this value.
//!
//! The server refuses to run for root, as containers often do; then it runs as the user `postgres`, or else as `nobody`.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::authority::Certificate;
use crate::process::free_port;

/// Where Debian keeps the server's programs, one folder a version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Who owns everything in the database.
const OWNER: &str = "portcullis";
/// The files with its certificate, within its data.
const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key";
/// How long the server may take to start, in seconds.
const START_LIMIT_S: u32 = 60;
/// How many ports are tried.
const PORTS_LIMIT: usize = 5;

/// A server that runs.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    user: Option<User>,
    port: u16,
    /// Whether it has a certificate, and speaks to nobody without TLS.
    is_protected: bool,
}

/// Whom the server runs as when we are root.
#[derive(Debug, Clone, Copy)]
struct User {
    id: u32,
    group: u32,
}

impl Postgres {
    /// Makes a data folder and starts the server.
    ///
    /// # Errors
    ///
    /// A sentence when there is no PostgreSQL on this machine, or it does not start.
    pub fn start() -> Result<Self, String> {
        Self::start_with(None)
    }

    /// The same, with a server that speaks to nobody without TLS and shows this certificate.
    ///
    /// # Errors
    ///
    /// As [`Postgres::start`].
    pub fn start_protected(certificate: &Certificate) -> Result<Self, String> {
        Self::start_with(Some(certificate))
    }

    fn start_with(certificate: Option<&Certificate>) -> Result<Self, String> {
        let programs = programs()?;
        let user = user()?;
        let folder = new_folder(user)?;
        let mut server = Self { programs, folder, user, port: 0, is_protected: certificate.is_some() };
        let data = server.data();
        let initdb = ["-D", &data, "-U", OWNER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
        server.run("initdb", &initdb)?;
        if let Some(certificate) = certificate {
            server.protect(certificate).map_err(|error| format!("write the certificate: {error}"))?;
        }
        server.settle()?;
        Ok(server)
    }

    /// Starts it for the first time, at a port that nobody has. Somebody may take it between the choice and the start.
    fn settle(&mut self) -> Result<(), String> {
        let mut problem = String::new();
        for _ in 0..PORTS_LIMIT {
            self.port = free_port().map_err(|error| format!("find a free port: {error}"))?;
            match self.begin() {
                Err(taken) if taken.contains("Address already in use") => problem = taken,
                other => return other,
            }
        }
        Err(problem)
    }

    fn protect(&self, certificate: &Certificate) -> io::Result<()> {
        let rules = "hostssl all all 127.0.0.1/32 trust\n";
        for (name, text) in
            [(CERTIFICATE, &certificate.certificate), (KEY, &certificate.key), ("pg_hba.conf", &rules.to_owned())]
        {
            let path = self.folder.join("data").join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            self.user.map_or(Ok(()), |user| chown(&path, Some(user.id), Some(user.group)))?;
        }
        Ok(())
    }

    /// The URL of its database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{OWNER}@127.0.0.1:{}/postgres", self.port)
    }

    /// The port on the loopback address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of its first process, which all others of it are children of.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        let file = fs::read_to_string(self.folder.join("data/postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }

    /// Starts it again after [`Postgres::crash`].
    ///
    /// # Errors
    ///
    /// A sentence when it does not start.
    pub fn begin(&self) -> Result<(), String> {
        let mut options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories= -c max_connections=60 -c shared_buffers=32MB",
            self.port
        );
        if self.is_protected {
            options.push_str(&format!(" -c ssl=on -c ssl_cert_file={CERTIFICATE} -c ssl_key_file={KEY}"));
        }
        let (data, log, limit) = (self.data(), self.path("log"), START_LIMIT_S.to_string());
        let start = ["start", "-w", "-s", "-t", &limit, "-D", &data, "-l", &log, "-o", &options];
        self.run("pg_ctl", &start).map_err(|problem| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            format!("{problem}\n{log}")
        })
    }

    /// Ends it without a word to anybody, as when its machine loses power but not its disk.
    ///
    /// # Errors
    ///
    /// A sentence when it can't be ended.
    pub fn crash(&self) -> Result<(), String> {
        self.run("pg_ctl", &["stop", "-w", "-s", "-m", "immediate", "-D", &self.data()])
    }

    fn data(&self) -> String {
        self.path("data")
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let path = self.programs.join(program);
        let mut command = match self.user {
            Some(User { id, group }) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={id}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
                command.arg(path);
                command
            }
            None => Command::new(path),
        };
        // What a server inherits it keeps: with a pipe we would wait for its end.
        let output = fs::File::create(self.folder.join(format!("{program}.out")));
        let output = output.map_err(|error| format!("run `{program}`: {error}"))?;
        let copy = output.try_clone().map_err(|error| format!("run `{program}`: {error}"))?;
        command
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(std::process::Stdio::null())
            .stdout(output)
            .stderr(copy);
        let status = command.status().map_err(|error| format!("run `{program}`: {error}"))?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(self.folder.join(format!("{program}.out"))).unwrap_or_default();
        Err(format!("`{program}` ended with {status}: {said}"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Nobody is left to tell: it has ended before, or the operating system will not let us.
        let _ = self.crash();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder with `initdb`, `pg_ctl` and `postgres`: the one on the path, or the newest that Debian has installed.
fn programs() -> Result<PathBuf, String> {
    let found = Command::new("sh").args(["-c", "command -v postgres"]).output();
    let found = found.ok().filter(|output| output.status.success());
    let on_path = found.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let on_path = on_path.and_then(|path| path.canonicalize().ok()).and_then(|path| path.parent().map(Path::to_owned));
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    let debian = versions.pop().map(|(_, path)| path);
    on_path.or(debian).ok_or_else(|| "there is no PostgreSQL on this machine: install package `postgresql`".to_owned())
}

/// Whom to be instead of root; none when we are not root.
fn user() -> Result<Option<User>, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let ask = |flag: &str, name: &str| {
        let output = Command::new("id").args([flag, name]).output().ok().filter(|output| output.status.success())?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    let of = |name: &str| Some(User { id: ask("-u", name)?, group: ask("-g", name)? });
    of("postgres").or_else(|| of("nobody")).map(Some).ok_or_else(|| "nobody but root is there to run it".to_owned())
}

fn new_folder(user: Option<User>) -> Result<PathBuf, String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("portcullis-postgres-{}-{number}", std::process::id()));
    let make = || {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        user.map_or(Ok(()), |user| chown(&folder, Some(user.id), Some(user.group)))
    };
    make().map_err(|error| format!("make `{}`: {error}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_server_answers_and_comes_back_after_a_crash() {
        let Ok(_) = programs() else { return };
        let server = Postgres::start().unwrap();
        let answers = || TcpStream::connect(("127.0.0.1", server.port())).is_ok();
        assert!(answers());
        server.crash().unwrap();
        assert!(!answers());
        server.begin().unwrap();
        assert!(answers());
        let (folder, port) = (server.folder.clone(), server.port());
        drop(server);
        assert!(!folder.exists());
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
