//! Servers that keep state in their session: every session of the gateway has one of its own there, and what ends it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_domain::event::{Event, Outcome};
use portcullis_testkit::http::Client;
use portcullis_testkit::process::wait_until;
use portcullis_testkit::tool_server::{self, Era, ToolServerOptions};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::fake_mcp::tool;
use crate::gateway::{Gateway, LIMIT, end, free_port, listen_at, runs};
use crate::raw_upstream::{RawUpstream, Received, whole};
use crate::scene::{Setup, TOOLS_TOKEN, Upstream, tools_client};

const ALL: &str = "permit (principal, action, resource);";

/// The sample server, which counts calls in each of its sessions, on a runtime of its own with which it can be killed.
struct Counter {
    port: u16,
    runtime: Option<Runtime>,
    folder: TempDir,
}

impl Counter {
    async fn start() -> Self {
        let port = free_port();
        let mut counter = Self { port, runtime: None, folder: tempfile::tempdir().unwrap() };
        counter.live().await;
        counter
    }

    /// Lives, or lives again, without any session.
    async fn live(&mut self) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (port, effects) = (self.port, self.folder.path().join("effects"));
        let begun = runtime.spawn(async move {
            let listener = listen_at(port).await;
            let key = Some(TOOLS_TOKEN.to_owned());
            let options = ToolServerOptions { era: Era::Sessions, effects, key, is_events: false, is_counting: true };
            tokio::spawn(tool_server::serve(listener, options));
        });
        begun.await.unwrap();
        self.runtime = Some(runtime);
    }

    fn kill(&mut self) {
        end(self.runtime.take().unwrap());
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// How many requests it got of that method.
    async fn asked(&self, method: &str) -> usize {
        let http = Client::new(&format!("http://127.0.0.1:{}", self.port));
        let record = http.get("/__requests").await.unwrap().json();
        let is_it = |request: &&Value| request["method"] == method;
        record["requests"].as_array().unwrap().iter().filter(is_it).count()
    }

    async fn wait_for_ends(&self, count: usize) {
        let have_ended = || async { self.asked("DELETE").await == count };
        wait_until(&format!("{count} sessions were ended"), LIMIT, have_ended).await.unwrap();
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if self.runtime.is_some() {
            self.kill();
        }
    }
}

/// A gateway with the server `own`, by the members of its table.
async fn gateway(table: &str) -> Gateway {
    let servers = format!("{{ own: {{ {table} }} }}");
    let setup = Setup { models: "{}".to_owned(), servers, ..Setup::default() };
    let gateway = Gateway::start(&setup.config("", ""), &[("rules.cedar", ALL)]).await;
    gateway.keep_secret(TOOLS_TOKEN);
    gateway
}

fn at(counters: &[Counter], more: &str) -> String {
    let urls: Vec<String> = counters.iter().map(|counter| format!("'{}'", counter.url())).collect();
    format!("urls: [{}], token: '{TOOLS_TOKEN}', session: per_session{more}", urls.join(", "))
}

/// How often it was counted in the session, after once more. Each is a call of its own, also after a crash, when nobody knows which answers were read.
async fn count(client: &Client, session: &str) -> String {
    static KEYS: AtomicUsize = AtomicUsize::new(0);
    let key = format!("count-{}", KEYS.fetch_add(1, Ordering::SeqCst));
    tools_client(client, "/mcp", Some(session)).call_tool("own__count", "{}", Some(&key)).await.unwrap().text
}

async fn close(client: &Client, session: &str) {
    assert_eq!(client.delete(&format!("/api/v1/sessions/{session}")).await.unwrap().status, 204);
}

