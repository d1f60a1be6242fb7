//! Responses and conversations: said to a model as chat, judged and paid for like chat, and kept where a restart finds them.

use portcullis_domain::event::Outcome;
use portcullis_testkit::http::{Answer, Client};
use serde_json::{Value, json};

use crate::chat::before;
use crate::gateway::LIMIT;
use crate::raw_upstream::{RawUpstream, event_head, whole};
use crate::scene::{Scene, Setup};
use portcullis_testkit::process::wait_until;

const RESPONSES: &str = "/v1/responses";

fn asking(input: &str) -> Value {
    json!({"model": "scripted", "input": input})
}

fn with(mut request: Value, name: &str, value: Value) -> Value {
    request[name] = value;
    request
}

async fn created(client: &Client, request: &Value) -> Value {
    let answer = client.post(RESPONSES, request).await.unwrap();
    assert_eq!(answer.status, 200, "{request} {}", answer.text());
    answer.json()
}

fn text(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap_or_default()
}

fn check_refused(answer: &Answer, status: u16, code: &str, parameter: Option<&str>) {
    let error = answer.json()["error"].clone();
    assert_eq!((answer.status, &error["code"], &error["param"]), (status, &json!(code), &json!(parameter)), "{error}");
}

/// The events of a streamed response: their names and data.
async fn events(client: &Client, request: &Value) -> Vec<(String, Value)> {
    let body = with(request.clone(), "stream", json!(true)).to_string();
    let answer = client.send("POST", RESPONSES, &[("content-type", "application/json")], Some(body)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    parsed(&answer.text())
}

fn parsed(text: &str) -> Vec<(String, Value)> {
    let blocks = text.split("\n\n").filter(|block| !block.is_empty());
    let event = |block: &str| {
        let (name, data) = block.split_once('\n').unwrap();
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), data)
    };
    blocks.map(event).collect()
}

/// What the model was sent last.
async fn messages(scene: &Scene) -> Value {
    scene.model.requests().await.last().unwrap()["body"]["messages"].clone()
}

#[tokio::test]
async fn a_response_is_kept_and_the_next_one_goes_on_from_it_after_a_restart_too() {
    let mut scene = Scene::start().await;
    let client = scene.client("ann").await;
    let first = created(&client, &with(asking("SAY first"), "metadata", json!({"a": "b"}))).await;
    assert_eq!((text(&first), &first["status"], &first["object"]), ("first", &json!("completed"), &json!("response")));
    assert!(first["usage"]["input_tokens"].as_u64() > Some(0));
    scene.gateway.kill();
    scene.gateway.restart().await;
    let id = first["id"].as_str().unwrap();
    let path = format!("{RESPONSES}/{id}");
    assert_eq!(client.get(&path).await.unwrap().json(), first);
    let items = client.get(&format!("{path}/input_items?order=asc")).await.unwrap().json();
    assert_eq!(items["data"][0]["content"][0], json!({"type": "input_text", "text": "SAY first"}));
    let next = with(with(asking("SAY second"), "previous_response_id", json!(id)), "instructions", json!("be kind"));
    let second = created(&client, &next).await;
    assert_eq!(text(&second), "second");
    let expected = json!([
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "SAY first"},
        {"role": "assistant", "content": "first"},
        {"role": "user", "content": "SAY second"},
    ]);
    assert_eq!(messages(&scene).await, expected);
    // Instructions are those of one response; what was said stays.
    let third = with(asking("SAY third"), "previous_response_id", second["id"].clone());
    created(&client, &third).await;
    assert_eq!(messages(&scene).await.as_array().unwrap().len(), 5);
    // Somebody else learns nothing of it.
    let bob = scene.client("bob").await;
    for answer in [
        bob.get(&path).await.unwrap(),
        bob.delete(&path).await.unwrap(),
        bob.get(&format!("{path}/input_items")).await.unwrap(),
    ] {
        check_refused(&answer, 404, "not_found", None);
    }
    check_refused(&bob.post(RESPONSES, &next).await.unwrap(), 404, "not_found", Some("previous_response_id"));
    check_refused(
        &client.post(&format!("{path}/cancel"), &json!({})).await.unwrap(),
        400,
        "invalid_request",
        Some("response_id"),
    );
    let elsewhere = client.clone().with_header("portcullis-session", "another");
    check_refused(&elsewhere.post(RESPONSES, &next).await.unwrap(), 400, "invalid_request", Some("Portcullis-Session"));
    // What was deleted is gone, and so is what goes on from it.
    let deleted = client.delete(&path).await.unwrap().json();
    assert_eq!(deleted, json!({"id": id, "object": "response", "deleted": true}));
    check_refused(&client.get(&path).await.unwrap(), 404, "not_found", None);
    check_refused(&client.post(RESPONSES, &third).await.unwrap(), 404, "not_found", Some("previous_response_id"));
    let unstored = created(&client, &with(asking("SAY so"), "store", json!(false))).await;
    let answer = client.get(&format!("{RESPONSES}/{}", unstored["id"].as_str().unwrap())).await.unwrap();
    check_refused(&answer, 404, "not_found", None);
    scene.finish().await;
}

