//! The kill switch: whoever is disabled, whose key is taken back or whose session is frozen gets not one byte more, what is under way for them is cancelled, and the journal proves it.

use portcullis_domain::event::{Event, Outcome};
use portcullis_testkit::http::Client;
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::fake_mcp::{FakeMcp, tool};
use crate::gateway::{Gateway, LIMIT};
use crate::raw_upstream::{RawUpstream, Received, SILENCE, whole};
use crate::scene::{Setup, tools_client};
use crate::spoken::{COMPLETIONS, Heard, begin, in_session, saying, streaming};

/// A model that says one word of a stream and then nothing more; of a whole answer, nothing at all.
fn first_word(request: &Received) -> Vec<Vec<u8>> {
    if request.json()["stream"] != json!(true) {
        return vec![SILENCE.to_vec()];
    }
    let word = json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "so"}, "finish_reason": null}]});
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    vec![format!("{head}data: {word}\n\n").into_bytes(), SILENCE.to_vec()]
}

struct Stage {
    gateway: Gateway,
    model: RawUpstream,
    ann: Client,
    key: String,
}

impl Stage {
    async fn start() -> Self {
        let model = RawUpstream::start(first_word).await;
        let setup = Setup { servers: "{}".to_owned(), rules: RULES_OF_MODELS, ..Setup::default() };
        let gateway = Gateway::start(&setup.config(&model.url, ""), &[("rules.cedar", RULES_OF_MODELS)]).await;
        let key = gateway.key("ann").await;
        let ann = gateway.stranger().with_key(&key);
        Self { gateway, model, ann, key }
    }

    async fn administrate(&self, path: &str, body: Value) {
        let answer = self.gateway.admin().post(path, &body).await.unwrap();
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
    }
}

/// No tool is named, since there is none.
const RULES_OF_MODELS: &str = r#"permit (principal, action, resource);"#;

/// A way to halt ann's calls in session `claim-1`, how her next call is answered, and how it is undone.
struct Halt {
    path: String,
    body: Value,
    refused: (u16, &'static str),
    /// The type of the entry.
    entry: &'static str,
}

async fn check(stage: &Stage, halt: Halt) {
    let path = in_session("claim-1");
    let before = stage.model.received().len();
    let mut stream = begin(&stage.ann, &path, &streaming("go on")).await;
    stream.next_event().await.unwrap().unwrap();
    let asking = tokio::spawn({
        let (ann, path) = (stage.ann.clone(), path.clone());
        async move { ann.post(&path, &saying("hello")).await.unwrap() }
    });
    let are_asked = || async { stage.model.received().len() == before + 2 };
    wait_until("the model has both calls", LIMIT, are_asked).await.unwrap();
    let leavers = stage.gateway.settled("ann:claim-1").len();
    stage.administrate(&halt.path, halt.body).await;
    assert!(stream.next_event().await.is_err(), "the stream breaks off");
    let refused = asking.await.unwrap();
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (halt.refused.0, Some(halt.refused.1)));
    stage.model.wait_for_leavers(leavers + 2).await;
    let are_settled = || async { stage.gateway.settled("ann:claim-1").len() == leavers + 2 };
    wait_until("both calls are settled", LIMIT, are_settled).await.unwrap();
    let settled = stage.gateway.settled("ann:claim-1");
    assert!(settled.iter().all(|settled| settled.outcome == Outcome::Aborted), "{settled:?}");
    let again = stage.ann.post(&path, &saying("hello")).await.unwrap();
    assert_eq!((again.status, again.json()["error"]["code"].as_str()), (halt.refused.0, Some(halt.refused.1)));
    let types = stage.gateway.entries().into_iter().map(|entry| serde_json::to_value(&entry.event).unwrap());
    assert!(types.into_iter().any(|event| event["type"] == halt.entry), "{} is in the journal", halt.entry);
}

#[tokio::test]
async fn what_is_under_way_ends_with_the_right_to_it() {
    let mut stage = Stage::start().await;
    let body = json!({"name": "ann", "reason": "her laptop was stolen"});
    let (path, refused) = ("/api/v1/identity/disabled".to_owned(), (401, "unauthenticated"));
    check(&stage, Halt { path: path.clone(), body, refused, entry: "identity.principal_disabled" }).await;
    // Nothing of what she has can be read either.
    assert_eq!(stage.ann.get("/api/v1/sessions").await.unwrap().status, 401);
    let listed = stage.gateway.command(&["identity", "disabled", "--json"]).await;
    assert!(String::from_utf8_lossy(&listed.stdout).contains("\"ann\""), "{listed:?}");
    stage.gateway.kill();
    stage.gateway.restart().await;
    stage.ann = stage.gateway.stranger().with_key(&stage.key);
    assert_eq!(stage.ann.get("/api/v1/sessions").await.unwrap().status, 401);
    let enabled = stage.gateway.command(&["identity", "enable", "ann"]).await;
    assert!(enabled.status.success(), "{enabled:?}");

    let freeze = Halt {
        path: "/api/v1/sessions/ann:claim-1/freeze".to_owned(),
        body: json!({"reason": "it goes round in circles"}),
        refused: (423, "session_frozen"),
        entry: "session.frozen",
    };
    check(&stage, freeze).await;
    // Whoever runs away does not let itself go on.
    assert_eq!(stage.ann.post("/api/v1/sessions/claim-1/unfreeze", &json!({})).await.unwrap().status, 403);
    assert_eq!(begin(&stage.ann, &in_session("claim-2"), &streaming("hello")).await.status, 200);
    let unfrozen = stage.gateway.command(&["session", "unfreeze", "ann:claim-1"]).await;
    assert!(unfrozen.status.success(), "{unfrozen:?}");

    let id = stage.key.split('_').nth(1).unwrap().to_owned();
    let body = json!({"name": id});
    check(&stage, Halt { path, body, refused, entry: "identity.key_revoked" }).await;
    stage.gateway.finish().await;
}

