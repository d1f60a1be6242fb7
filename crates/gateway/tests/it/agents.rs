//! Agents behind the gate: a session stays with its replica, another replica learns what the session remembers, turns come one after the other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use portcullis_domain::event::Outcome;
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::gateway::{Gateway, LIMIT, end, free_port, listen_at};
use crate::raw_upstream::{RawUpstream, Received, SILENCE, whole};
use crate::scene::Setup;

const ALL: &str = "permit (principal, action, resource);";
const TOKEN: &str = "tok-agent-1d5a";

/// An agent that counts the turns of each session in its own memory. It lives on a runtime of its own, with which it can be killed.
///
/// - `POST /run` answers with its name, the turn's number and the placement's, `POST /wait` the same once it is released;
/// - `POST /hydrate` gives it the count of a session, from the state's value `turns`;
/// - `GET /stream` sends three events, `GET /break` sends one and breaks off, `POST /echo` says what it was sent, `POST /hang` never answers;
/// - `POST /resume` takes what a wait came to, unless it is ill;
/// - `GET /healthz` says whether it is well.
pub(crate) struct Replica {
    port: u16,
    memory: Arc<Memory>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Memory {
    sessions: Mutex<HashMap<String, u64>>,
    released: (Mutex<bool>, Condvar),
    is_ill: Mutex<bool>,
    waiting: Mutex<usize>,
    /// How many requests came that are never answered.
    hanging: Mutex<usize>,
    /// What was posted to `/resume`: the delivery and the message.
    told: Mutex<Vec<(String, Value)>>,
}

fn held<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replica {
    pub(crate) async fn start() -> Self {
        let mut replica = Self { port: free_port(), memory: Arc::default(), runtime: None };
        replica.live().await;
        replica
    }

    /// Lives, or lives again, without any memory of before.
    pub(crate) async fn live(&mut self) {
        self.memory = Arc::default();
        let (memory, url, port) = (self.memory.clone(), self.url(), self.port);
        let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        let begun = runtime.spawn(async move {
            let listener = listen_at(port).await;
            let name = url.clone();
            RawUpstream::start_at(listener, url, move |request| answer(&name, &memory, request));
        });
        begun.await.unwrap();
        self.runtime = Some(runtime);
    }

    pub(crate) fn kill(&mut self) {
        *held(&self.memory.released.0) = true;
        self.memory.released.1.notify_all();
        end(self.runtime.take().unwrap());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn make_ill(&self, is_ill: bool) {
        *held(&self.memory.is_ill) = is_ill;
    }

    /// What it was told by deliveries.
    pub(crate) fn told(&self) -> Vec<(String, Value)> {
        held(&self.memory.told).clone()
    }

    fn release(&self) {
        *held(&self.memory.released.0) = true;
        self.memory.released.1.notify_all();
    }

    /// Waits until a request has come that is never answered.
    async fn hangs(&self) {
        wait_until("the agent has the call", LIMIT, || async { *held(&self.memory.hanging) == 1 }).await.unwrap();
    }

    fn waiting(&self) -> usize {
        *held(&self.memory.waiting)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if self.runtime.is_some() {
            self.kill();
        }
    }
}

fn header<'a>(request: &'a Received, name: &str) -> Option<&'a str> {
    let mut lines = request.head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(header, _)| *header == name).map(|(_, value)| value)
}

