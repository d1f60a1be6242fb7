//! The kill switch and tasks that outlast their calls: the agent is told to cancel what was begun by whoever is disabled, once, and nothing else.

use portcullis_domain::event::{Event, Outcome};
use portcullis_domain::refusal::Code;
use portcullis_domain::session::event::CancelEnd;
use portcullis_testkit::http::{Client, EventStream};
use portcullis_testkit::process::wait_until;
use serde_json::json;

use crate::a2a::{ALL, Stage, TOKEN, config, message, rpc, send};
use crate::a2a_agent::{Agent, Speaks};
use crate::gateway::{Gateway, LIMIT};

/// The tasks that the agent was told to cancel, by its own ids.
fn cancelled(agent: &Agent) -> Vec<String> {
    let calls = agent.calls().into_iter().map(|call| call.json());
    let cancels = calls.filter(|body| body["method"] == "CancelTask" || body["method"] == "tasks/cancel");
    cancels.map(|body| body["params"]["id"].as_str().unwrap().to_owned()).collect()
}

async fn disable(gateway: &Gateway, name: &str) {
    let body = json!({"name": name, "reason": "stolen"});
    let answer = gateway.admin().post("/api/v1/identity/disabled", &body).await.unwrap();
    assert!((200..300).contains(&answer.status), "{}", answer.text());
}

fn ends(gateway: &Gateway, session: &str) -> Vec<CancelEnd> {
    let end = |event: &Event| if let Event::TaskCancelled(event) = event { Some(event.end) } else { None };
    gateway.events(session).iter().filter_map(end).collect()
}

async fn until_ended(gateway: &Gateway, session: &str, expected: &[CancelEnd]) {
    let are_over = || async { ends(gateway, session) == expected };
    wait_until("what came of cancelling is in the journal", LIMIT, are_over).await.unwrap();
}

/// Begins a stream of a task that goes on, and stays until the agent has it.
async fn streaming(client: &Client, version: &'static str, context: &'static str, agent: &Agent) {
    let before = agent.calls().len();
    let (client, method) = (client.clone(), if version == "1.0" { "SendStreamingMessage" } else { "message/stream" });
    tokio::spawn(async move { rpc(&client, version, method, message(version, "wait", Some(context), None)).await });
    wait_until("the agent has it", LIMIT, || async { agent.calls().len() > before }).await.unwrap();
}

/// Begins one and stays until its first event has come, by which the gateway knows the task.
async fn hearing(client: &Client, version: &str, context: &str) -> EventStream {
    let method = if version == "1.0" { "SendStreamingMessage" } else { "message/stream" };
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": message(version, "wait", Some(context), None)});
    let headers = [("a2a-version", version)];
    let mut stream = client.stream("POST", "/a2a/adjuster", &headers, Some(body.to_string())).await.unwrap();
    stream.next_event().await.unwrap().unwrap();
    stream
}

#[tokio::test]
async fn who_is_disabled_has_their_tasks_cancelled_at_the_agent_and_nobody_else_has() {
    for (speaks, version) in [(Speaks::New, "1.0"), (Speaks::Old, "0.3")] {
        let mut stage = Stage::start(speaks, 1, ALL).await;
        let key = stage.gateway.key("bob").await;
        let bob = stage.gateway.stranger().with_key(&key);
        send(&stage.ann, version, "wait", Some("claim-1"), None).await;
        send(&bob, version, "wait", Some("claim-1"), None).await;
        // What is over is not cancelled, whether it was over at once or is heard of later.
        send(&stage.ann, version, "hello", Some("claim-2"), None).await;
        let over = send(&stage.ann, version, "wait", Some("claim-2"), None).await;
        let done = if version == "1.0" { "TASK_STATE_COMPLETED" } else { "completed" };
        stage.agents[0].state.change("t-4", done.to_owned());
        let get = if version == "1.0" { "GetTask" } else { "tasks/get" };
        assert_eq!(
            rpc(&stage.ann, version, get, json!({"id": over["id"]})).await.json()["result"]["status"]["state"],
            done
        );
        streaming(&stage.ann, version, "claim-3", &stage.agents[0]).await;
        stage.gateway.kill();
        stage.gateway.restart().await;
        let _stream = hearing(&stage.ann, version, "claim-4").await;
        disable(&stage.gateway, "ann").await;
        until_ended(&stage.gateway, "ann:claim-1", &[CancelEnd::Taken]).await;
        until_ended(&stage.gateway, "ann:claim-4", &[CancelEnd::Taken]).await;
        let mut told = cancelled(&stage.agents[0]);
        told.sort();
        // Of the stream that was cut by the crash nobody knows the task.
        assert_eq!(told, ["t-1", "t-6"], "{version}");
        assert!(ends(&stage.gateway, "bob:claim-1").is_empty() && ends(&stage.gateway, "ann:claim-2").is_empty());

        let id = key.split('_').nth(1).unwrap();
        disable(&stage.gateway, id).await;
        until_ended(&stage.gateway, "bob:claim-1", &[CancelEnd::Taken]).await;
        assert_eq!(cancelled(&stage.agents[0]).len(), 3);
        stage.gateway.finish().await;
    }
}