#[tokio::test]
async fn an_agent_that_is_disabled_says_no_more_to_anybody_and_is_called_by_nobody() {
    let upstream = RawUpstream::start(first_word).await;
    let url = &upstream.url;
    let setup = Setup { models: "{}".to_owned(), servers: "{}".to_owned(), ..Setup::default() };
    let agents = format!(
        "  agents:\n    scripted: {{ protocol: openai, replicas: ['{url}/v1'], principal: payer }}\n    plain: {{ replicas: ['{url}'] }}\npolicy:"
    );
    let config = setup.config("", "").replace("policy:", &agents);
    let gateway = Gateway::start(&config, &[("rules.cedar", RULES_OF_MODELS)]).await;
    let ann = gateway.client("ann").await;
    let mut stream = begin(&ann, &in_session("claim-1"), &streaming("go on")).await;
    stream.next_event().await.unwrap().unwrap();
    let plain = tokio::spawn({
        let headers = [("portcullis-session", "claim-2")];
        let ann = ann.clone();
        async move { ann.send("POST", "/agents/plain/do", &headers, Some("{}".to_owned())).await.unwrap() }
    });
    wait_until("both agents are called", LIMIT, || async { upstream.received().len() == 2 }).await.unwrap();
    for (count, name) in [(1, "payer"), (2, "plain")] {
        let answer = gateway.admin().post("/api/v1/identity/disabled", &json!({"name": name})).await.unwrap();
        assert!((200..300).contains(&answer.status), "{}", answer.text());
        upstream.wait_for_leavers(count).await;
    }
    let last = Heard::of(stream).await;
    assert_eq!(last.error.as_ref().map(|error| &error["code"]), Some(&json!("forbidden")), "{last:?}");
    let refused = plain.await.unwrap();
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("forbidden")), "{}", refused.text());
    for session in ["ann:claim-1", "ann:claim-2"] {
        let is_settled = || async { gateway.settled(session).len() == 1 };
        wait_until("the call is settled", LIMIT, is_settled).await.unwrap();
        assert_eq!(gateway.settled(session)[0].outcome, Outcome::Aborted, "{session}");
    }
    let again = ann.post(&in_session("claim-1"), &saying("hello")).await.unwrap();
    assert_eq!((again.status, &again.json()["error"]["code"]), (403, &json!("forbidden")));
    let headers = [("portcullis-session", "claim-2")];
    let again = ann.send("POST", "/agents/plain/do", &headers, Some("{}".to_owned())).await.unwrap();
    assert!(again.status == 403 && again.text().contains("`plain` is disabled"), "{}", again.text());
    assert_eq!(upstream.received().len(), 2, "an agent was called");
    gateway.finish().await;
}

#[tokio::test]
async fn what_an_agent_has_under_way_ends_with_its_own_key_too() {
    let model = RawUpstream::start(first_word).await;
    let agent = RawUpstream::start(|_| vec![whole(200, "", "{}")]).await;
    let setup = Setup { servers: "{}".to_owned(), ..Setup::default() };
    let agents = format!("  agents: {{ planner: {{ replicas: ['{}'], bound: true }} }}\npolicy:", agent.url);
    let config = setup.config(&model.url, "").replace("policy:", &agents);
    let gateway = Gateway::start(&config, &[("rules.cedar", RULES_OF_MODELS)]).await;
    let ann = gateway.client("ann").await;
    let headers = [("portcullis-session", "claim-1")];
    ann.send("POST", "/agents/planner/do", &headers, Some("{}".to_owned())).await.unwrap();
    let received = agent.received();
    let task = received[0].raw_head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("portcullis-task").then(|| value.trim().to_owned())
    });
    let task = task.unwrap();
    gateway.keep_secret(&task);
    let [first, second] = [gateway.key("planner").await, gateway.key("planner").await];
    let by = |key: &str| gateway.stranger().with_key(key).with_header("portcullis-task", &task);
    let mut streams = Vec::new();
    for key in [&first, &second] {
        let mut stream = begin(&by(key), COMPLETIONS, &streaming("go on")).await;
        stream.next_event().await.unwrap().unwrap();
        streams.push(stream);
    }
    let id = first.split('_').nth(1).unwrap();
    assert_eq!(gateway.admin().delete(&format!("/api/v1/identity/keys/{id}")).await.unwrap().status, 204);
    assert!(streams[0].next_event().await.is_err(), "the stream breaks off");
    model.wait_for_leavers(1).await;
    let outcomes =
        || async { gateway.settled("ann:claim-1").iter().any(|settled| settled.outcome == Outcome::Aborted) };
    wait_until("the call is settled", LIMIT, outcomes).await.unwrap();
    assert_eq!(by(&first).get("/v1/models").await.unwrap().status, 401);
    assert_eq!(by(&second).get("/v1/models").await.unwrap().status, 200);
    // The call of the agent, and the one stream: the other goes on.
    assert_eq!(gateway.settled("ann:claim-1").len(), 2);
    drop(streams);
    model.wait_for_leavers(2).await;
    gateway.finish().await;
}

