//! Tools that take effect at most once: whatever repeats a call — a client that tries again, one that has lost the answer, a gateway that was killed — its effect
//! is there once, or is asked for on purpose.

use std::path::{Path, PathBuf};

use portcullis_domain::event::{Event, Outcome};
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{Gateway, LIMIT};
use crate::scene::Setup;

const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");

/// A server with two tools that write a line into a file and then wait until there is a file `release`: `pay` into `paid`, and `look`, which says of itself that
/// it only reads, into `looked`. They answer how many lines there are.
const SCRIPT: &str = r#"
cd "$(dirname "$0")" || exit 1
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
run() {
  echo run >> "$1"
  while [ ! -e release ]; do sleep 0.02; done
  answer "{\"content\":[{\"type\":\"text\",\"text\":\"$1 $(wc -l < "$1")\"}]}"
}
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
    *'"method":"initialize"'*) answer '{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"method":"tools/list"'*) answer "{\"tools\":$(cat tools.json)}" ;;
    *'"method":"tools/call"'*'"name":"pay"'*) run paid ;;
    *'"method":"tools/call"'*'"name":"look"'*) run looked ;;
    *'"method":"notifications/'*) ;;
    *) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}\n' "$id" ;;
  esac
done
"#;

struct Bank {
    gateway: Gateway,
    client: Client,
    folder: TempDir,
}

impl Bank {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("server.sh");
        std::fs::write(&script, SCRIPT).unwrap();
        let amount = json!({"type": "object", "properties": {"amount": {"type": "integer"}}});
        let tools = json!([
            {"name": "pay", "description": "Pays.", "inputSchema": amount},
            {"name": "look", "description": "Looks.", "inputSchema": amount, "annotations": {"readOnlyHint": true}},
        ]);
        std::fs::write(folder.path().join("tools.json"), tools.to_string()).unwrap();
        let servers = format!("{{ bank: {{ command: [sh, '{}'] }} }}", script.display());
        let setup = Setup { models: "{}".to_owned(), servers, ..Setup::default() };
        let rules = "permit (principal, action, resource);";
        let gateway = Gateway::start(&setup.config("", ""), &[("rules.cedar", rules)]).await;
        let client = gateway.client("ann").await.with_header("portcullis-session", "claim-1");
        Self { gateway, client, folder }
    }

    async fn call(&self, tool: &str, amount: u64, headers: &[(&str, &str)]) -> Answer {
        call(self.client.clone(), tool, amount, owned(headers)).await
    }

    /// A call that goes on while the test does.
    fn begin(&self, tool: &'static str, amount: u64, headers: &[(&str, &str)]) -> tokio::task::JoinHandle<Answer> {
        tokio::spawn(call(self.client.clone(), tool, amount, owned(headers)))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn release(&self) {
        std::fs::write(self.file("release"), "").unwrap();
    }

    fn hold(&self) {
        std::fs::remove_file(self.file("release")).unwrap();
    }

    fn ran(&self, file: &str) -> usize {
        lines(&self.file(file))
    }

    async fn until_ran(&self, file: &str, times: usize) {
        wait_until("the tool runs", LIMIT, || async { self.ran(file) == times }).await.unwrap();
    }

    async fn until_settled(&self, outcome: Outcome) {
        let is_settled = || async { self.gateway.settled("ann:claim-1").iter().any(|event| event.outcome == outcome) };
        wait_until("the call is settled", LIMIT, is_settled).await.unwrap();
    }

    async fn until_repeated(&self, times: usize) {
        let expected = format!("portcullis_calls_repeated_total{{door=\"mcp\"}} {times}");
        let admin = self.gateway.admin();
        let is_repeated =
            || async { admin.send("GET", "/metrics", &[], None).await.unwrap().text().contains(&expected) };
        wait_until("the call is known as a repetition", LIMIT, is_repeated).await.unwrap();
    }

    async fn unknown_calls(&self) -> Vec<String> {
        let answer = self.client.send("GET", "/api/v1/sessions/claim-1", &[], None).await.unwrap().json();
        let calls = answer["unknown_calls"].as_array().cloned().unwrap_or_default();
        calls.iter().map(|call| call.as_str().unwrap().to_owned()).collect()
    }
}

fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