#[tokio::test]
async fn what_can_not_be_served_is_refused_in_the_words_of_the_api() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let tool = |kind: &str| json!([{"type": kind, "server_label": "x", "server_url": "https://example.org"}]);
    for (name, value, parameter) in [
        ("tools", tool("web_search"), "tools[0].type"),
        ("tools", tool("mcp"), "tools[0].type"),
        ("background", json!(true), "background"),
        ("prompt", json!({"id": "p"}), "prompt"),
        ("input", json!([{"type": "item_reference", "id": "x"}]), "input[0]"),
        ("input", json!(7), "input"),
        ("temperature_of_the_room", json!(20), "temperature_of_the_room"),
    ] {
        let answer = client.post(RESPONSES, &with(asking("SAY hi"), name, value)).await.unwrap();
        check_refused(&answer, 400, "invalid_request", Some(parameter));
    }
    let answer = client.send("POST", RESPONSES, &[], Some("{".to_owned())).await.unwrap();
    check_refused(&answer, 400, "invalid_request", None);
    let unknown = client.post(RESPONSES, &json!({"model": "unknown", "input": "hi"})).await.unwrap();
    assert_eq!((unknown.status, unknown.json()["error"]["code"].clone()), (404, json!("capability_not_found")));
    // The model's own error comes as it is.
    let failed = client.post(RESPONSES, &asking("ERROR 429 slow down")).await.unwrap();
    assert!(failed.status == 429 && failed.text().contains("slow down"));
    assert_eq!(scene.model.requests().await.len(), 1);
    scene.finish().await;
}

#[tokio::test]
async fn calls_in_responses_are_judged_like_those_of_chats() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await.with_header("portcullis-session", "claim-1");
    let tools = json!([{"type": "function", "name": "tools__record", "parameters": {"type": "object"}}]);
    let request = |value: u64| {
        with(asking(&format!("insist\nCALL tools__record {{\"id\":\"x\",\"value\":{value}}}")), "tools", tools.clone())
    };
    let allowed = created(&client, &request(7)).await;
    let call = allowed["output"].as_array().unwrap().iter().find(|item| item["type"] == "function_call").unwrap();
    assert_eq!(call["name"], json!("tools__record"));
    let output = json!([{"type": "function_call_output", "call_id": call["call_id"], "output": "recorded"}]);
    let next = with(
        with(with(asking(""), "input", output), "previous_response_id", allowed["id"].clone()),
        "tools",
        tools.clone(),
    );
    assert!(text(&created(&client, &next).await).contains("recorded"));
    let said = messages(&scene).await;
    assert_eq!((&said[1]["tool_calls"][0]["id"], &said[2]["role"]), (&call["call_id"], &json!("tool")));
    let denied = created(&client, &request(50_000)).await;
    let streamed = events(&client, &request(50_000)).await;
    for answer in [denied.to_string(), json!(streamed).to_string()] {
        assert!(answer.contains("Limit Exceeded. Escalate to Manager.") && !answer.contains("50000}"), "{answer}");
        assert!(!answer.contains("\"function_call\""), "{answer}");
    }
    let judged = events(&client, &request(7)).await;
    let names: Vec<&str> = judged.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"response.function_call_arguments.done"), "{names:?}");
    scene.finish().await;
}

