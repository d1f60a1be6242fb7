//! The door for tools, and the servers behind it: both eras on both sides, restarts, changes and faults.

use std::path::Path;

use portcullis_domain::event::{Event, Outcome};
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use portcullis_testkit::tool_server::Era;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake_mcp::{FakeMcp, stdio, tool};
use crate::gateway::{Gateway, LIMIT, free_port, listen_at, runs, signal};
use crate::raw_upstream::{RawUpstream, SILENCE, whole};
use crate::scene::{Scene, Setup, TOOLS_TOKEN, TOOLS_WAIT_S, Upstream, tools_client};

const BOTH: (&str, &str) = ("accept", "application/json, text/event-stream");
const ALL: &str = "permit (principal, action, resource);";

/// A raw request of the era of sessions.
async fn legacy(client: &Client, path: &str, session: Option<&str>, method: &str, params: &str) -> Answer {
    let body = format!(r#"{{"jsonrpc":"2.0","id":"q-1","method":"{method}","params":{params}}}"#);
    let version = ("mcp-protocol-version", "2025-11-25");
    let session = session.map(|session| ("mcp-session-id", session));
    let headers: Vec<(&str, &str)> = [BOTH, version].into_iter().chain(session).collect();
    client.send("POST", path, &headers, Some(body)).await.unwrap()
}

/// A raw request of the stateless era.
async fn modern(client: &Client, path: &str, method: &str, members: &str, more: &[(&str, &str)]) -> Answer {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let params = if members.is_empty() { format!("{{{meta}}}") } else { format!("{{{members},{meta}}}") };
    let body = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#);
    let headers = [&[BOTH, ("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)], more].concat();
    client.send("POST", path, &headers, Some(body)).await.unwrap()
}

async fn call_modern(client: &Client, path: &str, name: &str, arguments: &str) -> Answer {
    let members = format!(r#""name":"{name}","arguments":{arguments}"#);
    modern(client, path, "tools/call", &members, &[("mcp-name", name)]).await
}

/// Begins a session of the transport.
async fn initialize(client: &Client, path: &str) -> String {
    let params = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}"#;
    let answer = legacy(client, path, None, "initialize", params).await;
    assert_eq!(answer.json()["result"]["protocolVersion"], json!("2025-11-25"), "{}", answer.text());
    answer.header("mcp-session-id").unwrap().to_owned()
}

fn names(result: &Value) -> Vec<String> {
    result["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

/// A gateway with no model and these servers.
async fn with_servers(servers: &str, rules: &str) -> Gateway {
    let setup = Setup { models: "{}".to_owned(), servers: servers.to_owned(), ..Setup::default() };
    Gateway::start(&setup.config("", ""), &[("rules.cedar", rules)]).await
}

/// The same with servers that are not there, or never answer, so that nothing would come of waiting for them.
async fn with_absent(servers: &str) -> Gateway {
    let setup = Setup { models: "{}".to_owned(), servers: servers.to_owned(), ..Setup::default() };
    let (patient, hasty) = (format!("tools_wait_s: {TOOLS_WAIT_S}"), "tools_wait_s: 2");
    let config = setup.config("", "");
    assert!(config.contains(&patient), "{config}");
    Gateway::start(&config.replace(&patient, hasty), &[("rules.cedar", ALL)]).await
}

#[tokio::test]
async fn both_eras_reach_servers_of_both_eras() {
    for era in [Era::Sessions, Era::Stateless] {
        for is_events in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let tools = Upstream::tools_as(era, is_events, folder.path().join("effects")).await;
            let servers = format!("{{ tools: {{ url: '{}/mcp', token: '{TOOLS_TOKEN}' }} }}", tools.url);
            let gateway = with_servers(&servers, ALL).await;
            let client = gateway.client("ann").await;

            let session = initialize(&client, "/mcp").await;
            let listed = legacy(&client, "/mcp", Some(&session), "tools/list", "{}").await.json();
            assert_eq!(names(&listed["result"]).len(), 6, "{listed}");
            let called = legacy(
                &client,
                "/mcp",
                Some(&session),
                "tools/call",
                r#"{"name":"tools__add","arguments":{"a":2,"b":3}}"#,
            )
            .await
            .json();
            assert_eq!(
                (&called["id"], &called["result"]["structuredContent"]["sum"]),
                (&json!("q-1"), &json!(5)),
                "{called}"
            );
            assert_eq!(called["result"].get("resultType"), None, "{called}");

            let listed = modern(&client, "/mcp", "tools/list", "", &[]).await.json();
            assert_eq!(
                (&listed["result"]["resultType"], &listed["result"]["ttlMs"]),
                (&json!("complete"), &json!(0)),
                "{listed}"
            );
            let called = call_modern(&client, "/mcp/tools", "add", r#"{"a":2,"b":3}"#).await.json();
            assert_eq!(
                (&called["id"], &called["result"]["structuredContent"]["sum"]),
                (&json!(7), &json!(5)),
                "{called}"
            );
            assert_eq!(called["result"]["resultType"], json!("complete"), "{called}");
            let found = modern(&client, "/mcp", "server/discover", "", &[]).await.json();
            assert_eq!(found["result"]["supportedVersions"], json!(["2026-07-28"]), "{found}");
            gateway.finish().await;
        }
    }
}

#[tokio::test]
async fn tools_are_named_with_their_server_or_without_it_in_a_toolset() {
    let folder = tempfile::tempdir().unwrap();
    let tools = Upstream::tools(Era::Sessions, folder.path().join("effects")).await;
    let fake = FakeMcp::start(&format!("[{}]", tool("look")), |_| r#""result":{"content":[]}"#.to_owned()).await;
    let config = Setup {
        models: "{}".to_owned(),
        servers: format!(
            "\n    one: {{ url: '{}/mcp', token: '{TOOLS_TOKEN}' }}\n    two: {{ url: '{}' }}\n  toolsets: {{ mine: [two, one__echo] }}",
            tools.url, fake.upstream.url
        ),
        ..Setup::default()
    };
    let gateway = Gateway::start(&config.config("", ""), &[("rules.cedar", ALL)]).await;
    let client = gateway.client("ann").await;
    for (path, expected) in [
        ("/mcp", &["one__add", "one__big", "one__echo", "one__fail", "one__record", "one__slow", "two__look"][..]),
        ("/mcp/two", &["look"]),
        ("/mcp/mine", &["echo", "look"]),
    ] {
        let mut names: Vec<String> = tools_client(&client, path, None)
            .list_tools()
            .await
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        assert_eq!(names, expected, "{path}");
    }
    let mut mine = tools_client(&client, "/mcp/mine", None);
    assert_eq!(mine.call_tool("echo", r#"{"text":"a"}"#, None).await.unwrap().text, "a");
    for (path, name) in
        [("/mcp/mine", "record"), ("/mcp/mine", "one__echo"), ("/mcp", "echo"), ("/mcp", "two__nothing")]
    {
        let unknown = tools_client(&client, path, None)
            .request("tools/call", Some(&format!(r#"{{"name":"{name}","arguments":{{}}}}"#)), &[])
            .await;
        assert!(unknown.unwrap_err().to_string().contains(&format!("Unknown tool: {name}")), "{path} {name}");
    }
    assert_eq!(legacy(&client, "/mcp/nothing", None, "tools/list", "{}").await.status, 404);
    gateway.finish().await;
}

#[tokio::test]
async fn tools_that_no_rule_would_ever_allow_are_not_shown() {
    let rules = r#"
        permit (principal, action, resource);
        forbid (principal == Principal::"bob", action == Action::"tools__record", resource);
        forbid (principal == Principal::"bob", action == Action::"tools__add", resource) when { context.arguments.a > 5 };
    "#;
    let scene = Scene::of(&Setup { rules, ..Setup::default() }).await;
    let (ann, bob) = (scene.client("ann").await, scene.client("bob").await);
    let listed = async |client: &Client| tools_client(client, "/mcp/tools", None).list_tools().await.unwrap().len();
    assert_eq!((listed(&ann).await, listed(&bob).await), (6, 5));
    let mut tools = tools_client(&bob, "/mcp", None);
    assert!(tools.call_tool("tools__add", r#"{"a":9,"b":1}"#, None).await.unwrap().is_error);
    // One that is hidden is called by name: nothing tells it from one that there is not.
    for (path, hidden, missing) in [("/mcp", "tools__record", "tools__reford"), ("/mcp/tools", "record", "reford")] {
        for arguments in [r#"{"id":"x","value":1}"#, "{}", r#"{"value":"odd"}"#] {
            for (name, session) in [(hidden, "hidden"), (missing, "missing")] {
                let error = tools_client(&bob, path, Some(session)).call_tool(name, arguments, None).await.unwrap_err();
                assert!(error.to_string().contains(&format!("Unknown tool: {name}")), "{error}");
            }
        }
    }
    let seen = async |client: &Client, session: &str| {
        let paths = [format!("/api/v1/sessions/bob:{session}"), format!("/api/v1/sessions/bob:{session}/entries")];
        let mut text = String::new();
        for path in paths {
            text.push_str(&client.get(&path).await.unwrap().text());
        }
        let text = text.replace("reford", "record").replace("missing", "hidden");
        // Times, ids and digests are others each time.
        let numbers = ["_at\"", "at_us", "\"call\"", "prev", "\"at\"", "key"];
        let lines = text.replace(',', "\n");
        lines.lines().filter(|line| !numbers.iter().any(|name| line.contains(name))).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(seen(&bob, "hidden").await, seen(&bob, "missing").await);
    let admin = scene.gateway.admin();
    assert!(
        seen(&admin, "hidden").await.contains("hidden from"),
        "operators learn why: {}",
        seen(&admin, "hidden").await
    );
    let refused = scene.gateway.refused();
    let why: Vec<&str> = refused.iter().flat_map(|refused| &refused.reasons).map(String::as_str).collect();
    assert!(
        why.contains(&"`tool/tools__record` is hidden from `principal/bob`: forbidden by `rules.cedar:3`"),
        "{why:?}"
    );
    assert!(scene.recorded().is_empty());
    scene.finish().await;
}

#[tokio::test]
async fn what_goes_in_and_comes_out_is_the_same_bytes() {
    let entry = r#"{ "name":"odd","description":"Ödd \u00e4","inputSchema":{"type":"object","properties":{"n":{"type":"number"},"x":{}},"x-y":1.50},"annotations":{"readOnlyHint":true,"x":[1.0]},"execution":{"taskSupport":"optional"},"zzz":{"a" : 1e400} }"#;
    let result = r#"{"content":[{"type":"text","text":"\u00e4","x":1.50}],"structuredContent":{"n":1.50,"big":12345678901234567890123,"e":1E+2,"zz":{"y" : [ 1 ]}},"isError":false,"_meta":{"a/b":1.0},"more":-0.0}"#;
    let fake = FakeMcp::start(&format!("[{entry}]"), move |_| format!(r#""result":{result}"#)).await;
    let gateway = with_servers(&format!("{{ fake: {{ url: '{}' }} }}", fake.upstream.url), ALL).await;
    let client = gateway.client("ann").await;
    let session = initialize(&client, "/mcp").await;
    let arguments = r#"{ "n" : 1.50, "x":{"deep":[1.0,{"k":1e2}],"s":"\u00e4"} }"#;
    let called = legacy(
        &client,
        "/mcp",
        Some(&session),
        "tools/call",
        &format!(r#"{{"name":"fake__odd","arguments":{arguments}}}"#),
    )
    .await;
    assert_eq!(called.text(), format!(r#"{{"jsonrpc":"2.0","id":"q-1","result":{result}}}"#));
    let received = fake.upstream.received();
    let sent = String::from_utf8(received.last().unwrap().body.clone()).unwrap();
    assert!(sent.contains(&format!(r#""arguments":{arguments}"#)) && sent.contains(r#""name":"odd""#), "{sent}");
    let called = call_modern(&client, "/mcp/fake", "odd", arguments).await.text();
    let inner = result.strip_suffix('}').unwrap().split_once(r#","_meta""#).unwrap().0;
    assert!(called.contains(inner) && called.contains(r#""more":-0.0"#) && called.contains(r#""a/b":1.0"#), "{called}");
    assert!(called.contains(r#""resultType":"complete""#), "{called}");
    let listed = legacy(&client, "/mcp/fake", None, "tools/list", "{}").await.text();
    for part in [
        r#""description":"Ödd \u00e4""#,
        r#""x-y":1.50"#,
        r#""annotations":{"readOnlyHint":true,"x":[1.0]}"#,
        r#""zzz":{"a" : 1e400}"#,
    ] {
        assert!(listed.contains(part), "{part} in {listed}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn an_error_of_the_server_passes_with_its_number_and_data() {
    let error = r#""error":{"code":-31007,"message":"the drawer is stuck","data":{"x":1.50,"y":[null]}}"#;
    let fake = FakeMcp::start(&format!("[{}]", tool("open")), move |_| error.to_owned()).await;
    let gateway = with_servers(&format!("{{ fake: {{ url: '{}' }} }}", fake.upstream.url), ALL).await;
    let client = gateway.client("ann").await.with_header("portcullis-session", "s");
    let session = initialize(&client, "/mcp").await;
    let called = legacy(&client, "/mcp", Some(&session), "tools/call", r#"{"name":"fake__open"}"#).await;
    assert_eq!((called.status, called.text()), (200, format!(r#"{{"jsonrpc":"2.0","id":"q-1",{error}}}"#)));
    assert_eq!(gateway.settled("ann:s")[0].outcome, Outcome::Failed);
    gateway.finish().await;
}

#[tokio::test]
async fn a_session_of_the_transport_outlives_a_kill_and_is_good_for_its_owner_only() {
    let mut scene = Scene::start().await;
    let (ann, bob) = (scene.client("ann").await, scene.client("bob").await);
    let session = initialize(&ann, "/mcp").await;
    let echo = r#"{"name":"tools__echo","arguments":{"text":"a"}}"#;
    let before = legacy(&ann, "/mcp", Some(&session), "tools/call", echo).await;
    assert_eq!(before.status, 200, "{}", before.text());
    scene.gateway.kill();
    scene.gateway.restart().await;
    let after = legacy(&ann, "/mcp", Some(&session), "tools/call", echo).await;
    assert_eq!(after.json()["result"]["content"][0]["text"], json!("a"), "{}", after.text());
    assert_eq!(after.header("portcullis-session"), before.header("portcullis-session"), "it leads to the same session");
    // Other ways to the session win over it.
    let named = ann.clone().with_header("portcullis-session", "named");
    let elsewhere = legacy(&named, "/mcp", Some(&session), "tools/call", echo).await;
    assert_eq!(elsewhere.header("portcullis-session"), Some("named"));
    let altered = if session.ends_with('A') {
        format!("{}B", &session[..session.len() - 1])
    } else {
        format!("{}A", &session[..session.len() - 1])
    };
    for (client, session, what) in [
        (&bob, session.as_str(), "somebody else's"),
        (&ann, altered.as_str(), "an altered one"),
        (&ann, "session-1", "a guessed one"),
        (&ann, "", "an empty one"),
    ] {
        for method in ["tools/call", "tools/list", "ping"] {
            let params = if method == "tools/call" { echo } else { "{}" };
            let lost = legacy(client, "/mcp", Some(session), method, params).await;
            assert_eq!(lost.status, 404, "{what}: {}", lost.text());
        }
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_modern_client_names_its_session_in_its_meta_or_gets_a_new_one() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let in_session = async |session: Option<&str>| {
        let members = r#""name":"tools__echo","arguments":{"text":"a"}"#;
        let body = modern_body(members, session);
        let headers =
            [BOTH, ("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "tools__echo")];
        let answer = client.send("POST", "/mcp", &headers, Some(body)).await.unwrap();
        (answer.status, answer.header("portcullis-session").unwrap_or_default().to_owned())
    };
    assert_eq!(in_session(Some("mine")).await, (200, "mine".to_owned()));
    let (first, second) = (in_session(None).await.1, in_session(None).await.1);
    assert!(first.starts_with("ses_") && first != second, "{first} {second}");
    assert_eq!(in_session(Some(&first)).await.1, first);
    scene.finish().await;
}

fn modern_body(members: &str, session: Option<&str>) -> String {
    let session = session.map(|name| format!(r#","portcullis/session":"{name}""#)).unwrap_or_default();
    format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{{members},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}{session}}}}}}}"#
    )
}

#[tokio::test]
async fn faults_of_the_protocol_are_answered_as_its_era_wants() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let session = initialize(&client, "/mcp").await;
    for (method, status) in [("GET", 405), ("DELETE", 405), ("PUT", 405)] {
        let answer = client.send(method, "/mcp", &[BOTH], None).await.unwrap();
        assert_eq!((answer.status, answer.header("allow")), (status, Some("POST")), "{method}");
    }
    for (body, status, code) in [
        ("{", 400, -32700),
        ("[]", 400, -32600),
        (r#"{"jsonrpc":"2.0","id":1}"#, 400, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"nothing"}"#, 200, -32601),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#, 200, -32602),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tools__echo","name":"tools__fail"}}"#,
            400,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tools__echo","arguments":[1]}}"#,
            200,
            -32602,
        ),
    ] {
        let answer =
            client.send("POST", "/mcp", &[BOTH, ("mcp-session-id", &session)], Some(body.to_owned())).await.unwrap();
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (status, &json!(code)),
            "{body}: {}",
            answer.text()
        );
    }
    let members = r#""name":"tools__echo","arguments":{"text":"a"}"#;
    let check = async |method: &str, members: &str, more: &[(&str, &str)], status: u16, code: i64| {
        let answer = modern(&client, "/mcp", method, members, more).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (status, &json!(code)),
            "{more:?}: {}",
            answer.text()
        );
    };
    check("tools/call", members, &[], 400, -32020).await;
    check("tools/call", members, &[("mcp-name", "tools__fail")], 400, -32020).await;
    check("tools/call", members, &[("mcp-name", "tools__echo"), ("mcp-name", "tools__echo")], 400, -32020).await;
    check("ping", "", &[], 404, -32601).await;
    assert!(scene.tools.requests().await.iter().all(|request| request["body"]["method"] != json!("tools/call")));
    scene.finish().await;
}

#[tokio::test]
async fn a_server_that_forgets_its_session_is_greeted_again() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let mut tools = tools_client(&client, "/mcp", None);
    let record = r#"{"id":"x","value":1}"#;
    assert!(!tools.call_tool("tools__record", record, None).await.unwrap().is_error);
    scene.tools.http.send("POST", "/__forget_sessions", &[], None).await.unwrap();
    assert!(!tools.call_tool("tools__record", record, None).await.unwrap().is_error);
    assert_eq!(scene.recorded().len(), 2, "each call ran once");
    scene.finish().await;
}

#[tokio::test]
async fn what_a_server_says_about_the_gateways_own_token_does_not_reach_the_caller() {
    for status in [401, 403] {
        let upstream = RawUpstream::start(move |request| {
            let message = request.json();
            let Some(id) = message.get("id") else { return vec![whole(202, "", "")] };
            let result = match message["method"].as_str() {
                Some("initialize") => r#""result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}"#.to_owned(),
                Some("tools/list") => format!(r#""result":{{"tools":[{}]}}"#, tool("open")),
                Some("tools/call") => {
                    let error = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32001,"message":"bad token tok-17"}}}}"#);
                    return vec![whole(status, "", &error)];
                }
                _ => r#""error":{"code":-32601,"message":"no"}"#.to_owned(),
            };
            vec![whole(200, "", &format!(r#"{{"jsonrpc":"2.0","id":{id},{result}}}"#))]
        });
        let upstream = upstream.await;
        let gateway = with_servers(&format!("{{ strict: {{ url: '{}' }} }}", upstream.url), ALL).await;
        let client = gateway.client("ann").await;
        let answer = tools_client(&client, "/mcp", Some("s")).call_tool("strict__open", "{}", None).await.unwrap();
        assert!(
            answer.is_error && answer.text.contains("does not accept the gateway's credential; nothing was done"),
            "{answer:?}"
        );
        assert!(!answer.text.contains("tok-17"), "{answer:?}");
        assert_eq!(gateway.settled("ann:s")[0].outcome, Outcome::Failed);
        gateway.finish().await;
    }
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_given_up_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let tools = Upstream::tools(Era::Sessions, folder.path().join("effects")).await;
    let script = stdio(folder.path());
    let servers = format!(
        "{{ web: {{ url: '{}/mcp', token: '{TOOLS_TOKEN}', timeout_s: 10 }}, sh: {{ command: [sh, '{}'], timeout_s: 10 }} }}",
        tools.url,
        script.display()
    );
    let gateway = with_servers(&servers, ALL).await;
    let client = gateway.client("ann").await;
    let give_up = async |name: &str, arguments: &str| {
        let answer = tools_client(&client, "/mcp", Some(name)).call_tool(name, arguments, None).await.unwrap();
        assert!(
            answer.is_error && answer.text.contains("took too long; whether it was done is not known"),
            "{answer:?}"
        );
        let outcomes: Vec<_> = gateway.settled(&format!("ann:{name}")).iter().map(|settled| settled.outcome).collect();
        assert_eq!(outcomes, [Outcome::Unknown], "{name}");
    };
    tokio::join!(give_up("web__slow", r#"{"ms":60000}"#), give_up("sh__hang", "{}"));
    let mut calls = tools_client(&client, "/mcp", Some("s"));
    assert_eq!(calls.call_tool("sh__say", "{}", None).await.unwrap().text, "said");
    assert_eq!(calls.call_tool("web__echo", r#"{"text":"a"}"#, None).await.unwrap().text, "a");
    gateway.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_call_in_the_modern_era_only() {
    let scene = Scene::start().await;
    let key = scene.gateway.key("ann").await;
    let new_client = || Client::new(&scene.gateway.url()).with_key(&key).with_header("portcullis-session", "s");
    let client = new_client();
    let modern = tokio::spawn(async move { call_modern(&client, "/mcp", "tools__slow", r#"{"ms":60000}"#).await });
    scene.tools.wait_for_outcome("pending").await;
    modern.abort();
    scene.tools.wait_for_outcome("dropped").await;
    let is_settled = async |count: usize| {
        let are_there = || async { scene.gateway.settled("ann:s").len() == count };
        wait_until("the call is settled", LIMIT, are_there).await.unwrap();
        scene.gateway.settled("ann:s").last().unwrap().outcome
    };
    assert_eq!(is_settled(1).await, Outcome::Aborted);
    let client = new_client();
    let legacy = tokio::spawn(async move {
        legacy(&client, "/mcp", None, "tools/call", r#"{"name":"tools__slow","arguments":{"ms":5000}}"#).await
    });
    scene.tools.wait_for_outcome("pending").await;
    legacy.abort();
    assert_eq!(is_settled(2).await, Outcome::Completed);
    scene.tools.wait_for_outcome("answered").await;
    scene.finish().await;
}

/// A gateway with the shell's server, whose files are in the folder.
async fn with_shell() -> (Gateway, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let script = stdio(folder.path());
    let gateway = with_servers(&format!("{{ sh: {{ command: [sh, '{}'] }} }}", script.display()), ALL).await;
    (gateway, folder)
}

/// The process id that the server has written.
fn written_id(folder: &Path, name: &str) -> u32 {
    std::fs::read_to_string(folder.join(name)).unwrap().trim().parse().unwrap()
}

async fn wait_for_end(id: u32, what: &str) {
    wait_until(&format!("{what} is gone"), LIMIT, || async { !runs(id) }).await.unwrap();
}

#[tokio::test]
async fn a_program_that_ends_is_started_again_and_its_tools_come_back() {
    let (gateway, folder) = with_shell().await;
    let client = gateway.client("ann").await;
    let mut calls = tools_client(&client, "/mcp", Some("s"));
    assert_eq!(calls.call_tool("sh__say", "{}", None).await.unwrap().text, "said");
    for round in 0..3 {
        let first = written_id(folder.path(), "pid");
        if round == 0 {
            let died = calls.call_tool("sh__die", "{}", None).await.unwrap();
            assert!(died.is_error && died.text.contains("whether it was done is not known"), "{died:?}");
            assert_eq!(gateway.settled("ann:s").last().unwrap().outcome, Outcome::Unknown);
        } else {
            signal(first, Signal::KILL);
            wait_for_end(first, "the program").await;
        }
        let is_there_again = || async { written_id(folder.path(), "pid") != first };
        wait_until("the program is started again by itself", LIMIT, is_there_again).await.unwrap();
        // The tools are known all the while; only while there is no program a call says so.
        assert_eq!(tools_client(&client, "/mcp", None).list_tools().await.unwrap().len(), 6);
        let says_again =
            || async { !tools_client(&client, "/mcp", None).call_tool("sh__say", "{}", None).await.unwrap().is_error };
        wait_until("it answers again", LIMIT, says_again).await.unwrap();
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_program_ends_with_its_children_however_the_gateway_ends() {
    for way in ["kill", "stop", "reload"] {
        let (mut gateway, folder) = with_shell().await;
        let client = gateway.client("ann").await;
        let mut calls = tools_client(&client, "/mcp", None);
        assert_eq!(calls.call_tool("sh__fork", "{}", None).await.unwrap().text, "forked");
        let (program, child) = (written_id(folder.path(), "pid"), written_id(folder.path(), "child"));
        assert!(runs(program) && runs(child));
        match way {
            "kill" => gateway.kill(),
            "stop" => gateway.stop().await,
            _ => {
                let setup = Setup { models: "{}".to_owned(), servers: "{}".to_owned(), ..Setup::default() };
                gateway.configure(&setup.config("", ""));
                gateway.wait_for_log("the configuration was taken in", 1).await;
                assert_eq!(legacy(&client, "/mcp/sh", None, "tools/list", "{}").await.status, 404);
            }
        }
        wait_for_end(program, way).await;
        wait_for_end(child, way).await;
        if way != "reload" {
            gateway.restart().await;
        }
        gateway.finish().await;
    }
}

#[tokio::test]
async fn calls_under_way_finish_on_a_server_that_a_reload_takes_away() {
    let (gateway, folder) = with_shell().await;
    let client = gateway.client("ann").await;
    let rest = tokio::spawn(async move { tools_client(&client, "/mcp", None).call_tool("sh__nap", "{}", None).await });
    let has_begun = || async { folder.path().join("napping").exists() };
    wait_until("the call has begun", LIMIT, has_begun).await.unwrap();
    let program = written_id(folder.path(), "pid");
    let setup = Setup { models: "{}".to_owned(), servers: "{}".to_owned(), ..Setup::default() };
    gateway.configure(&setup.config("", ""));
    gateway.wait_for_log("the configuration was taken in", 1).await;
    assert_eq!(rest.await.unwrap().unwrap().text, "rested");
    wait_for_end(program, "the program").await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_program_that_is_no_server_is_ended_before_it_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("no-server.sh");
    let line = r#"printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}\n' "$id""#;
    let text = format!(
        "echo $$ >> '{0}/pids'\nid=1; while read -r _; do {line}; id=$((id + 1)); done; sleep 1000\n",
        folder.path().display()
    );
    std::fs::write(&script, text).unwrap();
    let gateway = with_absent(&format!("{{ no: {{ command: [sh, '{}'] }} }}", script.display())).await;
    let pids = || -> Vec<u32> {
        let text = std::fs::read_to_string(folder.path().join("pids")).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    wait_until("it was started twice", LIMIT, || async { pids().len() >= 2 }).await.unwrap();
    wait_for_end(pids()[0], "the first").await;
    gateway.finish().await;
    for pid in pids() {
        wait_for_end(pid, "every one").await;
    }
}

#[tokio::test]
async fn a_program_that_does_not_read_spoils_nobody_elses_call_and_no_stop() {
    let (mut gateway, folder) = with_shell().await;
    let key = gateway.key("ann").await;
    let program = written_id(folder.path(), "pid");
    signal(program, Signal::STOP);
    // More than the pipes on the way take, and the client leaves in the middle of it.
    let client = Client::new(&gateway.url()).with_key(&key);
    let large = format!(r#"{{"to":"{}"}}"#, "x".repeat(900_000));
    let call = tokio::spawn(async move { call_modern(&client, "/mcp", "sh__say", &large).await });
    let is_admitted = || async { gateway.entries().iter().any(|entry| matches!(entry.event, Event::CallAdmitted(_))) };
    wait_until("the call is admitted", LIMIT, is_admitted).await.unwrap();
    call.abort();
    let is_settled = || async { gateway.entries().iter().any(|entry| matches!(entry.event, Event::CallSettled(_))) };
    wait_until("the call is settled", LIMIT, is_settled).await.unwrap();
    signal(program, Signal::CONT);
    let client = gateway.stranger().with_key(&key);
    let mut calls = tools_client(&client, "/mcp", None);
    assert_eq!(calls.call_tool("sh__say", "{}", None).await.unwrap().text, "said");
    assert_eq!(written_id(folder.path(), "pid"), program, "it is the same program");
    signal(program, Signal::STOP);
    let large = format!(r#"{{"to":"{}"}}"#, "x".repeat(900_000));
    let call = tokio::spawn(async move { call_modern(&client, "/mcp", "sh__say", &large).await });
    let are_admitted = || async {
        gateway.entries().iter().filter(|entry| matches!(entry.event, Event::CallAdmitted(_))).count() == 3
    };
    wait_until("the call is admitted", LIMIT, are_admitted).await.unwrap();
    call.abort();
    gateway.stop().await;
    wait_for_end(program, "the program").await;
    gateway.restart().await;
    gateway.finish().await;
}

#[tokio::test]
async fn tools_that_a_server_has_anew_are_there_without_a_restart() {
    let (gateway, _folder) = with_shell().await;
    let client = gateway.client("ann").await;
    let mut calls = tools_client(&client, "/mcp", None);
    assert!(calls.call_tool("sh__more", "{}", None).await.is_err());
    calls.call_tool("sh__grow", "{}", None).await.unwrap();
    let has_grown = || async { tools_client(&client, "/mcp", None).list_tools().await.unwrap().len() == 7 };
    wait_until("the new tool is listed", LIMIT, has_grown).await.unwrap();
    assert_eq!(calls.call_tool("sh__more", "{}", None).await.unwrap().text, "said more");
    let observed = gateway.entries().into_iter().filter(|entry| matches!(entry.event, Event::ToolsObserved(_)));
    assert_eq!(observed.count(), 2);
    gateway.finish().await;

    // A server over HTTP does not say so; it is asked again, at a reload at the latest.
    let fake = FakeMcp::start(&format!("[{}]", tool("one")), |_| r#""result":{"content":[]}"#.to_owned()).await;
    let gateway = with_servers(&format!("{{ fake: {{ url: '{}' }} }}", fake.upstream.url), ALL).await;
    let client = gateway.client("ann").await;
    fake.declare(&format!("[{},{}]", tool("one"), tool("two")));
    gateway.reload().await;
    assert_eq!(tools_client(&client, "/mcp/fake", None).list_tools().await.unwrap().len(), 2);
    gateway.finish().await;
}

#[tokio::test]
async fn a_rule_is_checked_against_what_servers_declare_anew() {
    let schema = |ty: &str| {
        format!(
            r#"[{{"name":"pay","inputSchema":{{"type":"object","properties":{{"amount":{{"type":"{ty}"}}}},"required":["amount"]}}}}]"#
        )
    };
    let fake = FakeMcp::start(&schema("number"), |_| r#""result":{"content":[]}"#.to_owned()).await;
    let rules = r#"permit (principal, action, resource);
        forbid (principal, action == Action::"fake__pay", resource) when { context.arguments.amount.greaterThan(decimal("5.0")) };"#;
    let gateway = with_servers(&format!("{{ fake: {{ url: '{}' }} }}", fake.upstream.url), rules).await;
    let client = gateway.client("ann").await;
    fake.declare(&schema("string"));
    signal(gateway.process_id(), Signal::HUP);
    gateway.wait_for_log("the configuration is broken and not taken", 1).await;
    // Judged by what was declared before: text is not a number.
    let mut calls = tools_client(&client, "/mcp", None);
    assert!(calls.call_tool("fake__pay", r#"{"amount":"9"}"#, None).await.unwrap().is_error);
    assert!(calls.call_tool("fake__pay", r#"{"amount":9}"#, None).await.unwrap().is_error);
    assert!(!calls.call_tool("fake__pay", r#"{"amount":3}"#, None).await.unwrap().is_error);
    gateway.finish().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_joins_when_it_is() {
    let port = free_port();
    let gateway =
        with_absent(&format!("{{ late: {{ url: 'http://127.0.0.1:{port}/mcp', token: '{TOOLS_TOKEN}' }} }}")).await;
    let client = gateway.client("ann").await;
    assert_eq!(tools_client(&client, "/mcp/late", None).list_tools().await.unwrap().len(), 0);
    let folder = tempfile::tempdir().unwrap();
    let listener = listen_at(port).await;
    let _late = Upstream::tools_at(listener, folder.path().join("effects"));
    let is_there = || async { tools_client(&client, "/mcp/late", None).list_tools().await.unwrap().len() == 6 };
    wait_until("its tools are listed", LIMIT, is_there).await.unwrap();
    assert_eq!(
        tools_client(&client, "/mcp", None).call_tool("late__echo", r#"{"text":"a"}"#, None).await.unwrap().text,
        "a"
    );
    gateway.finish().await;
}

#[tokio::test]
async fn servers_that_do_not_answer_hold_up_neither_a_start_nor_a_reload() {
    const GIVEN_UP: &str = "did not list its tools within";
    let folder = tempfile::tempdir().unwrap();
    let (server, go) = (stdio(folder.path()), folder.path().join("go"));
    // One that is a server only once a file is there, and two that never answer.
    let slow = format!("while [ ! -e '{}' ]; do sleep 0.05; done; exec sh '{}'", go.display(), server.display());
    let script = folder.path().join("slow.sh");
    std::fs::write(&script, slow).unwrap();
    let silent = RawUpstream::start(|_| vec![SILENCE.to_vec()]).await;
    let quick = FakeMcp::start(&format!("[{}]", tool("one")), |_| r#""result":{"content":[]}"#.to_owned()).await;
    let mut gateway = with_absent(&format!(
        "{{ slow: {{ command: [sh, '{}'] }}, mute: {{ command: [sleep, '1000'] }}, silent: {{ url: '{}' }}, quick: {{ url: '{}' }} }}",
        script.display(),
        silent.url,
        quick.upstream.url
    ))
    .await;
    // By the order in the log: nobody knows how long ago that was.
    let was_not_held_up = |log: &str| {
        let (start, _) = log.split_once("listening").unwrap();
        start.contains("has not listed its tools yet") && !start.contains(GIVEN_UP)
    };
    assert!(was_not_held_up(&gateway.log()), "it was waited for: {}", gateway.log());
    let client = gateway.client("ann").await;
    let listed = async || tools_client(&client, "/mcp", None).list_tools().await.unwrap().len();
    wait_until("the quick one is there", LIMIT, || async { listed().await == 1 }).await.unwrap();
    let called = tools_client(&client, "/mcp", None).call_tool("quick__one", "{}", None).await.unwrap();
    assert!(!called.is_error, "{called:?}");
    // Somebody may be given up meanwhile. If it were waited for that, it would be so in every reload.
    let is_free = || async {
        let before = gateway.log().matches(GIVEN_UP).count();
        gateway.reload().await;
        gateway.log().matches(GIVEN_UP).count() == before
    };
    wait_until("a reload ends without any of them", LIMIT, is_free).await.unwrap();
    std::fs::write(&go, "").unwrap();
    let is_there = || async { listed().await == 7 };
    wait_until("its tools are listed", LIMIT, is_there).await.unwrap();
    assert_eq!(tools_client(&client, "/mcp", None).call_tool("slow__say", "{}", None).await.unwrap().text, "said");

    // From then on its tools are known at a start, whether it answers or not.
    std::fs::remove_file(&go).unwrap();
    gateway.kill();
    let before = gateway.log().len();
    gateway.restart().await;
    assert!(was_not_held_up(&gateway.log()[before..]), "it was waited for: {}", gateway.log());
    assert_eq!(listed().await, 7);
    gateway.finish().await;
}

#[tokio::test]
async fn what_a_server_declared_is_remembered_while_it_can_not_be_reached() {
    let mut scene = Scene::start().await;
    let client = scene.client("ann").await;
    let gone = Setup::default().config(&scene.model.url, &format!("http://127.0.0.1:{}", free_port()));
    scene.gateway.configure(&gone);
    scene.gateway.kill();
    scene.gateway.restart().await;
    let mut calls = tools_client(&client, "/mcp", Some("s"));
    assert_eq!(calls.list_tools().await.unwrap().len(), 6);
    let denied = calls.call_tool("tools__record", r#"{"id":"x","value":50000}"#, None).await.unwrap();
    assert_eq!(denied.text, "Limit Exceeded. Escalate to Manager.", "it is judged as before");
    let lost = calls.call_tool("tools__record", r#"{"id":"x","value":1}"#, None).await.unwrap();
    assert!(lost.is_error && lost.text.contains("could not be reached; nothing was done"), "{lost:?}");
    assert_eq!(scene.gateway.settled("ann:s").last().unwrap().outcome, Outcome::Failed);
    scene.finish().await;
}
