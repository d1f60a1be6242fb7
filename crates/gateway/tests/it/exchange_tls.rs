//! Authorization servers and issuers whose certificates are from an authority of one's own: they are believed where the configuration names it, and nowhere else.

use std::sync::Arc;

use portcullis_testkit::authority::Authority;
use portcullis_testkit::http::Client;
use portcullis_testkit::process::{listen, wait_until};
use serde_json::json;

use crate::authorization_server::{AuthorizationServer, SECRET, lock, whom};
use crate::gateway::{Gateway, LIMIT};
use crate::grpc_peer::acceptor;
use crate::issuer::{TestIssuer, TokenKey};
use crate::raw_upstream::{RawUpstream, whole};

const RULES: &str = "permit (principal, action, resource);";

/// An authority with its own certificate.
struct Own {
    authority: Authority,
    root: String,
    _folder: tempfile::TempDir,
}

impl Own {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path()).unwrap();
        let root = std::fs::read_to_string(authority.roots()).unwrap();
        Self { authority, root, _folder: folder }
    }
}

fn config(identity: &str, agents: &str) -> String {
    format!(
        "server: {{ listen: '127.0.0.1:{{PORT}}' }}\njournal: {{ store: 'sqlite:data' }}\n\
         identity: {{ principals: {{ bob: {{}} }}, issuers_allowed: [127.0.0.1]{identity} }}\n\
         registry: {{ agents: {{ {agents} }} }}\npolicy: {{ files: [rules.cedar] }}\n"
    )
}

#[tokio::test]
async fn an_authorization_server_is_believed_by_the_authority_that_is_named_for_it() {
    let (ours, other) = (Own::new(), Own::new());
    let proof = ours.authority.issue("IP:127.0.0.1").unwrap();
    let server = AuthorizationServer::start_with(Some(acceptor(&proof, b"http/1.1"))).await;
    let shared = server.shared();
    let agent = RawUpstream::start(move |request| {
        let whom = whom(request, &lock(&shared));
        vec![whom.map_or_else(|| whole(401, "", "{}"), |whom| whole(200, "", &json!({"seen": whom}).to_string()))]
    });
    let agent = agent.await;
    let of = |name: &str, ca_file: &str| {
        let client = format!("issuer: '{}', id: gateway, secret_file: secret{ca_file}", server.url);
        format!("{name}: {{ replicas: ['{}'], credential: {{ exchange: {{ client: {{ {client} }} }} }} }}", agent.url)
    };
    let agents = format!("{}, {}", of("with", ", ca_file: login.pem"), of("without", ""));
    let files = [("rules.cedar", RULES), ("secret", SECRET.trim()), ("login.pem", &other.root)];
    let gateway = Gateway::start(&config("", &agents), &files).await;
    gateway.keep_secret(SECRET.trim());
    server.trust(&gateway).await;
    let bob = gateway.client("bob").await;
    let call = async |agent: &str| bob.post(&format!("/agents/{agent}/do"), &json!({})).await.unwrap().text();
    for agent in ["with", "without"] {
        let refused = call(agent).await;
        assert!(refused.contains("none could be had; nothing was done"), "{agent}: {refused}");
    }
    assert_eq!((server.lock().asked.len(), agent.received().len()), (0, 0), "nothing was said to somebody unknown");
    gateway.replace("login.pem", &ours.root);
    assert_eq!(call("with").await, r#"{"seen":"bob"}"#);
    assert!(call("without").await.contains("none could be had"));
    // What can't be read at the moment takes nothing away.
    gateway.replace("login.pem", "no certificate");
    server.lock().tokens.clear();
    assert_eq!(call("with").await, r#"{"seen":"bob"}"#);
    gateway.replace("login.pem", &other.root);
    server.lock().tokens.clear();
    let refused = call("with").await;
    assert!(refused.contains("none could be had"), "{refused}");
    server.keep_secrets(&gateway);
    gateway.finish().await;
}

#[tokio::test]
async fn an_issuer_is_believed_by_the_authority_that_is_named_for_it() {
    let (ours, other) = (Own::new(), Own::new());
    let proof = ours.authority.issue("IP:127.0.0.1").unwrap();
    let key = Arc::new(TokenKey::new("k", "ES256"));
    let start = async || {
        let (listener, url) = listen().await.unwrap();
        let tls = Some(acceptor(&proof, b"http/1.1"));
        TestIssuer::start_with(listener, &url.replace("http://", "https://"), key.clone(), tls)
    };
    let (with, without) = (start().await, start().await);
    let issuers = format!(
        ", issuers: {{ with: {{ {} }}, without: {{ {} }} }}",
        with.table(", audiences: [gate], ca_file: login.pem"),
        without.table(", audiences: [gate]")
    );
    let files = [("rules.cedar", RULES), ("login.pem", other.root.as_str())];
    let gateway = Gateway::start(&config(&issuers, ""), &files).await;
    let by = |issuer: &TestIssuer| gateway.stranger().with_key(&key.token(&issuer.claims("ann", &[])));
    let status = async |client: Client| client.get("/v1/models").await.unwrap().status;
    assert_eq!((status(by(&with)).await, status(by(&without)).await), (502, 502), "nobody can say whether it is good");
    gateway.replace("login.pem", &ours.root);
    let is_known = || async { status(by(&with)).await == 200 };
    wait_until("the keys are there", LIMIT, is_known).await.unwrap();
    assert_eq!((status(by(&without)).await, without.requests()), (502, 0));
    gateway.finish().await;
}
