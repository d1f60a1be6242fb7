//! Several gateways with one journal in PostgreSQL, as processes: they share what a caller can see, and one goes on where another was killed. And what callers of a
//! gateway notice when the database goes away.

use std::path::Path;
use std::sync::Arc;

use portcullis_domain::event::Event;
use portcullis_domain::journal::Entry;
use portcullis_testkit::http::Client;
use portcullis_testkit::postgres::Postgres;
use portcullis_testkit::process::{ChildProcess, wait_until};
use serde_json::json;
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::gateway::{LIMIT, free_port, ready, run, spawn};
use crate::raw_upstream::{RawUpstream, SILENCE, whole};
use crate::scene::{RULES, Setup, Upstream};
use crate::spoken::{ask, in_session, saying, with};

/// An answer of a model.
pub(crate) const ANSWER: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"at last"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}"#;

/// The database, and what gateways have in front of and behind them.
struct Site {
    server: Arc<Postgres>,
    folder: TempDir,
    model: Upstream,
    tools: Upstream,
}

/// A database, or none on a machine without PostgreSQL that somebody watches.
#[expect(clippy::disallowed_methods, reason = "a missing tool is a failure where nobody watches")]
pub(crate) fn database() -> Option<Postgres> {
    match Postgres::start() {
        Ok(server) => Some(server),
        Err(problem) if std::env::var_os("CI").is_some() => panic!("{problem}"),
        Err(problem) => {
            eprintln!("skipped: {problem}");
            None
        }
    }
}

struct Member {
    process: ChildProcess,
    client: Client,
}

impl Site {
    /// None on a machine without PostgreSQL that somebody watches.
    async fn new() -> Option<Self> {
        let server = Arc::new(database()?);
        let setup = Setup::default();
        let folder = tempfile::tempdir().unwrap();
        let tools = Upstream::tools(setup.era, folder.path().join("effects.jsonl")).await;
        Some(Self { server, folder, model: Upstream::model(setup.served).await, tools })
    }

    /// Starts a gateway with a second model, `slow`. The first makes the secrets, the others get copies.
    async fn gateway(&self, name: &str, slow: &str) -> Member {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(folder.join("data")).unwrap();
        for file in ["vault.key", "journal.key"] {
            let first = self.folder.path().join("a/data").join(file);
            if name != "a" {
                std::fs::copy(first, folder.join("data").join(file)).unwrap();
            }
        }
        let price = "price: { input: 1.00, output: 2.00 }";
        let slow = format!("slow: {{ base_url: '{slow}/v1', api_key: 'none', {price} }}");
        let setup = Setup::default();
        let models = format!("{}, {slow} }}", setup.models.strip_suffix(" }").unwrap());
        let port = free_port();
        let store = format!("journal: {{ store: '{}', directory: data }}", self.server.url());
        let config = Setup { models, ..setup }.config(&self.model.url, &self.tools.url);
        let config = config.replace("journal: { store: 'sqlite:data' }", &store).replace("{PORT}", &port.to_string());
        std::fs::write(folder.join("portcullis.yaml"), config).unwrap();
        std::fs::write(folder.join("rules.cedar"), RULES).unwrap();
        let mut process = spawn(&folder, &[]);
        ready(&mut process, port).await.unwrap();
        Member { process, client: Client::new(&format!("http://127.0.0.1:{port}")) }
    }

    /// A new key of `ann`, issued at that gateway.
    async fn key(&self, gateway: &Member) -> String {
        let admin = std::fs::read_to_string(self.folder.path().join("a/data/admin.key")).unwrap();
        let admin = gateway.client.clone().with_key(admin.trim());
        let answer = admin.post("/api/v1/identity/keys", &json!({"principal": "ann"})).await.unwrap();
        answer.json()["key"].as_str().unwrap().to_owned()
    }