async fn call(client: Client, tool: &str, amount: u64, headers: Vec<(String, String)>) -> Answer {
    let is_modern = headers.iter().any(|(name, _)| name == "mcp-method");
    let meta = if is_modern {
        r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#
    } else {
        ""
    };
    let params = format!(r#"{{"name":"bank__{tool}","arguments":{{"amount":{amount}}}{meta}}}"#);
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    let headers: Vec<(&str, &str)> =
        [ACCEPT].into_iter().chain(headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect();
    client.send("POST", "/mcp", &headers, Some(body)).await.unwrap()
}

fn key(key: &str) -> [(&str, &str); 1] {
    [("idempotency-key", key)]
}

/// What makes a call one of the stateless era.
const MODERN: [(&str, &str); 3] =
    [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "bank__pay")];

fn text(answer: &Answer) -> String {
    answer.json()["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

fn code(answer: &Answer) -> Value {
    answer.json()["result"]["_meta"]["portcullis/refusal"]["code"].clone()
}

#[tokio::test]
async fn a_call_with_a_key_runs_once_and_is_answered_from_the_record_even_after_a_restart() {
    let mut bank = Bank::open().await;
    bank.release();
    let first = bank.call("pay", 100, &key("k-1")).await;
    assert_eq!((text(&first).as_str(), first.header("idempotency-replayed")), ("paid 1", None));
    // The draft's form with quotes is the same key.
    for form in ["k-1", "\"k-1\""] {
        let again = bank.call("pay", 100, &key(form)).await;
        assert_eq!((text(&again).as_str(), again.header("idempotency-replayed")), ("paid 1", Some("true")));
        assert_eq!(again.header("portcullis-call"), first.header("portcullis-call"));
    }
    bank.gateway.kill();
    bank.gateway.restart().await;
    assert_eq!(text(&bank.call("pay", 100, &key("k-1")).await), "paid 1");
    assert_eq!(code(&bank.call("pay", 101, &key("k-1")).await), "idempotency_key_reused");
    assert_eq!(text(&bank.call("pay", 100, &key("k-2")).await), "paid 2");
    // What only reads is kept too, if the caller says which call it is.
    for _ in 0..2 {
        assert_eq!(text(&bank.call("look", 1, &key("k-3")).await), "looked 1");
    }
    assert_eq!(text(&bank.call("look", 1, &[]).await), "looked 2");
    // Another session's calls are other calls.
    let other = bank.gateway.client("ann").await.with_header("portcullis-session", "claim-2");
    assert_eq!(text(&call(other, "pay", 100, owned(&key("k-1"))).await), "paid 3");
    bank.gateway.finish().await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_before_anything_runs() {
    let bank = Bank::open().await;
    bank.release();
    let long = "k".repeat(256);
    for (headers, is_good) in [
        (vec![("idempotency-key", "")], false),
        (vec![("idempotency-key", long.as_str())], false),
        (vec![("idempotency-key", "a"), ("idempotency-key", "b")], false),
        (vec![("idempotency-key", &long[..255])], true),
    ] {
        let answer = bank.call("pay", 1, &headers).await;
        assert_eq!(answer.json()["error"]["data"]["parameter"] == "Idempotency-Key", !is_good, "{}", answer.text());
    }
    assert_eq!(bank.ran("paid"), 1);
    bank.gateway.finish().await;
}

#[tokio::test]
async fn the_same_call_under_way_is_waited_for() {
    let bank = Bank::open().await;
    let calls: Vec<_> = (0..3).map(|_| bank.begin("pay", 100, &key("k-1"))).collect();
    bank.until_ran("paid", 1).await;
    bank.until_repeated(2).await;
    bank.release();
    for call in calls {
        assert_eq!(text(&call.await.unwrap()), "paid 1");
    }
    assert_eq!(bank.ran("paid"), 1);
    bank.gateway.finish().await;
}

#[tokio::test]
async fn a_call_whose_answer_nobody_got_is_the_same_when_it_is_asked_for_again() {
    let bank = Bank::open().await;
    // A client of the era of sessions that leaves does not cancel.
    let lost = bank.begin("pay", 100, &[]);
    bank.until_ran("paid", 1).await;
    lost.abort();
    let is_lost = lost.await.is_err();
    assert!(is_lost);
    bank.release();
    bank.until_settled(Outcome::Completed).await;
    let again = bank.call("pay", 100, &[]).await;
    assert_eq!((text(&again).as_str(), again.header("idempotency-replayed")), ("paid 1", Some("true")));
    // Now that it was answered, the same words mean another payment.
    assert_eq!(text(&bank.call("pay", 100, &[]).await), "paid 2");
    assert_eq!(text(&bank.call("pay", 100, &[]).await), "paid 3");
    bank.gateway.finish().await;
}

#[tokio::test]
async fn two_callers_who_both_wait_mean_two_calls() {
    let bank = Bank::open().await;
    let first = bank.begin("pay", 100, &[]);
    bank.until_ran("paid", 1).await;
    let second = bank.begin("pay", 100, &[]);
    let are_admitted = || async {
        let events = bank.gateway.events("ann:claim-1");
        events.iter().filter(|event| matches!(event, Event::CallAdmitted(_))).count() == 2
    };
    wait_until("both are admitted", LIMIT, are_admitted).await.unwrap();
    bank.release();
    let mut said = [text(&first.await.unwrap()), text(&second.await.unwrap())];
    said.sort();
    assert_eq!(said, ["paid 1", "paid 2"]);
    bank.gateway.finish().await;
}

#[tokio::test]
async fn a_call_that_was_cancelled_in_the_middle_is_not_made_again_blindly() {
    let bank = Bank::open().await;
    let left = bank.begin("pay", 100, &MODERN);
    bank.until_ran("paid", 1).await;
    left.abort();
    bank.until_settled(Outcome::Aborted).await;
    bank.release();
    let again = bank.call("pay", 100, &[]).await;
    assert_eq!(code(&again), "outcome_unknown", "{}", again.text());
    assert_eq!(bank.unknown_calls().await.len(), 1);
    // On purpose it may be made again, and other calls are not touched.
    assert_eq!(text(&bank.call("pay", 100, &key("on purpose")).await), "paid 2");
    assert_eq!(text(&bank.call("pay", 99, &[]).await), "paid 3");
    bank.gateway.finish().await;
}

#[tokio::test]
async fn after_a_crash_in_between_only_what_is_harmless_runs_again_until_a_person_has_looked() {
    let mut bank = Bank::open().await;
    // The bank does one thing after the other: what comes first must be a payment.
    let first = bank.begin("pay", 100, &key("k-1"));
    bank.until_ran("paid", 1).await;
    let lost = [first, bank.begin("pay", 7, &[]), bank.begin("look", 1, &key("k-2"))];
    let are_admitted = || async {
        let events = bank.gateway.events("ann:claim-1");
        events.iter().filter(|event| matches!(event, Event::CallAdmitted(_))).count() == 3
    };
    wait_until("all are admitted", LIMIT, are_admitted).await.unwrap();
    bank.gateway.kill();
    for call in lost {
        call.abort();
    }
    let ran = bank.ran("paid");
    bank.gateway.restart().await;
    bank.release();
    for (amount, headers) in [(100, &key("k-1")[..]), (7, &[])] {
        let again = bank.call("pay", amount, headers).await;
        assert_eq!(code(&again), "outcome_unknown", "{}", again.text());
    }
    assert!(text(&bank.call("look", 1, &key("k-2")).await).starts_with("looked"));
    assert_eq!(bank.ran("paid"), ran);

    let unknown = bank.unknown_calls().await;
    assert_eq!(unknown.len(), 2);
    let path = |call: &str| format!("/api/v1/sessions/ann:claim-1/calls/{call}/resolve");
    let own = bank.client.send("POST", &path(&unknown[0]), &[], Some(r#"{"outcome":"failed"}"#.to_owned())).await;
    assert_eq!(own.unwrap().status, 403);
    let (payment, other) = (known(&bank, &unknown, true), known(&bank, &unknown, false));
    for (body, status) in [
        (r#"{"outcome":"perhaps"}"#, 400),
        (r#"{"outcome":"failed","result":{"content":[]}}"#, 400),
        (r#"{"outcome":"completed","result":{}}"#, 400),
        (r#"{"outcome":"completed","result":{"content":[{"type":"text","text":"paid on Monday"}]}}"#, 204),
        (r#"{"outcome":"failed"}"#, 404),
    ] {
        let answer = bank.gateway.admin().send("POST", &path(&payment), &[], Some(body.to_owned())).await.unwrap();
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    assert_eq!(text(&bank.call("pay", 100, &key("k-1")).await), "paid on Monday");
    let resolved = bank.gateway.command(&["session", "resolve", "ann:claim-1", &other, "failed"]).await;
    assert!(resolved.status.success(), "{resolved:?}");
    assert_eq!(text(&bank.call("pay", 7, &[]).await), format!("paid {}", ran + 1));
    assert_eq!(bank.unknown_calls().await, Vec::<String>::new());
    bank.hold();
    bank.gateway.finish().await;
}

/// The unknown call that was made with a key, or the one without.
fn known(bank: &Bank, unknown: &[String], has_key: bool) -> String {
    let events = bank.gateway.events("ann:claim-1");
    let found = events.iter().find_map(|event| {
        let Event::CallAdmitted(event) = event else { return None };
        let is_it =
            unknown.contains(&event.call.to_string()) && event.once.is_some_and(|mark| mark.has_key() == has_key);
        is_it.then(|| event.call.to_string())
    });
    found.unwrap()
}
