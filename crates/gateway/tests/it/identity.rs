//! Who is listened to: keys, hosts, pages, and who may manage the gateway.

use std::os::unix::fs::PermissionsExt as _;

use portcullis_testkit::http::{Answer, Client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::Gateway;
use crate::scene::{MODEL_KEY, Scene, Setup, TOOLS_TOKEN, tools_client};
use crate::spoken::{COMPLETIONS, ask, listen, saying, streaming, with};

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

/// Knocks at every door with these headers, and expects this status in each door's own words.
async fn knock(client: &Client, headers: &[(&str, &str)], status: u16, code: &str, what: &str) {
    let mcp = [headers, &[("accept", "application/json, text/event-stream")]].concat();
    let knock = async |method: &str, path: &str, headers: &[(&str, &str)], body: Option<String>| {
        let answer = client.send(method, path, headers, body).await.unwrap();
        assert_eq!(answer.status, status, "{what} at {path}: {}", answer.text());
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{what} at {path}");
        answer
    };
    for path in [COMPLETIONS, "/s/x/v1/chat/completions"] {
        let error = knock("POST", path, headers, Some(saying("hi").to_string())).await.json()["error"].clone();
        assert!(error["message"].is_string() && error["code"] == json!(code), "{what}: {error}");
    }
    assert_eq!(knock("GET", "/v1/models", headers, None).await.json()["error"]["code"], json!(code));
    for path in ["/mcp", "/mcp/tools", "/s/x/mcp"] {
        let error = knock("POST", path, &mcp, Some(LIST.to_owned())).await.json();
        assert_eq!((&error["jsonrpc"], &error["error"]["data"]["code"]), (&json!("2.0"), &json!(code)), "{what}");
    }
    for path in ["/api/v1/sessions", "/api/v1/identity/keys", "/api/v1/ledger/accounts", "/metrics", "/nothing"] {
        let problem = knock("GET", path, headers, None).await;
        assert_eq!(problem.header("content-type"), Some("application/problem+json"));
        assert_eq!((&problem.json()["code"], &problem.json()["status"]), (&json!(code), &json!(status)), "{what}");
    }
}

#[tokio::test]
async fn without_a_valid_key_every_door_says_no_in_its_own_words() {
    let scene = Scene::start().await;
    let (stranger, admin) = (scene.gateway.stranger(), scene.gateway.admin());
    let good = scene.gateway.key("ann").await;
    let revoked = scene.gateway.key("ann").await;
    let id = revoked.split('_').nth(1).unwrap();
    assert_eq!(ask(&stranger.clone().with_key(&revoked), COMPLETIONS, &saying("SAY hi")).await.status, 200);
    for _ in 0..2 {
        assert_eq!(admin.delete(&format!("/api/v1/identity/keys/{id}")).await.unwrap().status, 204);
    }
    let body = json!({"principal": "ann", "expires_at_us": 1_000_000});
    let expired = admin.post("/api/v1/identity/keys", &body).await.unwrap().json()["key"].as_str().unwrap().to_owned();
    let bearer = |key: &str| format!("Bearer {key}");
    let (head, _) = good.rsplit_once('_').unwrap();
    scene.model.forget().await;
    for (what, value) in [
        ("an unknown key", bearer("pcs_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        ("another secret", bearer(&format!("{head}_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))),
        ("a longer secret", bearer(&format!("{good}A"))),
        ("a shorter secret", bearer(&good[..good.len() - 1])),
        ("something else", bearer("sk-proj-1234")),
        ("nothing", bearer("")),
        ("another scheme", format!("Basic {good}")),
        ("no scheme", good.clone()),
        ("a revoked key", bearer(&revoked)),
        ("an expired key", bearer(&expired)),
        ("two keys in one", format!("Bearer {good}, Bearer {good}")),
    ] {
        knock(&stranger, &[("authorization", &value)], 401, "unauthenticated", what).await;
    }
    knock(&stranger, &[], 401, "unauthenticated", "no key").await;
    knock(&stranger, &[("x-api-key", &good)], 401, "unauthenticated", "a key in another header").await;
    let twice = bearer(&good);
    knock(&stranger, &[("authorization", &twice), ("authorization", &twice)], 401, "unauthenticated", "the key twice")
        .await;
    // What is wrong with a key is not told.
    let told =
        async |value: &str| stranger.send("GET", "/v1/models", &[("authorization", value)], None).await.unwrap().text();
    assert_eq!(told(&bearer(&revoked)).await, told(&bearer("pcs_000000000000_x")).await);
    assert_eq!(told(&bearer(&expired)).await, told(&bearer("sk-x")).await);
    assert_eq!(scene.model.requests().await.len(), 0);
    assert_eq!(
        ask(&stranger.with_header("authorization", &format!("bEaReR {good}")), COMPLETIONS, &saying("SAY hi"))
            .await
            .status,
        200
    );
    scene.finish().await;
}

