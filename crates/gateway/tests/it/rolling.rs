//! Gateways that are asked to stop: whoever balances learns of it first, calls end, and no request is lost. And what several gateways do once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use portcullis_testkit::http::Client;
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::agents::{Replica, config};
use crate::fleet::{Balancer, Fleet};
use crate::gateway::{Gateway, LIMIT};
use crate::raw_upstream::{RawUpstream, whole};
use crate::scene::{Setup, Upstream};
use crate::spoken::{ask, in_session, saying, with};

/// How many callers there are, each with a call under way all the time.
const CALLERS: usize = 6;
/// How many calls are answered while no gateway is restarted, before and after each restart.
const BETWEEN: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_that_is_asked_to_stop_says_so_and_takes_calls_until_others_have_noticed() {
    let model = Upstream::model(&["scripted"]).await;
    let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
    let released = std::sync::Mutex::new(released);
    let slow = RawUpstream::start(move |_| {
        tokio::task::block_in_place(|| released.lock().unwrap().recv()).unwrap();
        vec![whole(200, "", crate::cluster::ANSWER)]
    })
    .await;
    let setup = Setup { server: ", unready_s: 15, drain_s: 60", ..Setup::default() };
    let second = format!(", slow: {{ base_url: '{}/v1', price: {{ input: 1.00, output: 2.00 }} }} }}", slow.url);
    let models = format!("{}{second}", setup.models.strip_suffix(" }").unwrap());
    let config = Setup { models, servers: "{}".to_owned(), ..setup }.config(&model.url, "");
    let mut gateway = Gateway::start(&config, &[("rules.cedar", "permit (principal, action, resource);")]).await;
    let (client, later) = (gateway.client("ann").await, gateway.client("ann").await);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { ask(&client, &in_session("claim-1"), &with(saying("hello"), "model", json!("slow"))).await }
    });
    let has_come = || async { !slow.received().is_empty() };
    wait_until("the upstream has the call", LIMIT, has_come).await.unwrap();
    assert_eq!(gateway.stranger().get("/readyz").await.unwrap().status, 200);
    gateway.terminate();
    let is_unready = || async { gateway.stranger().get("/readyz").await.is_ok_and(|answer| answer.status == 503) };
    wait_until("it is not ready any more", LIMIT, is_unready).await.unwrap();
    // A connection of its own, made after the signal.
    let answer = ask(&later, &in_session("claim-2"), &saying("hello")).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{}", answer.text());
    let is_gone = || async { gateway.stranger().get("/healthz").await.is_err() };
    wait_until("it takes no connections any more", LIMIT, is_gone).await.unwrap();
    assert!(!waiting.is_finished());
    release.send(()).unwrap();
    assert_eq!(waiting.await.unwrap().status, 200);
    gateway.finish().await;
}

