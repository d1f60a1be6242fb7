//! Agents by Agent2Agent: whatever version and binding either side speaks, a context is a session, a task is its owner's, and the agent learns neither names nor keys of the client.

use std::sync::PoisonError;

use portcullis_domain::event::Outcome;
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::a2a_agent::{Agent, Speaks};
use crate::gateway::{Gateway, LIMIT};
use crate::scene::Setup;

pub(crate) const ALL: &str = "permit (principal, action, resource);";
pub(crate) const TOKEN: &str = "tok-agent-77c0";
const EXTENSION: &str = "https://portcullis.dev/extensions/session/v1";

pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) agents: Vec<Agent>,
    pub(crate) ann: Client,
}

impl Stage {
    /// A gateway with one agent of so many replicas.
    pub(crate) async fn start(speaks: Speaks, replicas: usize, rules: &str) -> Self {
        let mut agents = Vec::new();
        for _ in 0..replicas {
            agents.push(Agent::start(speaks).await);
        }
        let gateway = Gateway::start(&config(&agents, ""), &[("rules.cedar", rules)]).await;
        gateway.keep_secret(TOKEN);
        let ann = gateway.client("ann").await;
        Self { gateway, agents, ann }
    }

    fn outcomes(&self, session: &str) -> Vec<Outcome> {
        self.gateway.settled(&format!("ann:{session}")).iter().map(|settled| settled.outcome).collect()
    }
}

pub(crate) fn config(agents: &[Agent], more: &str) -> String {
    let urls: Vec<String> = agents.iter().map(|agent| format!("'{}'", agent.upstream.url)).collect();
    let setup = Setup { models: "{}".to_owned(), servers: "{}".to_owned(), ..Setup::default() };
    let table = format!("{{ protocol: a2a, replicas: [{}], token: '{TOKEN}'{more} }}", urls.join(", "));
    setup.config("", "").replace("policy:", &format!("  agents: {{ adjuster: {table} }}\npolicy:"))
}

/// A call by JSON-RPC in that version.
pub(crate) async fn rpc(client: &Client, version: &str, method: &str, params: Value) -> Answer {
    let body = json!({"jsonrpc": "2.0", "id": "c-1", "method": method, "params": params});
    client.send("POST", "/a2a/adjuster", &[("a2a-version", version)], Some(body.to_string())).await.unwrap()
}

pub(crate) fn message(version: &str, text: &str, context: Option<&str>, task: Option<&str>) -> Value {
    let mut message = match version {
        "1.0" => json!({"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": text}]}),
        _ => json!({"kind": "message", "messageId": "m-1", "role": "user", "parts": [{"kind": "text", "text": text}]}),
    };
    for (name, id) in [("contextId", context), ("taskId", task)] {
        if let Some(id) = id {
            message[name] = json!(id);
        }
    }
    json!({"message": message})
}

/// Sends a message and gives the task that it is answered with.
pub(crate) async fn send(
    client: &Client,
    version: &str,
    text: &str,
    context: Option<&str>,
    task: Option<&str>,
) -> Value {
    let (method, place) = if version == "1.0" { ("SendMessage", "/result/task") } else { ("message/send", "/result") };
    let answer = rpc(client, version, method, message(version, text, context, task)).await;
    answer.json().pointer(place).cloned().unwrap_or_else(|| panic!("{}", answer.text()))
}