#[tokio::test]
async fn a_key_is_no_good_while_its_principal_is_not_in_the_configuration() {
    let scene = Scene::start().await;
    let bob = scene.client("bob").await;
    assert_eq!(ask(&bob, COMPLETIONS, &saying("SAY hi")).await.status, 200);
    let configure = async |principals: &'static str| {
        let setup = Setup { principals, ..Setup::default() };
        scene.gateway.configure(&setup.config(&scene.model.url, &scene.tools.url));
        scene.gateway.reload().await;
    };
    configure("{ ann: { roles: [junior] } }").await;
    knock(&bob, &[], 401, "unauthenticated", "a principal that is gone").await;
    let missing = scene.gateway.admin().post("/api/v1/identity/keys", &json!({"principal": "bob"})).await.unwrap();
    assert_eq!((missing.status, &missing.json()["parameter"]), (404, &json!("principal")));
    configure("{ ann: {}, bob: {} }").await;
    assert_eq!(ask(&bob, COMPLETIONS, &saying("SAY hi")).await.status, 200);
    scene.finish().await;
}

#[tokio::test]
async fn only_administrators_manage_keys_and_read_metrics() {
    let setup = Setup { principals: "{ ann: {}, root: { roles: [administrator] } }", ..Setup::default() };
    let scene = Scene::of(&setup).await;
    let (ann, root) = (scene.client("ann").await, scene.client("root").await);
    let id = scene.gateway.key("ann").await.split('_').nth(1).unwrap().to_owned();
    let one = format!("/api/v1/identity/keys/{id}");
    let wanted = json!({"principal": "ann"}).to_string();
    for (method, path, body, status) in [
        ("GET", "/metrics", None, 200),
        ("GET", "/api/v1/identity/keys", None, 200),
        ("POST", "/api/v1/identity/keys", Some(wanted), 201),
        ("DELETE", one.as_str(), None, 204),
    ] {
        let denied = ann.send(method, path, &[], body.clone()).await.unwrap();
        assert_eq!((denied.status, &denied.json()["code"]), (403, &json!("forbidden")), "{method} {path}");
        for client in [&root, &scene.gateway.admin()] {
            let answer = client.send(method, path, &[], body.clone()).await.unwrap();
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
            if method == "POST" {
                scene.gateway.keep_secret(answer.json()["key"].as_str().unwrap());
            }
        }
    }
    let listed = root.get("/api/v1/identity/keys").await.unwrap().json();
    let keys = listed["keys"].as_array().unwrap();
    assert!(keys.iter().any(|key| key["id"] == json!(id) && !key["revoked_at"].is_null()), "{listed}");
    for (body, status) in [
        ("{}", 400),
        ("{", 400),
        (r#"{"principal":"ann","x":1}"#, 400),
        (r#"{"principal":"nobody"}"#, 404),
        (r#"{"principal":"a b"}"#, 400),
    ] {
        let answer = root.send("POST", "/api/v1/identity/keys", &[], Some(body.to_owned())).await.unwrap();
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    assert_eq!(root.delete("/api/v1/identity/keys/000000000000").await.unwrap().status, 404);
    ask(&root, COMPLETIONS, &saying("SAY hi")).await;
    let metrics = root.get("/metrics").await.unwrap().text();
    assert!(metrics.contains("portcullis_calls_admitted") && metrics.ends_with("# EOF\n"), "{metrics}");
    scene.finish().await;
}

#[tokio::test]
async fn only_its_own_names_and_allowed_pages_are_listened_to() {
    let server = ", allowed_hosts: [gate.example.org], allowed_origins: ['https://app.example.org']";
    let scene = Scene::of(&Setup { server, ..Setup::default() }).await;
    let client = scene.client("ann").await;
    let own = scene.gateway.url();
    let host = own.replace("http://", "");
    for (headers, is_allowed) in [
        (&[("host", "localhost:1")][..], true),
        (&[("host", "[::1]:1")], true),
        (&[("host", "gate.example.org")], true),
        (&[("host", "evil.example.org")], false),
        (&[("host", "127.0.0.1.evil.example.org")], false),
        (&[("host", "0.0.0.0")], false),
        (&[("origin", "https://app.example.org")], true),
        (&[("origin", &own)], true),
        (&[("origin", "https://app.example.org.evil.org")], false),
        (&[("origin", "http://localhost:3000")], false),
        (&[("origin", "null")], false),
        (&[("host", "gate.example.org"), ("origin", "http://gate.example.org")], true),
        (&[("host", &host), ("origin", "http://gate.example.org")], false),
    ] {
        if is_allowed {
            let answer = client.send("GET", "/v1/models", headers, None).await.unwrap();
            assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text());
        } else {
            knock(&client, headers, 403, "forbidden", &format!("{headers:?}")).await;
            assert_eq!(client.send("GET", "/healthz", headers, None).await.unwrap().status, 403, "{headers:?}");
        }
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_request_that_names_no_host_is_refused() {
    let scene = Scene::start().await;
    for head in ["GET /healthz HTTP/1.1\r\n", "GET /healthz HTTP/1.0\r\n", "GET /healthz HTTP/1.1\r\nhost: a b\r\n"] {
        let mut socket = TcpStream::connect(scene.gateway.url().replace("http://", "")).await.unwrap();
        socket.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(" 400 "), "{head}: {answer}");
    }
    let stranger = scene.gateway.stranger();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(stranger.get(path).await.unwrap().status, 200, "health needs no key");
    }
    scene.finish().await;
}

#[tokio::test]
async fn what_is_secret_is_readable_by_its_owner_only_and_the_first_key_is_made_once() {
    let mut scene = Scene::start().await;
    let mode = |name: &str| std::fs::metadata(scene.gateway.file(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("data"), 0o700);
    for file in ["data/admin.key", "data/vault.key", "data/journal.key"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    assert!(scene.gateway.log().contains("first start: the administrator's key is in"));
    let key = scene.gateway.admin_key();
    scene.gateway.stop().await;
    scene.gateway.restart().await;
    assert_eq!(scene.gateway.admin_key(), key);
    assert_eq!(
        scene.gateway.admin().get("/api/v1/identity/keys").await.unwrap().json()["keys"].as_array().unwrap().len(),
        1
    );
    scene.finish().await;
}

#[tokio::test]
async fn no_secret_is_written_anywhere_however_much_is_logged() {
    let scene_setup = Setup::default();
    let model = crate::scene::Upstream::model(&["scripted"]).await;
    let folder = tempfile::tempdir().unwrap();
    let tools = crate::scene::Upstream::tools(scene_setup.era, folder.path().join("effects")).await;
    let config = scene_setup.config(&model.url, &tools.url);
    let gateway =
        Gateway::start_with(&config, &[("rules.cedar", scene_setup.rules)], &[("PORTCULLIS_LOG", "trace")]).await;
    gateway.keep_secret(MODEL_KEY);
    gateway.keep_secret(TOOLS_TOKEN);
    let key = gateway.key("ann").await;
    let client = gateway.stranger().with_key(&key);
    let wrong = format!("{key}x");
    gateway.keep_secret(&wrong);
    ask(&client, COMPLETIONS, &saying("SAY hi")).await;
    listen(&client, COMPLETIONS, &streaming("SAY hi")).await;
    ask(&client, COMPLETIONS, &with(saying("ERROR 500 oops"), "user", json!(key))).await;
    ask(&client, COMPLETIONS, &saying("TOKENS 20\nCUT")).await;
    let mut calls = tools_client(&client, "/mcp", None);
    calls.call_tool("tools__echo", r#"{"text":"a"}"#, None).await.unwrap();
    calls.call_tool("tools__record", r#"{"id":"x","value":50000}"#, None).await.unwrap();
    assert_eq!(ask(&gateway.stranger().with_key(&wrong), COMPLETIONS, &saying("hi")).await.status, 401);
    let listed = gateway.admin().get("/api/v1/identity/keys").await.unwrap().text();
    assert!(!listed.contains(&key), "{listed}");
    let sessions = client.get("/api/v1/sessions").await.unwrap().json();
    for session in sessions["sessions"].as_array().unwrap() {
        for part in ["history", "entries"] {
            let path = format!("/api/v1/sessions/{}/{part}", session["name"].as_str().unwrap());
            let text = client.get(&path).await.unwrap().text();
            assert!(!text.contains(MODEL_KEY) && !text.contains(TOOLS_TOKEN), "{text}");
        }
    }
    // What the upstreams were sent: their own credential, and nothing of the caller's.
    for upstream in [&model, &tools] {
        for request in upstream.requests().await {
            assert_eq!(request["headers"]["authorization"], json!("Bearer (the right key)"), "{request}");
        }
    }
    gateway.finish().await;
}

#[tokio::test]
async fn keys_are_managed_from_the_command_line() {
    let scene = Scene::start().await;
    let gateway = &scene.gateway;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let created = gateway.command(&["identity", "key", "create", "ann", "--days", "3"]).await;
    let key = text(&created.stdout).trim().to_owned();
    gateway.keep_secret(&key);
    assert!(created.status.success() && key.starts_with("pcs_") && !text(&created.stderr).contains(&key));
    let models = |answer: Answer| answer.json()["data"].as_array().map(Vec::len);
    assert_eq!(models(gateway.stranger().with_key(&key).get("/v1/models").await.unwrap()), Some(1));
    let json_created = gateway.command(&["--json", "identity", "key", "create", "ann"]).await;
    let value: Value = serde_json::from_slice(&json_created.stdout).unwrap();
    gateway.keep_secret(value["key"].as_str().unwrap());
    let listed = gateway.command(&["identity", "key", "list", "--json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 3);
    let id = key.split('_').nth(1).unwrap();
    let table = text(&gateway.command(&["identity", "key", "list"]).await.stdout);
    assert!(table.contains("PRINCIPAL") && table.contains(id) && !table.contains(&key), "{table}");
    assert!(gateway.command(&["identity", "key", "revoke", id]).await.status.success());
    assert_eq!(gateway.stranger().with_key(&key).get("/v1/models").await.unwrap().status, 401);
    let missing = gateway.command(&["identity", "key", "create", "nobody"]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("there is no principal `nobody`"), "{}", text(&missing.stderr));
    scene.finish().await;
}
