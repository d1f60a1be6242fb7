//! Tokens for upstreams: a server behind the gateway sees the user and the agent that acts for them, by a token that its authorization server has given for exactly them, and nothing where there is none.

use std::sync::{Arc, MutexGuard};

use portcullis_domain::call::Shown;
use portcullis_domain::event::{Event, Outcome};
use portcullis_testkit::http::Client;
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::authorization_server::{AuthorizationServer, Mood, SECRET, Shared, State, TYPES, lock, whom};
use crate::gateway::{Gateway, LIMIT};
use crate::issuer::{TestIssuer, TokenKey};
use crate::raw_upstream::{RawUpstream, Received, SILENCE, whole};
use crate::scene::{TOOLS_WAIT_S, tools_client};

const RULES: &str = "permit (principal, action, resource);";
const CRM_SECRET: &str = "other-s3cr3t-of-the-gateway";

/// An MCP server of 2025-11-25 that lets in who has a token, and notes whom that stands for.
pub(crate) fn crm(request: &Received, shared: &Shared) -> Vec<Vec<u8>> {
    let mut state = lock(shared);
    let Some(whom) = whom(request, &state) else { return vec![whole(401, "www-authenticate: Bearer\r\n", "")] };
    let message = request.json();
    let Some(id) = message.get("id") else { return vec![whole(202, "", "")] };
    let method = message["method"].as_str().unwrap();
    match method {
        "tools/call" => state.seen.push(whom.clone()),
        _ => state.greeted.push(whom.clone()),
    }
    let result = match method {
        "initialize" => {
            json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "crm", "version": "1"}})
        }
        "tools/list" => {
            json!({"tools": [{"name": "look", "description": "Looks.", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}}]})
        }
        "tools/call" => json!({"content": [{"type": "text", "text": format!("seen: {whom}")}]}),
        _ => {
            return vec![whole(
                200,
                "",
                &json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no"}}).to_string(),
            )];
        }
    };
    vec![whole(200, "", &json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string())]
}

struct Site {
    gateway: Gateway,
    server: AuthorizationServer,
    /// What it is called.
    url: String,
    agents: RawUpstream,
    issuer: TestIssuer,
    key: Arc<TokenKey>,
    _tools: RawUpstream,
}

impl Site {
    /// `exchange` is more of that table.
    async fn start(exchange: &str) -> Self {
        let key = Arc::new(TokenKey::new("k", "ES256"));
        let issuer = TestIssuer::start(key.clone()).await;
        let server = AuthorizationServer::start().await;
        let url = server.url.clone();
        let shared = server.shared();
        let tools = RawUpstream::start(move |request| crm(request, &shared)).await;
        // One that answers at once, and one that is still at it.
        let agents = RawUpstream::start(|request| {
            if request.head.contains("/waiting") { vec![SILENCE.to_vec()] } else { vec![whole(200, "", "{}")] }
        });
        let agents = agents.await;
        let client = format!("client: {{ issuer: '{url}', id: gateway, secret_file: secret }}");
        let config = format!(
            "server: {{ listen: '127.0.0.1:{{PORT}}' }}\njournal: {{ store: 'sqlite:data' }}\n\
             identity:\n  principals: {{ bob: {{}}, eve: {{}} }}\n  issuers_allowed: [127.0.0.1]\n\
             \x20 issuers: {{ corp: {{ {} }} }}\n\
             registry:\n  tools_wait_s: {TOOLS_WAIT_S}\n  servers:\n    crm:\n      url: '{}/mcp'\n      session: per_session\n      credential:\n\
             \x20       client_credentials: {{ {client} }}\n\
             \x20       exchange: {{ {client}, resource: 'https://crm.example.org/mcp', scope: [tickets]{} }}\n\
             \x20 agents:\n    planner: {{ replicas: ['{at}/planner'] }}\n    payer: {{ replicas: ['{at}/payer'] }}\n\
             \x20   waiter: {{ replicas: ['{at}/waiting'] }}\n\
             policy: {{ files: [rules.cedar] }}\n",
            issuer.table(", audiences: [gate]"),
            tools.url,
            exchange.replace("{URL}", &url),
            at = agents.url,
        );
        let files = [("rules.cedar", RULES), ("secret", SECRET.trim())];
        let gateway = Gateway::start_with(&config, &files, &[]).await;
        [SECRET.trim(), CRM_SECRET].iter().for_each(|secret| gateway.keep_secret(secret));
        server.trust(&gateway).await;
        let site = Self { gateway, server, url, agents, issuer, key, _tools: tools };
        site.wait_for_tools().await;
        site
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.server.lock()
    }

