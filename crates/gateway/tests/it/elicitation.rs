//! The person in front of an MCP client is asked about their own call where a rule says that they may answer so: in both eras, by nobody else, and in every other case the call is parked as it would be without.

use portcullis_domain::event::Event;
use portcullis_testkit::http::{Answer, Client, EventStream};
use serde_json::{Value, json};

use crate::clients::{node, python};
use crate::scene::{Scene, Setup};

const RULES: &str = r#"
@id("everything")
permit (principal, action, resource);

@id("confirm")
@ask("clerk") @approver("client")
@message("Is this what you want?")
permit (principal, action == Action::"tools__record", resource)
when { context.arguments.value.greaterThan(decimal("10.0")) };

@id("large")
@ask("manager")
permit (principal, action == Action::"tools__record", resource)
when { context.arguments.value.greaterThan(decimal("10000.0")) };

@id("same")
@ask("clerk")
permit (principal, action == Action::"tools__record", resource)
when { context.arguments.value.greaterThan(decimal("1000000.0")) };
"#;

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";
/// The session of the transport.
const TRANSPORT: &str = "mcp-session-id";

/// What a client can do that shows forms.
fn forms() -> Value {
    json!({"elicitation": {}})
}

fn said(decision: &str) -> Value {
    json!({"action": "accept", "content": {"decision": decision, "comment": "looked at"}})
}

fn setup(policy: &'static str) -> Setup {
    let default = Setup::default();
    Setup {
        principals: "{ ann: { roles: [clerk] }, bob: { roles: [clerk] }, eve: {}, mia: { roles: [manager] }, robot: { roles: [clerk] } }",
        servers: format!(
            "{}\n  agents: {{ robot: {{ replicas: ['http://127.0.0.1:9'], alone: true }} }}",
            default.servers
        ),
        policy,
        rules: RULES,
        ..default
    }
}

/// Somebody in front of an MCP client, in the session `claim-9`.
struct Person {
    http: Client,
    version: &'static str,
    capabilities: Value,
    /// The session of the transport, in the legacy era.
    transport: Option<String>,
}

/// What comes of a call: the answer, or a question with what the answer to it comes with.
enum Heard {
    Answer(Value),
    Question { message: String, by: Asked },
}

/// By what it was asked.
enum Asked {
    /// A request of this id, on a stream that goes on.
    OnStream(Value, Box<EventStream>),
    /// A state that is brought back.
    ByState(Value),
}

impl Person {
    async fn at(scene: &Scene, name: &str, version: &'static str, capabilities: Value) -> Self {
        Self::with(scene.client(name).await, version, capabilities).await
    }

