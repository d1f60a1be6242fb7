//! News of tasks: the agent tells the gateway, and the gateway tells the client, at least once, in order, in the client's words and to nobody else.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis_domain::event::{Event, Outcome};
use portcullis_domain::session::push::PUSHES_LIMIT;
use portcullis_domain::session::wait::End;
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::{listen, wait_until};
use serde_json::{Value, json};

use crate::a2a::{ALL, TOKEN, config, message, rpc, send};
use crate::a2a_agent::{Agent, Speaks};
use crate::gateway::{Gateway, LIMIT};
use crate::raw_upstream::{RawUpstream, Received, whole};

const CLIENT_TOKEN: &str = "client-token-5a1f";
const CREDENTIAL: &str = "client-credential-9c2e";

struct Stage {
    gateway: Gateway,
    agents: [Agent; 1],
    hook: RawUpstream,
    /// What the client's webhook answers. Locked to read and to change.
    status: Arc<Mutex<u16>>,
    ann: Client,
}

impl Stage {
    async fn start(speaks: Speaks) -> Self {
        let agents = [Agent::start(speaks).await];
        let status = Arc::new(Mutex::new(200));
        let answers = status.clone();
        let hook = RawUpstream::start(move |_| {
            let status = *answers.lock().unwrap_or_else(PoisonError::into_inner);
            // A redirect to what nobody but the gateway may be able to reach.
            vec![whole(status, "location: http://127.0.0.1:1/\r\n", "{}")]
        })
        .await;
        let listen = "listen: '127.0.0.1:{PORT}'";
        let server = format!("{listen}, public_url: 'http://127.0.0.1:{{PORT}}', push_allowed: ['127.0.0.1']");
        let config = config(&agents, "").replace(listen, &server);
        let gateway = Gateway::start(&config, &[("rules.cedar", ALL)]).await;
        for secret in [TOKEN, CLIENT_TOKEN, CREDENTIAL] {
            gateway.keep_secret(secret);
        }
        let ann = gateway.client("ann").await;
        Self { gateway, agents, hook, status, ann }
    }

    fn answers(&self, status: u16) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Where the client wants news, as it says so in that version.
    fn place(&self, version: &str) -> Value {
        let url = format!("{}/news", self.hook.url);
        match version {
            "1.0" => {
                json!({"url": url, "token": CLIENT_TOKEN, "authentication": {"scheme": "Bearer", "credentials": CREDENTIAL}})
            }
            _ => {
                json!({"url": url, "token": CLIENT_TOKEN, "authentication": {"schemes": ["Bearer"], "credentials": CREDENTIAL}})
            }
        }
    }

    /// Sends a message that makes a task and asks for its news; the task.
    async fn ask(&self, version: &str, context: &str) -> Value {
        let (method, name, place) = match version {
            "1.0" => ("SendMessage", "taskPushNotificationConfig", "/result/task"),
            _ => ("message/send", "pushNotificationConfig", "/result"),
        };
        let mut wish = message(version, "wait", Some(context), None);
        wish["configuration"] = json!({name: self.place(version)});
        let answer = rpc(&self.ann, version, method, wish).await.json();
        answer.pointer(place).cloned().unwrap_or_else(|| panic!("{answer}"))
    }

    /// What the agent sends of its first task, to the place that it was told.
    async fn news(&self, speaks: Speaks, state: &str) -> Answer {
        let context = self.agents[0].calls().first().map(|call| call.json()["params"]["message"]["contextId"].clone());
        let body = match speaks {
            Speaks::Old => json!({"kind": "task", "id": "t-1", "contextId": context, "status": {"state": state}}),
            Speaks::New | Speaks::Rest => {
                let state = format!("TASK_STATE_{}", state.to_uppercase());
                json!({"statusUpdate": {"taskId": "t-1", "contextId": context, "status": {"state": state}}})
            }
        };
        self.post(&self.agents[0].place(), &[], &body).await
    }

    /// The place that the agent was told last with a message.
    fn last_place(&self) -> Value {
        let calls = self.agents[0].calls();
        let mut places =
            calls.iter().map(|call| call.json()["params"]["configuration"]["taskPushNotificationConfig"].clone());
        places.rfind(Value::is_object).unwrap()
    }

