//! Messages to agents that a person must say yes to: tasks that need input, which the gateway goes on with once somebody has, at most once, and which are nobody's but their owner's.

use portcullis_interop::a2a::{Method, Version};
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::a2a::{TOKEN, message, rpc, send};
use crate::a2a_agent::{Agent, Speaks};
use crate::clients::python;
use crate::gateway::{Gateway, LIMIT};
use crate::grpc_peer::GrpcClient;
use crate::scene::Setup;

/// Juniors need a manager; clerks confirm; who is both needs both.
const RULES: &str = r#"
@id("everything")
permit (principal, action, resource);

@id("junior")
@ask("manager")
@message("Messages of juniors need a manager.")
permit (principal in Role::"junior", action == Action::"call_agent", resource == Agent::"adjuster");

@id("confirm")
@ask("clerk") @approver("client")
permit (principal in Role::"clerk", action == Action::"call_agent", resource == Agent::"adjuster");
"#;

const PRINCIPALS: &str = "{ ann: { roles: [junior] }, bob: { roles: [junior] }, cleo: { roles: [clerk] }, dan: { roles: [clerk, junior] }, mia: { roles: [manager] } }";

struct Desk {
    gateway: Gateway,
    agent: Agent,
    ann: Client,
    bob: Client,
    mia: Client,
}

impl Desk {
    async fn open(speaks: Speaks, policy: &'static str) -> Self {
        let agent = Agent::start(speaks).await;
        let setup = Setup {
            principals: PRINCIPALS,
            models: "{}".to_owned(),
            servers: "{}".to_owned(),
            policy,
            ..Setup::default()
        };
        let table = format!("{{ protocol: a2a, replicas: ['{}'], token: '{TOKEN}' }}", agent.upstream.url);
        let config = setup.config("", "").replace("policy:", &format!("  agents: {{ adjuster: {table} }}\npolicy:"));
        let gateway = Gateway::start(&config, &[("rules.cedar", RULES)]).await;
        gateway.keep_secret(TOKEN);
        let (ann, bob, mia) = (gateway.client("ann").await, gateway.client("bob").await, gateway.client("mia").await);
        Self { gateway, agent, ann, bob, mia }
    }

    /// The messages that the agent has got.
    fn messages(&self) -> usize {
        let all = ["SendMessage", "SendStreamingMessage", "message/send", "message/stream"];
        let is_message = |body: &Value| body["method"].as_str().is_some_and(|method| all.contains(&method));
        self.agent.calls().iter().filter(|call| is_message(&call.json())).count()
    }

    async fn answer(&self, task: &Value, verb: &str) -> Answer {
        let path = format!("/api/v1/approvals/{}/{verb}", approval(task));
        self.mia.post(&path, &json!({"comment": "looked at"})).await.unwrap()
    }

    async fn get(&self, client: &Client, version: &str, id: &Value) -> Value {
        let method = if version == "1.0" { "GetTask" } else { "tasks/get" };
        rpc(client, version, method, json!({"id": id})).await.json()
    }

    /// The task once it is in that state.
    async fn until(&self, client: &Client, version: &str, id: &Value, state: &str) -> Value {
        let is_so = || async { self.get(client, version, id).await["result"]["status"]["state"] == state };
        wait_until(&format!("the task is {state}"), LIMIT, is_so).await.unwrap();
        self.get(client, version, id).await["result"].clone()
    }
}

/// The approval that a task waits for, by its data part.
fn approval(task: &Value) -> &str {
    data(task)["approval"]["id"].as_str().unwrap_or_else(|| panic!("{task}"))
}

fn data(task: &Value) -> &Value {
    &task["status"]["message"]["parts"][1]["data"]
}

fn text(task: &Value) -> &str {
    task["status"]["message"]["parts"][0]["text"].as_str().unwrap_or_default()
}

/// A message to the task with a decision.
fn decision(version: &str, task: &Value, decision: &str) -> Value {
    let mut params = message(version, "", None, task["id"].as_str());
    let part = match version {
        "1.0" => json!({"data": {"decision": decision}}),
        _ => json!({"kind": "data", "data": {"decision": decision}}),
    };
    params["message"]["parts"] = json!([part]);
    params
}

fn events(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str::<Value>(data).unwrap()["result"].clone()).collect()
}

