//! TLS on the way to the database: the server must have a certificate for the name in the URL, from the authority that the URL names.

use std::path::Path;

use portcullis_testkit::authority::Authority;
use portcullis_testkit::postgres::Postgres;

use crate::journal::conformance::scene::{Step, TurnedClock};
use crate::journal::fault::StoreFault;
use crate::journal::postgres::address::Address;
use crate::journal::postgres::tests::clustered::{Clustered, PATIENT};

fn address(store: &Clustered, host: &str, mode: &str, roots: Option<&Path>) -> Address {
    let roots = roots.map(|roots| format!("&sslrootcert={}", roots.display())).unwrap_or_default();
    let port = store.server.port();
    Address::parse(&format!("postgres://portcullis@{host}:{port}/postgres?sslmode={mode}{roots}")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_writes_only_to_a_server_that_proves_its_name() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [authority, stranger] = folders.each_ref().map(|folder| Authority::new(folder.path()).unwrap());
    let server = Postgres::start_protected(&authority.issue("IP:127.0.0.1").unwrap());
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