    async fn entries(&self) -> Vec<Entry<Event>> {
        let Ok((client, connection)) = tokio_postgres::connect(&self.server.url(), NoTls).await else {
            return Vec::new();
        };
        tokio::spawn(connection);
        let rows = client.query("SELECT bytes FROM portcullis.entries ORDER BY position", &[]).await;
        rows.unwrap_or_default().iter().map(|row| Entry::decode(row.get(0)).unwrap()).collect()
    }

    async fn wait_for(&self, what: &str, is_meant: impl Fn(&Event) -> bool) {
        let is_there = || async { self.entries().await.iter().any(|entry| is_meant(&entry.event)) };
        wait_until(what, LIMIT, is_there).await.unwrap();
    }
}

impl Member {
    async fn stop(mut self, folder: &Path) {
        self.process.terminate().unwrap();
        let status = self.process.wait_for_end(LIMIT).await.unwrap();
        assert!(status.success(), "{}", self.process.output());
        let verified = run(folder, &["journal", "verify"]).await;
        let said = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(verified.status.success() && said.contains("the journal is whole"), "{verified:?}");
        let shown = run(folder, &["journal", "show", "--bodies"]).await;
        assert!(shown.status.success() && String::from_utf8_lossy(&shown.stdout).contains("call.settled"), "{shown:?}");
    }
}