#[tokio::test]
async fn a_message_waits_as_a_task_and_the_agent_gets_it_once_after_any_restart() {
    for (version, speaks, waits, done) in [
        ("1.0", Speaks::New, "TASK_STATE_INPUT_REQUIRED", "TASK_STATE_COMPLETED"),
        ("0.3", Speaks::New, "input-required", "completed"),
        ("0.3", Speaks::Old, "input-required", "completed"),
    ] {
        let mut desk = Desk::open(speaks, "").await;
        let task = send(&desk.ann, version, "hello", Some("claim-1"), None).await;
        assert_eq!((&task["contextId"], &task["status"]["state"]), (&json!("claim-1"), &json!(waits)), "{task}");
        assert!(text(&task).starts_with("Messages of juniors need a manager. "), "{task}");
        assert!(text(&task).contains("the approval of a person with the role `manager`"), "{task}");
        for (member, expected) in [
            ("/approval/status", json!("pending")),
            ("/approval/by", json!("ann")),
            ("/approval/through", json!([])),
            ("/approval/session", json!("ann:claim-1")),
            ("/approval/capability", json!("agent/adjuster")),
            ("/approval/content/0/text", json!("hello")),
            ("/approval/message", json!("Messages of juniors need a manager.")),
            ("/approval/asks", json!([{"role": "manager", "approvals": 1, "missing": 1}])),
            ("/decisions", json!([])),
        ] {
            assert_eq!(data(&task).pointer(member), Some(&expected), "{task}");
        }
        assert!(
            data(&task)["approval"]["expires_at"].is_string() && data(&task)["approval"].get("arguments").is_none()
        );
        assert_eq!(
            send(&desk.ann, version, "hello", Some("claim-1"), None).await["id"],
            task["id"],
            "nobody is asked twice"
        );
        let got = desk.get(&desk.ann, version, &task["id"]).await;
        assert_eq!(got["result"]["status"]["state"], waits, "{got}");
        let hidden = desk.get(&desk.bob, version, &task["id"]).await;
        assert_eq!(hidden["error"]["code"], -32001, "{hidden}");
        desk.gateway.kill();
        desk.gateway.restart().await;
        assert_eq!(desk.get(&desk.ann, version, &task["id"]).await["result"]["status"]["state"], waits);
        assert_eq!(desk.messages(), 0);
        assert_eq!(desk.answer(&task, "approve").await.status, 200);
        let over = desk.until(&desk.ann, version, &task["id"], done).await;
        assert_eq!((&over["id"], &over["contextId"]), (&task["id"], &json!("claim-1")), "{over}");
        assert_eq!(over["artifacts"][0]["parts"][0]["text"], "hello", "{over}");
        desk.gateway.kill();
        desk.gateway.restart().await;
        desk.until(&desk.ann, version, &task["id"], done).await;
        assert_eq!(desk.messages(), 1, "it runs once");
        assert_eq!(desk.get(&desk.bob, version, &task["id"]).await["error"]["code"], -32001);
        desk.gateway.finish().await;
    }
}

#[tokio::test]
async fn who_may_confirm_their_own_message_does_so_in_the_client_and_nobody_else_does() {
    let desk = Desk::open(Speaks::New, "").await;
    let (cleo, dan) = (desk.gateway.client("cleo").await, desk.gateway.client("dan").await);
    for (version, sending, place) in [("1.0", "SendMessage", "/result/task"), ("0.3", "message/send", "/result")] {
        let context = format!("claim-{version}");
        for (said, words, state) in [
            ("approve", "hello", "completed"),
            ("approve", "direct answer", "completed"),
            ("deny", "hello", "rejected"),
        ] {
            let before = desk.messages();
            let task = send(&cleo, version, words, Some(&context), None).await;
            assert_eq!(data(&task)["decisions"], json!(["approve", "deny"]), "{task}");
            // Words alone decide nothing, and nobody else does.
            let talked =
                rpc(&cleo, version, sending, message(version, "approve", None, task["id"].as_str())).await.json();
            assert!(
                talked.pointer(place).unwrap()["status"]["state"].as_str().unwrap().to_lowercase().contains("input"),
                "{talked}"
            );
            let strange = rpc(&desk.ann, version, sending, decision(version, &task, said)).await.json();
            assert_eq!(strange["error"]["code"], -32001, "{strange}");
            let over = rpc(&cleo, version, sending, decision(version, &task, said)).await.json();
            let over = over.pointer(place).cloned().unwrap_or_else(|| panic!("{over}"));
            assert!(over["status"]["state"].as_str().unwrap().to_lowercase().ends_with(state), "{over}");
            assert_eq!(over["id"], task["id"]);
            assert_eq!(desk.messages() - before, usize::from(said == "approve"), "{version} {said} {words}");
            if words.starts_with("direct") {
                assert_eq!(text(&over), "direct answer");
            }
            let late = rpc(&cleo, version, sending, decision(version, &task, "approve")).await.json();
            assert_eq!(late["error"]["code"].is_i64(), state != "completed" || words.starts_with("direct"), "{late}");
        }
        // Without the rule that says so, nobody says yes to their own.
        let task = send(&desk.ann, version, "hello", Some(&context), None).await;
        let own = rpc(&desk.ann, version, sending, decision(version, &task, "approve")).await.json();
        assert_eq!(own["error"]["code"], 403, "{own}");
        // Nor to what stands beside the parts that they are shown.
        let mut more = message(version, "hello", Some(&context), None);
        more["metadata"] = json!({"amount": 50_000});
        let task = rpc(&cleo, version, sending, more).await.json().pointer(place).cloned().unwrap();
        assert_eq!(data(&task)["decisions"], json!([]), "{task}");
        let own = rpc(&cleo, version, sending, decision(version, &task, "approve")).await.json();
        assert_eq!(own["error"]["code"], 403, "{own}");
        // One's own yes is one of several.
        let before = desk.messages();
        let task = send(&dan, version, "hello", Some(&context), None).await;
        let half = rpc(&dan, version, sending, decision(version, &task, "approve")).await.json();
        assert!(
            half.pointer(place).unwrap()["status"]["state"].as_str().unwrap().to_lowercase().contains("input"),
            "{half}"
        );
        assert_eq!(desk.messages(), before);
        assert_eq!(desk.answer(&task, "approve").await.status, 200);
        let done = if version == "1.0" { "TASK_STATE_COMPLETED" } else { "completed" };
        desk.until(&dan, version, &task["id"], done).await;
        assert_eq!(desk.messages(), before + 1);
    }
    desk.gateway.finish().await;
}

