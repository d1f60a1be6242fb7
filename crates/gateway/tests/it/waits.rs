//! Wait and resume: what a session waits for comes by a URL of its own, is durable before it is acknowledged, and is told to the agent until it accepts.

use portcullis_domain::event::Event;
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::agents::{Replica, config};
use crate::gateway::{Gateway, LIMIT};

struct Desk {
    gateway: Gateway,
    replica: Replica,
    client: Client,
}

impl Desk {
    async fn open() -> Self {
        let replica = Replica::start().await;
        let replicas = [replica];
        let rules = "permit (principal, action, resource);";
        let gateway = Gateway::start(&config(&replicas, ""), &[("rules.cedar", rules)]).await;
        let client = gateway.client("ann").await;
        let [replica] = replicas;
        Self { gateway, replica, client }
    }

    /// Begins to wait, for so many seconds; the path of the event's URL.
    async fn wait(&self, name: &str, timeout_s: u64) -> String {
        let wanted = json!({
            "name": name, "for": "the verification", "timeout_s": timeout_s,
            "deliver": {"agent": "counter", "path": "/resume"},
        });
        let answer = self.client.post("/api/v1/sessions/claim-1/waits", &wanted).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        let url = answer.json()["event_url"].as_str().unwrap().to_owned();
        assert!(url.starts_with(&self.gateway.url()), "{url}");
        url.strip_prefix(&self.gateway.url()).unwrap().to_owned()
    }

    /// Posts an event, as somebody who has nothing but the URL.
    async fn send(&self, path: &str, id: Option<&str>, body: &str) -> Answer {
        let headers: Vec<(&str, &str)> =
            [("content-type", "application/json")].into_iter().chain(id.map(|id| ("webhook-id", id))).collect();
        self.gateway.stranger().send("POST", path, &headers, Some(body.to_owned())).await.unwrap()
    }

    async fn waits(&self) -> Vec<Value> {
        let answer = self.client.get("/api/v1/sessions/claim-1/waits").await.unwrap();
        answer.json()["waits"].as_array().unwrap().clone()
    }

    async fn until_told(&self, count: usize) -> Vec<(String, Value)> {
        let is_told = || async { self.replica.told().len() >= count };
        wait_until("the agent is told", LIMIT, is_told).await.unwrap();
        self.replica.told()
    }

    async fn until_delivered(&self, name: &str) {
        let is_delivered = || async {
            self.waits().await.iter().any(|wait| wait["name"] == name && wait["is_delivered"] == json!(true))
        };
        wait_until("the delivery is noted", LIMIT, is_delivered).await.unwrap();
    }
}