    async fn with(http: Client, version: &'static str, capabilities: Value) -> Self {
        let http = http.with_header("portcullis-session", "claim-9");
        let mut person = Self { http, version, capabilities, transport: None };
        if version != MODERN {
            let params = json!({"protocolVersion": version, "capabilities": person.capabilities, "clientInfo": {"name": "t", "version": "1"}});
            let begun =
                person.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})).await;
            person.transport = begun.header(TRANSPORT).map(str::to_owned);
            assert!(person.transport.is_some(), "{}", begun.text());
        }
        person
    }

    fn headers(&self) -> Vec<(&'static str, &str)> {
        let mut headers = vec![
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("mcp-protocol-version", self.version),
        ];
        match &self.transport {
            Some(transport) => headers.push((TRANSPORT, transport)),
            None if self.version == MODERN => {
                headers.extend([("mcp-method", "tools/call"), ("mcp-name", "tools__record")])
            }
            None => {}
        }
        headers
    }

    async fn send(&self, message: &Value) -> Answer {
        self.http.send("POST", "/mcp", &self.headers(), Some(message.to_string())).await.unwrap()
    }

    fn call(&self, value: &str, more: &Value) -> Value {
        let mut params = json!({"name": "tools__record"});
        let (meta, version) = ("io.modelcontextprotocol/clientCapabilities", "io.modelcontextprotocol/protocolVersion");
        if self.version == MODERN {
            params["_meta"] = json!({version: MODERN, meta: self.capabilities, "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"}});
        }
        params["arguments"] = serde_json::from_str(&format!(r#"{{"id":"x","value":{value}}}"#)).unwrap();
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
    }

    /// Calls, and says what comes first.
    async fn pay(&self, value: &str) -> Heard {
        self.pay_with(value, &json!({})).await
    }

    async fn pay_with(&self, value: &str, more: &Value) -> Heard {
        let message = self.call(value, more).to_string();
        let mut stream = self.http.stream("POST", "/mcp", &self.headers(), Some(message)).await.unwrap();
        if !stream.is_events() {
            let answer = stream.whole().await.unwrap().json();
            let Some(asked) = answer.pointer("/result/inputRequests/approval") else { return Heard::Answer(answer) };
            assert_eq!(
                (&answer["result"]["resultType"], &asked["method"]),
                (&json!("input_required"), &json!("elicitation/create"))
            );
            let message = asked["params"]["message"].as_str().unwrap().to_owned();
            return Heard::Question { message, by: Asked::ByState(answer["result"]["requestState"].clone()) };
        }
        let first = next(&mut stream).await;
        assert_eq!(first["method"], "elicitation/create", "{first}");
        let message = first["params"]["message"].as_str().unwrap().to_owned();
        Heard::Question { message, by: Asked::OnStream(first["id"].clone(), Box::new(stream)) }
    }

    /// Calls, is asked, and answers so; what came of the call.
    async fn answers(&self, value: &str, reply: Value) -> Value {
        self.talk(value, reply).await.1
    }

    /// The same, with what was asked.
    async fn talk(&self, value: &str, reply: Value) -> (String, Value) {
        let (message, by) = self.asked(value).await;
        let answer = match by {
            Asked::OnStream(id, mut stream) => {
                self.reply(&id, reply).await;
                next(&mut stream).await
            }
            Asked::ByState(state) => {
                let more = json!({"requestState": state, "inputResponses": {"approval": reply}});
                match self.pay_with(value, &more).await {
                    Heard::Answer(answer) => answer,
                    Heard::Question { message, .. } => panic!("asked twice: {message}"),
                }
            }
        };
        (message, answer)
    }

    async fn asked(&self, value: &str) -> (String, Asked) {
        match self.pay(value).await {
            Heard::Question { message, by } => (message, by),
            Heard::Answer(answer) => panic!("nobody is asked: {answer}"),
        }
    }

    async fn parked(&self, value: &str) -> String {
        match self.pay(value).await {
            Heard::Answer(answer) => parked(&answer),
            Heard::Question { message, .. } => panic!("the client is asked: {message}"),
        }
    }

    /// Answers a request of the gateway.
    async fn reply(&self, id: &Value, result: Value) {
        let sent = self.send(&json!({"jsonrpc": "2.0", "id": id, "result": result})).await;
        assert_eq!(sent.status, 202, "{}", sent.text());
    }

    async fn status(&self, id: &str) -> Value {
        self.http.get(&format!("/api/v1/approvals/{id}")).await.unwrap().json()["status"].clone()
    }
}

async fn next(stream: &mut EventStream) -> Value {
    let event = stream.next_event().await.unwrap().expect("the stream goes on");
    serde_json::from_str(&event.data).unwrap()
}

/// Which approval is waited for.
fn parked(answer: &Value) -> String {
    let refusal = &answer["result"]["_meta"]["portcullis/refusal"];
    assert_eq!(refusal["code"], "approval_required", "{answer}");
    refusal["approval"]["id"].as_str().unwrap().to_owned()
}

fn id_in(message: &str) -> String {
    message.lines().find_map(|line| line.strip_prefix("Approval: ")).unwrap().to_owned()
}

fn payment(value: &str) -> String {
    format!("{{\"id\":\"x\",\"value\":{value}}}")
}