    async fn post(&self, place: &Value, headers: &[(&str, &str)], body: &Value) -> Answer {
        let path = place["url"].as_str().unwrap().strip_prefix(&self.gateway.url()).unwrap().to_owned();
        let token = [("x-a2a-notification-token", place["token"].as_str().unwrap())];
        let headers: Vec<(&str, &str)> = token.iter().chain(headers).copied().collect();
        self.gateway.stranger().send("POST", &path, &headers, Some(body.to_string())).await.unwrap()
    }

    async fn until_told(&self, count: usize) -> Vec<Received> {
        let is_told = || async { self.hook.received().len() >= count };
        wait_until("the client is told", LIMIT, is_told).await.unwrap();
        self.hook.received()
    }

    async fn until_noted(&self, count: usize) {
        let is_noted = || async { self.count(|event| matches!(event, Event::NewsDelivered(_))) >= count };
        wait_until("the delivery is noted", LIMIT, is_noted).await.unwrap();
    }

    fn count(&self, is_counted: impl Fn(&Event) -> bool) -> usize {
        self.gateway.entries().iter().filter(|entry| is_counted(&entry.event)).count()
    }
}

/// A header of what has come. Heads are kept in lower case but for what is looked at here.
fn header<'a>(received: &'a Received, name: &str) -> Option<&'a str> {
    received.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn news_reach_the_client_in_its_own_words_after_any_crash() {
    for speaks in [Speaks::New, Speaks::Old] {
        for version in ["1.0", "0.3"] {
            let mut stage = Stage::start(speaks).await;
            let card = stage.ann.get("/a2a/adjuster/.well-known/agent-card.json").await.unwrap();
            assert_eq!(card.json()["capabilities"]["pushNotifications"], true);
            stage.answers(500);
            let task = stage.ask(version, "claim-1").await;
            let behind = stage.agents[0].place();
            assert!(behind["url"].as_str().unwrap().starts_with(&stage.gateway.url()), "{behind}");
            let asked = stage.agents[0].calls().last().unwrap().json().to_string();
            assert!(!asked.contains(CLIENT_TOKEN) && !asked.contains(CREDENTIAL) && !asked.contains(&stage.hook.url));
            assert_eq!(stage.news(speaks, "working").await.status, 202);
            stage.until_told(1).await;
            stage.gateway.kill();
            stage.gateway.restart().await;
            assert_eq!(stage.news(speaks, "completed").await.status, 202);
            stage.answers(204);
            stage.until_noted(2).await;
            let told = stage.hook.received();
            let last = told.last().unwrap();
            let (state, id) = match version {
                "1.0" if speaks == Speaks::New => ("/statusUpdate/status/state", "/statusUpdate/taskId"),
                "1.0" => ("/task/status/state", "/task/id"),
                _ => ("/status/state", "/id"),
            };
            let states: Vec<String> = told
                .iter()
                .map(|news| {
                    news.json()
                        .pointer(state)
                        .unwrap()
                        .as_str()
                        .unwrap()
                        .trim_start_matches("TASK_STATE_")
                        .to_lowercase()
                })
                .collect();
            let repeated = states.iter().filter(|state| *state == "working").count();
            assert!(repeated >= 2 && states[repeated..] == ["completed"], "{states:?}");
            let body = last.json();
            assert_eq!((body.pointer(id), body.to_string().contains("\"t-1\"")), (Some(&task["id"]), false), "{body}");
            assert!(body.to_string().contains("claim-1"), "{body}");
            assert_eq!(header(last, "x-a2a-notification-token"), Some(CLIENT_TOKEN));
            assert_eq!(header(last, "authorization"), Some(format!("bearer {CREDENTIAL}").as_str()));
            let deliveries: Vec<&str> = told.iter().filter_map(|news| header(news, "webhook-id")).collect();
            assert!(deliveries[0] == deliveries[1] && deliveries[0] != *deliveries.last().unwrap(), "{deliveries:?}");
            stage.gateway.finish().await;
        }
    }
}

