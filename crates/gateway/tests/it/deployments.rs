//! Models that run in several places: a session stays with one of them as long as it can, and moves when it can't.

use std::collections::BTreeMap;

use portcullis_domain::event::{CallAdmitted, Event, Outcome};
use portcullis_testkit::http::Client;
use portcullis_testkit::model::{self, ModelOptions};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::gateway::{Gateway, end, free_port, listen_at};
use crate::raw_upstream::{RawUpstream, SILENCE, whole};
use crate::scene::Setup;
use crate::spoken::{ask, in_session, listen, saying, streaming};

const ALL: &str = "permit (principal, action, resource);";

/// A scripted model with a key of its own, on a runtime of its own, with which it can be killed.
struct Place {
    port: u16,
    key: String,
    runtime: Option<Runtime>,
}

impl Place {
    async fn start(number: usize) -> Self {
        let port = free_port();
        let mut place = Self { port, key: format!("sk-place-{number}-51c0"), runtime: None };
        place.live().await;
        place
    }

    async fn live(&mut self) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (port, key) = (self.port, self.key.clone());
        let begun = runtime.spawn(async move {
            let listener = listen_at(port).await;
            let options = ModelOptions { key: Some(key), models: vec!["m".to_owned()], record: None };
            tokio::spawn(model::serve(listener, options));
        });
        begun.await.unwrap();
        self.runtime = Some(runtime);
    }

    fn kill(&mut self) {
        end(self.runtime.take().unwrap());
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    fn table(&self) -> String {
        format!("{{ base_url: '{}', api_key: '{}' }}", self.url(), self.key)
    }

    /// The sessions whose calls it was asked, in order: each says its session's name.
    async fn asked(&self) -> Vec<String> {
        let http = Client::new(&format!("http://127.0.0.1:{}", self.port));
        let record = http.get("/__requests").await.unwrap().json();
        let text = |request: &Value| {
            let text = request["body"].as_str();
            let body = text.map_or_else(|| request["body"].clone(), |text| serde_json::from_str(text).unwrap());
            let text = body.pointer("/messages/0/content").and_then(Value::as_str);
            text.map(|text| text.trim_start_matches("SAY ").to_owned())
        };
        record["requests"].as_array().unwrap().iter().filter_map(text).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.runtime.is_some() {
            self.kill();
        }
    }
}

async fn places(count: usize) -> Vec<Place> {
    let mut places = Vec::new();
    for number in 0..count {
        places.push(Place::start(number).await);
    }
    places
}

/// A gateway with one model that runs in these places.
async fn gateway(deployments: &[String], ledger: &'static str) -> Gateway {
    let models =
        format!("{{ m: {{ price: {{ input: 1.00, output: 2.00 }}, deployments: [{}] }} }}", deployments.join(", "));
    let setup = Setup { models, servers: "{}".to_owned(), ledger, ..Setup::default() };
    Gateway::start(&setup.config("", ""), &[("rules.cedar", ALL)]).await
}

/// A gateway with a model in so many places.
async fn behind(places: &[Place]) -> Gateway {
    let tables: Vec<String> = places.iter().map(Place::table).collect();
    let gateway = gateway(&tables, "{}").await;
    places.iter().for_each(|place| gateway.keep_secret(&place.key));
    gateway
}

fn request(text: &str) -> Value {
    let mut request = saying(text);
    request["model"] = json!("m");
    request
}

