//! Protected connections, and clients that are known by their certificates: whose certificate is good, who it is for, and what happens when certificates, authorities and lists change while connections are open.

use std::process::Stdio;

use portcullis_domain::event::Event;
use portcullis_interop::a2a::{Method, Version};
use portcullis_testkit::authority::{Authority, Certificate};
use portcullis_testkit::http::Client;
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::a2a_agent::{Agent, Speaks};
use crate::gateway::{Gateway, LIMIT, portcullis};
use crate::grpc_peer::GrpcClient;
use crate::issuer::{TestIssuer, TokenKey};
use crate::raw_upstream::{RawUpstream, Received, SILENCE, whole};
use crate::scene::Setup;
use crate::spoken::{COMPLETIONS, begin, in_session, saying, streaming};
use crate::tls_way::Way;

const RULES: &str = r#"
permit (principal in Role::"workload", action, resource);
permit (principal == Principal::"ann", action, resource);
permit (principal in Role::"assistant", action, resource);
@id("not-night") forbid (principal, action, resource)
when { principal has spiffe_id && principal.spiffe_id like "spiffe://example.org/ns/night/*" };
"#;

/// A model that says one word of a stream and then nothing more; and whole answers at once.
fn first_word(request: &Received) -> Vec<Vec<u8>> {
    if request.json()["stream"] != json!(true) {
        let message = json!({"role": "assistant", "content": "so"});
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
        let answer = json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]});
        return vec![whole(200, "content-type: application/json\r\n", &answer.to_string())];
    }
    let word = json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "so"}, "finish_reason": null}]});
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    vec![format!("{head}data: {word}\n\n").into_bytes(), SILENCE.to_vec()]
}

/// An authority in a folder of its own.
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

    fn workload(&self, path: &str) -> Certificate {
        self.names(&format!("URI:spiffe://example.org{path}"))
    }

    fn names(&self, names: &str) -> Certificate {
        self.authority.certify(names, "", None).unwrap()
    }
}

struct Stage {
    gateway: Gateway,
    model: RawUpstream,
    /// Who issues the gateway's own certificates, and those of clients.
    servers: Own,
    clients: Own,
    ann: String,
}

/// The authorities of most tests.
const CERTIFICATES: &str = "prod: { trust_domain: example.org, ca_file: clients.pem, principals: { '/ns/*': { roles: [workload] }, '/agents/helper': { principal: helper } } }, \
     hosts: { ca_file: clients.pem, principals: { intake.example.org: { roles: [workload] } } }";

impl Stage {
    async fn start() -> Self {
        Self::with("", CERTIFICATES, "", &[]).await
    }

    /// More of the table `server.tls`, all of `identity.certificates`, more of `identity`, and more files.
    async fn with(tls: &str, certificates: &str, identity: &str, files: &[(&str, &str)]) -> Self {
        let model = RawUpstream::start(first_word).await;
        let (servers, clients) = (Own::new(), Own::new());
        let own = servers.authority.issue("IP:127.0.0.1").unwrap();
        let config = config(&model.url, tls, certificates, identity);
        let files = [
            &[
                ("rules.cedar", RULES),
                ("gate.pem", own.certificate.as_str()),
                ("gate.key", &own.key),
                ("clients.pem", &clients.root),
                ("servers.pem", &servers.root),
            ],
            files,
        ]
        .concat();
        let gateway = Gateway::start(&config, &files).await;
        let stage = Self { gateway, model, servers, clients, ann: String::new() };
        // With the certificate of a workload, which changes nothing beside a key.
        let shown = stage.clients.workload("/ns/night/admin");
        let admin = stage.way(Some(&shown)).await.client().with_key(&stage.gateway.admin_key());
        let made = admin.post("/api/v1/identity/keys", &json!({"principal": "ann"})).await.unwrap();
        let ann = made.json()["key"].as_str().unwrap_or_else(|| panic!("{}", made.text())).to_owned();
        Self { ann, ..stage }
    }

