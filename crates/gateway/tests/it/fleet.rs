//! Several gateways as processes on one PostgreSQL server, and a balancer in front of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_domain::journal::checkpoint::{Signer, Verifier};
use portcullis_testkit::http::Client;
use portcullis_testkit::postgres::Postgres;
use portcullis_testkit::process::{ChildProcess, wait_until};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::cluster::database;
use crate::gateway::{LIMIT, ORIGIN, free_port, ready, run, spawn};

/// How often the balancer asks gateways whether they are ready.
const PROBE_PAUSE: Duration = Duration::from_millis(20);

/// Gateways that share a journal.
pub(crate) struct Fleet {
    pub(crate) server: Arc<Postgres>,
    _folder: TempDir,
    pub(crate) members: Vec<Member>,
}

/// One of them.
pub(crate) struct Member {
    pub(crate) port: u16,
    pub(crate) process: ChildProcess,
    pub(crate) folder: PathBuf,
}

impl Fleet {
    /// So many gateways with this configuration, in which `{PORT}` stands for the port and an embedded store for the one that they share; everything is allowed. None
    /// on a machine without PostgreSQL that somebody watches.
    pub(crate) async fn start(count: usize, config: &str) -> Option<Self> {
        let server = Arc::new(database()?);
        let folder = tempfile::tempdir().unwrap();
        let store = format!("journal: {{ store: '{}', directory: data }}", server.url());
        let config = config.replace("journal: { store: 'sqlite:data' }", &store);
        let mut members: Vec<Member> = Vec::new();
        for number in 0..count {
            let place = folder.path().join(number.to_string());
            std::fs::create_dir_all(place.join("data")).unwrap();
            if let Some(first) = members.first() {
                for file in ["vault.key", "journal.key", "admin.key"] {
                    std::fs::copy(first.folder.join("data").join(file), place.join("data").join(file)).unwrap();
                }
            }
            let port = free_port();
            std::fs::write(place.join("portcullis.yaml"), config.replace("{PORT}", &port.to_string())).unwrap();
            std::fs::write(place.join("rules.cedar"), "permit (principal, action, resource);").unwrap();
            let mut process = spawn(&place, &[]);
            ready(&mut process, port).await.unwrap();
            members.push(Member { port, process, folder: place });
        }
        Some(Self { server, _folder: folder, members })
    }

    /// The administrator's key.
    pub(crate) fn admin_key(&self) -> String {
        std::fs::read_to_string(self.members[0].folder.join("data/admin.key")).unwrap().trim().to_owned()
    }

    /// What checkpoints are verified with.
    pub(crate) fn verifier(&self) -> Verifier {
        let seed = std::fs::read(self.members[0].folder.join("data/journal.key")).unwrap();
        Signer::new(ORIGIN, &seed).unwrap().verifier()
    }

    /// A new key of the principal, issued at the first gateway.
    pub(crate) async fn key(&self, principal: &str) -> String {
        let admin = self.members[0].client().with_key(&self.admin_key());
        let answer = admin.post("/api/v1/identity/keys", &json!({"principal": principal})).await.unwrap();
        answer.json()["key"].as_str().unwrap().to_owned()
    }

    /// The same, once all gateways know it.
    pub(crate) async fn known_key(&self, principal: &str) -> String {
        let key = self.key(principal).await;
        for member in &self.members {
            let client = member.client().with_key(&key);
            let is_known = || async { client.get("/api/v1/sessions").await.is_ok_and(|answer| answer.status == 200) };
            wait_until("the gateway knows the key", LIMIT, is_known).await.unwrap();
        }
        key
    }

    /// Stops all gateways and has the journal verified.
    pub(crate) async fn finish(mut self) {
        for member in &mut self.members {
            member.stop().await;
        }
        verify(&self.members[0].folder).await;
    }
}

async fn verify(folder: &Path) {
    let verified = run(folder, &["journal", "verify"]).await;
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success() && said.contains("the journal is whole"), "{verified:?}");
}

impl Member {
    /// A client without a key.
    pub(crate) fn client(&self) -> Client {
        Client::new(&format!("http://127.0.0.1:{}", self.port))
    }

    /// Starts it again at the same place, and waits until it takes calls.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(&self.folder, &[]);
        ready(&mut self.process, self.port).await.unwrap();
    }

    /// Starts it again and does not wait.
    pub(crate) fn start(&mut self) {
        self.process = spawn(&self.folder, &[]);
    }

    /// Asks it to end and waits until it has, without an error.
    pub(crate) async fn stop(&mut self) {
        self.process.terminate().unwrap();
        let status = self.process.wait_for_end(LIMIT).await.unwrap();
        assert!(status.success(), "it ended with {status}\n{}", self.process.output());
    }
}

/// A balancer that gives each connection to the next gateway that has said it is ready. It tries nothing twice.
pub(crate) struct Balancer {
    pub(crate) url: String,
    _tasks: JoinSet<()>,
}

struct Backend {
    port: u16,
    is_ready: AtomicBool,
}

impl Balancer {
    pub(crate) async fn start(ports: impl IntoIterator<Item = u16>) -> Self {
        let backend = |port| Arc::new(Backend { port, is_ready: AtomicBool::new(false) });
        let backends: Arc<Vec<Arc<Backend>>> = Arc::new(ports.into_iter().map(backend).collect());
        let mut tasks = JoinSet::new();
        for backend in backends.iter() {
            let backend = backend.clone();
            tasks.spawn(async move { backend.probe().await });
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        tasks.spawn(balance(listener, backends));
        Self { url, _tasks: tasks }
    }

    /// A client whose every request goes its own way.
    pub(crate) fn client(&self, key: &str) -> Client {
        Client::new(&self.url).with_key(key).with_header("connection", "close")
    }
}

impl Backend {
    async fn probe(&self) {
        let client = Client::new(&format!("http://127.0.0.1:{}", self.port)).with_header("connection", "close");
        loop {
            let is_ready = client.get("/readyz").await.is_ok_and(|answer| answer.status == 200);
            self.is_ready.store(is_ready, Ordering::SeqCst);
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }
}

async fn balance(listener: TcpListener, backends: Arc<Vec<Arc<Backend>>>) {
    let next = AtomicUsize::new(0);
    let mut ways = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let ready: Vec<_> = backends.iter().filter(|backend| backend.is_ready.load(Ordering::SeqCst)).collect();
        let Some(backend) = ready.get(next.fetch_add(1, Ordering::SeqCst) % ready.len().max(1)) else { continue };
        let port = backend.port;
        ways.spawn(async move {
            let Ok(mut gateway) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            let _ = copy_bidirectional(&mut client, &mut gateway).await;
        });
        while ways.try_join_next().is_some() {}
    }
}
