//! Approvals where several gateways share a journal: one of them tells, and an approved call is made once, whichever of them is killed.

use std::collections::BTreeMap;
use std::path::Path;

use portcullis_testkit::effects;
use portcullis_testkit::http::Client;
use portcullis_testkit::process::wait_until;
use portcullis_testkit::tool_server::Era;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::gateway::LIMIT;
use crate::raw_upstream::RawUpstream;
use crate::scene::{TOOLS_TOKEN, TOOLS_WAIT_S, Upstream, tools_client};

const RULES: &str = r#"permit (principal, action, resource); @ask("manager") permit (principal, action == Action::"tools__record", resource);"#;

struct Site {
    fleet: Fleet,
    hook: RawUpstream,
    /// Ann's and the manager's, at each gateway.
    asking: Vec<Client>,
    answering: Vec<Client>,
    effects: std::path::PathBuf,
    _tools: Upstream,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn start(count: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let effects = folder.path().join("effects.jsonl");
        let tools = Upstream::tools(Era::Sessions, effects.clone()).await;
        let hook = RawUpstream::of_body(200, "", "{}").await;
        let config = format!(
            "server: {{ listen: '127.0.0.1:{{PORT}}', push_allowed: ['127.0.0.1'] }}\njournal: {{ store: 'sqlite:data' }}\n\
             identity: {{ principals: {{ ann: {{}}, mia: {{ roles: [manager] }} }} }}\n\
             registry: {{ tools_wait_s: {TOOLS_WAIT_S}, servers: {{ tools: {{ url: '{}/mcp', token: '{TOOLS_TOKEN}' }} }} }}\n\
             policy: {{ text: '{RULES}', approvals: {{ run: true, notify: '{}/approvals' }} }}\n",
            tools.url, hook.url,
        );
        let fleet = Fleet::start(count, &config).await?;
        let (ann, mia) = (fleet.known_key("ann").await, fleet.known_key("mia").await);
        let with = |key: &str| fleet.members.iter().map(|member| member.client().with_key(key)).collect::<Vec<_>>();
        let (asking, answering) = (with(&ann), with(&mia));
        Some(Self { fleet, hook, asking, answering, effects, _tools: tools, _folder: folder })
    }

    /// Parks a payment of each of these numbers, at one gateway after the other; the approvals.
    async fn park(&self, numbers: std::ops::Range<usize>) -> BTreeMap<usize, String> {
        let mut parked = BTreeMap::new();
        for (number, client) in numbers.zip(self.asking.iter().cycle()) {
            let mut tools = tools_client(client, "/mcp", Some(&format!("claim-{number}")));
            let answer = tools.call_tool("tools__record", &payment(number), None).await.unwrap();
            let id = answer.result["_meta"]["portcullis/refusal"]["approval"]["id"].as_str();
            parked.insert(number, id.unwrap_or_else(|| panic!("{answer:?}")).to_owned());
        }
        parked
    }

    async fn approve(&self, at: usize, id: &str) {
        let path = format!("/api/v1/approvals/{id}/approve");
        let is_given = || async {
            // It may not have heard of it yet.
            self.answering[at].post(&path, &json!({})).await.is_ok_and(|answer| answer.status == 200)
        };
        wait_until("the approval is given", LIMIT, is_given).await.unwrap();
    }

    /// What came of a payment, by that gateway.
    async fn ended(&self, at: usize, number: usize, id: &str) -> Value {
        let path = format!("/api/v1/sessions/claim-{number}/waits/approval_{id}");
        let has_come = || async {
            self.asking[at]
                .get(&path)
                .await
                .is_ok_and(|answer| answer.status == 200 && answer.json()["status"] != "open")
        };
        wait_until("the wait has ended", LIMIT, has_come).await.unwrap();
        self.asking[at].get(&path).await.unwrap().json()["event"]["data"]["status"].clone()
    }

    /// How often each approval was told of.
    fn told(&self) -> BTreeMap<String, usize> {
        let mut told = BTreeMap::new();
        for received in self.hook.received() {
            *told.entry(received.json()["approval"]["id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        told
    }
}

fn payment(number: usize) -> String {
    format!("{{\"id\":\"x\",\"value\":{number}}}")
}

fn made(effects: &Path, number: usize) -> usize {
    effects::lines(effects).unwrap().iter().filter(|line| **line == payment(number)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_gateway_tells_and_makes_an_approved_call_and_another_when_that_one_is_killed() {
    const CALLS: usize = 12;
    let Some(mut site) = Site::start(3).await else { return };
    let parked = site.park(0..CALLS).await;
    let are_told = || async { site.told().len() == CALLS };
    wait_until("all approvals are told of", LIMIT, are_told).await.unwrap();
    for (number, id) in &parked {
        site.approve((number + 1) % 3, id).await;
    }
    for (number, id) in &parked {
        assert_eq!(site.ended(0, *number, id).await, "completed", "{number}");
        assert_eq!(made(&site.effects, *number), 1, "{number}");
    }
    assert!(site.told().values().all(|times| *times == 1), "{:?}", site.told());

    // Whoever looks after the sessions: two of three die, some of them with calls under way.
    let parked = site.park(CALLS..2 * CALLS).await;
    let are_told = || async { site.told().len() == 2 * CALLS };
    wait_until("all approvals are told of", LIMIT, are_told).await.unwrap();
    for (place, (_, id)) in parked.iter().enumerate() {
        if place == CALLS / 2 {
            for member in &mut site.fleet.members[..2] {
                member.process.kill().unwrap();
            }
        }
        site.approve(2, id).await;
    }
    for (number, id) in &parked {
        let status = site.ended(2, *number, id).await;
        let times = made(&site.effects, *number);
        let is_right = (status == "completed" && times == 1) || (status == "unknown" && times <= 1);
        assert!(is_right, "{number} is {status} and was made {times} times");
    }
    for member in &mut site.fleet.members[..2] {
        member.restart().await;
    }
    site.fleet.finish().await;
}