    async fn way(&self, shown: Option<&Certificate>) -> Way {
        Way::new(&self.gateway, &self.servers.root, shown).await
    }

    async fn client(&self, shown: &Certificate) -> Client {
        self.way(Some(shown)).await.client()
    }

    fn seen(&self) -> Vec<(String, String, Value)> {
        let seen = |event| {
            let Event::PrincipalSeen(seen) = event else { return None };
            let profile = serde_json::to_value(&seen.profile).unwrap();
            Some((seen.issuer.to_string(), seen.principal.to_string(), profile))
        };
        self.gateway.entries().into_iter().filter_map(|entry| seen(entry.event)).collect()
    }
}

fn config(model: &str, tls: &str, certificates: &str, identity: &str) -> String {
    let server =
        format!(", tls: {{ certificate_file: gate.pem, key_file: gate.key{tls} }}, allowed_hosts: [gate.example.org]");
    let principals =
        format!("{{ ann: {{}}, helper: {{ roles: [assistant] }} }}, certificates: {{ {certificates} }}{identity}");
    let setup = Setup {
        server: Box::leak(server.into_boxed_str()),
        principals: Box::leak(principals.into_boxed_str()),
        servers: "{}".to_owned(),
        ..Setup::default()
    };
    let agents = format!("  agents: {{ helper: {{ replicas: ['{model}/helper'], bound: true }} }}\npolicy:");
    setup.config(model, "").replace("policy:", &agents)
}

async fn status(client: &Client) -> u16 {
    client.post(COMPLETIONS, &saying("hello")).await.map_or(0, |answer| answer.status)
}

async fn wait_for(client: &Client, expected: u16) {
    let is_so = || async { status(client).await == expected };
    wait_until(&format!("a call is answered with {expected}"), LIMIT, is_so).await.unwrap();
}

#[tokio::test]
async fn connections_are_protected_by_both_versions_and_for_both_kinds_of_http() {
    let stage = Stage::start().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let way = Way::by(&stage.gateway, &stage.servers.root, None, &[version], b"http/1.1").await;
        assert_eq!(status(&way.client().with_key(&stage.ann)).await, 200, "{version:?}");
        assert_eq!(status(&way.client()).await, 401, "{version:?}");
    }
    // The client of another library.
    let request = format!(
        "GET /v1/models HTTP/1.1\r\nhost: gate.example.org\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
        stage.ann
    );
    let address = stage.gateway.url().trim_start_matches("http://").to_owned();
    for protocol in [&["-alpn", "http/1.1"][..], &[]] {
        let mut openssl = tokio::process::Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-verify_return_error",
                "-verify_ip",
                "127.0.0.1",
                "-connect",
                &address,
                "-CAfile",
            ])
            .arg(stage.gateway.file("servers.pem"))
            .args(protocol)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        openssl.stdin.as_mut().unwrap().write_all(request.as_bytes()).await.unwrap();
        let output = openssl.wait_with_output().await.unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("HTTP/1.1 200 OK"), "{protocol:?}: {output:?}");
    }
    // In clear nothing is taken, and the client is told why.
    let in_clear = stage.gateway.stranger().with_key(&stage.ann).get("/v1/models").await.unwrap();
    assert_eq!((in_clear.status, in_clear.text().contains("https://")), (400, true), "{}", in_clear.text());
    // What is no handshake ends the connection, and so does one that is larger than any.
    for bytes in
        [&b"\x16\x03\x01\xff\xff\x01\xff\xff\xff"[..], b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00", b"\x16abcdefgh"]
    {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket.write_all(&[0; 70_000]).await.ok();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(LIMIT, socket.read_to_end(&mut rest)).await;
        assert!(ended.is_ok() && rest.len() < 100, "{bytes:?} {rest:?}");
    }
    // One that says the first byte and nothing more is not waited for, and holds up nobody.
    let mut slow = TcpStream::connect(&address).await.unwrap();
    slow.write_all(b"\x16").await.unwrap();
    assert_eq!(status(&stage.way(None).await.client().with_key(&stage.ann)).await, 200);
    let ended = tokio::time::timeout(LIMIT, slow.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "the connection is open still");
    stage.gateway.finish().await;
}