fn settled_as(outcome: &'static str) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::CallSettled(settled) if serde_json::to_value(settled.outcome).unwrap() == outcome)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_goes_on_where_another_was_killed() {
    let Some(site) = Site::new().await else { return };
    let slow = RawUpstream::start(|_| vec![SILENCE.to_vec()]).await;
    let mut killed = site.gateway("a", &slow.url).await;
    let other = site.gateway("b", &slow.url).await;
    let key = site.key(&killed).await;
    let (ann, ann_elsewhere) = (killed.client.clone().with_key(&key), other.client.clone().with_key(&key));
    let is_known = || async { ann_elsewhere.get("/v1/models").await.is_ok_and(|answer| answer.status == 200) };
    wait_until("the other gateway knows the key", LIMIT, is_known).await.unwrap();
    for client in [&ann, &ann_elsewhere, &ann] {
        let answer = ask(client, &in_session("shared"), &saying("hello")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let hanging = tokio::spawn({
        let ann = ann.clone();
        async move { ann.post(&in_session("shared"), &with(saying("hello"), "model", json!("slow"))).await }
    });
    let has_come = || async { !slow.received().is_empty() };
    wait_until("the upstream has the call", LIMIT, has_come).await.unwrap();
    killed.process.kill().unwrap();
    assert!(hanging.await.unwrap().is_err());
    site.wait_for("the call is settled as unknown", settled_as("unknown")).await;
    let answer = ask(&ann_elsewhere, &in_session("shared"), &saying("hello")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let owners = site.entries().await.into_iter().filter_map(|entry| {
        let Event::CallAdmitted(admitted) = entry.event else { return None };
        Some(admitted.gateway.unwrap().to_string())
    });
    let owners: Vec<String> = owners.collect();
    assert_eq!(owners.len(), 5);
    assert!(owners[0] == owners[2] && owners[2] == owners[3] && owners[1] == owners[4] && owners[0] != owners[1]);
    other.stop(&site.folder.path().join("b")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_whose_end_could_not_be_written_is_settled_when_the_database_is_back() {
    let Some(site) = Site::new().await else { return };
    let server = site.server.clone();
    // The database goes away while the upstream works.
    let slow = RawUpstream::start(move |_| {
        tokio::task::block_in_place(|| server.crash()).unwrap();
        vec![whole(200, "", ANSWER)]
    });
    let slow = slow.await;
    let mut gateway = site.gateway("a", &slow.url).await;
    let ann = gateway.client.clone().with_key(&site.key(&gateway).await);
    let answer = ask(&ann, &in_session("claim-1"), &with(saying("hello"), "model", json!("slow"))).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("store_unavailable") && !answer.text().contains("at last"), "{}", answer.text());
    let answer = ask(&ann, &in_session("claim-1"), &saying("hello")).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    site.server.begin().unwrap();
    site.wait_for("the end of the call is written", settled_as("completed")).await;
    let works = || async { ask(&ann, &in_session("claim-1"), &saying("hello")).await.status == 200 };
    wait_until("calls are taken again", LIMIT, works).await.unwrap();
    assert!(gateway.process.ended().unwrap().is_none(), "it is still the same process");
    gateway.stop(&site.folder.path().join("a")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_gateway_has_answered_and_keeps_another_one_has_too() {
    let Some(site) = Site::new().await else { return };
    let mut killed = site.gateway("a", "http://127.0.0.1:9").await;
    let other = site.gateway("b", "http://127.0.0.1:9").await;
    let key = site.key(&killed).await;
    let (ann, ann_elsewhere) = (killed.client.clone().with_key(&key), other.client.clone().with_key(&key));
    let is_known = || async { ann_elsewhere.get("/v1/models").await.is_ok_and(|answer| answer.status == 200) };
    wait_until("the other gateway knows the key", LIMIT, is_known).await.unwrap();
    let first = ann.post("/v1/responses", &json!({"model": "scripted", "input": "SAY first"})).await.unwrap().json();
    let keyed = |client: &Client| {
        let (client, body) = (client.clone(), saying("SAY once").to_string());
        async move { client.send("POST", "/v1/chat/completions", &[("idempotency-key", "k")], Some(body)).await.unwrap() }
    };
    let once = keyed(&ann).await;
    killed.process.kill().unwrap();
    let path = format!("/v1/responses/{}", first["id"].as_str().unwrap());
    assert_eq!(ann_elsewhere.get(&path).await.unwrap().json(), first);
    let next = json!({"model": "scripted", "input": "SAY second", "previous_response_id": first["id"]});
    let second = ann_elsewhere.post("/v1/responses", &next).await.unwrap();
    assert_eq!(second.status, 200, "{}", second.text());
    let messages = site.model.requests().await.last().unwrap()["body"]["messages"].clone();
    assert_eq!(messages.as_array().unwrap().len(), 3);
    let again = keyed(&ann_elsewhere).await;
    assert_eq!((again.text(), again.header("idempotency-replayed")), (once.text(), Some("true")));
    other.stop(&site.folder.path().join("b")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_is_disabled_at_one_gateway_is_cut_off_at_the_others() {
    let Some(site) = Site::new().await else { return };
    let slow = RawUpstream::start(|_| vec![SILENCE.to_vec()]).await;
    let one = site.gateway("a", &slow.url).await;
    let other = site.gateway("b", &slow.url).await;
    let ann = other.client.clone().with_key(&site.key(&one).await);
    let is_known = || async { ann.get("/v1/models").await.is_ok_and(|answer| answer.status == 200) };
    wait_until("the other gateway knows the key", LIMIT, is_known).await.unwrap();
    let hanging = tokio::spawn({
        let ann = ann.clone();
        async move { ann.post(&in_session("shared"), &with(saying("hello"), "model", json!("slow"))).await.unwrap() }
    });
    let has_come = || async { !slow.received().is_empty() };
    wait_until("the upstream has the call", LIMIT, has_come).await.unwrap();
    let admin = std::fs::read_to_string(site.folder.path().join("a/data/admin.key")).unwrap();
    let admin = one.client.clone().with_key(admin.trim());
    let disabled = admin.post("/api/v1/identity/disabled", &json!({"name": "ann"})).await.unwrap();
    assert_eq!(disabled.status, 200, "{}", disabled.text());
    let refused = hanging.await.unwrap();
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (401, Some("unauthenticated")));
    slow.wait_for_leavers(1).await;
    site.wait_for("the call is settled", settled_as("aborted")).await;
    let folder = site.folder.path();
    one.stop(&folder.join("a")).await;
    other.stop(&folder.join("b")).await;
}