fn answer(name: &str, memory: &Memory, request: &Received) -> Vec<Vec<u8>> {
    let first = request.head.lines().next().unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let session = header(request, "portcullis-session").unwrap_or_default().to_owned();
    let body = match path {
        "/healthz" if *held(&memory.is_ill) => return vec![whole(500, "", "{}")],
        "/run" => turn(name, memory, request, &session),
        "/wait" => {
            *held(&memory.waiting) += 1;
            tokio::task::block_in_place(|| {
                let guard = held(&memory.released.0);
                drop(memory.released.1.wait_while(guard, |released| !*released));
            });
            *held(&memory.waiting) -= 1;
            turn(name, memory, request, &session)
        }
        "/hydrate" if *held(&memory.is_ill) => return vec![whole(500, "", "{}")],
        "/hydrate" => {
            let remembered = request.json();
            let state = remembered["state"].as_array().cloned().unwrap_or_default();
            let turns = state.iter().find(|value| value["key"] == "turns").and_then(|value| value["value"].as_u64());
            held(&memory.sessions).insert(session, turns.unwrap_or(0));
            remembered
        }
        "/resume" if *held(&memory.is_ill) => return vec![whole(500, "", "{}")],
        "/resume" => {
            let delivery = header(request, "portcullis-delivery").unwrap_or_default().to_owned();
            held(&memory.told).push((delivery, request.json()));
            json!({})
        }
        "/echo" => json!({"head": request.head, "body": String::from_utf8_lossy(&request.body)}),
        "/busy" => return vec![whole(503, "retry-after: 1\r\n", "{}")],
        "/hang" => {
            *held(&memory.hanging) += 1;
            return vec![SILENCE.to_vec()];
        }
        "/stream" | "/break" => {
            // The connection ends with the answer, and says so, lest the next request be written to one that is about to close.
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
            let mut pieces = vec![head.as_bytes().to_vec()];
            pieces.extend((1..=3).map(|number| format!("9\r\ndata: {number}\n\n\r\n").into_bytes()));
            pieces.push(b"0\r\n\r\n".to_vec());
            pieces.truncate(if path == "/break" { 2 } else { 5 });
            return pieces;
        }
        _ => json!({"is": "well"}),
    };
    vec![whole(200, "x-made-by: agent\r\n", &body.to_string())]
}

fn turn(name: &str, memory: &Memory, request: &Received, session: &str) -> Value {
    let mut sessions = held(&memory.sessions);
    let turns = sessions.entry(session.to_owned()).or_default();
    *turns += 1;
    let fence: u64 = header(request, "portcullis-fence").unwrap_or("0").parse().unwrap();
    json!({"replica": name, "turns": *turns, "fence": fence})
}

/// A gateway with one agent of so many replicas.
struct Agents {
    gateway: Gateway,
    replicas: Vec<Replica>,
    client: Client,
}

impl Agents {
    async fn start(count: usize, more: &str, rules: &str) -> Self {
        let mut replicas = Vec::new();
        for _ in 0..count {
            replicas.push(Replica::start().await);
        }
        let gateway = Gateway::start(&config(&replicas, more), &[("rules.cedar", rules)]).await;
        gateway.keep_secret(TOKEN);
        let client = gateway.client("ann").await;
        Self { gateway, replicas, client }
    }

    async fn call(&self, session: &str, path: &str) -> Answer {
        call(self.client.clone(), session.to_owned(), path.to_owned(), Vec::new()).await
    }

