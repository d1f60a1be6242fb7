//! Money: what a call may cost is held before it is made, what it has cost is charged after it, and nothing is ever spent twice or lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use portcullis_domain::event::{Event, Outcome};
use portcullis_domain::refusal::Code;
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::gateway::{Gateway, LIMIT};
use crate::raw_upstream::{RawUpstream, SILENCE, event_head, whole};
use crate::scene::{Scene, Setup, tools_client};
use crate::spoken::{COMPLETIONS, ask, in_session, listen, saying, streaming, with};

/// The account of that name, as the principal sees it.
async fn account(client: &Client, name: &str) -> Value {
    let accounts = client.get("/api/v1/ledger/accounts").await.unwrap().json();
    let accounts = accounts["accounts"].as_array().unwrap();
    accounts.iter().find(|account| account["account"] == json!(name)).cloned().unwrap_or_default()
}

fn nanos(account: &Value, name: &str) -> u64 {
    account[format!("{name}_nanodollars")].as_u64().unwrap_or_else(|| panic!("no {name} in {account}"))
}

fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_guide_shows_what_is_said_when_money_is_exhausted() {
    let page = include_str!("../../../../docs/guide/ledger.md");
    let shown = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let scene = Scene::of(&Setup { ledger: "{ budgets: { ann: { usd: 0.03 } } }", ..Setup::default() }).await;
    let answer = ask(&scene.client("ann").await, COMPLETIONS, &saying("SAY hi")).await;
    assert_eq!(answer.status, 402);
    assert_eq!(serde_json::from_str::<Value>(shown).unwrap(), answer.json(), "the gateway says {}", answer.text());
    scene.finish().await;
}

#[tokio::test]
async fn what_can_not_be_paid_is_refused_before_anything_is_asked() {
    // 16,384 tokens may come, which would be 3.2 cents.
    let scene = Scene::of(&Setup { ledger: "{ budgets: { ann: { usd: 0.03 } } }", ..Setup::default() }).await;
    let client = scene.client("ann").await;
    for request in [saying("SAY hi"), streaming("SAY hi")] {
        let answer = ask(&client, &in_session("s"), &request).await;
        assert_eq!(answer.status, 402, "{}", answer.text());
        let error = &answer.json()["error"];
        assert_eq!((&error["code"], &error["type"]), (&json!("budget_exhausted"), &json!("insufficient_quota")));
        let shortfall = &error["portcullis"];
        assert_eq!(
            (&shortfall["account"], &shortfall["granted"]["nanodollars"]),
            (&json!("principal/ann"), &json!(30_000_000))
        );
        assert_eq!((&shortfall["spent"]["nanodollars"], &shortfall["held"]["nanodollars"]), (&json!(0), &json!(0)));
        assert!(shortfall["needed"]["nanodollars"].as_u64().unwrap() > 32_768_000, "{shortfall}");
    }
    assert_eq!(scene.model.requests().await.len(), 0);
    let refused = scene.gateway.refused();
    assert!(refused.len() == 2 && refused.iter().all(|refused| refused.code == Code::BudgetExhausted), "{refused:?}");
    // With a limit of its own the same call is affordable; and others have their own money.
    assert_eq!(ask(&client, COMPLETIONS, &with(saying("SAY hi"), "max_tokens", json!(100))).await.status, 200);
    assert_eq!(ask(&scene.client("bob").await, COMPLETIONS, &saying("SAY hi")).await.status, 200);
    scene.finish().await;
}