#[tokio::test]
async fn what_is_denied_taken_back_or_too_late_never_reaches_the_agent() {
    let desk = Desk::open(Speaks::New, "").await;
    let denied = send(&desk.ann, "1.0", "one", Some("claim-1"), None).await;
    assert_eq!(desk.answer(&denied, "deny").await.status, 200);
    let denied = desk.until(&desk.ann, "1.0", &denied["id"], "TASK_STATE_REJECTED").await;
    assert_eq!(text(&denied), "A person was asked about this message and has said no: looked at");

    let task = send(&desk.ann, "1.0", "two", Some("claim-1"), None).await;
    let stranger = rpc(&desk.bob, "1.0", "CancelTask", json!({"id": task["id"]})).await.json();
    assert_eq!(stranger["error"]["code"], -32001, "{stranger}");
    let cancelled = rpc(&desk.ann, "1.0", "CancelTask", json!({"id": task["id"]})).await.json();
    assert_eq!(cancelled["result"]["status"]["state"], "TASK_STATE_CANCELED", "{cancelled}");
    assert_eq!(desk.answer(&task, "approve").await.status, 410);
    let again = rpc(&desk.ann, "1.0", "CancelTask", json!({"id": task["id"]})).await.json();
    assert_eq!(again["error"]["code"], -32002, "{again}");

    let failing = send(&desk.ann, "1.0", "fail -32005", Some("claim-1"), None).await;
    assert_eq!(desk.answer(&failing, "approve").await.status, 200);
    let failed = desk.until(&desk.ann, "1.0", &failing["id"], "TASK_STATE_FAILED").await;
    assert!(text(&failed).starts_with("Somebody has said yes, and the agent did not get the message"), "{failed}");
    assert_eq!(desk.messages(), 1, "it is tried once");
    desk.gateway.finish().await;

    let desk = Desk::open(Speaks::Old, ", approvals: { expires_s: 1 }").await;
    let task = send(&desk.ann, "0.3", "three", Some("claim-1"), None).await;
    let failed = desk.until(&desk.ann, "0.3", &task["id"], "failed").await;
    assert!(text(&failed).starts_with("Nobody has said yes in time: it expired at "), "{failed}");
    assert_eq!((desk.messages(), desk.answer(&task, "approve").await.status), (0, 410));
    desk.gateway.finish().await;
}

#[tokio::test]
async fn what_is_approved_for_an_agent_that_is_disabled_by_then_never_reaches_it() {
    let desk = Desk::open(Speaks::New, "").await;
    let task = send(&desk.ann, "1.0", "hello", Some("claim-1"), None).await;
    let disabled = desk.gateway.command(&["identity", "disable", "adjuster", "--reason", "strange"]).await;
    assert!(disabled.status.success(), "{disabled:?}");
    assert_eq!(desk.answer(&task, "approve").await.status, 200);
    let failed = desk.until(&desk.ann, "1.0", &task["id"], "TASK_STATE_FAILED").await;
    let expected = "the agent did not get the message: `adjuster` is disabled and may not be called";
    assert!(text(&failed).ends_with(expected), "{failed}");
    assert_eq!(desk.messages(), 0);
    desk.gateway.finish().await;
}

