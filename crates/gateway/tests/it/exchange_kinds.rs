//! Tokens for upstreams of every kind: models and the places that they run in, agents over plain HTTP, by Agent2Agent, and such as are called like models. All of them are shown whose call it is, whole or in a stream, or are not called.

use std::sync::MutexGuard;

use portcullis_domain::call::{Kind as Of, Shown};
use portcullis_domain::event::{CallAdmitted, Event, Outcome};
use portcullis_interop::a2a::{Method, Version};
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::authorization_server::{AuthorizationServer, Mood, SECRET, Shared, State, lock, whom};
use crate::gateway::{Gateway, LIMIT};
use crate::grpc_peer::GrpcAgent;
use crate::raw_upstream::{RawUpstream, Received, whole};
use crate::spoken::{COMPLETIONS, with};

const RULES: &str = "permit (principal, action, resource);";

/// By the names that they are called by.
const KINDS: [&str; 4] = ["model", "chat", "plain", "talks"];

/// All upstreams in one place: the first part of the path says which it is. Whoever has no token is not let in, but that everybody may see a card and ask how an agent is.
fn backend(request: &Received, shared: &Shared) -> Vec<Vec<u8>> {
    let mut state = lock(shared);
    let target = request.raw_head.split(' ').nth(1).unwrap_or_default();
    let (kind, rest) = target.trim_start_matches('/').split_once('/').unwrap();
    let whom = whom(request, &state);
    if kind == "planner" {
        return vec![whole(200, "", "{}")];
    }
    if rest.starts_with(".well-known/") || rest == "healthz" {
        let shown = request.head.contains("authorization:");
        let by = whom.unwrap_or_else(|| if shown { "somebody" } else { "nobody" }.to_owned());
        state.greeted.push(format!("{kind} {rest} {by}"));
        return vec![whole(200, "", &card().to_string())];
    }
    let Some(whom) = whom else { return vec![whole(401, "www-authenticate: Bearer\r\n", r#"{"error":"whose"}"#)] };
    let resource = state.resource(request);
    state.seen.push(format!("{kind} {whom} at {resource}"));
    let said = format!("seen: {whom}");
    let body = request.json();
    let is_stream = body["stream"] == json!(true)
        || body["method"] == json!("SendStreamingMessage")
        || request.head.contains("accept: text/event-stream");
    let (whole_body, events) = match kind {
        "plain" => (json!({"said": said}), vec![json!({"said": said})]),
        "talks" => {
            let message = json!({"message": {"messageId": "r", "role": "ROLE_AGENT", "contextId": body["params"]["message"]["contextId"], "parts": [{"text": said}]}});
            let answer = json!({"jsonrpc": "2.0", "id": body["id"], "result": message});
            (answer.clone(), vec![answer])
        }
        "one" => return vec![whole(503, "", "{}")],
        _ => {
            let message = json!({"role": "assistant", "content": said});
            let choice = |name: &str, part: Value, reason: Value| json!({"choices": [{"index": 0, name: part, "finish_reason": reason}]});
            let events = vec![choice("delta", message.clone(), Value::Null), choice("delta", json!({}), json!("stop"))];
            (choice("message", message, json!("stop")), events)
        }
    };
    if !is_stream {
        return vec![whole(200, "", &whole_body.to_string())];
    }
    let mut text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    if matches!(kind, "model" | "chat") {
        text.push_str("data: [DONE]\n\n");
    }
    vec![whole(200, "content-type: text/event-stream\r\n", &text)]
}

fn card() -> Value {
    let interface =
        json!({"url": "http://192.0.2.1/talks/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"});
    json!({
        "name": "talks", "description": "Talks.", "version": "1", "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "s", "name": "n", "description": "d", "tags": ["t"]}], "capabilities": {"streaming": true},
        "supportedInterfaces": [interface],
    })
}

struct Site {
    gateway: Gateway,
    server: AuthorizationServer,
    backend: RawUpstream,
    grpc: GrpcAgent,
}

impl Site {
    async fn start() -> Self {
        let server = AuthorizationServer::start().await;
        let shared = server.shared();
        let backend = RawUpstream::start(move |request| backend(request, &shared)).await;
        let grpc = GrpcAgent::start(Version::V1_0).await;
        let client = format!("client: {{ issuer: '{}', id: gateway, secret_file: secret }}", server.url);
        let given = |at: &str, more: &str| {
            format!("credential: {{ exchange: {{ {client}, resource: 'https://{at}.example.org' }}{more} }}")
        };
        let own = format!(", client_credentials: {{ {client} }}");
        let at = &backend.url;
        let config = format!(
            "server: {{ listen: '127.0.0.1:{{PORT}}' }}\njournal: {{ store: 'sqlite:data' }}\n\
             identity: {{ principals: {{ bob: {{}} }}, issuers_allowed: [127.0.0.1] }}\n\
             registry:\n  models:\n    model: {{ base_url: '{at}/model', {} }}\n\
             \x20   placed:\n      deployments:\n        - {{ base_url: '{at}/one', {} }}\n        - {{ base_url: '{at}/two', {} }}\n\
             \x20 agents:\n    planner: {{ replicas: ['{at}/planner'] }}\n\
             \x20   chat: {{ protocol: openai, replicas: ['{at}/chat'], {} }}\n\
             \x20   plain: {{ replicas: ['{at}/plain'], health: /healthz, hydrate: /hydrate, {} }}\n\
             \x20   talks: {{ protocol: a2a, replicas: ['{at}/talks'], {} }}\n\
             \x20   grpc: {{ protocol: a2a, replicas: ['{}'], grpc_port: {}, {} }}\n\
             policy: {{ files: [rules.cedar] }}\n",
            given("model", ""),
            given("one", ""),
            given("two", ""),
            given("chat", ""),
            given("plain", &own),
            given("talks", &own),
            grpc.card.url,
            grpc.port,
            given("grpc", ""),
        );
        let files = [("rules.cedar", RULES), ("secret", SECRET.trim())];
        let gateway = Gateway::start_with(&config, &files, &[]).await;
        gateway.keep_secret(SECRET.trim());
        server.trust(&gateway).await;
        Self { gateway, server, backend, grpc }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.server.lock()
    }

    /// How many tokens were asked for, and how many calls have come to upstreams.
    fn counted(&self) -> (usize, usize) {
        let state = self.lock();
        (state.asked.len(), state.seen.len())
    }

    /// Whoever holds the task token that the agent was handed last.
    async fn planner_of(&self, client: &Client) -> Client {
        let answer = client.post("/agents/planner/do", &json!({})).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let received = self.backend.received();
        let handed = received.iter().rev().find(|request| request.head.starts_with("post /planner")).unwrap();
        let line = handed.raw_head.lines().find(|line| line.to_lowercase().starts_with("portcullis-task:")).unwrap();
        let token = line.split_once(':').unwrap().1.trim();
        self.gateway.keep_secret(token);
        self.gateway.stranger().with_key(token)
    }

    /// The kinds of credentials that the journal names, of calls of models and agents but the planner.
    fn shown(&self) -> Vec<Option<Shown>> {
        let is_one = |call: &CallAdmitted| call.capability.kind != Of::Tool && &*call.capability.name != "planner";
        self.admitted().into_iter().filter(is_one).map(|call| call.shown).collect()
    }

    fn admitted(&self) -> Vec<CallAdmitted> {
        let admitted = |event| if let Event::CallAdmitted(admitted) = event { Some(admitted) } else { None };
        self.gateway.entries().into_iter().filter_map(|entry| admitted(entry.event)).collect()
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let settled = |event| if let Event::CallSettled(settled) = event { Some(settled.outcome) } else { None };
        self.gateway.entries().into_iter().filter_map(|entry| settled(entry.event)).collect()
    }

    async fn finish(self) {
        self.server.keep_secrets(&self.gateway);
        self.gateway.finish().await;
    }
}

/// Calls an upstream as callers do, in its own language.
async fn call(client: &Client, kind: &str, is_stream: bool) -> Answer {
    match kind {
        "plain" => {
            let accept = if is_stream { "text/event-stream" } else { "application/json" };
            client.send("POST", "/agents/plain/do", &[("accept", accept)], Some("{}".to_owned())).await.unwrap()
        }
        "talks" => {
            let method = if is_stream { "SendStreamingMessage" } else { "SendMessage" };
            let message = json!({"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}]});
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": message}});
            client.send("POST", "/a2a/talks", &[("a2a-version", "1.0")], Some(body.to_string())).await.unwrap()
        }
        model => {
            let request = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
            client.post(COMPLETIONS, &with(request, "stream", json!(is_stream))).await.unwrap()
        }
    }
}

#[tokio::test]
async fn every_kind_of_upstream_sees_the_user_and_who_acts_for_them() {
    let site = Site::start().await;
    let bob = site.gateway.client("bob").await;
    let planner = site.planner_of(&bob).await;
    for kind in KINDS {
        let asked = site.lock().asked.len();
        for (client, expected) in [(&bob, "bob"), (&planner, "bob by planner")] {
            for is_stream in [false, true] {
                let before = site.lock().seen.len();
                let answer = call(client, kind, is_stream).await;
                let text = answer.text();
                assert!(answer.status == 200 && text.contains(&format!("seen: {expected}\"")), "{kind}: {text}");
                assert_eq!(text.contains("data: "), is_stream, "{kind}: {text}");
                let seen = site.lock().seen[before..].to_vec();
                let whole = format!("{kind} {expected} at https://{kind}.example.org");
                assert!(!seen.is_empty() && seen.iter().all(|seen| *seen == whole), "{seen:?}");
            }
        }
        assert_eq!(site.lock().asked.len(), asked + 2, "{kind}: once for each, however often it is used");
    }
    let shown = site.shown();
    assert_eq!(shown.len(), 4 * KINDS.len());
    assert!(shown.iter().all(|shown| *shown == Some(Shown::Exchanged(site.server.url.clone()))), "{shown:?}");
    site.finish().await;
}

#[tokio::test]
async fn an_agent_by_grpc_sees_the_user_too() {
    let site = Site::start().await;
    let key = site.gateway.key("bob").await;
    let client =
        crate::grpc_peer::GrpcClient::new(&site.gateway.url(), &key, Version::V1_0).with("portcullis-agent", "grpc");
    let message = json!({"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "direct hello"}]}});
    for method in [Method::SendMessage, Method::SendStreamingMessage] {
        let called = client.call(method, &message).await;
        assert_eq!(called.status.code, 0, "{called:?}");
    }
    let calls = site.grpc.calls();
    let tokens: Vec<&str> =
        calls.iter().filter_map(|(headers, ..)| headers.get("authorization")?.to_str().ok()).collect();
    assert_eq!((calls.len(), tokens.len(), site.lock().asked.len()), (2, 2, 1));
    let stands_for = |token: &&str| site.lock().tokens.get(token.trim_start_matches("Bearer ")).cloned();
    assert!(tokens.iter().all(|token| stands_for(token).as_deref() == Some("bob")), "{calls:?}");
    site.finish().await;
}

#[tokio::test]
async fn without_a_token_no_upstream_hears_of_the_call() {
    let site = Site::start().await;
    let bob = site.gateway.client("bob").await;
    // The card is known by then, so that it is not what is missing.
    assert_eq!(call(&bob, "talks", false).await.status, 200);
    let planner = site.planner_of(&bob).await;
    site.lock().mood = Mood::Down;
    let seen = site.lock().seen.len();
    let settled = site.outcomes().len();
    for kind in KINDS {
        for is_stream in [false, true] {
            let answer = call(&planner, kind, is_stream).await;
            let text = answer.text();
            assert!(text.contains("none could be had; nothing was done"), "{kind}: {} {text}", answer.status);
            match kind {
                "talks" => assert!(text.contains("\"error\":{\"code\":"), "{text}"),
                "plain" => assert_eq!(answer.status, 502, "{text}"),
                _ => assert!(
                    answer.status == 502 && answer.json()["error"]["code"] == "credential_unavailable",
                    "{text}"
                ),
            }
        }
    }
    assert_eq!(site.lock().seen.len(), seen, "nothing has come to any of them");
    let outcomes = site.outcomes().split_off(settled);
    assert_eq!(outcomes, vec![Outcome::Failed; 2 * KINDS.len()]);
    site.lock().mood = Mood::Good;
    for kind in KINDS {
        assert!(call(&planner, kind, false).await.text().contains("seen: bob by planner"), "{kind}");
    }
    site.finish().await;
}

#[tokio::test]
async fn a_token_that_an_upstream_does_not_take_is_asked_for_anew_once() {
    let site = Site::start().await;
    let bob = site.gateway.client("bob").await;
    for kind in KINDS {
        assert!(call(&bob, kind, false).await.text().contains("seen: bob"), "{kind}");
        for is_stream in [false, true] {
            site.lock().tokens.retain(|_, whom| whom == "gateway");
            let asked = site.lock().asked.len();
            let text = call(&bob, kind, is_stream).await.text();
            assert!(text.contains("seen: bob"), "{kind}: {text}");
            assert_eq!(site.lock().asked.len(), asked + 1, "{kind}");
        }
        site.lock().is_shut = true;
        let (asked, seen) = site.counted();
        let text = call(&bob, kind, true).await.text();
        assert!(text.contains("does not accept"), "{kind}: {text}");
        assert_eq!(site.counted(), (asked + 1, seen), "{kind}: once more and not again");
        site.lock().is_shut = false;
    }
    site.finish().await;
}

#[tokio::test]
async fn each_place_of_a_model_is_shown_a_token_for_itself() {
    let site = Site::start().await;
    let bob = site.gateway.client("bob").await;
    for _ in 0..8 {
        let answer = call(&bob, "placed", false).await;
        assert!(answer.text().contains("seen: bob\""), "{}", answer.text());
    }
    let seen = site.lock().seen.clone();
    let all = ["one bob at https://one.example.org", "two bob at https://two.example.org"];
    assert!(seen.iter().all(|seen| all.contains(&seen.as_str())), "{seen:?}");
    assert!(seen.len() >= 8 && site.lock().asked.len() <= 2, "{seen:?}");
    site.finish().await;
}

#[tokio::test]
async fn what_is_asked_for_nobody_is_asked_without_anybodys_token() {
    let site = Site::start().await;
    let bob = site.gateway.client("bob").await;
    assert_eq!(call(&bob, "talks", false).await.status, 200);
    assert_eq!(call(&bob, "plain", false).await.status, 200);
    let is_asked = || async { site.lock().greeted.iter().any(|greeted| greeted.starts_with("plain healthz")) };
    wait_until("the agent is asked how it is", LIMIT, is_asked).await.unwrap();
    let greeted = site.lock().greeted.clone();
    assert!(greeted.iter().any(|greeted| greeted == "talks .well-known/agent-card.json gateway"), "{greeted:?}");
    assert!(
        greeted.iter().all(|greeted| greeted.ends_with(" gateway") || greeted == "plain healthz nobody"),
        "{greeted:?}"
    );
    // What a session remembers is told on behalf of whom it belongs to.
    let seen = site.lock().seen.clone();
    assert_eq!(seen.iter().filter(|seen| *seen == "plain bob at https://plain.example.org").count(), 2, "{seen:?}");
    site.finish().await;
}