#[tokio::test]
async fn a_call_is_charged_what_the_provider_says_to_the_nanodollar() {
    let scene = Scene::of(&Setup { ledger: "{ budgets: { ann: { usd: 1.00 } } }", ..Setup::default() }).await;
    let client = scene.client("ann").await;
    let plain = ask(&client, &in_session("s"), &saying("TOKENS 7")).await.json();
    let ask_usage = with(streaming("TOKENS 11"), "stream_options", json!({"include_usage": true}));
    let streamed = listen(&client, &in_session("s"), &ask_usage).await.usage.unwrap();
    let cost = |usage: &Value| {
        usage["prompt_tokens"].as_u64().unwrap() * 1_000 + usage["completion_tokens"].as_u64().unwrap() * 2_000
    };
    let expected = cost(&plain["usage"]) + cost(&streamed);
    for name in ["principal/ann", "session/ann:s"] {
        let account = account(&client, name).await;
        assert_eq!((nanos(&account, "spent"), nanos(&account, "held")), (expected, 0), "{account}");
    }
    let charged: u64 = scene.gateway.settled("ann:s").iter().map(|settled| settled.charged.nanos()).sum();
    assert_eq!(charged, expected);
    // Everybody sees their own accounts; an administrator sees all.
    assert_eq!(account(&scene.client("bob").await, "principal/ann").await, Value::Null);
    assert_eq!(nanos(&account(&scene.gateway.admin(), "principal/ann").await, "spent"), expected);
    scene.finish().await;
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_where_money_is_limited() {
    let check = async |ledger: &'static str, principal: &str, is_allowed: bool| {
        let models = "{ scripted: { base_url: '{MODEL}/v1', api_key: 'sk-upstream-6f1d27aa90' } }".to_owned();
        let scene = Scene::of(&Setup { models, ledger, ..Setup::default() }).await;
        let client = scene.client(principal).await;
        for request in [saying("SAY hi"), streaming("SAY hi")] {
            let answer = ask(&client, COMPLETIONS, &request).await;
            let expected = if is_allowed { (200, "") } else { (402, "price_unknown") };
            assert_eq!(answer.status, expected.0, "{}", answer.text());
            assert!(is_allowed || code(&answer) == expected.1, "{}", answer.text());
        }
        assert_eq!(scene.model.requests().await.len(), if is_allowed { 2 } else { 0 });
        scene.finish().await;
    };
    check("{ budgets: { ann: { usd: 100.00 } } }", "ann", false).await;
    check("{ budgets: { ann: { usd: 100.00 } } }", "bob", true).await;
    check("{ session: { usd: 100.00 } }", "bob", false).await;
    check("{}", "ann", true).await;
}