    async fn wait_for_tools(&self) {
        let bob = self.gateway.client("bob").await;
        let is_there = || async {
            let listed = tools_client(&bob, "/mcp", None).list_tools().await;
            listed.is_ok_and(|tools| !tools.is_empty())
        };
        wait_until("the tools are there", LIMIT, is_there).await.unwrap();
    }

    /// What the tool says, or why it says nothing.
    async fn look(&self, by: &Client, session: Option<&str>) -> String {
        let answer = tools_client(by, "/mcp", session).call_tool("crm__look", "{}", None).await;
        answer.map_or_else(|failure| failure.to_string(), |answer| answer.text)
    }

    /// Whoever holds the task token that the agent was handed last.
    fn agent(&self) -> Client {
        let received = self.agents.received();
        let head = &received.last().unwrap().raw_head;
        let line = head.lines().find(|line| line.to_lowercase().starts_with("portcullis-task:")).unwrap();
        let token = line.split_once(':').unwrap().1.trim();
        self.gateway.keep_secret(token);
        self.gateway.stranger().with_key(token)
    }

    async fn hand(&self, by: &Client, session: &str, agent: &str) -> Client {
        let headers = [("portcullis-session", session)];
        let answer = by.send("POST", &format!("/agents/{agent}/do"), &headers, Some("{}".to_owned())).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.agent()
    }

    /// A user of the issuer, with a token of it.
    fn user(&self, name: &str) -> (Client, String) {
        let mut claims = self.issuer.claims(name, &[]);
        claims["jti"] = json!(self.lock().users.len());
        let token = self.key.token(&claims);
        self.lock().users.insert(token.clone(), format!("{name} themselves"));
        self.gateway.keep_secret(&token);
        (self.gateway.stranger().with_key(&token), token)
    }

    async fn administrate(&self, path: &str, body: Value) {
        let answer = self.gateway.admin().post(path, &body).await.unwrap();
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
    }

    /// How often anything has come to the server.
    fn come(&self) -> usize {
        let state = self.lock();
        state.seen.len() + state.greeted.len()
    }

    fn asked(&self) -> usize {
        self.lock().asked.len()
    }

    /// The kinds of credentials that the journal names, of calls of the tool.
    fn shown(&self) -> Vec<Option<Shown>> {
        let admitted = |event| if let Event::CallAdmitted(admitted) = event { Some(admitted) } else { None };
        let calls = self.gateway.entries().into_iter().filter_map(|entry| admitted(entry.event));
        let shown = calls.filter(|call| &*call.capability.name == "crm__look").map(|call| call.shown);
        shown.collect()
    }

    /// No token that came or went stands anywhere.
    async fn finish(self) {
        self.server.keep_secrets(&self.gateway);
        self.gateway.finish().await;
    }
}