#[tokio::test]
async fn a_call_goes_on_exactly_if_the_person_says_yes() {
    let scene = Scene::of(&setup("")).await;
    let mut ran = Vec::new();
    let mut value = 100;
    for version in [LEGACY, "2025-06-18", MODERN] {
        let ann = Person::at(&scene, "ann", version, forms()).await;
        for (reply, status, code) in [
            (said("approve"), "used", None),
            (said("deny"), "denied", Some("denied")),
            (json!({"action": "decline"}), "denied", Some("denied")),
            (json!({"action": "cancel"}), "pending", Some("approval_required")),
            // What says nothing is no yes.
            (json!({"action": "accept"}), "pending", Some("approval_required")),
            (json!({"action": "accept", "content": {"decision": "yes"}}), "pending", Some("approval_required")),
            (json!({"content": {"decision": "approve"}}), "pending", Some("approval_required")),
            (
                json!({"action": "accept", "content": {"decision": "approve", "comment": "x".repeat(2_001)}}),
                "pending",
                Some("approval_required"),
            ),
        ] {
            value += 1;
            let paid = value.to_string();
            let answer = ann.answers(&paid, reply.clone()).await;
            let refusal = &answer["result"]["_meta"]["portcullis/refusal"]["code"];
            assert_eq!(refusal.as_str(), code, "{version} {reply}: {answer}");
            assert_eq!(answer["id"], 7);
            if code.is_none() {
                assert_eq!(answer["result"]["content"][0]["text"], "recorded x", "{answer}");
                ran.push(payment(&paid));
            }
            let requested = scene.gateway.entries().into_iter().rev().find_map(|entry| {
                let Event::ApprovalRequested(requested) = entry.event else { return None };
                Some(requested.call.to_string())
            });
            assert_eq!(ann.status(&requested.unwrap()).await, status, "{version} {reply}");
        }
    }
    assert_eq!(scene.recorded(), ran);
    let by_client = |event: &Event| matches!(event, Event::ApprovalAnswered(said) if said.is_by_client);
    let count = scene.gateway.entries().iter().filter(|entry| by_client(&entry.event)).count();
    assert_eq!(count, 9, "three have said something in each version");
    scene.finish().await;
}