/// Callers that never rest, and what went wrong for them.
struct Load {
    answered: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    callers: JoinSet<Vec<String>>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let (answered, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let (client, answered, is_over) = (client.clone(), answered.clone(), is_over.clone());
            callers.spawn(async move {
                let mut faults = Vec::new();
                while !is_over.load(Ordering::SeqCst) && faults.is_empty() {
                    let session = format!("claim-{number}");
                    let headers = [("portcullis-session", session.as_str()), ("content-type", "application/json")];
                    let body = if number % 2 == 0 { saying("hello") } else { json!({"a": 1}) };
                    let path = if number % 2 == 0 { "/v1/chat/completions" } else { "/agents/counter/run" };
                    match client.send("POST", path, &headers, Some(body.to_string())).await {
                        Ok(answer) if answer.status == 200 => drop(answered.fetch_add(1, Ordering::SeqCst)),
                        Ok(answer) => faults.push(format!("{path}: {} {}", answer.status, answer.text())),
                        Err(failure) => faults.push(format!("{path}: {failure}")),
                    }
                }
                faults
            });
        }
        Self { answered, is_over, callers }
    }

    async fn goes_on(&self) {
        let goal = self.answered.load(Ordering::SeqCst) + BETWEEN;
        let has_gone_on = || async { self.answered.load(Ordering::SeqCst) >= goal };
        wait_until("more calls are answered", LIMIT, has_gone_on).await.unwrap();
    }

    async fn end(self) -> Vec<String> {
        self.is_over.store(true, Ordering::SeqCst);
        self.callers.join_all().await.concat()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gateways_that_are_restarted_one_after_the_other_lose_no_request() {
    let replicas = [Replica::start().await, Replica::start().await];
    let model = Upstream::model(&["scripted"]).await;
    let models = format!("models: {}", Setup::default().models.replace("{MODEL}", &model.url));
    let config = config(&replicas, "")
        .replace("models: {}", &models)
        .replace("'127.0.0.1:{PORT}'", "'127.0.0.1:{PORT}', unready_s: 15");
    let Some(mut fleet) = Fleet::start(3, &config).await else { return };
    let balancer = Balancer::start(fleet.members.iter().map(|member| member.port)).await;
    let client = balancer.client(&fleet.known_key("ann").await);
    let load = Load::start(&client);
    for member in &mut fleet.members {
        load.goes_on().await;
        member.stop().await;
        load.goes_on().await;
        member.restart().await;
    }
    load.goes_on().await;
    assert_eq!(load.end().await, Vec::<String>::new());
    fleet.finish().await;
}

fn times(replicas: &[Replica]) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for (delivery, _) in replicas.iter().flat_map(Replica::told) {
        *times.entry(delivery).or_insert(0) += 1;
    }
    times
}

async fn wait_for_event(client: &Client, session: &str) -> String {
    let wanted = json!({"name": "letter", "for": "a letter", "timeout_s": 600, "deliver": {"agent": "counter", "path": "/resume"}});
    let answer = client.post(&format!("/api/v1/sessions/{session}/waits"), &wanted).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let url: Value = answer.json()["event_url"].clone();
    url.as_str().unwrap().split_once("/events/").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_gateways_one_tells_the_agent_and_another_when_that_one_is_killed() {
    const WAITS: usize = 24;
    let replicas = [Replica::start().await];
    let Some(mut fleet) = Fleet::start(3, &config(&replicas, "")).await else { return };
    let key = fleet.known_key("ann").await;
    let clients: Vec<Client> = fleet.members.iter().map(|member| member.client().with_key(&key)).collect();
    for (number, client) in (0..WAITS).zip(clients.iter().cycle()) {
        let token = wait_for_event(client, &format!("claim-{number}")).await;
        assert_eq!(client.post(&format!("/events/{token}"), &json!({})).await.unwrap().status, 202);
    }
    let is_told = || async { times(&replicas).len() == WAITS };
    wait_until("the agent is told of all", LIMIT, is_told).await.unwrap();
    let are_noted = || async {
        let mut done = 0;
        for number in 0..WAITS {
            let answer = clients[0].get(&format!("/api/v1/sessions/claim-{number}/waits")).await.unwrap();
            done += usize::from(answer.json()["waits"][0]["is_delivered"] == json!(true));
        }
        done == WAITS
    };
    wait_until("all deliveries are noted", LIMIT, are_noted).await.unwrap();
    assert_eq!(times(&replicas).into_iter().filter(|(_, times)| *times > 1).collect::<Vec<_>>(), []);

    // Somebody has the sessions whose agent is ill; whoever it is, it dies or another does.
    replicas[0].make_ill(true);
    for (number, client) in (WAITS..2 * WAITS).zip(clients.iter().cycle()) {
        let token = wait_for_event(client, &format!("claim-{number}")).await;
        assert_eq!(client.post(&format!("/events/{token}"), &json!({})).await.unwrap().status, 202);
    }
    for member in &mut fleet.members[..2] {
        member.process.kill().unwrap();
    }
    replicas[0].make_ill(false);
    let is_told = || async { times(&replicas).len() == 2 * WAITS };
    wait_until("the agent is told of the rest", LIMIT, is_told).await.unwrap();
    for member in &mut fleet.members[..2] {
        member.restart().await;
    }
    fleet.finish().await;
}
