//! `ListTasks`: everything that is the caller's at an agent, or of one context, whichever replicas its sessions have, and nothing else.

use portcullis_interop::a2a::{Binding, Method, Version};
use portcullis_testkit::http::Client;
use serde_json::{Value, json};

use crate::a2a::{ALL, Stage, message, rpc, send};
use crate::a2a_agent::Speaks;
use crate::grpc_peer::GrpcClient;

const BINDINGS: [Binding; 3] = [Binding::JsonRpc, Binding::HttpJson, Binding::Grpc];

/// A client of each binding.
struct Lister {
    http: Client,
    grpc: GrpcClient,
}

impl Lister {
    async fn of(stage: &Stage, principal: &str) -> Self {
        let key = stage.gateway.key(principal).await;
        let grpc = GrpcClient::new(&stage.gateway.url(), &key, Version::V1_0);
        Self { http: stage.gateway.stranger().with_key(&key), grpc }
    }

    /// A page, or what is wrong.
    async fn list(&self, binding: Binding, params: &Value) -> Result<Value, String> {
        match binding {
            Binding::JsonRpc => {
                let answer = rpc(&self.http, "1.0", "ListTasks", params.clone()).await.json();
                answer.get("result").cloned().ok_or_else(|| answer["error"]["message"].as_str().unwrap().to_owned())
            }
            Binding::HttpJson => {
                let raw = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let pairs = params.as_object().unwrap().iter().map(|(name, value)| format!("{name}={}", raw(value)));
                let path = format!("/a2a/adjuster/tasks?{}", pairs.collect::<Vec<_>>().join("&"));
                let answer = self.http.send("GET", &path, &[("a2a-version", "1.0")], None).await.unwrap();
                let message = answer.json()["error"]["message"].as_str().map(str::to_owned);
                if answer.status == 200 { Ok(answer.json()) } else { Err(message.unwrap()) }
            }
            Binding::Grpc => {
                let mut called = self.grpc.call(Method::ListTasks, params).await;
                if called.status.code == 0 { Ok(called.replies.remove(0)) } else { Err(called.status.message) }
            }
        }
    }

    /// The ids of all pages of that size, each of which must say how many there are in all.
    async fn all(&self, binding: Binding, mut params: Value, size: usize, total: usize) -> Vec<String> {
        let mut ids = Vec::new();
        params["pageSize"] = json!(size);
        loop {
            let page = self.list(binding, &params).await.unwrap();
            assert_eq!((&page["totalSize"], &page["pageSize"]), (&json!(total), &json!(size)), "{binding:?} {page}");
            let tasks = page["tasks"].as_array().unwrap();
            assert!(tasks.len() <= size && tasks.iter().all(|task| task.get("artifacts").is_none()), "{page}");
            ids.extend(tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()));
            let next = page["nextPageToken"].as_str().unwrap_or_else(|| panic!("{page}"));
            if next.is_empty() {
                return ids;
            }
            params["pageToken"] = json!(next);
        }
    }
}

