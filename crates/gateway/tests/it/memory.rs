//! What a session remembers, for agents that speak MCP and nothing else: resources to read it by in both eras, and tools to write it.

use portcullis_domain::event::Event;
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::gateway::{Gateway, LIMIT};
use crate::scene::{Scene, Setup, tools_client};
use crate::spoken::{ask, in_session, saying};

const BOTH: (&str, &str) = ("accept", "application/json, text/event-stream");
/// The configuration with the tools, by way of the key that stands before theirs.
const WITH_TOOLS: &str = "{}\n  session_tools: true";

/// What a client of an era is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Era {
    Legacy,
    Modern,
}

const ALL: &str = "permit (principal, action, resource);";
const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

/// A raw request in a session that the path names.
async fn request(client: &Client, era: Era, path: &str, method: &str, members: &[(&str, &str)]) -> Answer {
    let mut members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let mut headers = vec![BOTH];
    let name;
    if era == Era::Modern {
        let uri = members.iter().find_map(|member| member.strip_prefix("\"uri\":"));
        name = uri.map(|uri| uri.trim_matches('"').to_owned()).unwrap_or_default();
        members.push(r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#.to_owned());
        headers.extend([("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)]);
        if !name.is_empty() {
            headers.push(("mcp-name", &name));
        }
    } else {
        headers.push(("mcp-protocol-version", "2025-11-25"));
    }
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{}}}}}"#, members.join(","));
    client.send("POST", path, &headers, Some(body)).await.unwrap()
}