#[tokio::test]
async fn grpc_is_spoken_over_tls() {
    let agent = Agent::start(Speaks::New).await;
    let stage = Stage::start().await;
    let table = format!("agents: {{ adjuster: {{ protocol: a2a, replicas: ['{}'] }},", agent.upstream.url);
    stage.gateway.configure(&config(&stage.model.url, "", CERTIFICATES, "").replace("agents: {", &table));
    let shown = stage.clients.workload("/ns/prod/x");
    for shown in [None, Some(&shown)] {
        let way = Way::by(&stage.gateway, &stage.servers.root, shown, rustls::ALL_VERSIONS, b"h2").await;
        let client = GrpcClient::new(&way.url, &stage.ann, Version::V1_0);
        let message = json!({"message": {"messageId": "m-1", "role": "ROLE_USER", "contextId": "claim-1", "parts": [{"text": "hello"}]}});
        let is_sent = || async { client.call(Method::SendStreamingMessage, &message).await.status.code == 0 };
        wait_until("a message is sent", LIMIT, is_sent).await.unwrap();
        assert_eq!(way.connections(), 1);
    }
    stage.gateway.finish().await;
}

#[tokio::test]
async fn commands_reach_a_gateway_that_speaks_tls() {
    let stage = Stage::start().await;
    let own = stage.gateway.command(&["identity", "key", "list", "--json"]).await;
    assert!(own.status.success(), "{own:?}");
    let url = stage.gateway.url().replace("http://", "https://");
    let key = "data/admin.key";
    let by_authority = ["identity", "key", "list", "--url", &url, "--ca-file", "servers.pem", "--key-file", key];
    assert!(stage.gateway.command(&by_authority).await.status.success());
    for (more, expected) in [
        (&["--url", &url, "--key-file", key][..], "UnknownIssuer"),
        (&["--url", &url, "--key-file", key, "--ca-file", "clients.pem"], "certificate"),
        (&["--url", &url, "--key-file", key, "--ca-file", "none.pem"], "none.pem"),
    ] {
        let refused = stage.gateway.command(&[&["identity", "key", "list"], more].concat()).await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(expected), "{more:?}: {said}");
    }
    let shown = stage.clients.workload("/ns/prod/operator");
    std::fs::write(stage.gateway.file("own.pem"), format!("{}{}", shown.certificate, shown.key)).unwrap();
    let certified = ["session", "list", "--url", &url, "--ca-file", "servers.pem", "--certificate-file", "own.pem"];
    let listed = stage.gateway.command(&certified).await;
    assert!(listed.status.success(), "{listed:?}");
    assert!(stage.seen().iter().any(|(_, principal, _)| principal == "prod.ns+prod+operator"), "{:?}", stage.seen());
    stage.gateway.finish().await;
}

