//! TLS on the way to the database: the server must have a certificate for the name in the URL, from the authority that the URL names.

use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis_testkit::postgres::{Certificate, Postgres};
use tempfile::TempDir;

use crate::journal::conformance::scene::{Step, TurnedClock};
use crate::journal::fault::StoreFault;
use crate::journal::postgres::address::Address;
use crate::journal::postgres::tests::clustered::{Clustered, PATIENT};

/// An authority in a folder of its own.
struct Authority {
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let authority = Self { folder: tempfile::tempdir().unwrap() };
        authority.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=authority -keyout ca.key -out ca.pem");
        authority
    }

    fn roots(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate of a server of that name.
    fn issue(&self, name: &str) -> Certificate {
        std::fs::write(self.folder.path().join("names"), format!("subjectAltName={name}\n")).unwrap();
        self.openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=database -keyout server.key -out server.csr");
        self.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile names -out server.pem",
        );
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        Certificate { certificate: read("server.pem"), key: read("server.key") }
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(self.folder.path()).output();
        let output = output.expect("`openssl` makes the certificates");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn address(store: &Clustered, host: &str, mode: &str, roots: Option<&Path>) -> Address {
    let roots = roots.map(|roots| format!("&sslrootcert={}", roots.display())).unwrap_or_default();
    let port = store.server.port();
    Address::parse(&format!("postgres://portcullis@{host}:{port}/postgres?sslmode={mode}{roots}")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_writes_only_to_a_server_that_proves_its_name() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = Postgres::start_protected(&authority.issue("IP:127.0.0.1"));
    let Some(store) = Clustered::on(server) else { return };
    let (roots, strange) = (authority.roots(), stranger.roots());
    let open =
        |host, mode, roots| store.engine_at(&address(&store, host, mode, roots), "a", PATIENT, TurnedClock::new());
    for (host, mode, roots, expected) in [
        // It has the same name, and another key.
        ("127.0.0.1", "verify-full", Some(strange.as_path()), "BadSignature"),
        ("127.0.0.1", "verify-full", None, "UnknownIssuer"),
        ("127.0.0.1", "require", Some(strange.as_path()), "BadSignature"),
        ("localhost", "verify-full", Some(roots.as_path()), "not valid for name"),
        ("127.0.0.1", "disable", None, "no encryption"),
    ] {
        match open(host, mode, roots) {
            Err(StoreFault::Away(problem)) => assert!(problem.contains(expected), "{host} {mode}: {problem}"),
            Err(other) => panic!("{host} {mode}: {other}"),
            Ok(_) => panic!("{host} {mode} was trusted"),
        }
    }
    let opened = open("127.0.0.1", "verify-full", Some(roots.as_path())).unwrap();
    Step::Open("claim-1").run(&opened.journal).await.unwrap();
    opened.engine.close();
    assert_eq!(opened.faults(), Vec::<String>::new());
}