    async fn run(&self, session: &str) -> Value {
        let answer = self.call(session, "/run").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    fn replica(&mut self, turn: &Value) -> &mut Replica {
        self.replicas.iter_mut().find(|replica| turn["replica"] == replica.url()).unwrap()
    }

    fn outcomes(&self, session: &str) -> Vec<Outcome> {
        self.gateway.settled(&format!("ann:{session}")).iter().map(|settled| settled.outcome).collect()
    }
}

pub(crate) fn config(replicas: &[Replica], more: &str) -> String {
    let urls: Vec<String> = replicas.iter().map(|replica| format!("'{}'", replica.url())).collect();
    let setup = Setup { models: "{}".to_owned(), servers: "{}".to_owned(), ..Setup::default() };
    let agents = format!("  agents: {{ counter: {{ replicas: [{}], token: '{TOKEN}'{more} }} }}\n", urls.join(", "));
    setup.config("", "").replace("policy:", &format!("{agents}policy:"))
}

async fn call(client: Client, session: String, path: String, more: Vec<(&'static str, String)>) -> Answer {
    let method = if ["/stream", "/break", "/read"].contains(&path.as_str()) { "GET" } else { "POST" };
    let mut headers = vec![("portcullis-session", session.as_str()), ("content-type", "application/json")];
    headers.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
    let body = (method == "POST").then(|| r#"{"a":1}"#.to_owned());
    client.send(method, &format!("/agents/counter{path}"), &headers, body).await.unwrap()
}

#[tokio::test]
async fn a_session_stays_with_its_replica_also_when_the_gateway_was_killed() {
    let mut agents = Agents::start(3, "", ALL).await;
    let mut homes = BTreeMap::new();
    for round in 1..=3 {
        for number in 0..12 {
            let turn = agents.run(&format!("claim-{number}")).await;
            assert_eq!((&turn["turns"], &turn["fence"]), (&json!(round), &json!(1)), "{turn}");
            let home = homes.entry(number).or_insert_with(|| turn["replica"].clone());
            assert_eq!(*home, turn["replica"]);
        }
        agents.gateway.kill();
        agents.gateway.restart().await;
    }
    let used: BTreeSet<String> = homes.values().map(ToString::to_string).collect();
    assert_eq!(used.len(), 3, "{homes:?}");
    agents.gateway.finish().await;
}

#[tokio::test]
async fn when_a_replica_is_gone_another_one_knows_what_the_session_remembers() {
    let mut agents = Agents::start(3, ", hydrate: /hydrate", ALL).await;
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    let first = agents.run("claim-0").await;
    for number in 0..9 {
        let session = format!("claim-{number}");
        let turn = agents.run(&session).await;
        agents.client.put(&format!("/api/v1/sessions/{session}/state/turns"), &turn["turns"]).await.unwrap();
        if turn["replica"] == first["replica"] { &mut gone } else { &mut kept }.push((session, turn));
    }
    agents.replica(&first).kill();
    for (session, before) in &gone {
        let turn = agents.run(session).await;
        assert_ne!(turn["replica"], before["replica"]);
        assert_eq!(turn["turns"].as_u64().unwrap(), before["turns"].as_u64().unwrap() + 1, "{turn}");
        assert_eq!(turn["fence"], 2);
    }
    for (session, before) in &kept {
        let turn = agents.run(session).await;
        assert_eq!((&turn["replica"], &turn["fence"]), (&before["replica"], &json!(1)));
    }
    // One that was chosen and did not take the memory is told again, until it has.
    let kept_one = kept[0].0.clone();
    let home = agents.run(&kept_one).await;
    agents.client.put(&format!("/api/v1/sessions/{kept_one}/state/turns"), &home["turns"]).await.unwrap();
    agents.replica(&home).kill();
    let last = agents.replicas.iter().position(|replica| replica.runtime.is_some()).unwrap();
    agents.replicas[last].make_ill(true);
    assert_eq!(agents.call(&kept_one, "/run").await.status, 502);
    agents.replicas[last].make_ill(false);
    let turn = agents.run(&kept_one).await;
    assert_eq!(turn["replica"], agents.replicas[last].url());
    assert_eq!(turn["turns"].as_u64().unwrap(), home["turns"].as_u64().unwrap() + 1, "{turn}");
    // They are back, and those who have left them stay where they are.
    agents.replica(&home).live().await;
    agents.replica(&first).live().await;
    for (session, _) in &gone {
        assert_eq!(agents.run(session).await["fence"], 2);
    }
    agents.gateway.finish().await;
}

#[tokio::test]
async fn turns_of_a_session_come_one_after_the_other() {
    let agents = Agents::start(1, "", ALL).await;
    let begin = |session: &str, more: Vec<(&'static str, String)>| {
        tokio::spawn(call(agents.client.clone(), session.to_owned(), "/wait".to_owned(), more))
    };
    let first = begin("claim-1", Vec::new());
    wait_until("the first turn is there", LIMIT, || async { agents.replicas[0].waiting() == 1 }).await.unwrap();
    let others: Vec<_> = (0..3).map(|_| begin("claim-1", Vec::new())).collect();
    let impatient = begin("claim-1", vec![("prefer", "wait=0".to_owned())]).await.unwrap();
    assert_eq!((impatient.status, &impatient.json()["code"]), (409, &json!("turn_under_way")), "{}", impatient.text());
    // What only reads is no turn, and other sessions have turns of their own.
    assert_eq!(agents.call("claim-1", "/read").await.status, 200);
    assert_eq!(agents.run("claim-2").await["turns"], 1);
    assert_eq!(agents.replicas[0].waiting(), 1);
    agents.replicas[0].release();
    let mut numbers = vec![first.await.unwrap().json()["turns"].clone()];
    for other in others {
        numbers.push(other.await.unwrap().json()["turns"].clone());
    }
    assert_eq!(numbers[0], 1);
    let numbers: BTreeSet<u64> = numbers.iter().map(|number| number.as_u64().unwrap()).collect();
    assert_eq!(numbers, BTreeSet::from([1, 2, 3, 4]));
    agents.gateway.finish().await;
}

#[tokio::test]
async fn a_turn_with_a_key_is_taken_once() {
    let mut agents = Agents::start(1, "", ALL).await;
    let key = |key: &str| vec![("idempotency-key", key.to_owned())];
    let again = |agents: &Agents, path: &str, name: &str| {
        call(agents.client.clone(), "claim-1".to_owned(), path.to_owned(), key(name))
    };
    let first = again(&agents, "/run", "k-1").await;
    assert_eq!((&first.json()["turns"], first.header("idempotency-replayed")), (&json!(1), None));
    agents.gateway.kill();
    agents.gateway.restart().await;
    let second = again(&agents, "/run", "k-1").await;
    assert_eq!((second.text(), second.header("idempotency-replayed")), (first.text(), Some("true")));
    assert_eq!(
        (second.header("x-made-by"), second.header("portcullis-call")),
        (Some("agent"), first.header("portcullis-call"))
    );
    // Another attempt is part of another trace, and the same call all the same.
    let traced = vec![("idempotency-key", "k-1".to_owned()), ("traceparent", "00-b-c-01".to_owned())];
    let third = call(agents.client.clone(), "claim-1".to_owned(), "/run".to_owned(), traced).await;
    assert_eq!((third.text(), third.header("idempotency-replayed")), (first.text(), Some("true")));
    assert_eq!(again(&agents, "/other", "k-1").await.json()["code"], "idempotency_key_reused");
    // What the agent did not even begin may be tried again.
    for _ in 0..2 {
        let busy = again(&agents, "/busy", "k-2").await;
        assert_eq!((busy.status, busy.header("idempotency-replayed")), (503, None));
    }
    let hanging = tokio::spawn(again(&agents, "/hang", "k-3"));
    agents.replicas[0].hangs().await;
    agents.replicas[0].kill();
    assert_eq!(hanging.await.unwrap().status, 502);
    agents.replicas[0].live().await;
    let unknown = again(&agents, "/hang", "k-3").await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (409, &json!("outcome_unknown")));
    assert_eq!(agents.outcomes("claim-1").last(), Some(&Outcome::Unknown));
    agents.gateway.finish().await;
}

#[tokio::test]
async fn streams_flow_and_one_that_breaks_off_is_not_taken_for_whole() {
    let agents = Agents::start(1, "", ALL).await;
    let whole = agents.call("claim-1", "/stream").await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "data: 1\n\ndata: 2\n\ndata: 3\n\n"));
    assert_eq!(whole.header("content-type"), Some("text/event-stream"));
    let headers = [("portcullis-session", "claim-1")];
    let mut broken = agents.client.stream("GET", "/agents/counter/break", &headers, None).await.unwrap();
    assert_eq!(broken.next_bytes().await.unwrap().unwrap(), "data: 1\n\n");
    assert!(broken.next_bytes().await.is_err());
    assert_eq!(agents.outcomes("claim-1"), [Outcome::Completed, Outcome::Unknown]);
    let hanging = tokio::spawn(call(agents.client.clone(), "claim-1".into(), "/hang".into(), Vec::new()));
    agents.replicas[0].hangs().await;
    hanging.abort();
    let is_settled = || async { agents.outcomes("claim-1").last() == Some(&Outcome::Aborted) };
    wait_until("the call is settled", LIMIT, is_settled).await.unwrap();
    agents.gateway.finish().await;
}