#[tokio::test]
async fn all_tasks_of_the_caller_are_listed_newest_first_page_by_page_over_sessions_and_replicas() {
    let stage = Stage::start(Speaks::New, 2, ALL).await;
    let (ann, bob) = (Lister::of(&stage, "ann").await, Lister::of(&stage, "bob").await);
    let mut sent: Vec<Value> = Vec::new();
    // With four sessions neither replica may have all of them.
    for round in 0..3 {
        for session in 1..=4 {
            let context = format!("claim-{session}");
            let text = if round == 0 { "wait" } else { "hello" };
            sent.insert(0, send(&stage.ann, "1.0", text, Some(&context), None).await);
        }
        send(&bob.http, "1.0", "hello", Some("claim-1"), None).await;
    }
    assert!(stage.agents.iter().all(|agent| agent.calls().len() >= 3));
    let ids = |tasks: &[Value]| tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let after = sent[4]["status"]["timestamp"].clone();
    for binding in BINDINGS {
        assert_eq!(ann.all(binding, json!({}), 5, 12).await, ids(&sent), "{binding:?}");
        assert_eq!(ann.all(binding, json!({"statusTimestampAfter": after}), 100, 5).await, ids(&sent[..5]));
        let waiting = json!({"status": "TASK_STATE_INPUT_REQUIRED"});
        assert_eq!(ann.all(binding, waiting, 4, 4).await, ids(&sent[8..]), "{binding:?}");
        assert_eq!(bob.all(binding, json!({}), 2, 3).await.len(), 3);
        // Of one context it is the same, and nobody else's are counted, though the agent minds no filter.
        let one: Vec<Value> = sent.iter().filter(|task| task["contextId"] == "claim-1").cloned().collect();
        assert_eq!(ann.all(binding, json!({"contextId": "claim-1"}), 2, 3).await, ids(&one), "{binding:?}");
        let page = ann.list(binding, &json!({"includeArtifacts": true})).await.unwrap();
        assert_eq!((&page["pageSize"], &page["tasks"]), (&json!(50), &json!(sent)), "{binding:?}");
    }
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_page_belongs_to_its_list_and_its_owner() {
    let stage = Stage::start(Speaks::New, 1, ALL).await;
    let (ann, bob) = (Lister::of(&stage, "ann").await, Lister::of(&stage, "bob").await);
    for client in [&ann.http, &bob.http] {
        for context in ["claim-1", "claim-2"] {
            send(client, "1.0", "hello", Some(context), None).await;
        }
    }
    let first = ann.list(Binding::JsonRpc, &json!({"pageSize": 1})).await.unwrap();
    let token = first["nextPageToken"].clone();
    let before = stage.agents[0].calls().len();
    for (lister, params) in [
        (&bob, json!({"pageToken": token})),
        (&ann, json!({"pageToken": token, "status": "TASK_STATE_WORKING"})),
        (&ann, json!({"pageToken": token, "contextId": "claim-1"})),
        (&ann, json!({"pageToken": "made-up"})),
        (&ann, json!({"pageSize": 101})),
        (&ann, json!({"historyLength": -1})),
        (&ann, json!({"status": "TASK_STATE_RUNNING"})),
    ] {
        for binding in [Binding::JsonRpc, Binding::HttpJson] {
            let problem = lister.list(binding, &params).await.unwrap_err();
            let name = params.as_object().unwrap().keys().next_back().unwrap();
            let is_named = problem.contains("pageToken") || problem.contains(name.as_str());
            assert!(is_named, "{params} {problem}");
        }
    }
    assert_eq!(stage.agents[0].calls().len(), before, "the agent was asked");
    assert_eq!(
        ann.list(Binding::JsonRpc, &json!({"pageToken": token})).await.unwrap()["tasks"][0]["contextId"],
        "claim-1"
    );
    stage.gateway.finish().await;
}

#[tokio::test]
async fn sessions_that_rules_say_no_to_or_that_are_over_are_not_in_the_list() {
    let rules = "permit (principal, action, resource) unless { context.session.name like \"shut-*\" };";
    let mut stage = Stage::start(Speaks::New, 1, ALL).await;
    let ann = Lister::of(&stage, "ann").await;
    for context in ["shut-1", "over-1", "claim-1"] {
        send(&ann.http, "1.0", "hello", Some(context), None).await;
    }
    assert_eq!(ann.http.send("DELETE", "/api/v1/sessions/over-1", &[], None).await.unwrap().status, 204);
    stage.gateway.replace("rules.cedar", rules);
    stage.gateway.reload().await;
    stage.gateway.kill();
    stage.gateway.restart().await;
    for (context, code) in [("shut-1", 403), ("over-1", 410)] {
        let refused = rpc(&ann.http, "1.0", "ListTasks", json!({"contextId": context})).await.json();
        assert_eq!(refused["error"]["code"], code, "{refused}");
    }
    let page = ann.list(Binding::JsonRpc, &json!({})).await.unwrap();
    assert_eq!((&page["totalSize"], &page["tasks"][0]["contextId"]), (&json!(1), &json!("claim-1")), "{page}");
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_list_that_can_not_be_whole_is_none() {
    let old = Stage::start(Speaks::Old, 1, ALL).await;
    let ann = Lister::of(&old, "ann").await;
    let none = ann.list(Binding::JsonRpc, &json!({})).await.unwrap();
    assert_eq!((&none["tasks"], &none["totalSize"], &none["nextPageToken"]), (&json!([]), &json!(0), &json!("")));
    send(&ann.http, "1.0", "hello", Some("claim-1"), None).await;
    let refused = rpc(&ann.http, "1.0", "ListTasks", json!({})).await.json();
    assert_eq!(refused["error"]["code"], -32004, "{refused}");
    old.gateway.finish().await;

    let stage = Stage::start(Speaks::New, 1, ALL).await;
    let ann = Lister::of(&stage, "ann").await;
    for _ in 0..=256 {
        let sent = rpc(&ann.http, "1.0", "SendMessage", message("1.0", "direct hello", None, None)).await.json();
        assert!(sent["result"]["message"].is_object(), "{sent}");
    }
    let refused = rpc(&ann.http, "1.0", "ListTasks", json!({})).await.json();
    assert_eq!(refused["error"]["code"], 413, "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("name one context in `contextId`"), "{refused}");
    stage.gateway.finish().await;
}