#[tokio::test]
async fn every_session_has_its_own_or_all_share_one() {
    let counter = Counter::start().await;
    for (session, expected) in [("per_session", ["1", "1", "2", "2", "1"]), ("shared", ["1", "2", "3", "4", "5"])] {
        let gateway = gateway(&format!("url: '{}', token: '{TOOLS_TOKEN}', session: {session}", counter.url())).await;
        let (ann, bob) = (gateway.client("ann").await, gateway.client("bob").await);
        let mut counted = Vec::new();
        // Of two principals who use one name each has their own.
        for (client, session) in [(&ann, "a"), (&ann, "b"), (&ann, "a"), (&ann, "b"), (&bob, "a")] {
            counted.push(count(client, session).await);
        }
        assert_eq!(counted, expected, "{session}");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn what_a_session_has_of_its_own_is_ended_with_it_with_the_gateway_and_when_nobody_uses_it() {
    let counters = [Counter::start().await];
    let own = gateway(&at(&counters, "")).await;
    let client = own.client("ann").await;
    for session in ["a", "b", "c"] {
        assert_eq!(count(&client, session).await, "1");
    }
    assert_eq!(counters[0].asked("DELETE").await, 0);
    close(&client, "a").await;
    counters[0].wait_for_ends(1).await;
    assert_eq!(count(&client, "b").await, "2", "others are left alone");
    own.finish().await;
    assert_eq!(counters[0].asked("DELETE").await, 3);

    let brief = gateway(&at(&counters, ", session_idle_s: 1")).await;
    let client = brief.client("ann").await;
    assert_eq!(count(&client, "d").await, "1");
    counters[0].wait_for_ends(4).await;
    assert_eq!(count(&client, "d").await, "1", "there is another one");
    brief.finish().await;
}

#[tokio::test]
async fn a_server_that_knows_no_sessions_can_be_called_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let tools = Upstream::tools(Era::Stateless, folder.path().join("effects")).await;
    let gateway = gateway(&format!("url: '{}/mcp', token: '{TOOLS_TOKEN}', session: per_session", tools.url)).await;
    let client = gateway.client("ann").await;
    for session in ["a", "b"] {
        let mut calls = tools_client(&client, "/mcp", Some(session));
        assert_eq!(calls.call_tool("own__echo", r#"{"text":"x"}"#, None).await.unwrap().text, "x");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn not_more_sessions_than_the_limit_have_their_own_and_nobody_loses_theirs_to_another() {
    let counters = [Counter::start().await];
    let gateway = gateway(&at(&counters, ", sessions_limit: 1")).await;
    let client = gateway.client("ann").await;
    assert_eq!(count(&client, "a").await, "1");
    let refused = count(&client, "b").await;
    assert!(refused.contains("as many calls as it takes"), "{refused}");
    assert_eq!(gateway.settled("ann:b")[0].outcome, Outcome::Failed);
    assert_eq!(count(&client, "a").await, "2");
    close(&client, "a").await;
    assert_eq!(count(&client, "b").await, "1");
    gateway.finish().await;
}

#[tokio::test]
async fn a_session_stays_with_its_replica_until_that_is_gone() {
    let mut counters = [Counter::start().await, Counter::start().await];
    let mut gateway = gateway(&at(&counters, "")).await;
    let client = gateway.client("ann").await;
    let names: Vec<String> = (0..8).map(|number| format!("s{number}")).collect();
    let placed = |gateway: &Gateway, name: &str| {
        let admitted = |event| if let Event::CallAdmitted(admitted) = event { admitted.placement } else { None };
        let placement = gateway.events(&format!("ann:{name}")).into_iter().filter_map(admitted).next_back();
        placement.map(|placement| (placement.replica.address().to_owned(), placement.fence)).unwrap()
    };
    for expected in ["1", "2"] {
        for name in &names {
            assert_eq!(count(&client, name).await, expected);
        }
    }
    let before: BTreeMap<&String, _> = names.iter().map(|name| (name, placed(&gateway, name))).collect();
    let echo = tools_client(&client, "/mcp", Some("s0")).call_tool("own__echo", r#"{"text":"a"}"#, None).await.unwrap();
    assert_eq!(
        (echo.text.as_str(), placed(&gateway, "s0")),
        ("a", before[&names[0]].clone()),
        "all its tools are there"
    );
    // The memory of who is where outlives the gateway; what the server knew of the session does not.
    gateway.kill();
    gateway.restart().await;
    for name in &names {
        assert_eq!((count(&client, name).await.as_str(), placed(&gateway, name)), ("1", before[name].clone()));
    }
    let lost = counters[0].url();
    counters[0].kill();
    let mut moved = 0;
    for name in &names {
        let counted = count(&client, name).await;
        if before[name].0 == lost {
            moved += 1;
            assert_eq!((counted.as_str(), placed(&gateway, name)), ("1", (counters[1].url(), 2)));
        } else {
            assert_eq!((counted.as_str(), placed(&gateway, name)), ("2", before[name].clone()));
        }
    }
    assert!((3..=5).contains(&moved), "half of the sessions has moved: {moved}");
    counters[0].live().await;
    for name in &names {
        count(&client, name).await;
        assert_eq!(placed(&gateway, name).0, counters[1].url(), "{name} stays where it is");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_call_that_broke_off_at_one_replica_is_not_made_at_another() {
    let calls = Arc::new(AtomicUsize::new(0));
    let replica = |calls: Arc<AtomicUsize>| {
        move |request: &Received| {
            let message = request.json();
            let Some(id) = message.get("id") else { return vec![whole(202, "", "")] };
            let result = match message["method"].as_str().unwrap_or_default() {
                "initialize" => {
                    r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}"#.to_owned()
                }
                "tools/list" => format!("{{\"tools\":[{}]}}", tool("pay")),
                "tools/call" => {
                    calls.fetch_add(1, Ordering::SeqCst);
                    return Vec::new();
                }
                _ => return vec![whole(404, "", "")],
            };
            vec![whole(200, "mcp-session-id: x\r\n", &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))]
        }
    };
    let (one, other) =
        (RawUpstream::start(replica(calls.clone())).await, RawUpstream::start(replica(calls.clone())).await);
    let gateway = gateway(&format!("urls: ['{}', '{}'], session: per_session", one.url, other.url)).await;
    let client = gateway.client("ann").await;
    let mut tools = tools_client(&client, "/mcp", Some("s"));
    let broken = tools.call_tool("own__pay", "{}", Some("k")).await.unwrap();
    assert!(broken.is_error && broken.text.contains("not known"), "{broken:?}");
    assert_eq!((calls.load(Ordering::SeqCst), gateway.settled("ann:s")[0].outcome), (1, Outcome::Unknown));
    let again = tools.call_tool("own__pay", "{}", Some("k")).await.unwrap();
    assert!(again.is_error, "{again:?}");
    assert_eq!(calls.load(Ordering::SeqCst), 1, "nor when it is asked for again");
    gateway.finish().await;
}

/// A server on standard input and output that counts in its own memory, and says which process it is.
fn counting(folder: &Path) -> String {
    let script = folder.join("count.sh");
    let text = r#"
count=0
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
    *'"method":"initialize"'*) result='{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"method":"tools/list"'*) result='{"tools":[{"name":"count","inputSchema":{"type":"object"}}]}' ;;
    *'"method":"tools/call"'*) count=$((count + 1)); result="{\"content\":[{\"type\":\"text\",\"text\":\"$count $$\"}]}" ;;
    *'"method":"notifications/'*) continue ;;
    *) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}\n' "$id"; continue ;;
  esac
  printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done
