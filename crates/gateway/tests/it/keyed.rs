//! Requests with an idempotency key: each is answered once, plain or streamed, at the door for models and at the gateway's own API.

use portcullis_domain::event::{Event, Outcome};
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::gateway::LIMIT;
use crate::scene::{Scene, Setup};
use crate::spoken::COMPLETIONS;

async fn send(client: &Client, method: &str, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [("idempotency-key", key), ("content-type", "application/json")];
    client.send(method, path, &headers, Some(body.to_string())).await.unwrap()
}

fn chat(text: &str, is_stream: bool) -> Value {
    json!({"model": "scripted", "messages": [{"role": "user", "content": text}], "stream": is_stream})
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

#[tokio::test]
async fn a_completion_is_made_once_for_its_key_and_comes_again_byte_for_byte() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    for (key, is_stream) in [("plain", false), ("stream", true)] {
        scene.model.forget().await;
        // Without a name the session is minted for the key, so that the repetition comes to the same one.
        let body = chat("SAY hello there", is_stream);
        let first = send(&client, "POST", COMPLETIONS, key, &body).await;
        let again = send(&client, "POST", COMPLETIONS, key, &body).await;
        assert_eq!((first.status, again.status), (200, 200), "{}", first.text());
        assert_eq!((is_replayed(&first), is_replayed(&again)), (false, true));
        assert_eq!(first.text(), again.text());
        for header in ["content-type", "portcullis-call", "portcullis-session"] {
            assert_eq!(first.header(header), again.header(header), "{header}");
            assert!(first.header(header).is_some(), "{header}");
        }
        assert_eq!(scene.model.requests().await.len(), 1);
        let other = send(&client, "POST", COMPLETIONS, key, &chat("SAY other", is_stream)).await;
        assert_eq!((other.status, other.json()["error"]["code"].clone()), (422, json!("idempotency_key_reused")));
        // The same members in another order are the same request, and another key is another one.
        let turned =
            r#"{"stream":STREAM, "messages":[{"content":"SAY hello there","role":"user"}],"model":"scripted"}"#;
        let turned: Value = serde_json::from_str(&turned.replace("STREAM", &is_stream.to_string())).unwrap();
        assert!(is_replayed(&send(&client, "POST", COMPLETIONS, key, &turned).await));
        assert!(!is_replayed(&send(&client, "POST", COMPLETIONS, "another", &body).await) || is_stream);
    }
    let bob = scene.client("bob").await;
    assert!(!is_replayed(&send(&bob, "POST", COMPLETIONS, "plain", &chat("SAY hello there", false)).await));
    scene.finish().await;
}