#[tokio::test]
async fn what_the_client_is_told_is_signed_by_the_gateway() {
    let stage = Stage::start(Speaks::New).await;
    stage.ask("1.0", "claim-1").await;
    stage.news(Speaks::New, "working").await;
    let told = stage.until_told(1).await;
    let keys = stage.gateway.stranger().get("/.well-known/jwks.json").await.unwrap().json();
    let public = URL_SAFE_NO_PAD.decode(keys["keys"][0]["x"].as_str().unwrap()).unwrap();
    let [id, at] = ["webhook-id", "webhook-timestamp"].map(|name| header(&told[0], name).unwrap());
    let signed = [format!("{id}.{at}.").as_bytes(), &told[0].body].concat();
    let signature = told[0].signature();
    assert!(UnparsedPublicKey::new(&ED25519, public).verify(&signed, &signature).is_ok());
    stage.gateway.finish().await;
}

#[tokio::test]
async fn news_are_taken_only_of_the_task_and_from_its_agent() {
    let stage = Stage::start(Speaks::New).await;
    stage.ask("1.0", "claim-1").await;
    let place = stage.agents[0].place();
    let context = stage.agents[0].message()["contextId"].clone();
    let news = |task: &str, context: &Value| json!({"statusUpdate": {"taskId": task, "contextId": context, "status": {"state": "TASK_STATE_WORKING"}}});
    let mut altered = place.clone();
    altered["token"] = json!("x");
    let mut elsewhere = place.clone();
    elsewhere["url"] = json!(format!("{}/news/AAAA", stage.gateway.url()));
    for (place, body, status) in [
        (&altered, news("t-1", &context), 404),
        // Of whom nothing is expected, nothing is read.
        (&altered, json!("x".repeat(2 << 20)), 404),
        (&place, json!("x".repeat(2 << 20)), 413),
        (&elsewhere, news("t-1", &context), 404),
        (&place, news("t-2", &context), 404),
        (&place, news("t-1", &json!("claim-1")), 404),
        (&place, json!({"x": 1}), 400),
        (&place, news("t-1", &context), 202),
    ] {
        let answer = stage.post(place, &[], &body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    // With an id they are known when they come again.
    let again = [("webhook-id", "n-1")];
    assert_eq!(stage.post(&place, &again, &news("t-1", &context)).await.status, 202);
    assert_eq!(stage.post(&place, &again, &news("t-1", &context)).await.status, 200);
    stage.until_noted(2).await;
    assert_eq!(stage.hook.received().len(), 2);
    // A client that is gone is told no more; one whose session is closed neither.
    stage.answers(410);
    assert_eq!(stage.post(&place, &[], &news("t-1", &context)).await.status, 202);
    let is_closed = || async { stage.count(|event| matches!(event, Event::PushClosed(_))) == 1 };
    wait_until("the place is closed", LIMIT, is_closed).await.unwrap();
    assert_eq!(stage.post(&place, &[], &news("t-1", &context)).await.status, 404);
    stage.answers(200);
    stage.ask("1.0", "claim-2").await;
    let place = stage.agents[0].place();
    stage.ann.send("DELETE", "/api/v1/sessions/claim-2", &[], None).await.unwrap();
    assert_eq!(stage.post(&place, &[], &news("t-2", &Value::Null)).await.status, 404);
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_place_is_its_owners_until_it_is_deleted_or_replaced() {
    for (version, set, get, list, delete, listed) in [
        (
            "1.0",
            "CreateTaskPushNotificationConfig",
            "GetTaskPushNotificationConfig",
            "ListTaskPushNotificationConfigs",
            "DeleteTaskPushNotificationConfig",
            "/result/configs",
        ),
        (
            "0.3",
            "tasks/pushNotificationConfig/set",
            "tasks/pushNotificationConfig/get",
            "tasks/pushNotificationConfig/list",
            "tasks/pushNotificationConfig/delete",
            "/result",
        ),
    ] {
        let stage = Stage::start(Speaks::New).await;
        let bob = stage.gateway.client("bob").await;
        let task = send(&stage.ann, version, "wait", Some("claim-1"), None).await;
        let wish = |id: &str| {
            let mut place = stage.place(version);
            place["id"] = json!(id);
            match version {
                "1.0" => {
                    place["taskId"] = task["id"].clone();
                    place
                }
                _ => json!({"taskId": task["id"], "pushNotificationConfig": place}),
            }
        };
        let named = |id: &str| match version {
            "1.0" => json!({"taskId": task["id"], "id": id}),
            _ => json!({"id": task["id"], "pushNotificationConfigId": id}),
        };
        let of_task = if version == "1.0" { json!({"taskId": task["id"]}) } else { json!({"id": task["id"]}) };
        let made = rpc(&stage.ann, version, set, wish("mine")).await.json();
        assert_eq!(made["result"], wish("mine"), "{made}");
        let first = stage.agents[0].place();
        rpc(&stage.ann, version, set, wish("other")).await;
        // The same name again: the new one takes the place of the old one.
        rpc(&stage.ann, version, set, wish("mine")).await;
        let second = stage.agents[0].place();
        let before = stage.agents[0].calls().len();
        let found = rpc(&stage.ann, version, list, of_task.clone()).await.json();
        assert_eq!(found.pointer(listed), Some(&json!([wish("other"), wish("mine")])), "{found}");
        let found = rpc(&stage.ann, version, get, named("mine")).await.json();
        assert_eq!(found["result"], wish("mine"), "{found}");
        for (method, params) in
            [(set, wish("his")), (get, named("mine")), (list, of_task.clone()), (delete, named("mine"))]
        {
            let refused = rpc(&bob, version, method, params).await.json();
            assert_eq!(refused["error"]["code"], -32001, "{method} {refused}");
        }
        assert_eq!(stage.agents[0].calls().len(), before, "the agent was asked");
        let body = json!({"task": {"id": "t-1", "status": {"state": "TASK_STATE_WORKING"}}});
        assert_eq!(stage.post(&first, &[], &body).await.status, 404);
        assert_eq!(stage.post(&second, &[], &body).await.status, 202);
        stage.until_noted(1).await;
        let deleted = rpc(&stage.ann, version, delete, named("mine")).await.json();
        assert!(deleted.get("error").is_none(), "{deleted}");
        let told = stage.agents[0].calls().last().unwrap().json();
        assert_eq!((&told["params"]["taskId"], &told["params"]["id"]), (&json!("t-1"), &second["id"]), "{told}");
        assert_eq!(stage.post(&second, &[], &body).await.status, 404);
        let gone = rpc(&stage.ann, version, get, named("mine")).await.json();
        assert_eq!(gone["error"]["code"], -32001, "{gone}");
        // Once more, and there is nothing to do.
        let deleted = rpc(&stage.ann, version, delete, named("mine")).await.json();
        assert!(deleted.get("error").is_none(), "{deleted}");
        stage.gateway.finish().await;
    }
}

#[tokio::test]
async fn no_client_makes_the_gateway_call_what_only_it_can_reach() {
    let stage = Stage::start(Speaks::New).await;
    for url in [
        "http://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "http://client.example/",
        "https://user@client.example/",
        "https://0x0a.1/",
        "ftp://client.example/",
        "nothing",
    ] {
        let mut wish = message("1.0", "wait", Some("claim-1"), None);
        wish["configuration"] = json!({"taskPushNotificationConfig": {"url": url}});
        let refused = rpc(&stage.ann, "1.0", "SendMessage", wish).await.json();
        assert_eq!(refused["error"]["code"], -32602, "{url} {refused}");
    }
    assert_eq!(stage.agents[0].calls().len(), 0);
    // A redirect is an answer that is no acceptance.
    stage.answers(307);
    stage.ask("1.0", "claim-1").await;
    stage.news(Speaks::New, "working").await;
    stage.gateway.wait_for_log("it is answered with status 307", 1).await;
    stage.answers(200);
    stage.until_noted(1).await;
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_repeated_wish_is_one_and_a_call_that_fails_leaves_no_place() {
    let stage = Stage::start(Speaks::New).await;
    let once = stage.ann.clone().with_header("idempotency-key", "k-1");
    let mut wish = message("1.0", "wait", Some("claim-1"), None);
    wish["configuration"] = json!({"taskPushNotificationConfig": stage.place("1.0")});
    let first = rpc(&once, "1.0", "SendMessage", wish.clone()).await.json();
    assert_eq!(rpc(&once, "1.0", "SendMessage", wish.clone()).await.json()["result"], first["result"]);
    wish["configuration"]["taskPushNotificationConfig"]["token"] = json!("another");
    let other = rpc(&once, "1.0", "SendMessage", wish.clone()).await.json();
    assert!(other["error"].is_object(), "{other}");
    wish["message"]["parts"][0]["text"] = json!("direct");
    rpc(&stage.ann, "1.0", "SendMessage", wish).await;
    let [opened, bound, closed] = [
        stage.count(|event| matches!(event, Event::PushOpened(_))),
        stage.count(|event| matches!(event, Event::PushBound(_))),
        stage.count(|event| matches!(event, Event::PushClosed(_))),
    ];
    assert_eq!([opened, bound, closed], [2, 1, 1]);
    assert_eq!(stage.agents[0].calls().len(), 2);
    stage.gateway.finish().await;
}

#[tokio::test]
async fn tasks_that_end_without_a_word_of_news_leave_room_for_more() {
    let stage = Stage::start(Speaks::New).await;
    for number in 0..=PUSHES_LIMIT {
        // It ends with the answer, or later.
        let text = if number % 2 == 0 { "hello" } else { "wait" };
        let mut wish = message("1.0", text, Some("claim-1"), None);
        wish["configuration"] = json!({"taskPushNotificationConfig": stage.place("1.0")});
        let answer = rpc(&stage.ann, "1.0", "SendMessage", wish).await.json();
        let task = &answer["result"]["task"]["id"];
        assert!(task.is_string(), "{number} {answer}");
        rpc(&stage.ann, "1.0", "CancelTask", json!({"id": task})).await;
    }
    // The last news may come later than the answer that has said so.
    let news = json!({"statusUpdate": {"status": {"state": "TASK_STATE_COMPLETED"}, "taskId": format!("t-{}", PUSHES_LIMIT + 1)}});
    assert_eq!(stage.post(&stage.last_place(), &[], &news).await.status, 202);
    stage.until_noted(1).await;
    stage.gateway.finish().await;
}

#[tokio::test]
async fn places_of_one_client_that_hang_keep_no_others_from_being_told() {
    let stage = Stage::start(Speaks::New).await;
    // It takes connections, and never says a word.
    let (listener, dead) = listen().await.unwrap();
    let held = Arc::new(Mutex::new(Vec::new()));
    let all = held.clone();
    let holding = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            all.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
        }
    });
    let bob = stage.gateway.client("bob").await;
    for number in 1..=PUSHES_LIMIT + 1 {
        let (client, hook) = if number > PUSHES_LIMIT { (&bob, &stage.hook.url) } else { (&stage.ann, &dead) };
        let mut wish = message("1.0", "wait", Some("claim-1"), None);
        wish["configuration"] = json!({"taskPushNotificationConfig": {"url": format!("{hook}/news")}});
        rpc(client, "1.0", "SendMessage", wish).await;
        let news =
            json!({"statusUpdate": {"taskId": format!("t-{number}"), "status": {"state": "TASK_STATE_WORKING"}}});
        assert_eq!(stage.post(&stage.last_place(), &[], &news).await.status, 202);
    }
    stage.until_told(1).await;
    holding.abort();
    // What hangs would hold up the stop until its time is over.
    let held = std::mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(held.len() < PUSHES_LIMIT / 2, "{}", held.len());
    drop(held);
    stage.gateway.finish().await;
}

impl Received {
    /// What stands behind `v1a,` in its signature; the head is in lower case, so it is taken from the bytes as they came.
    fn signature(&self) -> Vec<u8> {
        let line = self.raw_head.lines().find_map(|line| line.strip_prefix("webhook-signature: v1a,")).unwrap();
        STANDARD.decode(line).unwrap()
    }
}

#[tokio::test]
async fn a_session_waits_as_long_as_a_task_of_it_waits_for_its_client() {
    let mut stage = Stage::start(Speaks::New).await;
    let task = stage.ask("1.0", "claim-1").await;
    let id = task["id"].as_str().unwrap();
    let expected = json!(["input for a task of `adjuster`"]);
    let waiting = async |stage: &Stage| {
        let session = stage.ann.get("/api/v1/sessions/claim-1").await.unwrap().json();
        session.get("waiting_for").cloned().unwrap_or_else(|| json!([]))
    };
    assert_eq!(waiting(&stage).await, expected);
    stage.gateway.kill();
    stage.gateway.restart().await;
    assert_eq!(waiting(&stage).await, expected);
    // Whoever asks how it is changes nothing; who answers does.
    rpc(&stage.ann, "1.0", "GetTask", json!({"id": id})).await;
    assert_eq!(
        (waiting(&stage).await, stage.count(|event| matches!(event, Event::WaitOpened(_)))),
        (expected.clone(), 1)
    );
    let place =
        stage.agents[0].calls().first().unwrap().json()["params"]["configuration"]["taskPushNotificationConfig"]
            .clone();
    // An answer of which it is not known whether the agent has it ends nothing.
    let (ann, lost, before) =
        (stage.ann.clone(), message("1.0", "hang", Some("claim-1"), Some(id)), stage.agents[0].calls().len());
    let asking = tokio::spawn(async move { rpc(&ann, "1.0", "SendMessage", lost).await });
    wait_until("the agent is asked", LIMIT, || async { stage.agents[0].calls().len() > before }).await.unwrap();
    asking.abort();
    let is_left = |event: &Event| matches!(event, Event::CallSettled(settled) if settled.outcome == Outcome::Aborted);
    wait_until("the call is settled", LIMIT, || async { stage.count(is_left) == 1 }).await.unwrap();
    assert_eq!(waiting(&stage).await, expected);
    let more = send(&stage.ann, "1.0", "more", Some("claim-1"), Some(id)).await;
    assert_eq!((&more["status"]["state"], waiting(&stage).await), (&json!("TASK_STATE_COMPLETED"), json!([])));
    let ends = stage.gateway.events("ann:claim-1");
    let ended = ends.iter().find_map(|event| if let Event::WaitEnded(ended) = event { Some(&ended.end) } else { None });
    assert!(matches!(ended, Some(End::Event(id)) if id.starts_with("message/")), "{ended:?}");
    // The agent may also say so by itself, and be cancelled.
    let news = json!({"statusUpdate": {"taskId": "t-1", "status": {"state": "TASK_STATE_AUTH_REQUIRED"}}});
    let again = [("webhook-id", "n-1")];
    stage.agents[0].state.change("t-1", "TASK_STATE_AUTH_REQUIRED".to_owned());
    assert_eq!(stage.post(&place, &again, &news).await.status, 202);
    assert_eq!(waiting(&stage).await, json!(["authorization for a task of `adjuster`"]));
    rpc(&stage.ann, "1.0", "CancelTask", json!({"id": id})).await;
    assert_eq!(waiting(&stage).await, json!([]));
    // What comes again says how the task was.
    assert_eq!(stage.post(&place, &again, &news).await.status, 200);
    assert_eq!(waiting(&stage).await, json!([]));
    stage.until_noted(1).await;
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_place_to_which_news_came_stays_when_the_client_leaves_before_the_answer() {
    let stage = Stage::start(Speaks::New).await;
    stage.answers(500);
    let mut wish = message("1.0", "hang", Some("claim-1"), None);
    wish["configuration"] = json!({"taskPushNotificationConfig": stage.place("1.0")});
    let ann = stage.ann.clone();
    let asking = tokio::spawn(async move { rpc(&ann, "1.0", "SendMessage", wish).await });
    wait_until("the agent is asked", LIMIT, || async { !stage.agents[0].calls().is_empty() }).await.unwrap();
    let place = stage.agents[0].place();
    let news = json!({"statusUpdate": {"taskId": "t-1", "status": {"state": "TASK_STATE_WORKING"}}});
    assert_eq!(stage.post(&place, &[], &news).await.status, 202);
    asking.abort();
    let is_settled = || async { stage.count(|event| matches!(event, Event::CallSettled(_))) == 1 };
    wait_until("the call is settled", LIMIT, is_settled).await.unwrap();
    assert_eq!(stage.post(&place, &[], &news).await.status, 202);
    stage.answers(200);
    stage.until_noted(2).await;
    assert_eq!(stage.count(|event| matches!(event, Event::PushClosed(_))), 0);
    stage.gateway.finish().await;
}