#[tokio::test]
async fn a_streamed_response_comes_as_typed_events_and_is_kept_before_its_end() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await.with_header("portcullis-session", "claim-1");
    let events = events(&client, &asking("SAY hello there")).await;
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.first(), Some(&"response.created"));
    assert!(events.iter().all(|(name, data)| data["type"] == json!(name)));
    let deltas: String = events
        .iter()
        .filter(|(name, _)| name == "response.output_text.delta")
        .filter_map(|(_, data)| data["delta"].as_str())
        .collect();
    let (last, data) = events.last().unwrap();
    assert_eq!(
        (last.as_str(), deltas.as_str(), text(&data["response"])),
        ("response.completed", "hello there", "hello there")
    );
    let id = data["response"]["id"].as_str().unwrap();
    assert_eq!(client.get(&format!("{RESPONSES}/{id}")).await.unwrap().json(), data["response"]);
    let settled = scene.gateway.settled("ann:claim-1");
    let usage = &data["response"]["usage"];
    let tokens = settled[0].tokens.unwrap();
    assert_eq!(
        (json!(tokens.input), json!(tokens.output)),
        (usage["input_tokens"].clone(), usage["output_tokens"].clone())
    );
    assert!(settled[0].charged.nanos() > 0);
    // With an idempotency key the stream comes again as it was, and there is one response.
    let body = with(asking("SAY once"), "stream", json!(true)).to_string();
    let send = || client.send("POST", RESPONSES, &[("idempotency-key", "k")], Some(body.clone()));
    let (first, again) = (send().await.unwrap(), send().await.unwrap());
    assert_eq!((first.text(), again.header("idempotency-replayed")), (again.text(), Some("true")));
    assert_eq!(scene.model.requests().await.len(), 2);
    // Who leaves cancels the call.
    let left = with(asking("SAY so\nHANG"), "stream", json!(true)).to_string();
    let mut stream = client.stream("POST", RESPONSES, &[], Some(left)).await.unwrap();
    while stream.next_event().await.unwrap().is_some_and(|event| !event.data.contains("output_text.delta")) {}
    drop(stream);
    let is_aborted =
        || async { scene.gateway.settled("ann:claim-1").iter().any(|settled| settled.outcome == Outcome::Aborted) };
    wait_until("the call is cancelled", LIMIT, is_aborted).await.unwrap();
    scene.finish().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_a_response_that_failed() {
    let chunk = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"he\"}}]}\n\n";
    let upstream = RawUpstream::start(move |request| match request.json()["stream"].as_bool() {
        Some(true) => vec![event_head(), chunk.as_bytes().to_vec()],
        _ => vec![whole(200, "", "{}")],
    });
    let upstream = upstream.await;
    let gateway = before(&upstream).await;
    let client = gateway.client("ann").await;
    let body = with(asking("hi"), "stream", json!(true)).to_string();
    let answer = client.send("POST", RESPONSES, &[], Some(body)).await.unwrap();
    let events = parsed(&answer.text());
    let (last, data) = events.last().unwrap();
    assert_eq!((last.as_str(), &data["response"]["error"]["code"]), ("response.failed", &json!("server_error")));
    let id = data["response"]["id"].as_str().unwrap();
    check_refused(&client.get(&format!("{RESPONSES}/{id}")).await.unwrap(), 404, "not_found", None);
    let garbled = client.post(RESPONSES, &asking("hi")).await.unwrap();
    assert_eq!((garbled.status, garbled.json()["error"]["code"].clone()), (502, json!("upstream_failed")));
    gateway.finish().await;
}

#[tokio::test]
async fn a_conversation_holds_what_was_said_in_it() {
    let mut scene = Scene::start().await;
    let client = scene.client("ann").await;
    let items = json!([{"role": "developer", "content": "be kind"}]);
    let conversation =
        client.post("/v1/conversations", &json!({"metadata": {"a": "b"}, "items": items})).await.unwrap();
    assert_eq!(conversation.status, 200, "{}", conversation.text());
    let conversation = conversation.json();
    let id = conversation["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/conversations/{id}");
    created(&client, &with(asking("SAY first"), "conversation", json!(id))).await;
    scene.gateway.kill();
    scene.gateway.restart().await;
    events(&client, &with(with(asking("SAY second"), "conversation", json!({"id": id})), "store", json!(false))).await;
    let said = messages(&scene).await;
    let roles: Vec<&str> = said.as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["developer", "user", "assistant", "user"]);
    let added = client
        .post(&format!("{path}/items"), &json!({"items": [{"role": "user", "content": "more"}]}))
        .await
        .unwrap()
        .json();
    let item = added["first_id"].as_str().unwrap();
    let page = client.get(&format!("{path}/items?order=asc&limit=4")).await.unwrap().json();
    assert_eq!((page["data"].as_array().unwrap().len(), &page["has_more"]), (4, &json!(true)));
    let rest = client
        .get(&format!("{path}/items?order=asc&after={}", page["last_id"].as_str().unwrap()))
        .await
        .unwrap()
        .json();
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["last_id"]), (2, &json!(item)));
    assert_eq!(client.get(&format!("{path}/items/{item}")).await.unwrap().json()["content"][0]["text"], json!("more"));
    assert_eq!(client.delete(&format!("{path}/items/{item}")).await.unwrap().json(), conversation);
    check_refused(&client.get(&format!("{path}/items/{item}")).await.unwrap(), 404, "not_found", None);
    let updated = client.post(&path, &json!({"metadata": {"c": "d"}})).await.unwrap().json();
    assert_eq!((&updated["metadata"], &updated["id"]), (&json!({"c": "d"}), &json!(id)));
    assert_eq!(client.get(&path).await.unwrap().json(), updated);
    let bob = scene.client("bob").await;
    check_refused(&bob.get(&path).await.unwrap(), 404, "not_found", None);
    check_refused(
        &bob.post(RESPONSES, &with(asking("hi"), "conversation", json!(id))).await.unwrap(),
        404,
        "not_found",
        Some("conversation"),
    );
    check_refused(
        &client.post(&path, &json!({"metadata": {"c": 1}})).await.unwrap(),
        400,
        "invalid_request",
        Some("metadata"),
    );
    check_refused(
        &client.post(&format!("{path}/items"), &json!({"items": [7]})).await.unwrap(),
        400,
        "invalid_request",
        Some("items[0]"),
    );
    let key = [("idempotency-key", "one")];
    let make = || client.send("POST", "/v1/conversations", &key, Some("{}".to_owned()));
    assert_eq!(make().await.unwrap().json(), make().await.unwrap().json());
    assert_eq!(client.delete(&path).await.unwrap().json()["deleted"], json!(true));
    check_refused(&client.get(&path).await.unwrap(), 404, "not_found", None);
    scene.finish().await;
}