#[tokio::test]
async fn whoever_streams_sees_the_task_and_then_what_the_agent_makes_of_it() {
    let desk = Desk::open(Speaks::New, "").await;
    let cleo = desk.gateway.client("cleo").await;
    for (version, streaming, subscribing) in
        [("1.0", "SendStreamingMessage", "SubscribeToTask"), ("0.3", "message/stream", "tasks/resubscribe")]
    {
        let context = format!("claim-{version}");
        let first = events(&rpc(&desk.ann, version, streaming, message(version, "hello", Some(&context), None)).await);
        let task = if version == "1.0" { first[0]["task"].clone() } else { first[0].clone() };
        assert_eq!(first.len(), 1, "{first:?}");
        assert!(approval(&task).len() == 32);
        let (ann, id) = (desk.ann.clone(), task["id"].clone());
        let watching = tokio::spawn(async move { rpc(&ann, version, subscribing, json!({"id": id})).await });
        assert_eq!(desk.answer(&task, "approve").await.status, 200);
        let seen = events(&watching.await.unwrap());
        let last = seen.last().unwrap().to_string();
        assert!(last.contains(task["id"].as_str().unwrap()) && last.to_lowercase().contains("completed"), "{seen:?}");

        let mine = events(&rpc(&cleo, version, streaming, message(version, "hello", Some(&context), None)).await);
        let task = if version == "1.0" { mine[0]["task"].clone() } else { mine[0].clone() };
        let told = events(&rpc(&cleo, version, streaming, decision(version, &task, "approve")).await);
        assert!(told.last().unwrap().to_string().to_lowercase().contains("completed"), "{told:?}");
        assert!(told.iter().all(|event| event.to_string().contains(task["id"].as_str().unwrap())));
    }
    desk.gateway.finish().await;
}

#[tokio::test]
async fn once_the_agent_has_it_the_task_is_the_agents_own() {
    let desk = Desk::open(Speaks::New, "").await;
    let task = send(&desk.ann, "1.0", "wait", Some("claim-1"), None).await;
    assert_eq!(desk.answer(&task, "approve").await.status, 200);
    let is_asked = || async { desk.get(&desk.ann, "1.0", &task["id"]).await["result"]["artifacts"].is_array() };
    wait_until("the agent has made a task of it", LIMIT, is_asked).await.unwrap();
    // What is said to it next needs its own yes, and reaches the same task.
    let next = send(&desk.ann, "1.0", "go on", None, task["id"].as_str()).await;
    assert_ne!(next["id"], task["id"], "{next}");
    assert_eq!(desk.answer(&next, "approve").await.status, 200);
    let over = desk.until(&desk.ann, "1.0", &next["id"], "TASK_STATE_COMPLETED").await;
    assert_eq!(over["id"], next["id"]);
    let behind = desk.agent.calls().into_iter().map(|call| call.json()).rfind(|body| body["method"] == "SendMessage");
    assert_eq!(behind.unwrap()["params"]["message"]["taskId"], "t-1");
    desk.until(&desk.ann, "1.0", &task["id"], "TASK_STATE_COMPLETED").await;

    let task = send(&desk.ann, "1.0", "wait", Some("claim-2"), None).await;
    assert_eq!(desk.answer(&task, "approve").await.status, 200);
    let is_asked = || async { desk.get(&desk.ann, "1.0", &task["id"]).await["result"]["artifacts"].is_array() };
    wait_until("the agent has made a task of it", LIMIT, is_asked).await.unwrap();
    let cancelled = rpc(&desk.ann, "1.0", "CancelTask", json!({"id": task["id"]})).await.json();
    assert_eq!(cancelled["result"]["status"]["state"], "TASK_STATE_CANCELED", "{cancelled}");
    assert_eq!(cancelled["result"]["id"], task["id"]);
    let cancels = desk.agent.calls().iter().filter(|call| call.json()["method"] == "CancelTask").count();
    assert_eq!(cancels, 1);
    desk.gateway.finish().await;
}