fn events(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[tokio::test]
async fn a_client_of_either_version_reaches_an_agent_of_either_version() {
    for speaks in [Speaks::New, Speaks::Old, Speaks::Rest] {
        let stage = Stage::start(speaks, 1, ALL).await;
        let agent = &stage.agents[0];
        for (version, get, done) in [("1.0", "GetTask", "TASK_STATE_COMPLETED"), ("0.3", "tasks/get", "completed")] {
            let context = format!("claim-{version}");
            let task = send(&stage.ann, version, "hello", Some(&context), None).await;
            assert_eq!(
                (&task["contextId"], &task["status"]["state"]),
                (&json!(context), &json!(done)),
                "{speaks:?} {task}"
            );
            assert_eq!(task["artifacts"][0]["parts"][0]["text"], "hello");
            let behind = agent.message();
            assert!(behind["contextId"].is_string() && behind["contextId"] != json!(context), "{behind}");
            let head = agent.calls().last().unwrap().head.clone();
            assert!(
                head.contains(&format!("authorization: bearer {TOKEN}")) && head.contains("portcullis-principal: ann"),
                "{head}"
            );
            let id = task["id"].as_str().unwrap();
            assert!(!id.starts_with("t-1"), "{id}");
            let got = rpc(&stage.ann, version, get, json!({"id": id})).await.json();
            assert_eq!(
                (&got["id"], &got["result"]["id"], &got["result"]["contextId"]),
                (&json!("c-1"), &task["id"], &task["contextId"]),
                "{speaks:?} {got}"
            );
        }
        stage.gateway.finish().await;
    }
}

#[tokio::test]
async fn a_task_is_its_owners_and_nobody_elses() {
    let stage = Stage::start(Speaks::New, 1, ALL).await;
    let bob = stage.gateway.client("bob").await;
    let task = send(&stage.ann, "1.0", "wait", Some("claim-1"), None).await;
    let id = task["id"].as_str().unwrap();
    let before = stage.agents[0].calls().len();
    for method in ["GetTask", "CancelTask", "SubscribeToTask"] {
        for named in [id, "t-1", "made-up"] {
            let answer = rpc(&bob, "1.0", method, json!({"id": named})).await;
            let told = if method == "SubscribeToTask" { events(&answer).remove(0) } else { answer.json() };
            assert_eq!(told["error"]["code"], -32001, "{method} {named} {told}");
            assert_eq!(told["error"]["message"], format!("there is no task `{named}`"));
        }
    }
    let refused = rpc(&bob, "1.0", "SendMessage", message("1.0", "more", None, Some(id))).await.json();
    assert_eq!(refused["error"]["code"], -32001, "{refused}");
    assert_eq!(stage.agents[0].calls().len(), before, "the agent was asked");
    // His context of the same name is another one, and what is in hers is not in his.
    let own = send(&bob, "1.0", "hello", Some("claim-1"), None).await;
    let contexts: Vec<Value> =
        stage.agents[0].calls().iter().map(|call| call.json()["params"]["message"]["contextId"].clone()).collect();
    assert_ne!(contexts[0], contexts[1]);
    let listed = rpc(&bob, "1.0", "ListTasks", json!({"contextId": "claim-1"})).await.json();
    assert_eq!(listed["result"]["tasks"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!((&listed["result"]["tasks"][0]["id"], &listed["result"]["totalSize"]), (&own["id"], &json!(1)));
    // She still has it.
    let cancelled = rpc(&stage.ann, "0.3", "tasks/cancel", json!({"id": id})).await.json();
    assert_eq!(cancelled["result"]["status"]["state"], "canceled", "{cancelled}");
    stage.gateway.finish().await;
}

#[tokio::test]
async fn names_outlive_a_gateway_that_was_killed() {
    let mut stage = Stage::start(Speaks::New, 2, ALL).await;
    let task = send(&stage.ann, "1.0", "wait", None, None).await;
    let (context, id) = (task["contextId"].as_str().unwrap().to_owned(), task["id"].as_str().unwrap().to_owned());
    assert!(context.starts_with("ses_"), "{context}");
    stage.gateway.kill();
    stage.gateway.restart().await;
    let got = rpc(&stage.ann, "1.0", "GetTask", json!({"id": id})).await.json();
    assert_eq!((&got["result"]["id"], &got["result"]["contextId"]), (&json!(id), &json!(context)), "{got}");
    let more = send(&stage.ann, "1.0", "more", Some(&context), Some(&id)).await;
    assert_eq!((&more["id"], &more["status"]["state"]), (&json!(id), &json!("TASK_STATE_COMPLETED")), "{more}");
    stage.gateway.finish().await;
}

#[tokio::test]
async fn path_header_context_and_task_name_one_session_or_are_refused() {
    let stage = Stage::start(Speaks::New, 1, ALL).await;
    let named = stage.ann.clone().with_header("portcullis-session", "claim-1");
    let task = send(&named, "1.0", "wait", None, None).await;
    assert_eq!(task["contextId"], "claim-1");
    let id = task["id"].as_str().unwrap();
    let odd = send(&stage.ann, "1.0", "hello", Some("a/b c"), None).await;
    assert_eq!(odd["contextId"], "a/b c");
    let other = stage.ann.clone().with_header("portcullis-session", "claim-2");
    for (client, context, task, code) in [
        (&other, Some("claim-1"), None, -32602),
        (&other, None, Some(id), -32001),
        (&stage.ann, Some("claim-2"), Some(id), -32602),
    ] {
        let answer = rpc(client, "1.0", "SendMessage", message("1.0", "hello", context, task)).await.json();
        assert_eq!(answer["error"]["code"], code, "{context:?} {task:?} {answer}");
    }
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": id}}).to_string();
    let answer =
        stage.ann.send("POST", "/s/claim-1/a2a/adjuster", &[("a2a-version", "1.0")], Some(body)).await.unwrap();
    assert_eq!((&answer.json()["result"]["id"], answer.header("portcullis-session")), (&task["id"], Some("claim-1")));
    stage.gateway.finish().await;
}

#[tokio::test]
async fn streams_flow_and_leaving_one_ends_the_call_but_not_the_task() {
    for speaks in [Speaks::New, Speaks::Old] {
        let stage = Stage::start(speaks, 1, ALL).await;
        for (version, method, state) in [
            ("1.0", "SendStreamingMessage", "/result/statusUpdate/status/state"),
            ("0.3", "message/stream", "/result/status/state"),
        ] {
            let context = format!("claim-{version}");
            let answer = rpc(&stage.ann, version, method, message(version, "hello", Some(&context), None)).await;
            assert_eq!(answer.header("content-type"), Some("text/event-stream"));
            let events = events(&answer);
            let [first, last] = events.as_slice() else { panic!("{events:?}") };
            let end = last.pointer(state).and_then(Value::as_str).unwrap_or_default().to_lowercase();
            assert!(end.ends_with("completed") && first["id"] == "c-1", "{events:?}");
            assert!(
                events
                    .iter()
                    .all(|event| event.to_string().contains(&context) && !event.to_string().contains("\"t-1\""))
            );
            assert_eq!(stage.outcomes(&context), [Outcome::Completed]);
        }
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": message("1.0", "wait", Some("claim-3"), None)});
        let headers = [("a2a-version", "1.0")];
        let mut stream = stage.ann.stream("POST", "/a2a/adjuster", &headers, Some(body.to_string())).await.unwrap();
        let first: Value = serde_json::from_str(&stream.next_event().await.unwrap().unwrap().data).unwrap();
        let id = first["result"]["task"]["id"].as_str().unwrap_or_else(|| panic!("{first}")).to_owned();
        assert_eq!(stage.outcomes("claim-3"), []);
        drop(stream);
        stage.agents[0].upstream.wait_for_leavers(1).await;
        let is_settled = || async { stage.outcomes("claim-3") == [Outcome::Aborted] };
        wait_until("the call is settled", LIMIT, is_settled).await.unwrap();
        let got = rpc(&stage.ann, "1.0", "GetTask", json!({"id": id})).await.json();
        assert_eq!(got["result"]["status"]["state"], "TASK_STATE_WORKING", "{got}");
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": id}});
        let mut stream = stage.ann.stream("POST", "/a2a/adjuster", &headers, Some(body.to_string())).await.unwrap();
        let again: Value = serde_json::from_str(&stream.next_event().await.unwrap().unwrap().data).unwrap();
        assert_eq!(again["result"]["task"]["id"], json!(id), "{again}");
        drop(stream);
        stage.agents[0].upstream.wait_for_leavers(2).await;
        stage.gateway.finish().await;
    }
}

#[tokio::test]
async fn a_call_whose_client_leaves_is_settled_before_anything_came() {
    let stage = Stage::start(Speaks::New, 1, ALL).await;
    for (number, method) in ["SendMessage", "SendStreamingMessage"].into_iter().enumerate() {
        let ann = stage.ann.clone();
        let wish = message("1.0", "hang", Some("claim-1"), None);
        let hanging = tokio::spawn(async move { rpc(&ann, "1.0", method, wish).await });
        let is_asked = || async { stage.agents[0].calls().len() == number + 1 };
        wait_until("the agent is asked", LIMIT, is_asked).await.unwrap();
        hanging.abort();
        let is_settled = || async { stage.outcomes("claim-1") == vec![Outcome::Aborted; number + 1] };
        wait_until("the call is settled", LIMIT, is_settled).await.unwrap();
    }
    stage.gateway.finish().await;
}

#[tokio::test]
async fn clients_over_http_json_are_answered_in_their_own_form() {
    let stage = Stage::start(Speaks::New, 1, ALL).await;
    let bob = stage.gateway.client("bob").await;
    let new = [("a2a-version", "1.0"), ("content-type", "application/a2a+json")];
    let body = message("1.0", "hello", Some("claim-1"), None).to_string();
    let sent = stage.ann.send("POST", "/a2a/adjuster/message:send", &new, Some(body)).await.unwrap();
    assert_eq!((sent.status, sent.header("content-type")), (200, Some("application/a2a+json")), "{}", sent.text());
    let id = sent.json()["task"]["id"].as_str().unwrap().to_owned();
    let got = stage.ann.send("GET", &format!("/a2a/adjuster/tasks/{id}"), &new, None).await.unwrap();
    assert_eq!((got.status, &got.json()["contextId"]), (200, &json!("claim-1")), "{}", got.text());
    let old = stage.ann.send("GET", &format!("/a2a/adjuster/v1/tasks/{id}"), &[], None).await.unwrap();
    assert_eq!((old.status, &old.json()["id"]), (200, &json!(id)), "{}", old.text());
    let refused = bob.send("GET", &format!("/a2a/adjuster/tasks/{id}"), &new, None).await.unwrap();
    assert_eq!((refused.status, &refused.json()["error"]["details"][0]["reason"]), (404, &json!("TASK_NOT_FOUND")));
    let body = message("1.0", "hello", Some("claim-1"), None).to_string();
    let streamed = stage.ann.send("POST", "/a2a/adjuster/message:stream", &new, Some(body)).await.unwrap();
    assert!(events(&streamed)[0]["task"]["id"].is_string(), "{}", streamed.text());
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_card_shows_the_gateway_and_not_the_agent() {
    let stage = Stage::start(Speaks::New, 1, ALL).await;
    let path = "/a2a/adjuster/.well-known/agent-card.json";
    let card = stage.ann.get(path).await.unwrap();
    let here = format!("{}/a2a/adjuster", stage.gateway.url());
    assert_eq!((&card.json()["url"], &card.json()["supportedInterfaces"][0]["url"]), (&json!(here), &json!(here)));
    assert_eq!(card.json()["capabilities"]["pushNotifications"], false);
    assert!(!card.text().contains("192.0.2.1") && !card.text().contains(&stage.agents[0].upstream.url));
    assert!(card.header("last-modified").is_some_and(|date| date.ends_with("GMT")));
    let tag = card.header("etag").unwrap().to_owned();
    let known = stage.ann.send("GET", path, &[("if-none-match", tag.as_str())], None).await.unwrap();
    assert_eq!((known.status, known.header("etag"), known.text()), (304, Some(tag.as_str()), String::new()));
    let former = stage.ann.get("/s/claim-1/a2a/adjuster/.well-known/agent.json").await.unwrap().json();
    assert_eq!(former["url"], format!("{}/s/claim-1/a2a/adjuster", stage.gateway.url()));
    assert_eq!(stage.gateway.stranger().get(path).await.unwrap().status, 401);
    assert_eq!(stage.ann.get("/a2a/nobody/.well-known/agent-card.json").await.unwrap().status, 404);
    // It is at no other door: there the ids of tasks would not be looked at.
    assert_eq!(stage.ann.post("/agents/adjuster/rpc", &json!({})).await.unwrap().status, 404);
    let place = json!({"taskId": "t", "url": "http://127.0.0.1:1/"});
    let refused = rpc(&stage.ann, "1.0", "CreateTaskPushNotificationConfig", place.clone()).await.json();
    assert_eq!(refused["error"]["code"], -32003, "{refused}");
    let mut wish = message("1.0", "hello", None, None);
    wish["configuration"] = json!({"taskPushNotificationConfig": place});
    let refused = rpc(&stage.ann, "1.0", "SendMessage", wish).await.json();
    assert_eq!(refused["error"]["code"], -32003, "{refused}");
    assert_eq!(stage.agents[0].calls().len(), 0);
    stage.gateway.finish().await;
}

#[tokio::test]
async fn an_agent_without_a_card_is_called_once_it_has_one() {
    let agent = Agent::start(Speaks::New).await;
    *agent.state.has_card.lock().unwrap_or_else(PoisonError::into_inner) = false;
    let agents = [agent];
    let gateway = Gateway::start(&config(&agents, ""), &[("rules.cedar", ALL)]).await;
    gateway.keep_secret(TOKEN);
    let ann = gateway.client("ann").await;
    let path = "/a2a/adjuster/.well-known/agent-card.json";
    assert_eq!(ann.get(path).await.unwrap().status, 502);
    let refused = rpc(&ann, "1.0", "SendMessage", message("1.0", "hello", Some("claim-1"), None)).await.json();
    assert_eq!(refused["error"]["code"], 502, "{refused}");
    gateway.wait_for_log("it is answered with status 404", 1).await;
    *agents[0].state.has_card.lock().unwrap_or_else(PoisonError::into_inner) = true;
    assert_eq!(ann.get(path).await.unwrap().status, 200);
    assert_eq!(send(&ann, "1.0", "hello", Some("claim-1"), None).await["contextId"], "claim-1");
    gateway.finish().await;
}

#[tokio::test]
async fn a_replica_is_told_what_the_session_remembers_with_its_first_message() {
    let stage = Stage::start(Speaks::New, 2, ALL).await;
    stage.ann.put("/api/v1/sessions/claim-1/state/amount", &json!(900)).await.unwrap();
    let task = send(&stage.ann, "1.0", "wait", Some("claim-1"), None).await;
    let home = usize::from(stage.agents[0].calls().is_empty());
    let (before, after) = (&stage.agents[home], &stage.agents[1 - home]);
    let told = before.message()["metadata"][EXTENSION].clone();
    assert_eq!((&told["session"], &told["owner"], &told["fence"]), (&json!("claim-1"), &json!("ann"), &json!(1)));
    // What a client says in the gateway's name is not passed on.
    let mut forged = message("1.0", "more", Some("claim-1"), None);
    forged["message"]["metadata"] = json!({EXTENSION: {"state": [{"key": "amount", "value": 1}]}, "own": 1});
    rpc(&stage.ann, "1.0", "SendMessage", forged).await;
    let metadata = before.message()["metadata"].clone();
    assert_eq!((&metadata["own"], &metadata[EXTENSION]["state"]), (&json!(1), &Value::Null), "{metadata}");
    assert!(before.calls().last().unwrap().head.contains(&format!("a2a-extensions: {EXTENSION}")));
    stage.gateway.configure(&config(&stage.agents, &format!(", draining: ['{}']", before.upstream.url)));
    stage.gateway.reload().await;
    // The task is asked for where the session is now, which does not have it: it says so in the client's words.
    let id = task["id"].as_str().unwrap();
    let gone = rpc(&stage.ann, "1.0", "GetTask", json!({"id": id})).await.json();
    assert_eq!(gone["error"]["message"], format!("Task {id} not found"), "{gone}");
    assert!(after.calls().last().unwrap().head.contains("portcullis-fence: 2"));
    send(&stage.ann, "1.0", "hello", Some("claim-1"), None).await;
    let told = after.message()["metadata"][EXTENSION].clone();
    let amount = json!({"key": "amount", "version": 1, "value": 900});
    assert_eq!((&told["fence"], &told["state"][0]), (&json!(2), &amount), "{told}");
    stage.gateway.finish().await;
}

#[tokio::test]
async fn policy_is_told_in_words_and_a_key_makes_a_message_once() {
    let rules = r#"
        permit (principal, action, resource) unless { context.session.name like "shut-*" };
        @message("Not in that session.")
        forbid (principal, action == Action::"call_agent", resource) when { context.session.name like "shut-*" && context.door == "a2a" };
    "#;
    let mut stage = Stage::start(Speaks::New, 1, rules).await;
    for (version, method, place) in
        [("1.0", "SendMessage", "/result/message/parts/0/text"), ("0.3", "message/send", "/result/parts/0/text")]
    {
        let denied = rpc(&stage.ann, version, method, message(version, "hello", Some("shut-1"), None)).await.json();
        let said = denied.pointer(place).and_then(Value::as_str).unwrap_or_else(|| panic!("{denied}"));
        assert!(said.contains("Not in that session."), "{said}");
    }
    let denied = rpc(&stage.ann, "1.0", "ListTasks", json!({"contextId": "shut-1"})).await.json();
    assert_eq!(denied["error"]["code"], 403, "{denied}");
    assert_eq!((stage.gateway.refused().len(), stage.agents[0].calls().len()), (3, 0));
    let once = stage.ann.clone().with_header("idempotency-key", "k-1");
    let first = send(&once, "1.0", "hello", Some("claim-1"), None).await;
    stage.gateway.kill();
    stage.gateway.restart().await;
    assert_eq!(send(&once, "1.0", "hello", Some("claim-1"), None).await, first);
    assert_eq!(stage.agents[0].calls().len(), 1);
    stage.gateway.finish().await;
}