#[tokio::test]
async fn each_session_has_its_own_limit() {
    let scene = Scene::of(&Setup { ledger: "{ session: { usd: 0.001 } }", ..Setup::default() }).await;
    let client = scene.client("ann").await;
    let request = |tokens: u64| with(saying(&format!("TOKENS {tokens}")), "max_tokens", json!(tokens));
    assert_eq!(ask(&client, &in_session("one"), &request(400)).await.status, 200);
    let spent = ask(&client, &in_session("one"), &request(400)).await;
    assert_eq!((spent.status, code(&spent).as_str()), (402, "budget_exhausted"));
    assert_eq!(spent.json()["error"]["portcullis"]["account"], json!("session/ann:one"));
    assert_eq!(ask(&client, &in_session("two"), &request(400)).await.status, 200);
    // What is too dear for a session that is not there yet does not pass either.
    let dear = ask(&client, &in_session("three"), &request(600)).await;
    assert_eq!(dear.json()["error"]["portcullis"]["account"], json!("session/ann:three"));
    // Tools cost nothing.
    let mut tools = tools_client(&client, "/mcp", Some("one"));
    assert!(!tools.call_tool("tools__echo", r#"{"text":"a"}"#, None).await.unwrap().is_error);
    scene.finish().await;
}

#[tokio::test]
async fn what_costs_more_than_was_held_is_charged_as_far_as_there_is_money() {
    let scene = Scene::of(&Setup { ledger: "{ budgets: { ann: { usd: 0.001 } } }", ..Setup::default() }).await;
    let client = scene.client("ann").await;
    // The model does not keep to the limit that it is given: 450 tokens for the price of 10.
    let request = |tokens: u64| with(saying(&format!("TOKENS {tokens}")), "max_tokens", json!(10));
    for _ in 0..2 {
        assert_eq!(ask(&client, &in_session("s"), &request(450)).await.status, 200);
    }
    let settled = scene.gateway.settled("ann:s");
    assert_eq!(settled[0].overrun.nanos(), 0, "there was money for all of it: {settled:?}");
    assert!(settled[1].overrun.nanos() > 0, "{settled:?}");
    let account = account(&client, "principal/ann").await;
    assert_eq!((nanos(&account, "spent"), nanos(&account, "held")), (1_000_000, 0));
    let next = ask(&client, &in_session("s"), &request(1)).await;
    assert_eq!((next.status, code(&next).as_str()), (402, "budget_exhausted"));
    scene.finish().await;
}

#[tokio::test]
async fn a_model_that_must_be_asked_again_is_paid_for_each_time_or_not_asked() {
    // For one call with a limit of 100 tokens, not for two at a time, and not for three.
    let scene = Scene::of(&Setup { ledger: "{ budgets: { ann: { usd: 0.0004 } } }", ..Setup::default() }).await;
    let client = scene.client("ann").await;
    let request = saying("insist\nSAY so\nTOKENS 60\nCALL tools__record {\"id\":\"x\",\"value\":20000}");
    let answer = ask(&client, &in_session("s"), &with(request, "max_tokens", json!(70))).await;
    // The money ended before the rounds did: what there is of the answer is given, without the call.
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("[blocked: tools__record: "), "{}", answer.text());
    let asked = scene.model.requests().await.len();
    assert!((1..3).contains(&asked), "{asked}");
    assert_eq!(scene.gateway.refused().last().unwrap().code, Code::BudgetExhausted);
    scene.finish().await;
}

#[tokio::test]
async fn more_money_is_granted_by_the_configuration() {
    let setup = Setup { ledger: "{ budgets: { ann: { usd: 0.0001 } } }", ..Setup::default() };
    let scene = Scene::of(&setup).await;
    let client = scene.client("ann").await;
    let request = with(saying("TOKENS 90"), "max_tokens", json!(90));
    assert_eq!(ask(&client, COMPLETIONS, &request).await.status, 402);
    for (ledger, status) in
        [("{ budgets: { ann: { usd: 0.001 } } }", 200), ("{ budgets: { ann: { usd: 0.0002 } } }", 402), ("{}", 200)]
    {
        let config = Setup { ledger, ..Setup::default() }.config(&scene.model.url, &scene.tools.url);
        scene.gateway.configure(&config);
        scene.gateway.reload().await;
        assert_eq!(ask(&client, COMPLETIONS, &request).await.status, status, "{ledger}");
    }
    scene.finish().await;
}

/// An upstream that bills every request before it answers, as a provider does: a tenth of a cent for each token.
struct Billing {
    upstream: RawUpstream,
    tokens: Arc<AtomicU64>,
    calls: Arc<AtomicUsize>,
}

impl Billing {
    async fn start(is_silent: bool) -> Self {
        let (tokens, calls): (Arc<AtomicU64>, Arc<AtomicUsize>) = Default::default();
        let (billed, counted) = (tokens.clone(), calls.clone());
        let upstream = RawUpstream::start(move |request| {
            let body = request.json();
            let input = u64::try_from(body["messages"][0]["content"].as_str().unwrap().len()).unwrap() / 4 + 1;
            let output = body["max_tokens"].as_u64().unwrap();
            billed.fetch_add(input + output, Ordering::SeqCst);
            counted.fetch_add(1, Ordering::SeqCst);
            let usage = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
            match body["stream"].as_bool() {
                _ if is_silent => vec![SILENCE.to_vec()],
                Some(true) => {
                    let chunk = json!({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}], "usage": usage});
                    vec![event_head(), format!("data: {chunk}\n\ndata: [DONE]\n\n").into_bytes()]
                }
                _ => vec![whole(
                    200,
                    "",
                    &json!({"choices": [{"index": 0, "message": {"content": "x"}}], "usage": usage}).to_string(),
                )],
            }
        });
        Self { upstream: upstream.await, tokens, calls }
    }

    fn nanos(&self) -> u64 {
        self.tokens.load(Ordering::SeqCst) * 1_000_000
    }
}