#[tokio::test]
async fn what_came_before_is_at_most_as_large_as_a_request_may_be() {
    let scene = Scene::of(&Setup { server: ", body_limit_bytes: 4096", ..Setup::default() }).await;
    let client = scene.client("ann").await;
    let long = "x".repeat(1_500);
    let first = created(&client, &asking(&format!("SAY so\n{long}"))).await;
    let next = |id: &Value| with(asking(&format!("SAY so\n{long}")), "previous_response_id", id.clone());
    let second = client.post(RESPONSES, &next(&first["id"])).await.unwrap();
    check_refused(&second, 413, "too_large", Some("input"));
    scene.finish().await;
}

#[tokio::test]
async fn a_page_of_a_conversation_is_at_most_as_large_as_a_request_may_be() {
    let scene = Scene::of(&Setup { server: ", body_limit_bytes: 4096", ..Setup::default() }).await;
    let client = scene.client("ann").await;
    let id = client.post("/v1/conversations", &json!({})).await.unwrap().json()["id"].clone();
    let path = format!("/v1/conversations/{}/items", id.as_str().unwrap());
    let mut added = Vec::new();
    for _ in 0..5 {
        let item = json!({"role": "user", "content": "x".repeat(1_500)});
        let answer = client.post(&path, &json!({"items": [item]})).await.unwrap();
        added.push(answer.json()["first_id"].as_str().unwrap().to_owned());
    }
    let (mut seen, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = client.get(&format!("{path}?order=asc{after}")).await.unwrap().json();
        seen.extend(page["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        after = format!("&after={}", page["last_id"].as_str().unwrap());
        pages += 1;
        if page["has_more"] == json!(false) {
            break;
        }
    }
    assert_eq!((seen, pages), (added, 3));
    scene.finish().await;
}

#[tokio::test]
async fn a_repetition_gets_its_answer_when_what_it_was_about_is_gone() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await.with_header("portcullis-session", "claim-1");
    let first = created(&client, &asking("SAY first")).await["id"].clone();
    let conversation = client.post("/v1/conversations", &json!({})).await.unwrap().json()["id"].clone();
    let next = with(asking("SAY second"), "previous_response_id", first.clone()).to_string();
    let items = json!({"items": [{"role": "user", "content": "more"}]}).to_string();
    let (response, conversation) = (
        format!("{RESPONSES}/{}", first.as_str().unwrap()),
        format!("/v1/conversations/{}", conversation.as_str().unwrap()),
    );
    let requests = [
        ("POST", RESPONSES.to_owned(), Some(next)),
        ("DELETE", response, None),
        ("POST", format!("{conversation}/items"), Some(items)),
        ("DELETE", conversation, None),
    ];
    let mut answers = Vec::new();
    for round in 0..2 {
        for (method, path, body) in &requests {
            let key = format!("{method} {path}");
            let headers = [("idempotency-key", key.as_str())];
            let answer = client.send(method, path, &headers, body.clone()).await.unwrap();
            let is_replayed = answer.header("idempotency-replayed") == Some("true");
            assert_eq!((answer.status, is_replayed), (200, round == 1), "{key}: {}", answer.text());
            answers.push(answer.text());
        }
    }
    assert_eq!(answers[..4], answers[4..]);
    let another = client.send("DELETE", &requests[1].1, &[("idempotency-key", "another")], None).await.unwrap();
    check_refused(&another, 404, "not_found", None);
    scene.finish().await;
}