#[tokio::test]
async fn what_failed_is_asked_again_and_what_was_denied_is_not_given_by_a_repetition() {
    let scene = Scene::of(&Setup { rounds: 0, ..Setup::default() }).await;
    let client = scene.client("ann").await.with_header("portcullis-session", "claim-1");
    let failing = chat("ERROR 500 sorry", false);
    for _ in 0..2 {
        let answer = send(&client, "POST", COMPLETIONS, "failing", &failing).await;
        assert_eq!((answer.status, is_replayed(&answer)), (500, false));
    }
    for (key, is_stream) in [("denied", false), ("denied-stream", true)] {
        let denied = chat("CALL tools__record {\"id\":\"x\",\"value\":50000}", is_stream);
        let first = send(&client, "POST", COMPLETIONS, key, &denied).await;
        let again = send(&client, "POST", COMPLETIONS, key, &denied).await;
        assert!(is_replayed(&again) && first.text() == again.text());
        assert!(again.text().contains("Limit Exceeded") && !again.text().contains("50000"), "{}", again.text());
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_request_whose_caller_has_left_goes_on_and_a_concurrent_one_waits_for_it() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await.with_header("portcullis-session", "claim-1");
    let body = chat("SLOW 8 100", true);
    let mut left =
        client.stream("POST", COMPLETIONS, &[("idempotency-key", "k")], Some(body.to_string())).await.unwrap();
    left.next_event().await.unwrap();
    drop(left);
    let again = send(&client, "POST", COMPLETIONS, "k", &body).await;
    assert!(is_replayed(&again) && again.text().contains("[DONE]"), "{}", again.text());
    assert_eq!(scene.model.requests().await.len(), 1);
    let outcomes: Vec<_> = scene.gateway.settled("ann:claim-1").iter().map(|settled| settled.outcome).collect();
    assert_eq!(outcomes, [Outcome::Completed]);
    scene.finish().await;
}

#[tokio::test]
async fn a_request_whose_caller_has_left_keeps_its_place_until_its_end() {
    let scene = Scene::of(&Setup { server: ", calls_limit: 1", ..Setup::default() }).await;
    let client = scene.client("ann").await.with_header("portcullis-session", "claim-1");
    let body = chat("SLOW 8 100", true).to_string();
    let mut left = client.stream("POST", COMPLETIONS, &[("idempotency-key", "k")], Some(body)).await.unwrap();
    left.next_event().await.unwrap();
    drop(left);
    let has_place = || async { client.get("/v1/models").await.unwrap().status == 200 };
    wait_until("there is a place", LIMIT, has_place).await.unwrap();
    let is_answered =
        |event: &Event| matches!(event, Event::RequestAnswered(answered) if answered.outcome == Outcome::Completed);
    assert!(scene.gateway.events("ann:claim-1").iter().any(is_answered));
    scene.finish().await;
}

#[tokio::test]
async fn a_response_that_a_crash_broke_off_is_not_made_again_in_a_conversation() {
    let mut scene = Scene::start().await;
    let client = scene.client("ann").await;
    let conversation = client.post("/v1/conversations", &json!({})).await.unwrap().json()["id"].clone();
    let send = || {
        let (client, conversation) = (client.clone(), conversation.clone());
        let body = json!({"model": "scripted", "input": "HANG", "conversation": conversation}).to_string();
        async move { client.send("POST", "/v1/responses", &[("idempotency-key", "k")], Some(body)).await }
    };
    let hanging = tokio::spawn(send());
    wait_until("the model is asked", LIMIT, || async { scene.model.requests().await.len() == 1 }).await.unwrap();
    scene.gateway.kill();
    assert!(hanging.await.unwrap().is_err());
    scene.gateway.restart().await;
    let again = send().await.unwrap();
    assert_eq!((again.status, again.json()["error"]["code"].clone()), (409, json!("outcome_unknown")));
    scene.finish().await;
}

#[tokio::test]
async fn a_request_that_a_crash_broke_off_is_made_again_and_one_that_was_answered_is_not() {
    let mut scene = Scene::start().await;
    let client = scene.client("ann").await.with_header("portcullis-session", "claim-1");
    let done = chat("SAY done", false);
    let first = send(&client, "POST", COMPLETIONS, "done", &done).await;
    let hanging = {
        let (client, body) = (client.clone(), chat("HANG", false));
        tokio::spawn(async move {
            let headers = [("idempotency-key", "hanging"), ("content-type", "application/json")];
            client.send("POST", COMPLETIONS, &headers, Some(body.to_string())).await.is_ok()
        })
    };
    wait_until("the model is asked", LIMIT, || async { scene.model.requests().await.len() == 2 }).await.unwrap();
    scene.gateway.kill();
    assert!(!hanging.await.unwrap());
    scene.gateway.restart().await;
    let again = send(&client, "POST", COMPLETIONS, "done", &done).await;
    assert!(is_replayed(&again) && again.text() == first.text());
    assert_eq!(scene.model.requests().await.len(), 2);
    let unknown =
        |event: &Event| matches!(event, Event::RequestAnswered(answered) if answered.outcome == Outcome::Unknown);
    let events = scene.gateway.events("ann:claim-1");
    assert!(events.iter().any(unknown), "{events:?}");
    // A model has no effect outside, so that it is asked again.
    let retried =
        tokio::spawn(async move { send(&client, "POST", COMPLETIONS, "hanging", &chat("HANG", false)).await });
    wait_until("the model is asked again", LIMIT, || async { scene.model.requests().await.len() == 3 }).await.unwrap();
    retried.abort();
    scene.gateway.kill();
    scene.gateway.restart().await;
    scene.finish().await;
}

#[tokio::test]
async fn what_the_gateways_own_api_changes_is_changed_once_for_its_key() {
    let scene = Scene::start().await;
    let (client, admin) = (scene.client("ann").await, scene.gateway.admin());
    let keys = || async { admin.get("/api/v1/identity/keys").await.unwrap().json()["keys"].as_array().unwrap().len() };
    let before = keys().await;
    for (by, method, path, body, status) in [
        (&client, "POST", "/api/v1/sessions", json!({}), 201),
        (&client, "POST", "/api/v1/sessions", json!({"name": "claim-1"}), 201),
        (&client, "POST", "/api/v1/sessions/claim-1/waits", json!({"for": "a letter", "timeout_s": 60}), 201),
        (&client, "PUT", "/api/v1/sessions/claim-1/state/a", json!(1), 201),
        (&client, "DELETE", "/api/v1/sessions/claim-1/state/a", json!(null), 204),
        (&admin, "POST", "/api/v1/identity/keys", json!({"principal": "bob"}), 201),
        (&client, "DELETE", "/api/v1/sessions/claim-1", json!(null), 204),
    ] {
        let key = format!("{method} {path} {body}");
        let first = send(by, method, path, &key, &body).await;
        let again = send(by, method, path, &key, &body).await;
        assert_eq!((first.status, again.status), (status, status), "{key} {} {}", first.text(), again.text());
        assert_eq!((is_replayed(&first), is_replayed(&again)), (false, true), "{key}");
        for header in ["location", "etag"] {
            assert_eq!(first.header(header), again.header(header), "{key}");
        }
        if path.ends_with("/keys") {
            // Of a key only the digest is kept: its text is told once.
            assert_eq!(first.json()["id"], again.json()["id"]);
            assert!(first.json()["key"].is_string() && again.json().get("key").is_none());
        } else {
            assert_eq!(first.text(), again.text(), "{key}");
        }
    }
    assert_eq!(keys().await, before + 1);
    let waits = client.get("/api/v1/sessions/claim-1/waits").await.unwrap().json();
    assert_eq!(waits["waits"].as_array().unwrap().len(), 1);
    let reused = send(&client, "POST", "/api/v1/sessions", "POST /api/v1/sessions {}", &json!({"name": "x"})).await;
    assert_eq!((reused.status, reused.json()["code"].clone()), (422, json!("idempotency_key_reused")));
    let twice =
        client.send("POST", "/api/v1/sessions", &[("idempotency-key", "a"), ("idempotency-key", "b")], None).await;
    assert_eq!(twice.unwrap().status, 400);
    scene.finish().await;
}