/// Each session says its name.
async fn say(client: &Client, session: &str) {
    let answer = ask(client, &in_session(session), &request(&format!("SAY {session}"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn admitted(gateway: &Gateway, session: &str) -> Vec<CallAdmitted> {
    let admitted = |event| if let Event::CallAdmitted(admitted) = event { Some(admitted) } else { None };
    gateway.events(session).into_iter().filter_map(admitted).collect()
}

/// Where the session's last call went, and the number of the placement.
fn placed(gateway: &Gateway, session: &str) -> (String, u64) {
    let placement = admitted(gateway, &format!("ann:{session}")).pop().unwrap().placement.unwrap();
    (placement.replica.address().to_owned(), placement.fence)
}

#[tokio::test]
async fn a_session_stays_with_its_deployment_over_a_restart_of_the_gateway() {
    let places = places(3).await;
    let mut gateway = behind(&places).await;
    let client = gateway.client("ann").await;
    let names: Vec<String> = (0..12).map(|number| format!("s{number}")).collect();
    for name in &names {
        say(&client, name).await;
    }
    let before: BTreeMap<&String, _> = names.iter().map(|name| (name, placed(&gateway, name))).collect();
    gateway.kill();
    gateway.restart().await;
    for name in &names {
        say(&client, name).await;
        assert_eq!(placed(&gateway, name), before[name]);
    }
    for place in &places {
        let own = place.asked().await;
        assert!((2..=10).contains(&own.len()), "every place has some and none has most: {own:?}");
        for name in own {
            assert_eq!(before[&name], (place.url(), 1));
        }
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_killed_deployment_loses_its_sessions_and_nobody_else_does() {
    let mut places = places(4).await;
    let gateway = behind(&places).await;
    let client = gateway.client("ann").await;
    let names: Vec<String> = (0..24).map(|number| format!("s{number}")).collect();
    for name in &names {
        say(&client, name).await;
    }
    let before: BTreeMap<&String, _> = names.iter().map(|name| (name, placed(&gateway, name))).collect();
    // The one that has most: a quarter at least, and no more than a place takes beside others.
    let has = |place: &Place| before.values().filter(|(at, _)| *at == place.url()).count();
    let fullest = (0..places.len()).max_by_key(|&number| has(&places[number])).unwrap();
    let held = has(&places[fullest]);
    assert!((6..=8).contains(&held), "of 24 sessions in 4 places the fullest has {held}");
    places[fullest].kill();
    let lost = places[fullest].url();
    let mut moved = 0;
    for name in &names {
        let heard = if moved % 2 == 0 {
            ask(&client, &in_session(name), &request("SAY still here")).await.json()["choices"][0]["message"]["content"]
                .clone()
        } else {
            let mut request = streaming("SAY still here");
            request["model"] = json!("m");
            json!(listen(&client, &in_session(name), &request).await.text)
        };
        assert_eq!(heard, json!("still here"), "{name}");
        let (place, fence) = placed(&gateway, name);
        if before[name].0 == lost {
            moved += 1;
            assert!(place != lost && fence == 2, "{name} moved from {lost} to {place}, {fence}");
        } else {
            assert_eq!((place, fence), before[name]);
        }
    }
    assert_eq!(moved, held, "all that were there have moved");
    // What is there again gets no session back that has a place.
    places[fullest].live().await;
    for name in &names {
        let place = placed(&gateway, name);
        say(&client, name).await;
        assert_eq!(placed(&gateway, name), place);
    }
    // Only the first session that found nobody there was sent on; from then on it was known.
    let failed = |name: &String| {
        let failed = |settled: &&portcullis_domain::event::CallSettled| settled.outcome == Outcome::Failed;
        gateway.settled(&format!("ann:{name}")).iter().filter(failed).count()
    };
    assert_eq!(names.iter().map(failed).sum::<usize>(), 1);
    gateway.finish().await;
}

#[tokio::test]
async fn one_with_too_much_to_do_is_left_and_only_what_was_used_is_paid() {
    for status in [429, 503] {
        let busy = RawUpstream::of_body(status, "retry-after: 60\r\n", r#"{"error":{"message":"too much"}}"#).await;
        let place = Place::start(0).await;
        let dear = "price: { input: 9.00, output: 9.00 }";
        let tables = [format!("{{ base_url: '{}/v1', {dear} }}", busy.url), place.table()];
        let gateway = gateway(&tables, "{ budgets: { ann: { usd: 1.00 } } }").await;
        let client = gateway.client("ann").await;
        // One of these sessions is given to the busy one first.
        let mut spent = 0;
        for number in 0..8 {
            let session = format!("s{number}");
            let answer = ask(&client, &in_session(&session), &request(&format!("SAY {session}"))).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let usage = &answer.json()["usage"];
            let tokens = |name: &str| usage[name].as_u64().unwrap();
            spent += tokens("prompt_tokens") * 1_000 + tokens("completion_tokens") * 2_000;
            assert_eq!(placed(&gateway, &session).0, place.url());
            let history = client.get(&format!("/api/v1/sessions/{session}/history")).await.unwrap().json();
            assert_eq!(history["messages"].as_array().unwrap().len(), 2, "every message once: {history}");
        }
        let asked = busy.received().len();
        assert_eq!(asked, 1, "it said that it wants to be left alone");
        let accounts = client.get("/api/v1/ledger/accounts").await.unwrap().json();
        let of = |account: &&Value| account["account"] == json!("principal/ann");
        let account = accounts["accounts"].as_array().unwrap().iter().find(of).unwrap().clone();
        let amount = |name: &str| account[format!("{name}_nanodollars")].as_u64().unwrap();
        assert_eq!((amount("spent"), amount("held")), (spent, 0));
        gateway.finish().await;
    }
}

#[tokio::test]
async fn not_more_than_three_are_tried_and_the_caller_gets_the_last_word() {
    let mut busy = Vec::new();
    for _ in 0..5 {
        busy.push(RawUpstream::of_body(503, "", r#"{"error":{"message":"too much"}}"#).await);
    }
    let tables: Vec<String> = busy.iter().map(|place| format!("{{ base_url: '{}/v1' }}", place.url)).collect();
    let gateway = gateway(&tables, "{}").await;
    let client = gateway.client("ann").await;
    let answer = ask(&client, &in_session("s"), &request("SAY x")).await;
    assert_eq!((answer.status, answer.json()["error"]["message"].clone()), (503, json!("too much")));
    let asked: Vec<usize> = busy.iter().map(|place| place.received().len()).collect();
    assert_eq!((asked.iter().sum::<usize>(), asked.iter().max()), (3, Some(&1)), "{asked:?}");
    let fences: Vec<u64> =
        admitted(&gateway, "ann:s").into_iter().map(|admitted| admitted.placement.unwrap().fence).collect();
    assert_eq!(fences, [1, 2, 3]);
    gateway.finish().await;
}

#[tokio::test]
async fn what_may_have_been_done_is_not_tried_elsewhere() {
    let silent =
        RawUpstream::start(|_| vec![b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec(), SILENCE.to_vec()]).await;
    let broken = RawUpstream::start(|_| Vec::new()).await;
    let ill = RawUpstream::start(|_| vec![whole(500, "", "{}")]).await;
    for (place, timeout, status) in [(&silent, "timeout_s: 1, ", 504), (&broken, "", 502), (&ill, "", 500)] {
        let other = RawUpstream::of_body(200, "", "{}").await;
        // Draining, so that the session is given to the first.
        let deployments = format!(
            "[{{ base_url: '{}/v1' }}, {{ base_url: '{}/v1', draining: true }}, {{ base_url: '{}/v2' }}]",
            place.url, other.url, place.url
        );
        let models = format!("{{ m: {{ {timeout}deployments: {deployments} }} }}");
        let setup = Setup { models, servers: "{}".to_owned(), ..Setup::default() };
        let gateway = Gateway::start(&setup.config("", ""), &[("rules.cedar", ALL)]).await;
        let client = gateway.client("ann").await;
        let answer = ask(&client, &in_session("s"), &request("SAY x")).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(admitted(&gateway, "ann:s").len(), 1);
        assert!(other.received().is_empty());
        gateway.finish().await;
    }
}

#[tokio::test]
async fn one_deployment_costs_no_entry_and_no_member_more() {
    let place = Place::start(0).await;
    let plain = format!("{{ m: {} }}", place.table());
    let setup = Setup { models: plain, servers: "{}".to_owned(), ..Setup::default() };
    let gateway = Gateway::start(&setup.config("", ""), &[("rules.cedar", ALL)]).await;
    let client = gateway.client("ann").await;
    say(&client, "s").await;
    let events = gateway.events("ann:s");
    assert_eq!(events.len(), 3, "opened, admitted, settled: {events:?}");
    assert_eq!(admitted(&gateway, "ann:s")[0].placement, None);
    let two = Place::start(1).await;
    let deployments = format!("{{ m: {{ deployments: [{}, {}] }} }}", place.table(), two.table());
    let setup = Setup { models: deployments, servers: "{}".to_owned(), ..Setup::default() };
    let other = Gateway::start(&setup.config("", ""), &[("rules.cedar", ALL)]).await;
    say(&other.client("ann").await, "s").await;
    assert_eq!(other.events("ann:s").len(), 3, "several cost no entry more either");
    gateway.finish().await;
    other.finish().await;
}