"#;
    std::fs::write(&script, text).unwrap();
    script.display().to_string()
}

#[tokio::test]
async fn every_session_has_a_program_of_its_own_which_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let gateway =
        gateway(&format!("command: [sh, '{}'], session: per_session, sessions_limit: 2", counting(folder.path())))
            .await;
    let client = gateway.client("ann").await;
    let counted = async |session: &str| {
        let text = count(&client, session).await;
        let (count, process) = text.split_once(' ').unwrap_or_else(|| panic!("{text}"));
        (count.to_owned(), process.parse::<u32>().unwrap_or_else(|_| panic!("{text}")))
    };
    let (a, b) = (counted("a").await, counted("b").await);
    assert_eq!((a.0.as_str(), b.0.as_str()), ("1", "1"));
    assert_ne!(a.1, b.1);
    assert_eq!(counted("a").await, ("2".to_owned(), a.1));
    let refused = count(&client, "c").await;
    assert!(refused.contains("as many calls as it takes"), "{refused}");
    close(&client, "a").await;
    wait_until("its program has ended", LIMIT, || async { !runs(a.1) }).await.unwrap();
    assert_eq!(counted("b").await, ("2".to_owned(), b.1));
    assert_eq!(counted("c").await.0, "1");
    gateway.finish().await;
    wait_until("all programs have ended", LIMIT, || async { !runs(b.1) }).await.unwrap();
}