#[tokio::test]
async fn the_server_sees_the_user_and_who_acts_for_them() {
    let site = Site::start("").await;
    let (bob, eve) = (site.gateway.client("bob").await, site.gateway.client("eve").await);
    for _ in 0..3 {
        assert_eq!(site.look(&bob, Some("s")).await, "seen: bob");
    }
    assert_eq!(site.asked(), 1, "it is asked once however often the token is used");
    assert_eq!(site.look(&eve, Some("s")).await, "seen: eve");
    let planner = site.hand(&bob, "task", "planner").await;
    assert_eq!(site.look(&planner, None).await, "seen: bob by planner");
    let payer = site.hand(&planner, "task", "payer").await;
    assert_eq!(site.look(&payer, None).await, "seen: bob by payer for planner");
    assert_eq!(site.look(&planner, None).await, "seen: bob by planner");
    assert_eq!(site.asked(), 4);
    let form = site.lock().asked[0].clone();
    assert_eq!((form["resource"].as_str(), form["scope"].as_str()), ("https://crm.example.org/mcp", "tickets"));
    assert_eq!(form["requested_token_type"], format!("{TYPES}access_token"));
    // The list is nobody's, and asked for by the gateway; calls and their greetings never are.
    {
        let state = site.lock();
        assert!(state.granted == 1 && state.greeted.iter().any(|whom| whom == "gateway"));
        assert!(state.seen.iter().all(|whom| whom != "gateway"));
    }
    let shown = site.shown();
    assert_eq!(shown.len(), 7);
    assert!(shown.iter().all(|shown| *shown == Some(Shown::Exchanged(site.url.clone()))), "{shown:?}");
    site.finish().await;
}

#[tokio::test]
async fn many_calls_at_once_ask_once() {
    let site = Site::start("").await;
    let bob = site.gateway.client("bob").await;
    let site = Arc::new(site);
    let mut all: JoinSet<String> = JoinSet::new();
    for number in 0..8 {
        let (site, bob) = (site.clone(), bob.clone());
        all.spawn(async move { site.look(&bob, Some(&format!("s{number}"))).await });
    }
    let all = all.join_all().await;
    assert!(all.iter().all(|answer| answer == "seen: bob"));
    assert_eq!(site.asked(), 1);
    Arc::into_inner(site).unwrap().finish().await;
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let site = Site::start("").await;
    let bob = site.gateway.client("bob").await;
    let moods =
        [Mood::Down, Mood::Malformed, Mood::Oversized, Mood::WrongType, Mood::Expired, Mood::Chatty, Mood::Silent];
    let before = site.come();
    for (number, mood) in moods.into_iter().enumerate() {
        site.lock().mood = mood;
        let session = format!("s{number}");
        let answer = site.look(&bob, Some(&session)).await;
        assert!(answer.contains("none could be had; nothing was done"), "{answer}");
        let settled = site.gateway.settled(&format!("bob:{session}"));
        assert_eq!(settled.iter().map(|call| call.outcome).collect::<Vec<_>>(), [Outcome::Failed], "{number}");
    }
    let come = site.come();
    assert_eq!(come, before, "nothing has come to the server");
    site.lock().mood = Mood::Good;
    assert_eq!(site.look(&bob, Some("s0")).await, "seen: bob");
    // Whoever may not act is not asked for, and what was given for them is not used.
    let asked = site.asked();
    site.administrate("/api/v1/identity/disabled", json!({"name": "bob", "reason": "test"})).await;
    assert!(!site.look(&bob, Some("s0")).await.contains("seen"));
    assert_eq!((site.asked(), site.lock().seen.len()), (asked, 1));
    let enabled = site.gateway.admin().delete("/api/v1/identity/disabled/bob").await.unwrap();
    assert_eq!(enabled.status, 204, "{}", enabled.text());
    assert_eq!(site.look(&bob, Some("s0")).await, "seen: bob");
    assert_eq!(site.asked(), asked + 1, "the token from before was dropped");
    site.finish().await;
}

