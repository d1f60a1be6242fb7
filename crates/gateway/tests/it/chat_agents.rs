//! Agents that are called like models: a session stays with its replica, another replica gets what was said before, and what an agent wants to call is judged.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_domain::event::{Event, Outcome};
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::gateway::{Gateway, LIMIT, end, free_port, listen_at};
use crate::raw_upstream::{RawUpstream, Received, SILENCE, whole};
use crate::scene::Setup;
use crate::spoken::{COMPLETIONS, with};

const ALL: &str = "permit (principal, action, resource);";
const TOKEN: &str = "tok-chat-agent-77ab";

/// A replica that remembers what its sessions said to it, in its own memory alone, and answers with all of it. `HANG` is not answered, `CALL` calls a tool,
/// and others are answered badly.
struct Replica {
    port: u16,
    seen: Arc<Mutex<Vec<Received>>>,
    runtime: Option<Runtime>,
}

impl Replica {
    async fn start() -> Self {
        let port = free_port();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let seen: Arc<Mutex<Vec<Received>>> = Arc::default();
        let (kept, memory) = (seen.clone(), Mutex::new(HashMap::<String, Vec<String>>::new()));
        let begun = runtime.spawn(async move {
            let listener = listen_at(port).await;
            RawUpstream::start_at(listener, String::new(), move |request| {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                answer(&mut memory.lock().unwrap_or_else(PoisonError::into_inner), request)
            });
        });
        begun.await.unwrap();
        Self { port, seen, runtime: Some(runtime) }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            end(runtime);
        }
    }

    fn seen(&self) -> Vec<Received> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

fn header<'a>(request: &'a Received, name: &str) -> &'a str {
    let mut lines = request.head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(header, _)| *header == name).map_or("", |(_, value)| value)
}

fn answer(memory: &mut HashMap<String, Vec<String>>, request: &Received) -> Vec<Vec<u8>> {
    let chat = request.json();
    let said = memory.entry(header(request, "portcullis-session").to_owned()).or_default();
    let texts =
        chat["messages"].as_array().unwrap().iter().map(|message| message["content"].as_str().unwrap().to_owned());
    said.extend(texts);
    let text = said.join("|");
    let last = said.last().cloned().unwrap_or_default();
    said.push("(answer)".to_owned());
    match last.as_str() {
        "HANG" => return vec![SILENCE.to_vec()],
        "GARBLE" => return vec![whole(200, "", "{}")],
        "CUT" => return vec![whole(200, "content-type: text/event-stream\r\n", "data: {\"choices\":[]}\n\n")],
        "BUSY" => return vec![whole(503, "", "{}")],
        "FAIL" => return vec![whole(500, "", "{}")],
        _ => {}
    }
    let call = json!({"index": 0, "id": "c1", "type": "function", "function": {"name": "tools__record", "arguments": "{\"id\":\"x\",\"value\":50000}"}});
    let calls = (last == "CALL").then(|| json!([call]));
    if chat["stream"] == json!(true) {
        let chunk = |delta: Value, reason: Value| {
            format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}))
        };
        let events = [
            chunk(json!({"content": text, "tool_calls": calls}), Value::Null),
            chunk(json!({}), json!("stop")),
            "data: [DONE]\n\n".to_owned(),
        ];
        return vec![whole(200, "content-type: text/event-stream\r\n", &events.concat())];
    }
    let message = json!({"role": "assistant", "content": text, "tool_calls": calls});
    vec![whole(200, "", &json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).to_string())]
}

/// A gateway with an agent `helper` of two replicas.
async fn start(more: &str, rules: &str) -> (Gateway, [Replica; 2]) {
    let replicas = [Replica::start().await, Replica::start().await];
    let (first, second) = (replicas[0].url(), replicas[1].url());
    let agents = format!(
        "\n  agents: {{ helper: {{ protocol: openai, token: {TOKEN}, replicas: ['{first}', '{second}']{more} }} }}"
    );
    let setup = Setup { models: "{}".to_owned(), servers: format!("{{}}{agents}"), ..Setup::default() };
    let gateway = Gateway::start(&setup.config("", ""), &[("rules.cedar", rules)]).await;
    gateway.keep_secret(TOKEN);
    (gateway, replicas)
}