#[tokio::test]
async fn lists_have_what_waits_for_a_person_and_the_agents_task_by_the_same_name() {
    let desk = Desk::open(Speaks::New, "").await;
    let list = async |client: &Client, params: Value| {
        let page = rpc(client, "1.0", "ListTasks", params).await.json();
        let tasks = page["result"]["tasks"].as_array().unwrap_or_else(|| panic!("{page}")).clone();
        let seen = |task: &Value| (task["id"].clone(), task["status"]["state"].as_str().unwrap().to_owned());
        tasks.iter().map(seen).collect::<Vec<_>>()
    };
    let one = send(&desk.ann, "1.0", "wait", Some("claim-1"), None).await["id"].clone();
    let two = send(&desk.ann, "1.0", "hello", Some("claim-2"), None).await["id"].clone();
    let waits = |id: &Value| (id.clone(), "TASK_STATE_INPUT_REQUIRED".to_owned());
    assert_eq!(list(&desk.ann, json!({})).await, [waits(&two), waits(&one)]);
    assert_eq!(list(&desk.ann, json!({"contextId": "claim-1"})).await, [waits(&one)]);
    assert_eq!(list(&desk.ann, json!({"status": "TASK_STATE_WORKING"})).await, []);
    assert_eq!(list(&desk.bob, json!({})).await, []);
    let task = desk.get(&desk.ann, "1.0", &one).await["result"].clone();
    assert_eq!(desk.answer(&task, "approve").await.status, 200);
    let is_asked = || async { desk.get(&desk.ann, "1.0", &one).await["result"]["artifacts"].is_array() };
    wait_until("the agent has made a task of it", LIMIT, is_asked).await.unwrap();
    // The agent says how it stands by its own id; the list says it by the one that ann was given.
    let state = desk.get(&desk.ann, "1.0", &one).await["result"]["status"]["state"].as_str().unwrap().to_owned();
    assert!(list(&desk.ann, json!({"contextId": "claim-1"})).await.contains(&(one, state)));
    desk.gateway.finish().await;
}

#[tokio::test]
async fn every_binding_of_either_version_has_the_task() {
    let desk = Desk::open(Speaks::New, "").await;
    let key = desk.gateway.key("cleo").await;
    let cleo = desk.gateway.stranger().with_key(&key);
    let new = json!({"message": {"messageId": "m", "role": "ROLE_USER", "contextId": "claim-1", "parts": [{"text": "hello"}]}});
    let old = json!({"request": {"messageId": "m", "role": "ROLE_USER", "contextId": "claim-2", "content": [{"text": "hello"}]}});
    for (version, path, body, get) in
        [("1.0", "/message:send", &new, "/tasks"), ("0.3", "/v1/message:send", &old, "/v1/tasks")]
    {
        let headers = [("a2a-version", version)];
        let path = format!("/a2a/adjuster{path}");
        let sent = cleo.send("POST", &path, &headers, Some(body.to_string())).await.unwrap();
        let task = sent.json()["task"].clone();
        assert_eq!(task["status"]["state"], "TASK_STATE_INPUT_REQUIRED", "{}", sent.text());
        assert!(sent.header("location").is_some_and(|place| place.starts_with("/api/v1/approvals/")));
        let path = format!("/a2a/adjuster{get}/{}", task["id"].as_str().unwrap());
        let got = cleo.send("GET", &path, &headers, None).await.unwrap().json();
        assert_eq!((&got["id"], &got["status"]["state"]), (&task["id"], &json!("TASK_STATE_INPUT_REQUIRED")), "{got}");
    }
    for version in [Version::V1_0, Version::V0_3] {
        let grpc = GrpcClient::new(&desk.gateway.url(), &key, version);
        let mut params = new.clone();
        params["message"]["contextId"] = json!(format!("claim-grpc-{}", version.as_str()));
        let called = grpc.call(Method::SendMessage, &params).await;
        let task = &called.replies[0]["task"];
        assert_eq!(task["status"]["state"], "TASK_STATE_INPUT_REQUIRED", "{called:?}");
        let got = grpc.call(Method::GetTask, &json!({"id": task["id"]})).await;
        assert_eq!(got.replies[0]["id"], task["id"], "{got:?}");
    }
    desk.gateway.finish().await;
}

#[tokio::test]
#[ignore = "needs client libraries: cargo xtask test"]
async fn the_official_python_client_waits_and_answers() {
    let desk = Desk::open(Speaks::New, "").await;
    let key = desk.gateway.key("cleo").await;
    for binding in ["JSONRPC", "HTTP+JSON", "GRPC"] {
        let mut command = python("a2a10", "a2a10_ask_check.py");
        command
            .env("PORTCULLIS_URL", desk.gateway.url())
            .env("PORTCULLIS_KEY", &key)
            .env("PORTCULLIS_AGENT", "adjuster")
            .env("PORTCULLIS_BINDING", binding)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let output = tokio::process::Command::from(command).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{binding}\n{said}{errors}\n{}", desk.gateway.log());
        assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 28, "{said}");
    }
    desk.gateway.finish().await;
}