#[tokio::test]
async fn an_event_is_durable_before_it_is_acknowledged_and_is_delivered_after_any_crash() {
    let mut desk = Desk::open().await;
    let path = desk.wait("verification", 172_800).await;
    let session = desk.client.get("/api/v1/sessions/claim-1").await.unwrap().json();
    assert_eq!(session["waiting_for"], json!(["the verification"]));
    desk.gateway.kill();
    desk.replica.kill();
    desk.gateway.restart().await;
    assert_eq!(desk.send(&path, Some("msg-1"), r#"{"verified": true, "amount": 10.50}"#).await.status, 202);
    desk.gateway.kill();
    let is_written = desk.gateway.events("ann:claim-1").iter().any(|event| matches!(event, Event::WaitEnded(_)));
    assert!(is_written, "it was acknowledged");
    desk.gateway.restart().await;
    desk.replica.live().await;
    let told = desk.until_told(1).await;
    let (delivery, message) = &told[0];
    assert_eq!(delivery, "ann:claim-1/verification");
    assert_eq!(
        (&message["type"], &message["session"], &message["wait"], &message["for"]),
        (&json!("event"), &json!("claim-1"), &json!("verification"), &json!("the verification"))
    );
    let event = json!({"id": "msg-1", "content_type": "application/json", "data": {"verified": true, "amount": 10.5}});
    assert_eq!(message["event"], event);
    desk.until_delivered("verification").await;
    assert_eq!(desk.replica.told().len(), 1);
    desk.gateway.finish().await;
}

#[tokio::test]
async fn an_agent_that_does_not_accept_is_told_again_in_order() {
    let desk = Desk::open().await;
    desk.replica.make_ill(true);
    let (first, second) = (desk.wait("first", 600).await, desk.wait("second", 600).await);
    assert_eq!(desk.send(&second, Some("b"), "{}").await.status, 202);
    assert_eq!(desk.send(&first, Some("a"), "not json").await.status, 202);
    let has_tried = || async { desk.gateway.settled("ann:claim-1").len() >= 2 };
    wait_until("it was tried twice", LIMIT, has_tried).await.unwrap();
    assert!(desk.replica.told().is_empty());
    desk.replica.make_ill(false);
    let told = desk.until_told(2).await;
    let deliveries: Vec<&str> = told.iter().map(|(delivery, _)| delivery.as_str()).collect();
    assert_eq!(deliveries, ["ann:claim-1/second", "ann:claim-1/first"], "in the order in which they ended");
    assert_eq!(told[1].1["event"]["data_base64"], "bm90IGpzb24=");
    desk.until_delivered("first").await;
    desk.gateway.finish().await;
}

#[tokio::test]
async fn an_agent_that_is_disabled_is_told_once_it_may_act_again() {
    let desk = Desk::open().await;
    let path = desk.wait("verification", 600).await;
    let disable = json!({"name": "counter"});
    assert!(desk.gateway.admin().post("/api/v1/identity/disabled", &disable).await.unwrap().status < 300);
    assert_eq!(desk.send(&path, Some("a"), "{}").await.status, 202);
    desk.gateway.wait_for_log("`counter` is disabled and may not be called", 2).await;
    assert!(desk.replica.told().is_empty());
    assert!(desk.gateway.refused().is_empty(), "that it waits fills no journal");
    let enabled = desk.gateway.command(&["identity", "enable", "counter"]).await;
    assert!(enabled.status.success(), "{enabled:?}");
    desk.until_told(1).await;
    desk.until_delivered("verification").await;
    desk.gateway.finish().await;
}

#[tokio::test]
async fn the_url_of_a_wait_is_good_for_one_event() {
    let desk = Desk::open().await;
    let path = desk.wait("letter", 600).await;
    for (id, body, status) in [
        (Some("msg-1"), "{}", 202),
        (Some("msg-1"), "{}", 200),
        (Some("msg-1"), "anything", 200),
        (Some("msg-2"), "{}", 410),
        (None, "{}", 410),
    ] {
        let answer = desk.send(&path, id, body).await;
        assert_eq!(answer.status, status, "{id:?}: {}", answer.text());
    }
    assert_eq!(desk.until_told(1).await.len(), 1);
    desk.until_delivered("letter").await;

    // Without an id, the same content is the same event.
    let path = desk.wait("parcel", 600).await;
    for (body, status) in [(r#"{"a":1}"#, 202), (r#"{"a":1}"#, 200), (r#"{"a":2}"#, 410)] {
        assert_eq!(desk.send(&path, None, body).await.status, status, "{body}");
    }
    let forged = format!("{}x", &path[..path.len() - 1]);
    for wrong in ["/events/", "/events/abc", &forged] {
        assert_eq!(desk.send(wrong, None, "{}").await.status, 404, "{wrong}");
    }
    let large = "x".repeat(256 * 1024 + 1);
    let path = desk.wait("crate", 600).await;
    assert_eq!(desk.send(&path, None, &large).await.status, 413);
    assert_eq!(desk.gateway.stranger().get(&path).await.unwrap().status, 401, "there is nothing to look at");
    desk.gateway.finish().await;
}

#[tokio::test]
async fn a_wait_that_expires_is_told_too_and_one_that_is_called_off_is_not() {
    let desk = Desk::open().await;
    let (late, off) = (desk.wait("late", 1).await, desk.wait("off", 600).await);
    let cancelled = desk.client.delete("/api/v1/sessions/claim-1/waits/off").await.unwrap();
    assert_eq!(cancelled.status, 204);
    let told = desk.until_told(1).await;
    assert_eq!((&told[0].1["type"], &told[0].1["wait"]), (&json!("expired"), &json!("late")));
    for path in [&late, &off] {
        let answer = desk.send(path, Some("msg"), "{}").await;
        assert_eq!((answer.status, &answer.json()["code"]), (410, &json!("wait_over")));
    }
    desk.until_delivered("late").await;
    let statuses: Vec<Value> = desk.waits().await.iter().map(|wait| wait["status"].clone()).collect();
    assert_eq!(statuses, ["expired", "cancelled"]);
    desk.gateway.finish().await;
}

#[tokio::test]
async fn waits_belong_to_the_owner_of_the_session() {
    let desk = Desk::open().await;
    desk.wait("letter", 600).await;
    let bob = desk.gateway.client("bob").await;
    let path = "/api/v1/sessions/ann:claim-1/waits";
    for (method, path, status) in [
        ("GET", path.to_owned(), 404),
        ("POST", path.to_owned(), 404),
        ("DELETE", format!("{path}/letter"), 404),
        ("POST", format!("{path}/letter/events"), 404),
    ] {
        let body = Some(r#"{"for":"x","timeout_s":1}"#.to_owned());
        let answer = bob.send(method, &path, &[], body).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
    let admin = desk.gateway.admin();
    assert_eq!(admin.post(path, &json!({"for": "x", "timeout_s": 1})).await.unwrap().status, 403);
    assert_eq!(admin.post(&format!("{path}/letter/events"), &json!({"by": "a person"})).await.unwrap().status, 202);
    assert_eq!(desk.until_told(1).await[0].1["event"]["data"], json!({"by": "a person"}));
    for (body, status) in [
        (json!({"for": "x", "timeout_s": 0}), 400),
        (json!({"for": "", "timeout_s": 1}), 400),
        (json!({"for": "x", "timeout_s": 1, "deliver": {"agent": "nobody", "path": "/x"}}), 404),
        (json!({"for": "x", "timeout_s": 1, "deliver": {"agent": "counter", "path": "x"}}), 400),
        (json!({"name": "letter", "for": "x", "timeout_s": 1}), 412),
    ] {
        let answer = desk.client.post("/api/v1/sessions/claim-1/waits", &body).await.unwrap();
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    desk.gateway.finish().await;
}