#[tokio::test]
async fn only_an_administrator_disables_and_others_go_on() {
    let stage = Stage::start().await;
    let bob = stage.gateway.client("bob").await;
    let refused = bob.post("/api/v1/identity/disabled", &json!({"name": "ann"})).await.unwrap();
    assert_eq!(refused.status, 403);
    let mut stream = begin(&bob, &in_session("claim-1"), &streaming("go on")).await;
    stream.next_event().await.unwrap().unwrap();
    stage.administrate("/api/v1/identity/disabled", json!({"name": "ann"})).await;
    let known = stage.gateway.admin().post("/api/v1/identity/disabled", &json!({"name": "nobody"})).await.unwrap();
    assert_eq!(known.json(), json!({"principal": "nobody", "is_known": false}));
    assert_eq!(stage.ann.get("/v1/models").await.unwrap().status, 401);
    assert_eq!(bob.get("/v1/models").await.unwrap().status, 200);
    let is_open = stage.gateway.events("bob:claim-1").iter().all(|event| !matches!(event, Event::CallSettled(_)));
    assert!(is_open, "bob's stream goes on");
    drop(stream);
    stage.model.wait_for_leavers(1).await;
    stage.gateway.finish().await;
}

/// A tool that a manager must say yes to.
const RULES_OF_APPROVALS: &str = r#"
permit (principal, action, resource);
@ask("manager")
permit (principal in Role::"junior", action == Action::"fake__hang", resource);
"#;

/// Disables her, takes her key back or freezes her session: what is posted where.
fn halt(session: &str, key: &str) -> (String, Value) {
    let id = key.split('_').nth(1).unwrap();
    let disabled = "/api/v1/identity/disabled".to_owned();
    match session {
        "frozen" => (format!("/api/v1/sessions/ann:{session}/freeze"), json!({"reason": "it goes too far"})),
        "revoked" => (disabled, json!({ "name": id })),
        _ => (disabled, json!({"name": "ann"})),
    }
}

#[tokio::test]
async fn an_approved_call_that_the_gateway_makes_itself_ends_with_the_right_to_it() {
    let server = FakeMcp::start(&format!("[{}]", tool("hang")), |_| String::new()).await;
    let setup = Setup {
        servers: format!("{{ fake: {{ url: '{}' }} }}", server.upstream.url),
        models: "{}".to_owned(),
        policy: ", approvals: { run: true }",
        principals: "{ ann: { roles: [junior] }, mia: { roles: [manager] } }",
        ..Setup::default()
    };
    let gateway = Gateway::start(&setup.config("", ""), &[("rules.cedar", RULES_OF_APPROVALS)]).await;
    let mia = gateway.client("mia").await;
    let calls = || server.upstream.received().iter().filter(|it| it.json()["method"] == "tools/call").count();
    for (before, session) in ["frozen", "revoked", "disabled"].into_iter().enumerate() {
        let key = gateway.key("ann").await;
        let ann = gateway.stranger().with_key(&key);
        let parked = tools_client(&ann, "/mcp", Some(session)).call_tool("fake__hang", "{}", None).await.unwrap();
        let id = parked.result["_meta"]["portcullis/refusal"]["approval"]["id"].as_str().unwrap().to_owned();
        let approved = mia.post(&format!("/api/v1/approvals/{id}/approve"), &json!({})).await.unwrap();
        assert_eq!(approved.status, 200, "{}", approved.text());
        wait_until("the tool is called", LIMIT, || async { calls() == before + 1 }).await.unwrap();
        let (path, body) = halt(session, &key);
        let answer = gateway.admin().post(&path, &body).await.unwrap();
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
        server.upstream.wait_for_leavers(before + 1).await;
        let is_settled = || async { !gateway.settled(&format!("ann:{session}")).is_empty() };
        wait_until("it is settled", LIMIT, is_settled).await.unwrap();
        let outcomes: Vec<_> = gateway.settled(&format!("ann:{session}")).iter().map(|it| it.outcome).collect();
        assert_eq!(outcomes, [Outcome::Aborted], "{session}");
    }
    assert_eq!(calls(), 3);
    gateway.finish().await;
}