#[tokio::test]
async fn an_agent_learns_who_asks_from_the_gateway_alone() {
    let agents = Agents::start(1, "", ALL).await;
    let forged = vec![
        ("portcullis-principal", "boss".to_owned()),
        ("portcullis-fence", "99".to_owned()),
        ("connection", "x-hop".to_owned()),
        ("x-hop", "1".to_owned()),
        ("traceparent", "00-a-b-01".to_owned()),
    ];
    let answer = call(agents.client.clone(), "claim-1".to_owned(), "/echo?q=%2F".to_owned(), forged).await;
    let head = answer.json()["head"].as_str().unwrap().to_owned();
    for line in [
        "post /echo?q=%2f http/1.1",
        "portcullis-principal: ann",
        "portcullis-fence: 1",
        "portcullis-session: claim-1",
        "traceparent: 00-a-b-01",
    ] {
        assert!(head.lines().any(|shown| shown == line), "{line} in {head}");
    }
    assert!(head.contains(&format!("authorization: bearer {TOKEN}")));
    assert!(!head.contains("x-hop") && !head.contains("boss"));
    assert_eq!(answer.json()["body"], r#"{"a":1}"#);
    assert_eq!(answer.header("portcullis-session"), Some("claim-1"));
    agents.gateway.finish().await;
}

#[tokio::test]
async fn policy_says_who_may_call_which_agent() {
    let rules = r#"
        @id("seniors") permit (principal in Role::"senior", action == Action::"call_agent", resource == Agent::"counter");
        @id("odd") @message("Not in that session.")
        permit (principal, action == Action::"call_agent", resource) when { context.session.name like "open-*" && context.door == "http" };
    "#;
    let agents = Agents::start(1, "", rules).await;
    assert_eq!(agents.run("open-1").await["turns"], 1);
    let denied = agents.call("claim-1", "/run").await;
    assert_eq!((denied.status, &denied.json()["code"]), (403, &json!("denied")));
    assert_eq!(agents.gateway.refused().len(), 1);
    let unknown = agents.client.send("POST", "/agents/nobody/run", &[], None).await.unwrap();
    assert_eq!((unknown.status, &unknown.json()["code"]), (404, &json!("capability_not_found")));
    agents.gateway.finish().await;
}

#[tokio::test]
async fn a_replica_that_drains_or_is_ill_gets_no_new_turns() {
    let mut agents = Agents::start(2, ", hydrate: /hydrate, health: /healthz", ALL).await;
    let before = agents.run("claim-1").await;
    let home = agents.replica(&before).url();
    agents
        .gateway
        .configure(&config(&agents.replicas, &format!(", hydrate: /hydrate, health: /healthz, draining: ['{home}']")));
    agents.gateway.reload().await;
    let after = agents.run("claim-1").await;
    assert!(after["replica"] != before["replica"] && after["fence"] == 2, "{after}");
    for number in 2..6 {
        assert_eq!(agents.run(&format!("claim-{number}")).await["replica"], after["replica"]);
    }
    agents.gateway.configure(&config(&agents.replicas, ", hydrate: /hydrate, health: /healthz"));
    agents.gateway.reload().await;
    assert_eq!(agents.run("claim-1").await, json!({"replica": after["replica"], "turns": 2, "fence": 2}));
    agents.replica(&after).make_ill(true);
    let has_moved = || async { agents.run("claim-1").await["replica"] == before["replica"] };
    wait_until("the session has left the replica that is ill", LIMIT, has_moved).await.unwrap();
    agents.gateway.finish().await;
}

#[tokio::test]
async fn when_no_replica_is_there_the_caller_is_told_and_may_come_again() {
    let mut agents = Agents::start(2, "", ALL).await;
    for replica in &mut agents.replicas {
        replica.kill();
    }
    let refused = agents.call("claim-1", "/run").await;
    assert_eq!((refused.status, &refused.json()["code"]), (502, &json!("upstream_failed")), "{}", refused.text());
    assert_eq!(refused.json()["retryable"], true);
    assert_eq!(agents.outcomes("claim-1"), [Outcome::Failed, Outcome::Failed]);
    agents.replicas[0].live().await;
    let is_back = || async { agents.call("claim-1", "/run").await.status == 200 };
    wait_until("the one that is back is found", LIMIT, is_back).await.unwrap();
    agents.gateway.finish().await;
}