#[tokio::test]
async fn the_question_says_who_does_what_and_the_yes_is_good_for_that_once() {
    let scene = Scene::of(&setup("")).await;
    for (version, value) in [(LEGACY, "50"), (MODERN, "60")] {
        let ann = Person::at(&scene, "ann", version, forms()).await;
        let (message, answer) = ann.talk(value, said("approve")).await;
        for part in
            ["Is this what you want?", "tool/tools__record", &payment(value), "Asked by: ann", "ann:claim-9", "$0.00"]
        {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(answer["result"]["content"][0]["text"], "recorded x", "{answer}");
        let (again, _by) = ann.asked(value).await;
        assert_ne!(id_in(&again), id_in(&message), "the next one is asked about anew");
    }
    scene.finish().await;
}

#[tokio::test]
async fn nobody_else_is_asked_and_nobody_else_answers() {
    let scene = Scene::of(&setup("")).await;
    let mut value = 100;
    for (name, version, capabilities) in [
        ("ann", LEGACY, json!({})),
        ("ann", MODERN, json!({})),
        ("ann", LEGACY, json!({"elicitation": {"url": {}}})),
        ("ann", "2025-03-26", forms()),
        // She has not the role that is asked.
        ("eve", LEGACY, forms()),
        ("eve", MODERN, forms()),
        // An agent approves nothing.
        ("robot", LEGACY, forms()),
        ("robot", MODERN, forms()),
    ] {
        value += 1;
        let person = Person::at(&scene, name, version, capabilities).await;
        let id = person.parked(&value.to_string()).await;
        assert_eq!(person.status(&id).await, "pending", "{name} {version}");
    }
    // By the API nobody answers for their own call, whatever the rule says of clients.
    let ann = Person::at(&scene, "ann", LEGACY, forms()).await;
    let (message, by) = ann.asked("200").await;
    let id = id_in(&message);
    let answered = ann.http.post(&format!("/api/v1/approvals/{id}/approve"), &json!({})).await.unwrap();
    assert_eq!(answered.status, 403, "{}", answered.text());
    // What the answer comes with is hers alone.
    let Asked::OnStream(token, mut stream) = by else { panic!("it is asked on the stream") };
    let bob = Person::at(&scene, "bob", LEGACY, forms()).await;
    bob.reply(&token, said("approve")).await;
    bob.reply(&json!("AQAAAA"), said("approve")).await;
    assert_eq!(ann.status(&id).await, "pending");
    let modern = Person::at(&scene, "bob", MODERN, forms()).await;
    let more = json!({"requestState": token, "inputResponses": {"approval": said("approve")}});
    let Heard::Answer(refused) = modern.pay_with("200", &more).await else { panic!("it is refused") };
    assert!(refused["error"]["message"].as_str().unwrap().contains("requestState"), "{refused}");
    ann.reply(&token, said("approve")).await;
    assert_eq!(next(&mut stream).await["result"]["content"][0]["text"], "recorded x");
    ann.reply(&token, said("deny")).await;
    assert_eq!(ann.status(&id).await, "used");
    assert_eq!(scene.recorded(), [payment("200")]);
    scene.finish().await;
}

#[tokio::test]
async fn where_others_are_asked_too_they_are() {
    let scene = Scene::of(&setup("")).await;
    let mia = scene.client("mia").await;
    for (version, value) in [(LEGACY, "50000"), (MODERN, "60000")] {
        let ann = Person::at(&scene, "ann", version, forms()).await;
        // Her own yes is one of two.
        let id = parked(&ann.answers(value, said("approve")).await);
        assert_eq!(ann.status(&id).await, "pending");
        assert_eq!(ann.parked(value).await, id, "she is not asked again");
        let answered = mia.post(&format!("/api/v1/approvals/{id}/approve"), &json!({})).await.unwrap();
        assert_eq!(answered.json()["status"], "approved", "{}", answered.text());
        let Heard::Answer(answer) = ann.pay(value).await else { panic!("it was approved") };
        assert_eq!(answer["result"]["content"][0]["text"], "recorded x", "{answer}");
    }
    // A rule that asks the same role without its client is the stricter one.
    let ann = Person::at(&scene, "ann", LEGACY, forms()).await;
    ann.parked("5000000").await;
    scene.finish().await;
}

#[tokio::test]
async fn somebody_else_may_say_yes_while_the_client_is_asked() {
    let scene = Scene::of(&setup("")).await;
    let ann = Person::at(&scene, "ann", LEGACY, forms()).await;
    let bob = scene.client("bob").await;
    let (message, by) = ann.asked("50").await;
    let Asked::OnStream(_, mut stream) = by else { panic!("it is asked on the stream") };
    let answered = bob.post(&format!("/api/v1/approvals/{}/approve", id_in(&message)), &json!({})).await.unwrap();
    assert_eq!(answered.status, 200, "{}", answered.text());
    assert_eq!(next(&mut stream).await["result"]["content"][0]["text"], "recorded x");
    scene.finish().await;
}

#[tokio::test]
async fn who_has_gone_or_takes_too_long_finds_the_call_parked() {
    let mut scene = Scene::of(&setup(", approvals: { client_s: 1 }")).await;
    let ann = Person::at(&scene, "ann", LEGACY, forms()).await;
    let (message, by) = ann.asked("50").await;
    let Asked::OnStream(token, mut stream) = by else { panic!("it is asked on the stream") };
    let withdrawn = next(&mut stream).await;
    assert_eq!((&withdrawn["method"], &withdrawn["params"]["requestId"]), (&json!("notifications/cancelled"), &token));
    assert_eq!(parked(&next(&mut stream).await), id_in(&message));
    // An answer that comes late counts, for the same call made again.
    ann.reply(&token, said("approve")).await;
    assert_eq!(ann.status(&id_in(&message)).await, "approved");
    let Heard::Answer(answer) = ann.pay("50").await else { panic!("it was approved") };
    assert_eq!(answer["result"]["content"][0]["text"], "recorded x", "{answer}");

    let (message, by) = ann.asked("60").await;
    let Asked::OnStream(token, stream) = by else { panic!("it is asked on the stream") };
    drop(stream);
    // Another process of the gateway takes the answer: nothing is kept for it.
    scene.gateway.kill();
    scene.gateway.restart().await;
    ann.reply(&token, said("approve")).await;
    assert_eq!(ann.status(&id_in(&message)).await, "approved");
    assert_eq!(scene.recorded(), [payment("50")], "nobody was there to make the call");
    scene.finish().await;
}

#[tokio::test]
async fn whoever_is_disabled_is_not_waited_for() {
    let scene = Scene::of(&setup("")).await;
    let ann = Person::at(&scene, "ann", LEGACY, forms()).await;
    let (message, by) = ann.asked("50").await;
    let Asked::OnStream(token, mut stream) = by else { panic!("it is asked on the stream") };
    let disabled = scene.gateway.admin().post("/api/v1/identity/disabled", &json!({"name": "ann"})).await.unwrap();
    assert!(disabled.status < 300, "{}", disabled.text());
    assert!(stream.next_event().await.is_err(), "the stream breaks off");
    let refused = ann.send(&json!({"jsonrpc": "2.0", "id": token, "result": said("approve")})).await;
    assert_eq!(refused.status, 401);
    let admin = scene.gateway.admin();
    let shown = admin.get(&format!("/api/v1/approvals/{}", id_in(&message))).await.unwrap().json();
    assert_eq!(shown["status"], "pending");
    scene.finish().await;
}

#[tokio::test]
async fn where_the_gateway_makes_the_call_itself_no_client_is_asked() {
    let scene = Scene::of(&setup(", approvals: { run: true }")).await;
    for (version, value) in [(LEGACY, "50"), (MODERN, "60")] {
        let ann = Person::at(&scene, "ann", version, forms()).await;
        ann.parked(value).await;
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_stream_that_waits_does_not_keep_a_gateway_from_stopping() {
    let scene = Scene::of(&setup("")).await;
    let ann = Person::at(&scene, "ann", LEGACY, forms()).await;
    let (message, by) = ann.asked("50").await;
    let Asked::OnStream(_, mut stream) = by else { panic!("it is asked on the stream") };
    let waiting = tokio::spawn(async move { next(&mut stream).await });
    scene.finish().await;
    assert_eq!(parked(&waiting.await.unwrap()), id_in(&message));
}

/// Runs an official client to its end, which must be a good one, with so many of its checks.
async fn play(mut command: std::process::Command, scene: &Scene, first: u32, checks: usize) {
    let key = scene.gateway.key("ann").await;
    command
        .env("PORTCULLIS_URL", scene.gateway.url())
        .env("PORTCULLIS_KEY", key)
        .env("PORTCULLIS_FIRST", first.to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = tokio::process::Command::from(command).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}\n{}", scene.gateway.log());
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), checks, "{said}");
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_official_clients_of_mcp_ask_whoever_is_in_front_of_them() {
    let scene = Scene::of(&setup("")).await;
    let folder = tempfile::tempdir().unwrap();
    play(python("mcp1", "mcp1_elicit_check.py"), &scene, 100, 9).await;
    play(python("mcp2", "mcp2_elicit_check.py"), &scene, 200, 27).await;
    play(node(folder.path(), "elicit1.mjs"), &scene, 300, 9).await;
    play(node(folder.path(), "elicit2.mjs"), &scene, 400, 18).await;
    assert_eq!(scene.recorded().len(), 7, "one of each walk");
    scene.finish().await;
}