#[tokio::test]
async fn who_comes_with_a_certificate_is_who_it_is_for() {
    let stage = Stage::start().await;
    let workload = stage.clients.workload("/ns/prod/sa/claims");
    let client = stage.client(&workload).await;
    assert_eq!(client.post(&in_session("claim-1"), &saying("hello")).await.unwrap().status, 200);
    assert_eq!(stage.gateway.settled("prod.ns+prod+sa+claims:claim-1").len(), 1);
    // Another certificate of the same workload is the same principal; another workload has sessions of its own.
    let renewed = stage.client(&stage.clients.workload("/ns/prod/sa/claims")).await;
    assert_eq!(renewed.get("/api/v1/sessions/claim-1").await.unwrap().status, 200);
    let other = stage.client(&stage.clients.workload("/ns/prod/sa/other")).await;
    assert_eq!(other.get("/api/v1/sessions/claim-1").await.unwrap().status, 404);
    // What rules say of the id counts.
    assert_eq!(status(&stage.client(&stage.clients.workload("/ns/night/x")).await).await, 404);
    // A host by its name, and somebody whom nothing in the configuration names.
    assert_eq!(status(&stage.client(&stage.clients.names("DNS:intake.example.org")).await).await, 200);
    for nobody in [stage.clients.workload("/other"), stage.clients.names("DNS:other.example.org")] {
        assert_eq!(status(&stage.client(&nobody).await).await, 401);
        assert_eq!(status(&stage.client(&nobody).await.with_key(&stage.ann)).await, 200, "a key needs no certificate");
    }
    // Beside a key a certificate says nothing of who calls.
    let both = stage.client(&workload).await.with_key(&stage.ann);
    assert_eq!(both.get("/api/v1/sessions/claim-1").await.unwrap().status, 404);
    assert_eq!(both.post(&in_session("mine"), &saying("hello")).await.unwrap().status, 200);
    assert_eq!(stage.gateway.settled("ann:mine").len(), 1);
    let invalid = stage.client(&workload).await.with_key("pcs_000000000000_x");
    assert_eq!(status(&invalid).await, 401, "a key that is wrong is not made good by a certificate");
    let mut seen = stage.seen();
    seen.retain(|(_, principal, _)| principal == "prod.ns+prod+sa+claims");
    let profile =
        json!({"roles": ["workload"], "attributes": {"spiffe_id": {"text": "spiffe://example.org/ns/prod/sa/claims"}}});
    assert_eq!(seen, [("prod".to_owned(), "prod.ns+prod+sa+claims".to_owned(), profile)]);
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_certificate_that_is_not_good_makes_no_connection() {
    let stage = Stage::start().await;
    let stranger = Own::new();
    let ours = &stage.clients;
    let certify = |names: &str, more: &str, ends: Option<&str>| ours.authority.certify(names, more, ends).unwrap();
    const ID: &str = "URI:spiffe://example.org/ns/prod/x";
    for (what, shown, expected) in [
        ("that is good", certify(ID, "", None), 200),
        (
            "for clients",
            certify(ID, "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth", None),
            200,
        ),
        ("with a host besides", certify(&format!("{ID},DNS:intake.example.org,DNS:b.example.org"), "", None), 200),
        ("that has expired", certify(ID, "", Some("20210101000000Z")), 0),
        ("of another authority", stranger.workload("/ns/prod/x"), 0),
        ("of an authority of servers", stage.servers.workload("/ns/prod/x"), 0),
        ("of no name", certify("", "", None), 0),
        ("of an address", certify("IP:127.0.0.1", "", None), 0),
        ("with two ids", certify(&format!("{ID},URI:spiffe://example.org/ns/prod/y"), "", None), 0),
        ("with an id and another URI", certify(&format!("{ID},URI:https://example.org/"), "", None), 0),
        ("with a URI that is no id", certify("URI:https://example.org/ns/prod/x", "", None), 0),
        ("of another trust domain", certify("URI:spiffe://other.example.org/ns/prod/x", "", None), 0),
        ("of a trust domain in large letters", certify("URI:spiffe://EXAMPLE.org/ns/prod/x", "", None), 0),
        ("of the trust domain itself", certify("URI:spiffe://example.org", "", None), 0),
        ("that goes up", certify("URI:spiffe://example.org/x/../ns/prod/x", "", None), 0),
        ("with escapes", certify("URI:spiffe://example.org/%6es/prod/x", "", None), 0),
        ("of two hosts", certify("DNS:intake.example.org,DNS:b.example.org", "", None), 0),
        ("for servers alone", certify(ID, "extendedKeyUsage=serverAuth", None), 0),
        ("whose key signs others", certify(ID, "keyUsage=critical,digitalSignature,keyCertSign", None), 0),
        ("whose key signs lists", certify(ID, "keyUsage=critical,digitalSignature,cRLSign", None), 0),
        ("of an authority", certify(ID, "basicConstraints=critical,CA:TRUE", None), 0),
    ] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let way = Way::by(&stage.gateway, &stage.servers.root, Some(&shown), &[version], b"http/1.1").await;
            assert_eq!(status(&way.client()).await, expected, "a certificate {what}: {:?}", way.failures());
            assert_eq!(status(&way.client().with_key(&stage.ann)).await, expected, "a key beside a certificate {what}");
            assert!(
                (expected == 0) == way.failures().iter().any(|failure| failure.contains("alert")),
                "{:?}",
                way.failures()
            );
        }
    }
    assert!(stage.seen().iter().all(|(_, principal, _)| principal == "prod.ns+prod+x"), "{:?}", stage.seen());
    stage.gateway.finish().await;
}