#[tokio::test]
async fn a_token_that_is_not_taken_any_more_is_asked_for_anew_once() {
    let site = Site::start("").await;
    let bob = site.gateway.client("bob").await;
    assert_eq!(site.look(&bob, Some("s")).await, "seen: bob");
    site.lock().tokens.retain(|_, whom| whom == "gateway");
    // The gateway has another secret by now, and so has the file.
    site.lock().secret = CRM_SECRET.to_owned();
    site.gateway.replace("secret", CRM_SECRET);
    assert_eq!(site.look(&bob, Some("s")).await, "seen: bob");
    assert_eq!((site.asked(), site.lock().seen.len()), (2, 2));
    site.lock().is_shut = true;
    let refused = site.look(&bob, Some("s")).await;
    assert!(refused.contains("does not accept"), "{refused}");
    assert_eq!((site.asked(), site.lock().seen.len()), (3, 2), "it is tried once more and not again");
    site.finish().await;
}

#[tokio::test]
async fn the_users_own_token_is_used_while_they_wait_and_no_longer() {
    let site = Site::start(", subject_issuers: [corp]").await;
    let (ann, token) = site.user("ann");
    let answer = site.look(&ann, Some("s")).await;
    assert_eq!(answer, "seen: ann themselves");
    let form = site.lock().asked[0].clone();
    assert_eq!(
        (form["subject_token"].as_str(), form["subject_token_type"].clone()),
        (&*token, format!("{TYPES}access_token"))
    );
    // An agent that works for her meanwhile.
    let (waiting, before) = (ann.clone(), site.agents.received().len());
    let task = tokio::spawn(async move {
        let headers = [("portcullis-session", "task")];
        waiting.send("POST", "/agents/waiter/do", &headers, Some("{}".to_owned())).await.map(|answer| answer.status)
    });
    let has_come = || async { site.agents.received().len() > before };
    wait_until("the agent was asked", LIMIT, has_come).await.unwrap();
    let waiter = site.agent();
    assert_eq!(site.look(&waiter, None).await, "seen: ann themselves by waiter");
    // She has left. The agent's task goes on, on the gateway's word.
    task.abort();
    let _ = task.await;
    site.agents.wait_for_leavers(1).await;
    let on_its_word = || async { site.look(&waiter, None).await == "seen: corp.ann by waiter" };
    wait_until("her token is not used any more", LIMIT, on_its_word).await.unwrap();
    site.finish().await;
}

#[tokio::test]
async fn a_token_goes_to_no_other_issuer_than_those_that_are_named() {
    let site = Site::start("").await;
    let (ann, _) = site.user("ann");
    assert_eq!(site.look(&ann, Some("s")).await, "seen: corp.ann", "the gateway's word stands for her");
    site.finish().await;
    let site = Site::start(", subject: own").await;
    let (ann, _) = site.user("ann");
    let answer = site.look(&ann, Some("s")).await;
    assert!(answer.contains("none could be had; nothing was done"), "{answer}");
    assert_eq!((site.asked(), site.lock().seen.len()), (0, 0));
    site.finish().await;
}

#[tokio::test]
async fn an_identity_assertion_gives_a_token_of_another_authorization_server() {
    let more = ", subject_issuers: [corp], subject_type: id_token, \
        id_jag: { client: { issuer: '{URL}/crm', id: gateway, auth: private_key_jwt } }";
    let site = Site::start(more).await;
    let (ann, token) = site.user("ann");
    let bob = site.gateway.client("bob").await;
    assert_eq!(site.look(&ann, Some("s")).await, "seen: ann themselves");
    let planner = site.hand(&bob, "task", "planner").await;
    assert_eq!(site.look(&planner, None).await, "seen: bob by planner");
    let asked = site.lock().asked.clone();
    let form = &asked[0];
    assert_eq!((&form["subject_token"], form["subject_token_type"].clone()), (&token, format!("{TYPES}id_token")));
    assert_eq!(
        (&form["requested_token_type"], &form["audience"]),
        (&format!("{TYPES}id-jag"), &format!("{}/crm", site.url))
    );
    assert_eq!((asked.len(), site.shown()[0].clone()), (2, Some(Shown::IdJag(format!("{}/crm", site.url)))));
    site.finish().await;
}