#[tokio::test]
async fn an_agent_that_is_disabled_is_sent_nothing_more_and_told_to_cancel_what_it_does() {
    let agents = [Agent::start(Speaks::New).await];
    let gateway = Gateway::start(&config(&agents, ", principal: payer"), &[("rules.cedar", ALL)]).await;
    gateway.keep_secret(TOKEN);
    let (ann, bob) = (gateway.client("ann").await, gateway.client("bob").await);
    send(&bob, "1.0", "wait", Some("claim-1"), None).await;
    let asked = message("1.0", "wait", Some("claim-2"), None);
    let asked = json!({"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": asked});
    let version = [("a2a-version", "1.0")];
    let mut stream = ann.stream("POST", "/a2a/adjuster", &version, Some(asked.to_string())).await.unwrap();
    // The gateway knows of the task.
    stream.next_event().await.unwrap().unwrap();
    disable(&gateway, "payer").await;
    // Nobody has left, and their keys are good: the stream is cut off all the same.
    let said = stream.next_event().await.unwrap().unwrap().data;
    assert!(said.contains("`adjuster` is disabled and may not be called"), "{said}");
    // What had outlasted its call is cancelled, and what was cut off.
    until_ended(&gateway, "bob:claim-1", &[CancelEnd::Taken]).await;
    until_ended(&gateway, "ann:claim-2", &[CancelEnd::Taken]).await;
    let mut told = cancelled(&agents[0]);
    told.sort();
    assert_eq!(told, ["t-1", "t-2"]);
    let settled = || async { gateway.settled("ann:claim-2").len() == 1 };
    wait_until("the call is settled", LIMIT, settled).await.unwrap();
    assert_eq!(gateway.settled("ann:claim-2")[0].outcome, Outcome::Aborted);
    let calls = || agents[0].calls().iter().filter(|call| call.json()["method"] != "CancelTask").count();
    let before = calls();
    for (method, params) in [
        ("SendMessage", message("1.0", "hello", Some("claim-3"), None)),
        ("SendStreamingMessage", message("1.0", "hello", Some("claim-3"), None)),
    ] {
        let refused = rpc(&bob, "1.0", method, params).await.text();
        assert!(refused.contains("`adjuster` is disabled and may not be called"), "{refused}");
    }
    assert_eq!(calls(), before, "the agent was sent something");
    let refused = gateway.refused();
    assert!(refused.len() == 2 && refused.iter().all(|refused| refused.code == Code::Forbidden), "{refused:?}");
    let enabled = gateway.command(&["identity", "enable", "payer"]).await;
    assert!(enabled.status.success(), "{enabled:?}");
    send(&bob, "1.0", "hello", Some("claim-3"), None).await;
    gateway.finish().await;
}

#[tokio::test]
async fn an_agent_that_says_the_task_is_over_is_not_asked_again_and_one_that_fails_is() {
    let stage = Stage::start(Speaks::New, 1, ALL).await;
    send(&stage.ann, "1.0", "wait", Some("claim-1"), None).await;
    stage.agents[0].state.change("t-1", "TASK_STATE_COMPLETED".to_owned());
    disable(&stage.gateway, "ann").await;
    until_ended(&stage.gateway, "ann:claim-1", &[CancelEnd::Over]).await;
    assert_eq!(cancelled(&stage.agents[0]), ["t-1"]);

    let bob = stage.gateway.client("bob").await;
    send(&bob, "1.0", "wait", Some("claim-1"), None).await;
    *stage.agents[0].state.cancels_failing.lock().unwrap() = 2;
    disable(&stage.gateway, "bob").await;
    until_ended(&stage.gateway, "bob:claim-1", &[CancelEnd::Taken]).await;
    assert_eq!(cancelled(&stage.agents[0]), ["t-1", "t-2", "t-2", "t-2"]);
    stage.gateway.finish().await;
}