#[tokio::test]
async fn where_a_certificate_is_required_nobody_comes_in_without_one() {
    let stage = Stage::with(", client_certificates: required", CERTIFICATES, "", &[]).await;
    let without = stage.way(None).await;
    assert_eq!(status(&without.client().with_key(&stage.ann)).await, 0);
    assert!(without.client().get("/healthz").await.is_err());
    let nobody = stage.client(&stage.clients.workload("/other")).await;
    assert_eq!((status(&nobody).await, status(&nobody.with_key(&stage.ann)).await), (401, 200));
    stage.gateway.finish().await;

    // Whoever had come in before it was required is asked for one as well.
    let stage = Stage::start().await;
    let without = stage.way(None).await;
    let client = without.client().with_key(&stage.ann);
    assert_eq!(status(&client).await, 200);
    stage.gateway.configure(&config(&stage.model.url, ", client_certificates: required", CERTIFICATES, ""));
    wait_for(&client, 401).await;
    assert_eq!(without.connections(), 1);
    stage.gateway.finish().await;
}

#[tokio::test]
async fn whoever_is_disabled_gets_not_one_byte_more() {
    let stage = Stage::start().await;
    let workload = stage.clients.workload("/ns/prod/sa/claims");
    let client = stage.client(&workload).await;
    let mut stream = begin(&client, &in_session("claim-1"), &streaming("go on")).await;
    stream.next_event().await.unwrap().unwrap();
    let disabled = stage.gateway.command(&["identity", "disable", "prod.ns+prod+sa+claims"]).await;
    assert!(disabled.status.success(), "{disabled:?}");
    assert!(stream.next_event().await.is_err(), "the stream breaks off");
    assert_eq!((status(&client).await, status(&stage.client(&workload).await).await), (401, 401));
    assert_eq!(status(&stage.client(&stage.clients.workload("/ns/prod/sa/other")).await).await, 200);
    stage.gateway.finish().await;
}