async fn read(client: &Client, era: Era, path: &str, uri: &str) -> Value {
    let answer = request(client, era, path, "resources/read", &[("uri", &format!("\"{uri}\""))]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn uris(page: &Value) -> Vec<&str> {
    page["result"]["resources"].as_array().unwrap().iter().map(|resource| resource["uri"].as_str().unwrap()).collect()
}

async fn put(client: &Client, session: &str, key: &str, value: &str) -> Answer {
    let path = format!("/api/v1/sessions/{session}/state/{key}");
    let headers = [("content-type", "application/json")];
    let answer = client.send("PUT", &path, &headers, Some(value.to_owned())).await.unwrap();
    assert!(answer.status < 300, "{}", answer.text());
    answer
}

#[tokio::test]
async fn a_session_is_read_as_resources_in_both_eras() {
    let scene = Scene::start().await;
    let (ann, bob) = (scene.client("ann").await, scene.client("bob").await);
    put(&ann, "claim", "amount", "{ \"usd\": 1.50 }").await;
    put(&ann, "claim", "amount", "{ \"usd\": 2.50 }").await;
    put(&ann, "claim", "open", "true").await;
    ask(&ann, &in_session("claim"), &saying("SAY hello")).await;
    for era in ERAS {
        for path in ["/s/claim/mcp", "/s/claim/mcp/tools"] {
            let listed = request(&ann, era, path, "resources/list", &[]).await.json();
            let history = "portcullis://session/history";
            let (amount, open) = ("portcullis://session/state/amount", "portcullis://session/state/open");
            assert_eq!(uris(&listed), [history, amount, open], "{listed}");
            let first = &listed["result"]["resources"][1];
            assert_eq!(
                first,
                &json!({"uri": amount, "name": "amount", "mimeType": "application/json", "size": 15, "_meta": {"portcullis/version": 2, "portcullis/etag": "\"2\""}})
            );
            assert_eq!(listed["result"].get("ttlMs").is_some(), era == Era::Modern, "{listed}");

            let value = read(&ann, era, path, amount).await;
            let contents = &value["result"]["contents"][0];
            assert_eq!(contents["text"], json!("{ \"usd\": 2.50 }"), "{value}");
            assert_eq!(contents["_meta"]["portcullis/etag"], json!("\"2\""), "{value}");
            let told = read(&ann, era, path, history).await;
            let told: Value = serde_json::from_str(told["result"]["contents"][0]["text"].as_str().unwrap()).unwrap();
            assert_eq!(told["messages"].as_array().unwrap().len(), 2, "{told}");
            assert_eq!(told["messages"][0]["content"], json!("SAY hello"), "{told}");
            let first = read(&ann, era, path, "portcullis://session/history?limit=1").await;
            let first = first["result"]["contents"][0]["text"].as_str().unwrap().to_owned();
            assert!(first.contains("portcullis://session/history?after=1&limit=1"), "{first}");

            // Of another principal's session by the same name there is nothing to see, nor of what there is not.
            let code = if era == Era::Modern { -32602 } else { -32002 };
            for (client, uri) in
                [(&bob, amount), (&ann, "portcullis://session/state/none"), (&ann, "file:///etc/passwd")]
            {
                let missing = read(client, era, path, uri).await;
                assert_eq!(
                    (&missing["error"]["code"], &missing["error"]["data"]["uri"]),
                    (&json!(code), &json!(uri)),
                    "{missing}"
                );
            }
            assert_eq!(uris(&request(&bob, era, path, "resources/list", &[]).await.json()), [history]);
        }
        let templates = request(&ann, era, "/mcp", "resources/templates/list", &[]).await.json();
        let templates = templates["result"]["resourceTemplates"].as_array().unwrap().clone();
        assert_eq!(templates[0]["uriTemplate"], json!("portcullis://session/state/{key}"));
    }
    let discovered = request(&ann, Era::Modern, "/mcp", "server/discover", &[]).await.json();
    assert_eq!(discovered["result"]["capabilities"]["resources"], json!({"subscribe": false, "listChanged": false}));
    let sessions = bob.get("/api/v1/sessions").await.unwrap().json();
    assert_eq!(sessions["sessions"], json!([]), "looking opens no session");
    scene.finish().await;
}

#[tokio::test]
async fn many_keys_come_in_pages_and_a_cursor_of_somebody_else_is_refused() {
    let scene = Scene::start().await;
    let ann = scene.client("ann").await;
    for number in 0..205 {
        put(&ann, "many", &format!("k{number:03}"), "1").await;
    }
    for era in ERAS {
        let first = request(&ann, era, "/s/many/mcp", "resources/list", &[]).await.json();
        assert_eq!(uris(&first).len(), 201, "the history and a page of keys");
        let cursor = first["result"]["nextCursor"].to_string();
        let second = request(&ann, era, "/s/many/mcp", "resources/list", &[("cursor", &cursor)]).await.json();
        let expected: Vec<String> = (200..205).map(|number| format!("portcullis://session/state/k{number}")).collect();
        assert_eq!(uris(&second), expected);
        assert_eq!(second["result"].get("nextCursor"), None);
        let wrong = request(&ann, era, "/s/many/mcp", "resources/list", &[("cursor", "\"a b\"")]).await.json();
        assert_eq!(wrong["error"]["code"], json!(-32602), "{wrong}");
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_connection_of_the_session_era_reads_the_session_that_it_writes_to() {
    let setup = Setup { servers: WITH_TOOLS.to_owned(), models: "{}".to_owned(), rules: ALL, ..Setup::default() };
    let gateway = Gateway::start(&setup.config("", ""), &[("rules.cedar", setup.rules)]).await;
    let ann = gateway.client("ann").await;
    let mut tools = tools_client(&ann, "/mcp", None);
    let put = tools.call_tool("portcullis__state_put", r#"{"key":"a","value":[1.0, 2]}"#, None).await.unwrap();
    assert_eq!(put.result["structuredContent"], json!({"key": "a", "version": 1, "is_new": true}), "{put:?}");
    let listed = tools.request("resources/list", None, &[]).await.unwrap();
    assert_eq!(listed["resources"][1]["name"], json!("a"), "{listed}");
    let read = tools.request("resources/read", Some(r#"{"uri":"portcullis://session/state/a"}"#), &[]).await.unwrap();
    assert_eq!(read["contents"][0]["text"], json!("[1.0, 2]"), "{read}");
    gateway.finish().await;
}

#[tokio::test]
async fn the_tools_write_by_the_rules_of_the_api_and_only_where_they_are_wanted() {
    let rules = r#"
        permit (principal, action, resource);
        forbid (principal == Principal::"bob", action == Action::"portcullis__state_put", resource)
        when { context.arguments.key like "secret.*" };
        forbid (principal == Principal::"boss", action == Action::"portcullis__state_delete", resource);
    "#;
    let setup = Setup { servers: WITH_TOOLS.to_owned(), models: "{}".to_owned(), rules, ..Setup::default() };
    let gateway = Gateway::start(&setup.config("", ""), &[("rules.cedar", rules)]).await;
    let ann = gateway.client("ann").await;
    let mut tools = tools_client(&ann, "/mcp/portcullis", Some("s"));
    let mut call = async |name: &str, arguments: &str| tools.call_tool(name, arguments, None).await.unwrap();
    let version = |answer: portcullis_testkit::mcp::ToolAnswer| answer.result["structuredContent"]["version"].clone();
    assert_eq!(version(call("state_put", r#"{"key":"n","value":{"x":1.50},"if_absent":true}"#).await), json!(1));
    assert!(call("state_put", r#"{"key":"n","value":2,"if_absent":true}"#).await.is_error);
    assert_eq!(version(call("state_put", r#"{"key":"n","value":{"x":2.50},"if_version":1}"#).await), json!(2));
    let stale = call("state_put", r#"{"key":"n","value":3,"if_version":1}"#).await;
    assert!(stale.is_error && stale.text.contains("version 2"), "{stale:?}");
    assert_eq!(stale.result["_meta"]["portcullis/refusal"]["code"], json!("conflict"));
    let got = call("state_get", r#"{"key":"n"}"#).await;
    assert_eq!(got.text, r#"{"key":"n","version":2,"value":{"x":2.50}}"#);
    assert!(call("state_get", r#"{"key":"m"}"#).await.text.contains("there is no value `m`"));
    for wrong in [r#"{"key":"a b","value":1}"#, r#"{"key":"n"}"#, r#"{"key":"n","value":1,"ttl_s":0}"#] {
        assert!(call("state_put", wrong).await.is_error, "{wrong}");
    }
    let large = format!(r#"{{"key":"n","value":"{}"}}"#, "x".repeat(1 << 20));
    let refused = call("state_put", &large).await;
    assert!(refused.text.contains("larger than 1048576 bytes"), "{}", refused.text);
    call("state_put", r#"{"key":"brief","value":1,"ttl_s":1}"#).await;
    let listed = call("state_list", r#"{"limit":1,"prefix":"n"}"#).await;
    assert_eq!(listed.result["structuredContent"]["values"][0]["version"], json!(2), "{listed:?}");
    // The API sees the same, under the same entity tags.
    let path = "/api/v1/sessions/s/state";
    let found = ann.get(&format!("{path}/n")).await.unwrap();
    assert_eq!((found.text().as_str(), found.header("etag")), (r#"{"x":2.50}"#, Some("\"2\"")));
    let is_over = || async { ann.get(&format!("{path}/brief")).await.unwrap().status == 404 };
    wait_until("the brief value is over", LIMIT, is_over).await.unwrap();
    assert!(call("state_delete", r#"{"key":"n","if_version":1}"#).await.is_error);
    assert!(!call("state_delete", r#"{"key":"n","if_version":2}"#).await.is_error);
    assert_eq!(ann.get(&format!("{path}/n")).await.unwrap().status, 404);
    let puts = gateway.events("ann:s").into_iter().filter(|event| matches!(event, Event::StatePut(_))).count();
    assert_eq!(puts, 3);

    // Rules see what is written, and hide what nobody may.
    let mut bob = tools_client(&gateway.client("bob").await, "/mcp", None);
    assert!(bob.call_tool("portcullis__state_put", r#"{"key":"secret.a","value":1}"#, None).await.unwrap().is_error);
    assert!(!bob.call_tool("portcullis__state_put", r#"{"key":"a","value":1}"#, None).await.unwrap().is_error);
    let boss = tools_client(&gateway.client("boss").await, "/mcp", None).list_tools().await.unwrap();
    assert_eq!(boss.len(), 3, "{boss:?}");
    gateway.finish().await;

    let scene = Scene::start().await;
    let tools = tools_client(&scene.client("ann").await, "/mcp", None).list_tools().await.unwrap();
    assert!(tools.iter().all(|tool| tool["name"].as_str().unwrap().starts_with("tools__")), "{tools:?}");
    scene.finish().await;
}

#[tokio::test]
async fn a_repeated_write_with_a_key_is_made_once_and_a_closed_session_takes_none() {
    let setup = Setup { servers: WITH_TOOLS.to_owned(), models: "{}".to_owned(), rules: ALL, ..Setup::default() };
    let gateway = Gateway::start(&setup.config("", ""), &[("rules.cedar", setup.rules)]).await;
    let ann = gateway.client("ann").await;
    let mut tools = tools_client(&ann, "/mcp", Some("s"));
    let arguments = r#"{"key":"n","value":1,"if_absent":true}"#;
    for _ in 0..2 {
        let put = tools.call_tool("portcullis__state_put", arguments, Some("k-1")).await.unwrap();
        assert!(!put.is_error, "the repetition gets the answer of the first: {put:?}");
    }
    assert_eq!(ann.delete("/api/v1/sessions/s").await.unwrap().status, 204);
    let closed = tools.call_tool("portcullis__state_put", r#"{"key":"m","value":1}"#, None).await.unwrap();
    assert!(closed.is_error && closed.text.contains("closed"), "{closed:?}");
    let read = tools.request("resources/read", Some(r#"{"uri":"portcullis://session/state/n"}"#), &[]).await.unwrap();
    assert_eq!(read["contents"][0]["text"], json!("1"), "the record stays");
    gateway.finish().await;
}
