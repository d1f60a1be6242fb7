//! Sessions: how they are named, whom they belong to, and what is remembered of them.

use std::collections::HashSet;

use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::gateway::LIMIT;
use crate::scene::{Scene, tools_client};
use crate::spoken::{COMPLETIONS, ask, in_session, listen, saying, with};

fn session_of(answer: &Answer) -> String {
    answer.header("portcullis-session").unwrap().to_owned()
}

async fn get(client: &Client, path: &str) -> Answer {
    client.get(&format!("/api/v1/sessions/{path}")).await.unwrap()
}

/// `role: text` of every message that is remembered, and the names of the calls in it.
async fn history(client: &Client, session: &str) -> Vec<String> {
    let history = get(client, &format!("{session}/history")).await;
    assert_eq!(history.status, 200, "{}", history.text());
    let line = |message: &Value| {
        let calls = message["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|call| call["function"]["name"].as_str().unwrap());
        let calls: Vec<&str> = calls.collect();
        format!(
            "{}: {}{}",
            message["role"].as_str().unwrap(),
            message["content"].as_str().unwrap_or_default(),
            calls.join(" ")
        )
    };
    history.json()["messages"].as_array().unwrap().iter().map(line).collect()
}

#[tokio::test]
async fn a_session_is_named_by_path_or_header_or_else_minted() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let by_path = ask(&client, &in_session("one"), &saying("hi")).await;
    let named = client.clone().with_header("Portcullis-Session", "two");
    let by_header = ask(&named, COMPLETIONS, &saying("hi")).await;
    assert_eq!((session_of(&by_path), session_of(&by_header)), ("one".to_owned(), "two".to_owned()));
    let minted: HashSet<String> = [
        session_of(&ask(&client, COMPLETIONS, &saying("hi")).await),
        session_of(&ask(&client, COMPLETIONS, &saying("hi")).await),
        client.post("/api/v1/sessions", &json!({})).await.unwrap().json()["name"].as_str().unwrap().to_owned(),
    ]
    .into();
    assert_eq!(minted.len(), 3);
    assert!(minted.iter().all(|name| name.starts_with("ses_") && name.len() >= 36), "{minted:?}");
    // A minted session is entered again by its name.
    for name in &minted {
        assert_eq!(session_of(&ask(&client, &in_session(name), &saying("hi")).await), *name);
    }
    let differs = ask(&named, &in_session("one"), &saying("hi")).await;
    assert_eq!((differs.status, &differs.json()["error"]["param"]), (400, &json!("Portcullis-Session")));
    assert_eq!(ask(&named, &in_session("two"), &saying("hi")).await.status, 200);
    for bad in ["ann:one", "-x", "%2e%2e", "a%20b", &"x".repeat(129)] {
        let answer = ask(&client, &in_session(bad), &saying("hi")).await;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
    }
    for (body, status) in [
        (json!({"name": "three"}), 201),
        (json!({"name": "three"}), 200),
        (json!({"name": "a b"}), 400),
        (json!({"nam": "x"}), 400),
        (json!({"name": "ses_guessed"}), 404),
    ] {
        let opened = client.post("/api/v1/sessions", &body).await.unwrap();
        assert_eq!(opened.status, status, "{body}: {}", opened.text());
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_tool_call_and_a_completion_meet_in_the_session_of_their_name() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    ask(&client, &in_session("both"), &saying("hi")).await;
    let mut by_header = tools_client(&client, "/mcp", Some("both"));
    by_header.call_tool("tools__echo", r#"{"text":"a"}"#, None).await.unwrap();
    let mut by_path = tools_client(&client, "/s/both/mcp/tools", None);
    by_path.call_tool("echo", r#"{"text":"a"}"#, None).await.unwrap();
    let shown = get(&client, "both").await.json();
    assert_eq!((&shown["calls"], &shown["refused"], &shown["owner"]), (&json!(3), &json!(0), &json!("ann")));
    scene.finish().await;
}

#[tokio::test]
async fn nobody_else_learns_that_there_is_a_session() {
    let scene = Scene::start().await;
    let (ann, bob) = (scene.client("ann").await, scene.client("bob").await);
    ask(&ann, &in_session("claim-99"), &saying("SAY secret of ann")).await;
    ann.put("/api/v1/sessions/claim-99/state/step", &json!(1)).await.unwrap();
    let minted = session_of(&ask(&ann, COMPLETIONS, &saying("hi")).await);
    for name in ["claim-99", minted.as_str()] {
        for path in ["", "/history", "/entries", "/state", "/state/step"] {
            for id in [name.to_owned(), format!("ann:{name}")] {
                let there = get(&bob, &format!("{id}{path}")).await;
                assert_eq!((there.status, &there.json()["code"]), (404, &json!("session_not_found")), "{id}{path}");
                // What is not there is answered in the same words.
                let not_there = get(&bob, &format!("{}{path}", id.replace(name, "nothing"))).await;
                assert_eq!(not_there.text().replace("nothing", name), there.text(), "{id}{path}");
            }
        }
        let deleted = bob.delete(&format!("/api/v1/sessions/ann:{name}")).await.unwrap();
        assert_eq!(deleted.status, 404, "{}", deleted.text());
        let put = bob.put(&format!("/api/v1/sessions/ann:{name}/state/step"), &json!(2)).await.unwrap();
        assert_eq!(put.status, 404, "{}", put.text());
    }
    // The same name is another session.
    ask(&bob, &in_session("claim-99"), &saying("SAY of bob")).await;
    assert_eq!(history(&bob, "claim-99").await, ["user: SAY of bob", "assistant: of bob"]);
    assert_eq!(history(&ann, "claim-99").await, ["user: SAY secret of ann", "assistant: secret of ann"]);
    let listed = |answer: Answer| {
        answer.json()["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(bob.get("/api/v1/sessions").await.unwrap()), ["bob:claim-99"]);
    assert_eq!(listed(scene.gateway.admin().get("/api/v1/sessions").await.unwrap()).len(), 3);
    // A minted name that was not minted for the caller opens nothing.
    for name in [minted.as_str(), "ses_0123456789abcdef0123456789abcdef"] {
        let entered = ask(&bob, &in_session(name), &saying("hi")).await;
        assert_eq!((entered.status, &entered.json()["error"]["code"]), (404, &json!("session_not_found")), "{name}");
        let mut tools = tools_client(&bob, "/mcp", Some(name));
        let entered = tools.call_tool("tools__echo", r#"{"text":"a"}"#, None).await.unwrap();
        assert!(entered.is_error && entered.text.contains("there is no session"), "{entered:?}");
        let put = bob.put(&format!("/api/v1/sessions/{name}/state/step"), &json!(2)).await.unwrap();
        assert_eq!(put.status, 404, "{}", put.text());
    }
    scene.finish().await;
}

#[tokio::test]
async fn an_administrator_looks_at_every_session_and_writes_to_none() {
    let scene = Scene::start().await;
    let ann = scene.client("ann").await;
    ask(&ann, &in_session("s"), &saying("SAY one")).await;
    ann.put("/api/v1/sessions/s/state/step", &json!(1)).await.unwrap();
    let admin = scene.gateway.admin();
    assert_eq!(history(&admin, "ann:s").await, ["user: SAY one", "assistant: one"]);
    assert_eq!(get(&admin, "ann:s/state/step").await.text(), "1");
    let put = admin.put("/api/v1/sessions/ann:s/state/step", &json!(2)).await.unwrap();
    assert_eq!(put.status, 403, "{}", put.text());
    assert_eq!(admin.delete("/api/v1/sessions/ann:s").await.unwrap().status, 204);
    assert_eq!(ask(&ann, &in_session("s"), &saying("hi")).await.status, 410);
    scene.finish().await;
}

#[tokio::test]
async fn paths_may_be_percent_encoded_and_are_decoded_once() {
    let scene = Scene::start().await;
    let (ann, admin) = (scene.client("ann").await, scene.gateway.admin());
    let check = async |client: &Client, path: &str, status: u16| {
        let answer = client.get(path).await.unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        answer
    };
    assert_eq!(ask(&ann, "/s/claim%4099/v1/chat/completions", &saying("SAY hi")).await.status, 200);
    for id in ["claim@99", "claim%4099", "ann:claim@99", "ann%3Aclaim%4099", "ann%3aclaim@9%39"] {
        let shown = check(&ann, &format!("/api/v1/sessions/{id}"), 200).await;
        assert_eq!(shown.json()["id"], json!("ann:claim@99"));
        check(&admin, &format!("/api/v1/sessions/{id}/history"), if id.starts_with("ann") { 200 } else { 404 }).await;
    }
    assert_eq!(ann.put("/api/v1/sessions/claim%4099/state/a%40b", &json!(1)).await.unwrap().status, 201);
    for key in ["a@b", "a%40b"] {
        assert_eq!(check(&ann, &format!("/api/v1/sessions/claim%4099/state/{key}"), 200).await.text(), "1");
    }
    assert_eq!(check(&ann, "/v1/models/script%65d", 200).await.json()["id"], json!("scripted"));
    let after = async |id: &str| check(&ann, &format!("/api/v1/sessions?after={id}"), 200).await.json();
    assert_eq!(after("ann%3Aclaim").await["sessions"][0]["id"], json!("ann:claim@99"));
    assert_eq!(after("ann%3Aclaim%4099").await["sessions"], json!([]));
    // What is left after one decoding is not decoded again, and a slash that was encoded separates nothing.
    for id in ["claim%254099", "claim@99%2Fstate", "%2E%2E", "claim@99%00", "%", "claim%4", "claim%zz99", "%FF", "%+1"]
    {
        let problem = check(&ann, &format!("/api/v1/sessions/{id}"), 400).await;
        assert_eq!(problem.json()["code"], json!("invalid_request"), "{id}");
    }
    for path in ["/api/v1/sessions/claim@99/state/%", "/api/v1/sessions?after=%", "/s/%/v1/models", "/v1/models/%"] {
        check(&ann, path, 400).await;
    }
    check(&ann, "/api/v1%2Fsessions", 404).await;
    scene.finish().await;
}

#[tokio::test]
async fn a_closed_session_takes_no_more_calls_and_keeps_its_record() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    ask(&client, &in_session("s"), &saying("SAY one")).await;
    scene.model.forget().await;
    for _ in 0..2 {
        assert_eq!(client.delete("/api/v1/sessions/s").await.unwrap().status, 204, "closing again changes nothing");
    }
    for is_stream in [false, true] {
        let closed = ask(&client, &in_session("s"), &with(saying("hi"), "stream", json!(is_stream))).await;
        assert_eq!((closed.status, &closed.json()["error"]["code"]), (410, &json!("session_closed")));
    }
    let mut tools = tools_client(&client, "/mcp", Some("s"));
    let closed = tools.call_tool("tools__record", r#"{"id":"x","value":1}"#, None).await.unwrap();
    assert!(closed.is_error && closed.text.contains("closed"), "{closed:?}");
    assert_eq!(client.put("/api/v1/sessions/s/state/step", &json!(1)).await.unwrap().status, 410);
    assert_eq!(client.post("/api/v1/sessions", &json!({"name": "s"})).await.unwrap().status, 410);
    assert_eq!(history(&client, "s").await, ["user: SAY one", "assistant: one"]);
    assert_eq!(get(&client, "s").await.json()["status"], json!("closed"));
    assert_eq!(client.delete("/api/v1/sessions/other").await.unwrap().status, 404);
    assert!(scene.model.requests().await.is_empty() && scene.recorded().is_empty());
    scene.finish().await;
}

#[tokio::test]
async fn the_scratchpad_is_written_by_compare_and_set() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    // For each condition: what comes when there is nothing, when there is version 1, and when there is version 2.
    type Row<'a> = (&'a [(&'a str, &'a str)], [u16; 3]);
    let matrix: &[Row<'_>] = &[
        (&[], [201, 204, 204]),
        (&[("if-none-match", "*")], [201, 412, 412]),
        (&[("if-match", "*")], [412, 204, 204]),
        (&[("if-match", "\"1\"")], [412, 204, 412]),
        (&[("if-match", "\"2\"")], [412, 412, 204]),
        (&[("if-match", "\"0\"")], [412, 412, 412]),
        (&[("if-match", "1")], [400, 400, 400]),
        (&[("if-match", "\"x\"")], [400, 400, 400]),
        (&[("if-match", "\"1\", \"2\"")], [400, 400, 400]),
        (&[("if-none-match", "\"1\"")], [400, 400, 400]),
        (&[("if-match", "\"1\""), ("if-none-match", "*")], [400, 400, 400]),
    ];
    for (row, (headers, expected)) in matrix.iter().enumerate() {
        for (versions, expected) in expected.iter().enumerate() {
            let path = format!("/api/v1/sessions/s{row}/state/key-{versions}");
            for version in 1..=versions {
                let put = client.put(&path, &json!(version)).await.unwrap();
                assert_eq!(put.header("etag"), Some(format!("\"{version}\"").as_str()));
            }
            let put = client.send("PUT", &path, headers, Some(r#"{"new":1.50}"#.to_owned())).await.unwrap();
            assert_eq!(put.status, *expected, "{headers:?} over version {versions}: {}", put.text());
            let is_written = put.status < 300;
            let now = client.get(&path).await.unwrap();
            match (is_written, versions) {
                (true, _) => {
                    assert_eq!((now.status, now.text().as_str()), (200, r#"{"new":1.50}"#), "the same bytes");
                    assert_eq!(
                        (now.header("etag"), put.header("etag")),
                        (Some(format!("\"{}\"", versions + 1).as_str()), now.header("etag"))
                    );
                }
                (false, 0) => assert_eq!(now.status, 404, "{}", now.text()),
                (false, _) => assert_eq!(now.text(), versions.to_string()),
            }
        }
    }
    scene.finish().await;
}

#[tokio::test]
async fn of_many_writers_at_once_one_wins() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    client.put("/api/v1/sessions/s/state/step", &json!(0)).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for number in 1..=20 {
        let client = client.clone();
        writers.spawn(async move {
            let headers = [("if-match", "\"1\"")];
            client
                .send("PUT", "/api/v1/sessions/s/state/step", &headers, Some(number.to_string()))
                .await
                .unwrap()
                .status
        });
    }
    let mut statuses = writers.join_all().await;
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1..].iter().all(|status| *status == 412)), (204, true), "{statuses:?}");
    assert_eq!(get(&client, "s/state/step").await.header("etag"), Some("\"2\""));
    scene.finish().await;
}

#[tokio::test]
async fn the_scratchpad_takes_json_and_has_limits() {
    let mut scene = Scene::start().await;
    let client = scene.client("ann").await;
    let put = async |key: &str, kind: &str, body: String| {
        let path = format!("/api/v1/sessions/s/state/{key}");
        client.send("PUT", &path, &[("content-type", kind)], Some(body)).await.unwrap().status
    };
    let json = "application/json";
    assert_eq!(put("a", json, "{}".to_owned()).await, 201);
    for (key, kind, body, status) in [
        ("a", json, "", 400),
        ("a", json, "{", 400),
        ("a", json, "1 2", 400),
        ("a", "text/plain", "1", 400),
        ("a%20b", json, "1", 400),
        ("-a", json, "1", 400),
        ("b", "application/json; charset=utf-8", "[1]", 201),
    ] {
        assert_eq!(put(key, kind, body.to_owned()).await, status, "{key} {kind} {body}");
    }
    let sized = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    const MIB: usize = 1024 * 1024;
    assert_eq!(put("large", json, sized(MIB)).await, 201);
    assert_eq!(put("large", json, sized(MIB + 1)).await, 413);
    for number in 3..1_024 {
        assert_eq!(put(&format!("key-{number}"), json, number.to_string()).await, 201, "{number}");
    }
    assert_eq!(put("one-more", json, "1".to_owned()).await, 429);
    assert_eq!(put("key-3", json, "1".to_owned()).await, 204);
    for number in 3..33 {
        assert_eq!(put(&format!("key-{number}"), json, sized(MIB)).await, 204, "{number}");
    }
    let path = "/api/v1/sessions/s/state/key-34";
    let refused = client.send("PUT", path, &[], Some(sized(MIB))).await.unwrap();
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (413, &json!("too_large")),
        "32 MiB less some bytes are there"
    );
    assert_eq!(client.delete("/api/v1/sessions/s/state/key-3").await.unwrap().status, 204);
    assert_eq!(put("key-34", json, sized(MIB)).await, 204);
    assert_eq!(put("one-more", json, "1".to_owned()).await, 201);
    let before = get(&client, "s/state").await.json();
    assert_eq!(before["values"].as_array().unwrap().len(), 1_000);
    let rest = get(&client, &format!("s/state?after={}", before["next"].as_str().unwrap())).await.json();
    assert_eq!((rest["values"].as_array().unwrap().len(), &rest["next"]), (24, &Value::Null));
    scene.gateway.kill();
    scene.gateway.restart().await;
    assert_eq!(get(&client, "s/state").await.json(), before);
    assert_eq!(get(&client, "s/state/large").await.text(), sized(MIB));
    assert_eq!(get(&client, "s/state/nothing").await.status, 404);
    assert_eq!(get(&client, "nothing/state").await.status, 404);
    scene.finish().await;
}

#[tokio::test]
async fn a_value_is_deleted_by_compare_and_set_and_its_versions_count_on() {
    let mut scene = Scene::start().await;
    let (client, path) = (scene.client("ann").await, "/api/v1/sessions/s/state/step");
    let delete = async |headers: &[(&str, &str)]| client.send("DELETE", path, headers, None).await.unwrap().status;
    assert_eq!(delete(&[]).await, 404, "no session");
    for value in ["1", "2"] {
        client.send("PUT", path, &[], Some(value.to_owned())).await.unwrap();
    }
    assert_eq!(delete(&[("if-match", "\"1\"")]).await, 412);
    assert_eq!(delete(&[("if-match", "2")]).await, 400);
    assert_eq!(delete(&[("if-none-match", "*")]).await, 412);
    assert_eq!(delete(&[("if-match", "\"2\"")]).await, 204);
    assert_eq!((get(&client, "s/state/step").await.status, delete(&[]).await), (404, 404));
    assert_eq!(delete(&[("if-match", "*")]).await, 412);
    scene.gateway.kill();
    scene.gateway.restart().await;
    let put = client.send("PUT", path, &[("if-match", "\"2\"")], Some("3".to_owned())).await.unwrap();
    assert_eq!(put.status, 412, "what was deleted does not fit again");
    let put = client.send("PUT", path, &[("if-none-match", "*")], Some("3".to_owned())).await.unwrap();
    assert_eq!((put.status, put.header("etag")), (201, Some("\"3\"")));
    let other = scene.client("bob").await;
    assert_eq!(other.delete("/api/v1/sessions/ann:s/state/step").await.unwrap().status, 404);
    let admin = scene.gateway.admin();
    assert_eq!(admin.delete("/api/v1/sessions/ann:s/state/step").await.unwrap().status, 403);
    let entries = get(&client, "s/entries").await.json();
    let types: Vec<&str> =
        entries["entries"].as_array().unwrap().iter().map(|entry| entry["event"]["type"].as_str().unwrap()).collect();
    let put = "session.state_put";
    assert_eq!(types, ["session.opened", put, put, "session.state_deleted", put], "{entries}");
    client.delete("/api/v1/sessions/s").await.unwrap();
    assert_eq!(delete(&[]).await, 410);
    scene.finish().await;
}

#[tokio::test]
async fn a_value_with_a_time_is_absent_when_it_is_over() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let put = async |query: &str, headers: &[(&str, &str)]| {
        let path = format!("/api/v1/sessions/s/state/step{query}");
        client.send("PUT", &path, headers, Some("1".to_owned())).await.unwrap().status
    };
    for ttl in ["", "0", "-1", "1.5", "x", "315360001", "99999999999999999999"] {
        assert_eq!(put(&format!("?ttl_s={ttl}"), &[]).await, 400, "{ttl}");
    }
    assert_eq!(put("?ttl_s=315360000", &[]).await, 201);
    let listed = get(&client, "s/state").await.json();
    assert!(listed["values"][0]["expires_at"].as_str().unwrap().starts_with("203"), "{listed}");
    assert_eq!(put("", &[]).await, 204);
    assert_eq!(get(&client, "s/state").await.json(), json!({"values": [{"key": "step", "version": 2, "bytes": 1}]}));
    assert_eq!(put("?ttl_s=1", &[("if-match", "\"2\"")]).await, 204);
    let is_over = async || get(&client, "s/state/step").await.status == 404;
    wait_until("the value is over", LIMIT, is_over).await.unwrap();
    assert_eq!(get(&client, "s/state").await.json(), json!({"values": []}));
    assert_eq!(put("", &[("if-match", "\"3\"")]).await, 412);
    assert_eq!(put("", &[("if-none-match", "*")]).await, 201);
    assert_eq!(get(&client, "s/state/step").await.header("etag"), Some("\"4\""));
    scene.finish().await;
}

#[tokio::test]
async fn keys_are_listed_by_prefix_and_page() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    for key in ["b.2", "a.1", "b.1", "b.3", "b", "c"] {
        client.put(&format!("/api/v1/sessions/s/state/{key}"), &json!(1)).await.unwrap();
    }
    let check = async |query: &str, expected: &[&str], next: Option<&str>| {
        let page = get(&client, &format!("s/state{query}")).await.json();
        let keys: Vec<&str> =
            page["values"].as_array().unwrap().iter().map(|value| value["key"].as_str().unwrap()).collect();
        assert_eq!((keys.as_slice(), page["next"].as_str()), (expected, next), "{query}");
    };
    check("", &["a.1", "b", "b.1", "b.2", "b.3", "c"], None).await;
    check("?prefix=b.", &["b.1", "b.2", "b.3"], None).await;
    check("?prefix=b.&limit=2", &["b.1", "b.2"], Some("b.2")).await;
    check("?prefix=b.&limit=2&after=b.2", &["b.3"], None).await;
    check("?prefix=b.&limit=3", &["b.1", "b.2", "b.3"], None).await;
    check("?prefix=d", &[], None).await;
    check("?prefix=%62.", &["b.1", "b.2", "b.3"], None).await;
    for query in ["?prefix=%2F", "?prefix=%6", "?limit=0", "?limit=1001", "?after=-"] {
        assert_eq!(get(&client, &format!("s/state{query}")).await.status, 400, "{query}");
    }
    scene.finish().await;
}

#[tokio::test]
async fn the_history_has_every_message_once_and_survives_a_kill() {
    let mut scene = Scene::start().await;
    let client = scene.client("ann").await;
    let turn = |messages: &[Value]| json!({"model": "scripted", "messages": messages});
    let user = |text: &str| json!({"role": "user", "content": text});
    let assistant = |text: &str| json!({"role": "assistant", "content": text});

    // A client that sends everything again each time.
    let system = json!({"role": "system", "content": "Be kind."});
    ask(&client, &in_session("whole"), &turn(&[system.clone(), user("SAY one")])).await;
    listen(
        &client,
        &in_session("whole"),
        &with(turn(&[system.clone(), user("SAY one"), assistant("one"), user("SAY two")]), "stream", json!(true)),
    )
    .await;
    // The same words said once more are said once more.
    let all = [system, user("SAY one"), assistant("one"), user("SAY two"), assistant("two"), user("SAY two")];
    ask(&client, &in_session("whole"), &turn(&all)).await;
    let whole = [
        "system: Be kind.",
        "user: SAY one",
        "assistant: one",
        "user: SAY two",
        "assistant: two",
        "user: SAY two",
        "assistant: two",
    ];
    assert_eq!(history(&client, "whole").await, whole);

    // A client that sends only what is new.
    for text in ["SAY one", "SAY one"] {
        ask(&client, &in_session("new"), &turn(&[user(text)])).await;
    }
    assert_eq!(history(&client, "new").await, ["user: SAY one", "assistant: one", "user: SAY one", "assistant: one"]);

    // A turn with a tool, and one in which a call was denied.
    let call = "CALL tools__echo {\"text\":\"hi\"}";
    let answer = ask(&client, &in_session("tool"), &turn(&[user(call)])).await.json();
    let message = answer["choices"][0]["message"].clone();
    let result = json!({"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "hi"});
    ask(&client, &in_session("tool"), &turn(&[user(call), message.clone(), result.clone()])).await;
    let denied = user("SAY I try.\nCALL tools__record {\"id\":\"x\",\"value\":20000}");
    let said = assistant("tools__echo answered: hi");
    ask(
        &client,
        &in_session("tool"),
        &turn(&[user(call), message.clone(), result.clone(), said.clone(), denied.clone()]),
    )
    .await;
    let with_tool = [
        format!("user: {call}"),
        "assistant: tools__echo".to_owned(),
        "tool: hi".to_owned(),
        "assistant: tools__echo answered: hi".to_owned(),
        format!("user: {}", denied["content"].as_str().unwrap()),
        "assistant: I try.".to_owned(),
        "system: Limit Exceeded. Escalate to Manager.".to_owned(),
        "assistant: That is beyond my limit. I escalate it to the manager.".to_owned(),
    ];
    assert_eq!(history(&client, "tool").await, with_tool);
    // The client never saw what the gateway added; it goes on from what it saw.
    let next = [
        user(call),
        message,
        result,
        said,
        denied,
        assistant("That is beyond my limit. I escalate it to the manager."),
        user("SAY fine"),
    ];
    ask(&client, &in_session("tool"), &turn(&next)).await;
    let with_tool = [&with_tool[..], &["user: SAY fine".to_owned(), "assistant: fine".to_owned()]].concat();
    assert_eq!(history(&client, "tool").await, with_tool);

    // Of a stream the client has what was said before the denial as well, in one message; and so it has the note.
    let insist = user("insist\nSAY so\nCALL tools__record {\"id\":\"x\",\"value\":20000}");
    let heard =
        listen(&client, &in_session("stream"), &with(turn(std::slice::from_ref(&insist)), "stream", json!(true))).await;
    ask(&client, &in_session("stream"), &turn(&[insist, assistant(&heard.text), user("SAY fine")])).await;
    let streamed = history(&client, "stream").await;
    assert_eq!(streamed.iter().filter(|line| line.starts_with("user: ")).count(), 2, "{streamed:?}");
    assert_eq!(streamed[streamed.len() - 2..], ["user: SAY fine", "assistant: fine"]);

    scene.gateway.kill();
    scene.gateway.restart().await;
    assert_eq!(history(&client, "whole").await, whole);
    assert_eq!(history(&client, "tool").await, with_tool);
    assert_eq!(history(&client, "stream").await, streamed);
    ask(&client, &in_session("new"), &turn(&[user("SAY three")])).await;
    assert_eq!(history(&client, "new").await.len(), 6);
    assert_eq!(get(&client, "whole").await.json()["calls"], json!(3));
    scene.finish().await;
}

#[tokio::test]
async fn the_entries_of_a_session_say_what_happened_in_order() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    ask(&client, &in_session("s"), &saying("CALL tools__record {\"id\":\"x\",\"value\":20000}")).await;
    client.put("/api/v1/sessions/s/state/step", &json!(1)).await.unwrap();
    let mut tools = tools_client(&client, "/mcp", Some("s"));
    tools.call_tool("tools__record", r#"{"id":"x","value":20000}"#, None).await.unwrap();
    client.delete("/api/v1/sessions/s").await.unwrap();
    let entries = get(&client, "s/entries").await.json();
    let entries = entries["entries"].as_array().unwrap();
    let types: Vec<&str> = entries.iter().map(|entry| entry["event"]["type"].as_str().unwrap()).collect();
    let call = ["call.admitted", "call.settled"];
    assert_eq!(
        types,
        [&["session.opened"][..], &call, &call, &["session.state_put", "call.refused", "session.closed"]].concat()
    );
    assert!(
        entries
            .iter()
            .all(|entry| entry["actor"] == json!("principal:ann") || entry["actor"].to_string().contains("ann"))
    );
    let after = get(&client, "s/entries?after=6").await.json();
    assert_eq!(after["entries"].as_array().unwrap().len(), types.len() - 6);
    let refused = &entries[6]["event"]["data"];
    assert_eq!(
        (&refused["code"], &refused["policies"], &refused["message"]),
        (&json!("denied"), &json!(["limit"]), &json!("Limit Exceeded. Escalate to Manager."))
    );
    assert_eq!(get(&client, "s").await.json()["refused"], json!(2), "at the door, and inside of the model's answer");
    scene.finish().await;
}
