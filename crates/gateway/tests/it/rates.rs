//! How often calls may be made: by one gateway, and by several that count in one Redis, whatever becomes of it.

use portcullis_testkit::http::Client;
use portcullis_testkit::process::wait_until;
use portcullis_testkit::redis::Redis;
use serde_json::{Value, json};

use crate::gateway::{Gateway, LIMIT};
use crate::raw_upstream::{RawUpstream, Received};
use crate::scene::Setup;
use crate::spoken::{in_session, saying};

const RULES: &str = "permit (principal, action, resource);";

/// A model that says one word.
fn one_word(_: &Received) -> Vec<Vec<u8>> {
    let message = json!({"role": "assistant", "content": "so"});
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
    let answer = json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage});
    let body = answer.to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    vec![format!("{head}{body}").into_bytes()]
}

/// A Redis, or none on a machine without one that somebody watches.
#[expect(clippy::disallowed_methods, reason = "a missing tool is a failure where nobody watches")]
pub(crate) async fn redis() -> Option<Redis> {
    match Redis::start().await {
        Ok(server) => Some(server),
        Err(problem) if std::env::var_os("CI").is_some() => panic!("{problem}"),
        Err(problem) => {
            eprintln!("skipped: {problem}");
            None
        }
    }
}

/// A gateway with these rates.
async fn gateway(model: &RawUpstream, rates: &str) -> Gateway {
    let setup = Setup { servers: "{}".to_owned(), rules: RULES, ..Setup::default() };
    let config = setup.config(&model.url, "").replace("ledger: {}", &format!("ledger: {{ rates: {rates} }}"));
    Gateway::start(&config, &[("rules.cedar", RULES)]).await
}

async fn caller(gateway: &Gateway, name: &str) -> Client {
    gateway.stranger().with_key(&gateway.key(name).await)
}

/// The status, and after how long it may be tried again.
async fn ask(client: &Client, session: &str) -> (u16, Option<u64>) {
    let answer = client.post(&in_session(session), &saying("hello")).await.unwrap();
    let wait = answer.header("retry-after").and_then(|wait| wait.parse().ok());
    if answer.status == 429 {
        assert_eq!(answer.json()["error"]["code"], "too_many", "{}", answer.text());
        assert!(answer.text().contains("limit `models`"), "{}", answer.text());
    }
    (answer.status, wait)
}

const PASSED: (u16, Option<u64>) = (200, None);

#[tokio::test]
async fn a_call_that_comes_too_soon_is_told_when_to_come_again() {
    let model = RawUpstream::start(one_word).await;
    let limit = "{ name: models, calls: 2, per_s: 3600, to: [model/*] }";
    let gateway = gateway(&model, &format!("{{ limits: [{limit}] }}")).await;
    let (ann, bob) = (caller(&gateway, "ann").await, caller(&gateway, "bob").await);
    assert_eq!(ask(&ann, "one").await, PASSED);
    assert_eq!(ask(&ann, "two").await, PASSED);
    let entries = gateway.entries().len();
    let (status, wait) = ask(&ann, "one").await;
    assert_eq!(status, 429);
    assert!(wait.is_some_and(|wait| (1_700..=1_800).contains(&wait)), "{wait:?}");
    assert_eq!(ask(&bob, "one").await, PASSED, "bob has a window of his own");
    assert_eq!(model.received().len(), 3, "what came too soon went nowhere");
    let of_ann = |value: &Value| value.to_string().contains("too_many");
    let written: Vec<Value> =
        gateway.entries().into_iter().skip(entries).map(|entry| serde_json::to_value(&entry.event).unwrap()).collect();
    assert!(!written.iter().any(of_ann), "a flood of calls does not fill the record: {written:?}");
    let metrics = gateway.admin().get("/metrics").await.unwrap();
    assert!(metrics.text().contains(r#"code="too_many""#), "{}", metrics.text());
    gateway.finish().await;
}

#[tokio::test]
async fn a_limit_counts_for_whom_it_says() {
    let check = |each: &'static str, expected: [u16; 3]| async move {
        let model = RawUpstream::start(one_word).await;
        let limit = format!("{{ name: models, calls: 1, per_s: 3600, each: {each} }}");
        let gateway = gateway(&model, &format!("{{ limits: [{limit}] }}")).await;
        let (ann, bob) = (caller(&gateway, "ann").await, caller(&gateway, "bob").await);
        let seen = [ask(&ann, "one").await.0, ask(&ann, "two").await.0, ask(&bob, "one").await.0];
        assert_eq!(seen, expected, "each {each}");
        gateway.finish().await;
    };
    check("principal", [200, 429, 200]).await;
    check("actor", [200, 429, 200]).await;
    check("session", [200, 200, 200]).await;
    check("everybody", [200, 429, 429]).await;
}

#[tokio::test]
async fn several_gateways_count_together_as_long_as_the_redis_is_there() {
    let Some(mut redis) = redis().await else { return };
    let model = RawUpstream::start(one_word).await;
    let limits = "[{ name: models, calls: 2, per_s: 3600 }]";
    let rates = format!("{{ store: '{}', patience_ms: 30000, limits: {limits} }}", redis.url());
    let (first, second) = (gateway(&model, &rates).await, gateway(&model, &rates).await);
    let (here, there) = (caller(&first, "ann").await, caller(&second, "ann").await);
    assert_eq!(ask(&here, "one").await, PASSED);
    assert_eq!(ask(&there, "one").await, PASSED);
    let (status, wait) = ask(&here, "one").await;
    assert!(status == 429 && wait.is_some_and(|wait| (1_700..=1_800).contains(&wait)), "{status} {wait:?}");
    assert_eq!(ask(&there, "one").await.0, 429);

    redis.flush().await.unwrap();
    assert_eq!(ask(&here, "one").await, PASSED, "what is lost is an empty window");
    assert_eq!(ask(&there, "one").await, PASSED);
    assert_eq!(ask(&here, "one").await.0, 429);

    redis.crash().unwrap();
    for client in [&here, &there] {
        assert_eq!(ask(client, "one").await, PASSED, "each counts by itself");
        assert_eq!(ask(client, "one").await, PASSED);
        assert_eq!(ask(client, "one").await.0, 429);
    }

    redis.begin().await.unwrap();
    let is_shared_again = || async { ask(&here, "one").await == PASSED };
    wait_until("the Redis is counted in again", LIMIT, is_shared_again).await.unwrap();
    let asks_there = || async { ask(&there, "one").await == PASSED };
    wait_until("by both", LIMIT, asks_there).await.unwrap();
    assert_eq!(ask(&here, "one").await.0, 429);
    first.finish().await;
    second.finish().await;
}