fn saying(text: &str) -> Value {
    json!({"model": "helper", "messages": [{"role": "user", "content": text}]})
}

/// What the agent knows after this turn.
async fn turn(client: &Client, request: &Value) -> String {
    let answer = client.post(COMPLETIONS, request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

fn place_of(replicas: &[Replica; 2], session: &str) -> usize {
    replicas
        .iter()
        .position(|replica| replica.seen().iter().any(|seen| header(seen, "portcullis-session") == session))
        .unwrap()
}

#[tokio::test]
async fn a_replica_that_is_new_to_a_session_gets_what_was_said_before() {
    let (mut gateway, mut replicas) = start(", history: replay", ALL).await;
    let client = gateway.client("ann").await.with_header("portcullis-session", "claim-1");
    assert_eq!(turn(&client, &saying("one")).await, "one");
    // The replica has its own memory of the session: it gets only what is new.
    assert_eq!(turn(&client, &with(saying("two"), "temperature", json!(0.5))).await, "one|(answer)|two");
    let at = place_of(&replicas, "claim-1");
    assert_eq!(replicas[1 - at].seen().len(), 0);
    let seen = &replicas[at].seen()[1];
    assert!(seen.head.starts_with("post /v1/chat/completions "), "{}", seen.head);
    assert_eq!(seen.json()["messages"].as_array().unwrap().len(), 1);
    assert_eq!(
        (header(seen, "authorization"), header(seen, "portcullis-principal")),
        (&*format!("bearer {TOKEN}"), "ann")
    );
    replicas[at].kill();
    gateway.kill();
    gateway.restart().await;
    assert_eq!(turn(&client, &saying("three")).await, "one|one|two|one|(answer)|two|three");
    assert_eq!(turn(&client, &saying("four")).await, "one|one|two|one|(answer)|two|three|(answer)|four");
    let fences: Vec<_> =
        replicas[1 - at].seen().iter().map(|seen| header(seen, "portcullis-fence").to_owned()).collect();
    assert_eq!(fences, ["2", "2"]);
    gateway.finish().await;
}

#[tokio::test]
async fn a_client_that_sends_everything_is_not_said_things_twice() {
    for more in ["", ", history: replay"] {
        let (gateway, mut replicas) = start(more, ALL).await;
        let client = gateway.client("ann").await.with_header("portcullis-session", "claim-1");
        assert_eq!(turn(&client, &saying("one")).await, "one");
        let at = place_of(&replicas, "claim-1");
        replicas[at].kill();
        let whole = json!([{"role": "user", "content": "one"}, {"role": "assistant", "content": "one"}, {"role": "user", "content": "two"}]);
        assert_eq!(turn(&client, &with(saying(""), "messages", whole)).await, "one|one|two");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn an_agent_is_a_model_for_those_who_may_call_it() {
    let rules =
        r#"permit (principal == Principal::"ann", action == Action::"call_agent", resource == Agent::"helper");"#;
    let (gateway, replicas) = start("", rules).await;
    let (ann, bob) = (gateway.client("ann").await, gateway.client("bob").await);
    let names = |list: Value| {
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| model["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(ann.get("/v1/models").await.unwrap().json()), ["helper"]);
    assert_eq!(names(bob.get("/v1/models").await.unwrap().json()), [""; 0]);
    assert_eq!(
        (ann.get("/v1/models/helper").await.unwrap().status, bob.get("/v1/models/helper").await.unwrap().status),
        (200, 404)
    );
    let hidden = bob.post(COMPLETIONS, &saying("hi")).await.unwrap();
    let unknown = bob.post(COMPLETIONS, &with(saying("hi"), "model", json!("other"))).await.unwrap();
    assert_eq!((hidden.status, hidden.text().replace("helper", "other")), (404, unknown.text()));
    assert_eq!(turn(&ann, &saying("hi")).await, "hi");
    // Other doors do not know it.
    assert_eq!(ann.post("/agents/helper/chat/completions", &saying("hi")).await.unwrap().status, 404);
    let provider = with(saying("hi"), "tools", json!([{"type": "web_search"}]));
    let refused = ann.post(COMPLETIONS, &provider).await.unwrap();
    assert_eq!((refused.status, refused.json()["error"]["param"].clone()), (400, json!("tools")));
    let response = ann.post("/v1/responses", &json!({"model": "helper", "input": "hello"})).await.unwrap();
    assert_eq!(response.json()["output"][0]["content"][0]["text"], json!("hello"), "{}", response.text());
    assert_eq!(replicas.iter().map(|replica| replica.seen().len()).sum::<usize>(), 2);
    gateway.finish().await;
}

#[tokio::test]
async fn what_an_agent_wants_to_call_is_judged_and_it_is_not_asked_again() {
    let (gateway, replicas) = start("", ALL).await;
    let client = gateway.client("ann").await.with_header("portcullis-session", "claim-1");
    for is_stream in [false, true] {
        let request = with(saying("CALL"), "stream", json!(is_stream)).to_string();
        let answer = client.send("POST", COMPLETIONS, &[], Some(request)).await.unwrap();
        // Without a server of tools in the registry it is the client's own function, which the rules permit.
        assert!(answer.text().contains("tools__record"), "{}", answer.text());
    }
    let refusing = r#"permit (principal, action == Action::"call_agent", resource);"#;
    gateway.replace("rules.cedar", refusing);
    gateway.reload().await;
    for is_stream in [false, true] {
        let request = with(saying("CALL"), "stream", json!(is_stream)).to_string();
        let answer = client.send("POST", COMPLETIONS, &[], Some(request)).await.unwrap();
        assert!(
            answer.text().contains("[blocked: tools__record") && !answer.text().contains("50000"),
            "{}",
            answer.text()
        );
    }
    assert_eq!(replicas.iter().map(|replica| replica.seen().len()).sum::<usize>(), 4);
    assert_eq!(gateway.judged("ann:claim-1").len(), 4);
    gateway.finish().await;
}

#[tokio::test]
async fn a_turn_that_a_crash_broke_off_is_not_made_again_under_its_key() {
    let (mut gateway, replicas) = start("", ALL).await;
    let client = gateway.client("ann").await.with_header("portcullis-session", "claim-1");
    let send = |text: &str| {
        let (client, body) = (client.clone(), saying(text).to_string());
        async move { client.send("POST", COMPLETIONS, &[("idempotency-key", "k")], Some(body)).await }
    };
    let asked = || replicas.iter().map(|replica| replica.seen().len()).sum::<usize>();
    let hanging = tokio::spawn(send("HANG"));
    wait_until("the agent is asked", LIMIT, || async { asked() == 1 }).await.unwrap();
    // Another turn of the session waits for this one.
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.post(COMPLETIONS, &saying("two")).await.is_ok() }
    });
    gateway.kill();
    assert!(hanging.await.unwrap().is_err() && !waiting.await.unwrap());
    gateway.restart().await;
    let again = send("HANG").await.unwrap();
    assert_eq!((again.status, again.json()["error"]["code"].clone()), (409, json!("outcome_unknown")));
    assert_eq!(asked(), 1);
    let is_unknown =
        |event: &Event| matches!(event, Event::CallSettled(settled) if settled.outcome == Outcome::Unknown);
    assert!(gateway.events("ann:claim-1").iter().any(is_unknown));
    gateway.finish().await;
}

#[tokio::test]
async fn a_turn_is_made_again_under_its_key_only_where_nothing_was_done() {
    let (gateway, replicas) = start("", ALL).await;
    let client = gateway.client("ann").await.with_header("portcullis-session", "claim-1");
    let asked = || replicas.iter().map(|replica| replica.seen().len()).sum::<usize>();
    for (text, is_stream, is_made_again) in [
        ("GARBLE", false, false),
        ("GARBLE", true, false),
        ("CUT", true, false),
        ("FAIL", false, false),
        ("BUSY", false, true),
        ("BUSY", true, true),
    ] {
        let key = format!("{text} {is_stream}");
        let body = with(saying(text), "stream", json!(is_stream)).to_string();
        let headers = [("idempotency-key", key.as_str())];
        let send = || client.send("POST", COMPLETIONS, &headers, Some(body.clone()));
        let before = asked();
        let first = send().await.unwrap();
        let again = send().await.unwrap();
        let made = asked() - before;
        assert_eq!(made, if is_made_again { 2 } else { 1 }, "{key}: {} {}", first.text(), again.text());
        if is_made_again {
            assert_eq!((first.status, again.status), (503, 503), "{key}");
        } else {
            assert_eq!((again.status, again.json()["error"]["code"].clone()), (409, json!("outcome_unknown")), "{key}");
        }
    }
    gateway.finish().await;
}

/// How many turns of a session may wait for an agent, the one under way included.
const QUEUE_LIMIT: usize = 16;

#[tokio::test]
async fn a_turn_that_nobody_looked_at_while_it_was_denied_does_not_go_out_once_it_is_allowed() {
    const CARD: &str = "4111 1111 1111 1111";
    let agent = RawUpstream::start(|request| {
        let message = json!({"role": "assistant", "content": "yes"});
        let answer = json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).to_string();
        let hangs = request.json()["messages"][0]["content"] == "HANG";
        vec![if hangs { SILENCE.to_vec() } else { whole(200, "", &answer) }]
    });
    let agent = agent.await;
    let rules = r#"
        permit (principal, action, resource);
        forbid (principal, action == Action::"call_agent", resource == Agent::"helper") when { context.session.calls == 1 };
    "#;
    let table = format!("{{ protocol: openai, token: {TOKEN}, replicas: ['{}/v1'] }}", agent.url);
    let agents = format!("{{}}\n  agents: {{ helper: {table}, other: {table} }}");
    let setup = Setup { models: "{}".to_owned(), servers: agents, ..Setup::default() };
    let guard = "{ name: cards, at: [model_in], detect: { personal: { kinds: [card] } }, action: mask }";
    let config = format!("{}guardrails:\n  - {guard}\n", setup.config("", ""));
    let gateway = Gateway::start(&config, &[("rules.cedar", rules)]).await;
    gateway.keep_secret(TOKEN);
    gateway.keep_secret(CARD);
    let client = gateway.client("ann").await.with_header("portcullis-session", "claim-1");
    let send = |text: &str| {
        let (client, request) = (client.clone(), saying(text));
        async move { client.post(COMPLETIONS, &request).await.unwrap() }
    };
    let hanging = tokio::spawn(send("HANG"));
    wait_until("the agent is asked", LIMIT, || async { agent.received().len() == 1 }).await.unwrap();
    // All are denied as things stand. That one finds no place says that all others wait, and so were judged.
    let mut waiting: JoinSet<Answer> = (0..QUEUE_LIMIT).map(|_| send(CARD)).collect();
    assert_eq!(waiting.join_next().await.unwrap().unwrap().status, 429);
    // Now they are allowed.
    assert_eq!(turn(&client, &with(saying("more"), "model", json!("other"))).await, "yes");
    hanging.abort();
    while let Some(answer) = waiting.join_next().await {
        let answer = answer.unwrap();
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("stale_decision")));
    }
    assert_eq!(agent.received().len(), 2);
    assert_eq!(turn(&client, &saying(CARD)).await, "yes");
    assert_eq!(agent.received()[2].json()["messages"][0]["content"], "[CARD]");
    gateway.finish().await;
}