#[tokio::test]
async fn what_counts_by_now_counts_on_connections_that_are_open() {
    let revocations = Own::new();
    let list = revocations.authority.revoke(None).unwrap();
    let lists = "prod: { trust_domain: example.org, ca_file: clients.pem, principals: { '/ns/*': { roles: [workload] } } }, \
        listed: { trust_domain: listed.example, ca_file: listed.pem, crl_file: list.pem, principals: { '/*': { roles: [workload] } } }";
    let files = [("listed.pem", revocations.root.as_str()), ("list.pem", &list)];
    let stage = Stage::with("", lists, "", &files).await;
    let listed = |path: &str| revocations.names(&format!("URI:spiffe://listed.example{path}"));
    let (first, second) = (listed("/a"), listed("/b"));
    let ways = [stage.way(Some(&first)).await, stage.way(Some(&second)).await];
    let [first_client, second_client] = [ways[0].client(), ways[1].client()];
    let prod = stage.way(Some(&stage.clients.workload("/ns/prod/x"))).await;
    let prod_client = prod.client();
    assert_eq!([status(&first_client).await, status(&second_client).await, status(&prod_client).await], [200; 3]);
    // A stream is begun before anything changes, and goes on through all of it: it ends with the right to it, not with a file.
    let mut stream = begin(
        &stage.way(Some(&stage.clients.workload("/ns/prod/y"))).await.client(),
        &in_session("s"),
        &streaming("go on"),
    )
    .await;
    stream.next_event().await.unwrap().unwrap();

    stage.gateway.replace("list.pem", &revocations.authority.revoke(Some(&first)).unwrap());
    wait_for(&first_client, 401).await;
    assert_eq!(status(&second_client).await, 200);
    assert_eq!(status(&stage.client(&first).await).await, 0, "and it makes no new one");

    // Another bundle: those of the authority before it are nobody's.
    let next = Own::new();
    stage.gateway.replace("clients.pem", &format!("{}{}", next.root, stage.clients.root));
    stage.gateway.wait_for_log("the configuration was taken in", 2).await;
    assert_eq!(status(&prod_client).await, 200, "both count for a while");
    stage.gateway.replace("clients.pem", &next.root);
    wait_for(&prod_client, 401).await;
    assert_eq!(status(&stage.client(&next.workload("/ns/prod/x")).await).await, 200);
    assert_eq!(
        [ways[0].connections(), ways[1].connections(), prod.connections()],
        [1; 3],
        "all on the same connections"
    );

    // What can't be used changes nothing.
    stage.gateway.replace("clients.pem", "nothing");
    stage.gateway.wait_for_log("the configuration is broken and not taken", 1).await;
    assert_eq!(status(&stage.client(&next.workload("/ns/prod/x")).await).await, 200);
    drop(stream);
    stage.gateway.finish().await;
}

#[tokio::test]
async fn another_certificate_of_the_gateway_is_used_for_new_connections() {
    let stage = Stage::start().await;
    let before = stage.way(None).await;
    let client = before.client().with_key(&stage.ann);
    let mut stream = begin(&client, &in_session("s"), &streaming("go on")).await;
    stream.next_event().await.unwrap().unwrap();
    let next = Own::new();
    let own = next.authority.issue("IP:127.0.0.1").unwrap();
    // The two files are written one after the other: in between they do not fit together, and the old ones are used.
    stage.gateway.replace("gate.pem", &own.certificate);
    stage.gateway.wait_for_log("is not that of the certificate", 1).await;
    assert_eq!(status(&stage.way(None).await.client().with_key(&stage.ann)).await, 200);
    stage.gateway.replace("gate.key", &own.key);
    let is_new = || async {
        let way = Way::new(&stage.gateway, &next.root, None).await;
        status(&way.client().with_key(&stage.ann)).await == 200
    };
    wait_until("the new certificate is shown", LIMIT, is_new).await.unwrap();
    assert_eq!(status(&stage.way(None).await.client().with_key(&stage.ann)).await, 0, "the old one is not shown");
    // The stream is still there: it ends when its caller is stopped, and not before.
    let disabled = stage.gateway.command(&["identity", "disable", "ann"]).await;
    assert!(disabled.status.success(), "{disabled:?}");
    let ended = stream.next_event().await;
    assert!(ended.is_err(), "{ended:?}");
    let is_settled = || async { stage.gateway.settled("ann:s").len() == 1 };
    wait_until("the call is settled", LIMIT, is_settled).await.unwrap();
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_counts_with_that_alone() {
    let key = std::sync::Arc::new(TokenKey::new("key-1", "ES256"));
    let issuer = TestIssuer::start(key.clone()).await;
    issuer.publish(&[&key]);
    let identity = format!(
        ", issuers_allowed: [127.0.0.1], issuers: {{ corp: {{ {} }} }}",
        issuer.table(", audiences: [gate, 'https://gate.example/mcp'], roles: { always: [workload] }")
    );
    let stage = Stage::with("", CERTIFICATES, &identity, &[]).await;
    let (own, other) = (stage.clients.workload("/ns/prod/x"), stage.clients.workload("/ns/prod/y"));
    let token = |confirmation: Value| {
        let mut claims = issuer.claims("eve", &[]);
        if !confirmation.is_null() {
            claims["cnf"] = confirmation;
        }
        let token = key.token(&claims);
        stage.gateway.keep_secret(&token);
        token
    };
    let bound = token(json!({"x5t#S256": thumbprint(&own)}));
    let with = |way: Way, token: &str| way.client().with_key(token);
    wait_for(&with(stage.way(Some(&own)).await, &bound), 200).await;
    assert_eq!(status(&with(stage.way(Some(&other)).await, &bound)).await, 401, "with another certificate");
    assert_eq!(status(&with(stage.way(None).await, &bound)).await, 401, "without a certificate");
    assert_eq!(status(&with(stage.way(Some(&own)).await, &bound)).await, 200);
    let free = token(Value::Null);
    assert_eq!(status(&with(stage.way(None).await, &free)).await, 200);
    assert_eq!(status(&with(stage.way(Some(&other)).await, &free)).await, 200);
    for odd in [
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"x5t#S256": thumbprint(&own), "jkt": "x"}),
        json!({"x5t#S256": 7}),
        json!({"x5t": thumbprint(&own)}),
        json!({}),
        json!("x"),
    ] {
        let answer = status(&with(stage.way(Some(&own)).await, &token(odd.clone()))).await;
        assert_eq!(answer, 401, "{odd}");
    }
    stage.gateway.finish().await;
}