/// A gateway in which `ann` has one dollar for this upstream.
async fn one_dollar(billing: &Billing) -> Gateway {
    let models = format!(
        "{{ scripted: {{ base_url: '{}/v1', price: {{ input: 1000.00, output: 1000.00 }} }} }}",
        billing.upstream.url
    );
    let setup =
        Setup { models, servers: "{}".to_owned(), ledger: "{ budgets: { ann: { usd: 1.00 } } }", ..Setup::default() };
    Gateway::start(&setup.config("", ""), &[("rules.cedar", "permit (principal, action, resource);")]).await
}

/// Many calls at once, each with a session of its own; how often which status came. A connection that broke counts as 0.
async fn spend(gateway: &Gateway, key: &str, count: usize, is_stream: bool) -> Vec<(u16, usize)> {
    let mut calls = JoinSet::new();
    for number in 0..count {
        let client = Client::new(&gateway.url()).with_key(key);
        let request =
            with(with(saying(&format!("call {number}")), "max_tokens", json!(100)), "stream", json!(is_stream));
        calls.spawn(async move { client.post(COMPLETIONS, &request).await.map_or(0, |answer| answer.status) });
    }
    let mut statuses = calls.join_all().await;
    statuses.sort_unstable();
    let counts = statuses.chunk_by(|one, other| one == other).map(|same| (same[0], same.len()));
    counts.collect()
}

#[tokio::test]
async fn many_calls_at_once_spend_all_of_a_budget_and_no_more() {
    for is_stream in [false, true] {
        let billing = Billing::start(false).await;
        let gateway = one_dollar(&billing).await;
        let key = gateway.key("ann").await;
        let statuses = spend(&gateway, &key, 80, is_stream).await;
        assert!(statuses.iter().all(|(status, _)| matches!(status, 200 | 402)), "{statuses:?}");
        // Calls that were refused while others still held money come again, as clients do.
        spend(&gateway, &key, 20, is_stream).await;
        let account = account(&gateway.stranger().with_key(&key), "principal/ann").await;
        assert_eq!((nanos(&account, "spent"), nanos(&account, "held")), (billing.nanos(), 0), "{account}");
        assert!(billing.nanos() <= 1_000_000_000, "overspent: {}", billing.nanos());
        // A further call would have held 108 tokens: no more than that is left.
        assert!(billing.nanos() > 1_000_000_000 - 110_000_000, "stranded: {}", billing.nanos());
        gateway.finish().await;
    }
}

#[tokio::test]
async fn a_kill_in_the_middle_neither_spends_twice_nor_forgets_what_was_held() {
    let billing = Billing::start(true).await;
    let mut gateway = one_dollar(&billing).await;
    let key = gateway.key("ann").await;
    let (url, count) = (gateway.url(), 5);
    let mut calls = JoinSet::new();
    for number in 0..count {
        let client = Client::new(&url).with_key(&key);
        let request = with(saying(&format!("call {number}")), "max_tokens", json!(100));
        calls.spawn(async move { client.post(COMPLETIONS, &request).await.map(|answer| answer.status) });
    }
    let are_billed = || async { billing.calls.load(Ordering::SeqCst) == count };
    wait_until("all calls are billed", LIMIT, are_billed).await.unwrap();
    gateway.kill();
    assert!(calls.join_all().await.iter().all(Result::is_err));
    gateway.restart().await;
    let client = gateway.stranger().with_key(&key);
    let after = account(&client, "principal/ann").await;
    assert_eq!(nanos(&after, "held"), 0);
    // Nobody knows what became of them, so all that was held is charged; that is no less than what was billed.
    assert!(nanos(&after, "spent") >= billing.nanos(), "{after}");
    let unknown = gateway
        .entries()
        .into_iter()
        .filter(|entry| matches!(&entry.event, Event::CallSettled(settled) if settled.outcome == Outcome::Unknown));
    assert_eq!(unknown.count(), count);
    gateway.log().contains("calls were in flight").then_some(()).expect("the operator is told");
    gateway.finish().await;
}