/// As a stranger computes it.
fn thumbprint(certificate: &Certificate) -> String {
    use base64::Engine as _;
    use rustls::pki_types::pem::PemObject as _;
    let der = rustls::pki_types::CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest)
}

#[tokio::test]
async fn an_agent_shows_its_certificate_beside_its_task() {
    let stage = Stage::start().await;
    let ann = stage.way(None).await.client().with_key(&stage.ann);
    let headers = [("portcullis-session", "claim-1")];
    let asked = ann.send("POST", "/agents/helper/do", &headers, Some("{}".to_owned())).await.unwrap();
    assert_eq!(asked.status, 200, "{}", asked.text());
    let head = stage.model.received().last().unwrap().raw_head.clone();
    let line = head.lines().find(|line| line.to_lowercase().starts_with("portcullis-task:")).unwrap();
    let token = line.split_once(": ").unwrap().1.to_owned();
    stage.gateway.keep_secret(&token);
    let helper = stage.clients.workload("/agents/helper");
    let bearer = |way: &Way| way.client().with_key(&token);
    let header = |way: &Way| way.client().with_header("portcullis-task", &token);
    let (own, other, nobody) = (
        stage.way(Some(&helper)).await,
        stage.way(Some(&stage.clients.workload("/ns/prod/x"))).await,
        stage.way(Some(&stage.clients.workload("/other"))).await,
    );
    let none = stage.way(None).await;
    assert_eq!((status(&bearer(&own)).await, status(&header(&own)).await), (200, 200));
    assert_eq!((status(&bearer(&other)).await, status(&header(&other)).await), (401, 401), "a task of somebody else");
    assert_eq!((status(&bearer(&nobody)).await, status(&bearer(&none)).await), (401, 401), "the agent is bound");
    // By itself the agent may do nothing, whatever its certificate says.
    assert_ne!(status(&own.client()).await, 200);
    let calls = stage.gateway.settled("ann:claim-1");
    assert!(calls.len() >= 3, "{calls:?}");
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_certificate_ends_on_connections_that_go_on() {
    let stage = Stage::start().await;
    let ends_at = portcullis_domain::time::Timestamp(now_us() + 30_000_000).to_string();
    let digits: String = ends_at.chars().take(19).filter(char::is_ascii_digit).collect();
    let shown = stage.clients.authority.certify("URI:spiffe://example.org/ns/prod/x", "", Some(&format!("{digits}Z")));
    let way = stage.way(Some(&shown.unwrap())).await;
    let client = way.client();
    assert_eq!(status(&client).await, 200);
    wait_for(&client, 401).await;
    assert_eq!(way.connections(), 1);
    stage.gateway.finish().await;
}

#[expect(clippy::disallowed_methods, reason = "a certificate is to end soon")]
fn now_us() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

#[tokio::test]
async fn what_is_wrong_with_certificates_is_said_before_a_start() {
    let (servers, clients) = (Own::new(), Own::new());
    let own = servers.authority.issue("IP:127.0.0.1").unwrap();
    let expired = servers.authority.certify("IP:127.0.0.1", "", Some("20210101000000Z")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("gate.pem", own.certificate.as_str()),
        ("gate.key", &own.key),
        ("other.key", &clients.workload("/x").key),
        ("expired.pem", &expired.certificate),
        ("expired.key", &expired.key),
        ("clients.pem", &clients.root),
        ("rules.cedar", RULES),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let good = config("http://127.0.0.1:1", "", CERTIFICATES, "").replace("{PORT}", "0");
    let tls = "tls: { certificate_file: gate.pem, key_file: gate.key }";
    for (what, with, expected) in [
        ("", "", None),
        ("key_file: gate.key", "key_file: other.key", Some("is not that of the certificate")),
        ("key_file: gate.key", "key_file: gate.pem", Some("server.tls.key_file")),
        ("key_file: gate.key", "key_file: none.key", Some("none.key")),
        ("certificate_file: gate.pem", "certificate_file: none.pem", Some("server.tls.certificate_file: `./none.pem`")),
        ("certificate_file: gate.pem", "certificate_file: rules.cedar", Some("it has no certificate")),
        (tls, "tls: { certificate_file: expired.pem, key_file: expired.key }", Some("has expired at 2021-01-01")),
        (
            tls,
            "tls: { certificate_file: gate.pem, key_file: gate.key, client_certificates: mandatory }",
            Some("unknown value `mandatory`"),
        ),
        (&format!("{tls}, "), "", Some("nobody can show a certificate without `server.tls`")),
        ("ca_file: clients.pem", "ca_file: none.pem", Some("identity.certificates.prod: `ca_file`")),
        ("ca_file: clients.pem", "ca_file: rules.cedar", Some("it has no certificate")),
        (
            "ca_file: clients.pem",
            "ca_file: clients.pem, crl_file: clients.pem",
            Some("no list of revoked certificates"),
        ),
        ("principal: helper", "principal: nobody", Some("there is no principal or agent `nobody`")),
        ("hosts: {", "hosts: { prefix: prod., ", Some("could be those of")),
        ("hosts: {", "hosts: { prefix: an, ", Some("the principal `ann` could be one of its own")),
        ("'/ns/*'", "'ns/*'", Some("begins with `/`")),
    ] {
        assert!(good.contains(what), "{what}");
        std::fs::write(folder.path().join("portcullis.yaml"), good.replacen(what, with, 1)).unwrap();
        let checked =
            tokio::process::Command::from(portcullis(folder.path(), &["check", "--offline"])).output().await.unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.success(), expected.is_none(), "{with}: {said}");
        assert!(said.contains(expected.unwrap_or_default()), "{with}: {said}");
        if expected.is_some() {
            let started = tokio::process::Command::from(portcullis(folder.path(), &["up"])).output().await.unwrap();
            assert!(!started.status.success(), "{with}: {started:?}");
        }
    }
}
