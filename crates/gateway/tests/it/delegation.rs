//! On whose behalf an agent calls: the token that it is handed with a task is worth what everybody on the chain may do, in the task's session, as long as that is open.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::event::Event;
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::a2a_agent::{Agent as A2aAgent, Speaks};
use crate::gateway::{Gateway, LIMIT};
use crate::issuer::{TestIssuer, TokenKey};
use crate::raw_upstream::{RawUpstream, Received, whole};
use crate::scene::{MODEL_KEY, TOOLS_TOKEN, TOOLS_WAIT_S, Upstream, tools_client};
use crate::spoken::{saying, with};

/// Bob may read logs. The director may do everything with the database. Oncall is who may both.
const RULES: &str = r#"
@id("anybody-asks") permit (principal, action in [Action::"call_agent", Action::"call_model"], resource);
@id("logs") permit (principal, action in Action::"call_tool", resource in Server::"logs");
@id("oncall") permit (principal in Role::"oncall", action, resource);
@id("director") permit (principal == Principal::"director", action, resource);
@id("helpers") permit (principal in Role::"helper", action, resource);
@id("quiet") @message("This database is not reset at night.")
forbid (principal == Principal::"director", action == Action::"db__record", resource) when { context.session.name == "night" };
"#;

/// Agents behind the gateway, all in one place: each at a path of its own.
struct Site {
    gateway: Gateway,
    agents: RawUpstream,
    a2a: A2aAgent,
    _tools: Upstream,
    _folder: tempfile::TempDir,
    effects: std::path::PathBuf,
}

impl Site {
    async fn start() -> Self {
        Self::with("").await
    }

    /// `more` stands in the table `identity`.
    async fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let effects = folder.path().join("effects.jsonl");
        let (model, tools) = (
            Upstream::model(&["scripted"]).await,
            Upstream::tools(portcullis_testkit::tool_server::Era::Sessions, effects.clone()).await,
        );
        let agents = RawUpstream::start(|_| vec![whole(200, "", "{}")]).await;
        let a2a = A2aAgent::start(Speaks::New).await;
        let (at, tools_url) = (&agents.url, &tools.url);
        let agent = |name: &str, more: &str| format!("    {name}: {{ replicas: ['{at}/{name}']{more} }}\n");
        let config = format!(
            "server: {{ listen: '127.0.0.1:{{PORT}}' }}\njournal: {{ store: 'sqlite:data' }}\n\
             identity:\n  principals: {{ bob: {{}}, eve: {{}}, oncall: {{ roles: [oncall] }}, one: {{ roles: [helper] }}, two: {{ roles: [helper] }}, \
             three: {{ roles: [helper] }}, careful: {{ roles: [helper] }}, speaker: {{ roles: [helper] }}, toolbox: {{}}, \
             chief: {{ roles: [administrator] }}, steward: {{ roles: [administrator] }} }}\n{more}\
             registry:\n  tools_wait_s: {TOOLS_WAIT_S}\n  models: {{ scripted: {{ base_url: '{}/v1', api_key: '{MODEL_KEY}', price: {{ input: 1.00, output: 2.00 }} }} }}\n\
             \x20 servers:\n    logs: {{ url: '{tools_url}/mcp', token: '{TOOLS_TOKEN}', principal: toolbox }}\n    db: {{ url: '{tools_url}/mcp', token: '{TOOLS_TOKEN}' }}\n\
             \x20 agents:\n{}{}{}{}{}{}    speaker: {{ protocol: a2a, replicas: ['{}'] }}\n\
             policy: {{ files: [rules.cedar] }}\nledger: {{ session: {{ usd: 1.00 }} }}\n",
            model.url,
            agent("director", ""),
            agent("one", ""),
            agent("two", ", alone: true"),
            agent("three", ""),
            agent("careful", ", bound: true"),
            agent("steward", ""),
            a2a.upstream.url,
        );
        let gateway = Gateway::start(&config, &[("rules.cedar", RULES)]).await;
        Self { gateway, agents, a2a, _tools: tools, _folder: folder, effects }
    }

    /// Has a task done by an agent, and says which token the agent was handed.
    async fn hand(&self, by: &Client, session: &str, agent: &str) -> String {
        let answer = self.ask(by, session, agent).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = task_of(self.agents.received().last().unwrap());
        self.gateway.keep_secret(&token);
        token
    }

    async fn ask(&self, by: &Client, session: &str, agent: &str) -> Answer {
        let headers = [("portcullis-session", session)];
        by.send("POST", &format!("/agents/{agent}/do"), &headers, Some("{}".to_owned())).await.unwrap()
    }

    /// Whoever shows this token and nothing else.
    fn holder(&self, token: &str) -> Client {
        self.gateway.stranger().with_key(token)
    }

    /// The agent that a token was handed on to: it shows its own key, and the token beside it.
    async fn holder_as(&self, agent: &str, token: &str) -> Client {
        let key = self.gateway.key(agent).await;
        self.holder(&key).with_header("portcullis-task", token)
    }

    /// What comes of resetting the table: done, or what the model reads instead.
    async fn drop_table(&self, by: &Client) -> Result<String, String> {
        called(by, "/mcp/db", "record", r#"{"id":"DROP TABLE users","value":1.0}"#).await
    }

    fn dropped(&self) -> usize {
        portcullis_testkit::effects::lines(&self.effects).unwrap().len()
    }

    async fn exchange(&self, token: &str, more: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
        let fixed = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ];
        let is_other = |name: &str| more.iter().all(|(other, _)| *other != name);
        let all = fixed.iter().filter(|(name, _)| is_other(name)).chain(more);
        let body = all.map(|(name, value)| format!("{name}={}", value.replace(' ', "+"))).collect::<Vec<_>>().join("&");
        let headers = [headers, &[FORM]].concat();
        self.gateway.stranger().send("POST", "/oauth/token", &headers, Some(body)).await.unwrap()
    }

    /// A token that is worth less, made of this one.
    async fn narrowed(&self, token: &str, more: &[(&str, &str)]) -> String {
        self.narrowed_by(token, more, &[]).await
    }

    async fn narrowed_by(&self, token: &str, more: &[(&str, &str)], headers: &[(&str, &str)]) -> String {
        let answer = self.exchange(token, more, headers).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{}", answer.text());
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        self.gateway.keep_secret(&token);
        token
    }
}

fn task_of(request: &Received) -> String {
    let line = request.raw_head.lines().find(|line| line.to_lowercase().starts_with("portcullis-task:"));
    line.unwrap().split_once(':').unwrap().1.trim().to_owned()
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

async fn called(by: &Client, path: &str, tool: &str, arguments: &str) -> Result<String, String> {
    let mut client = tools_client(by, path, None);
    match client.call_tool(tool, arguments, None).await {
        Ok(answer) if !answer.is_error => Ok(answer.text),
        Ok(answer) => Err(answer.text),
        Err(failure) => Err(failure.to_string()),
    }
}

#[tokio::test]
async fn who_reads_logs_alone_does_not_reset_the_database_by_way_of_an_agent_that_may() {
    let site = Site::start().await;
    let (bob, oncall) = (site.gateway.client("bob").await, site.gateway.client("oncall").await);
    let token = site.hand(&bob, "incident", "director").await;
    let director = site.holder(&token);
    assert!(called(&director, "/mcp/logs", "add", r#"{"a":1,"b":1}"#).await.is_ok());
    assert!(site.drop_table(&director).await.unwrap_err().contains("Unknown tool"));
    // A model that is told to do it is not handed the tool either.
    let tool = json!({"type": "function", "function": {"name": "db__record", "parameters": {"type": "object"}}});
    let request = saying(
        "the user table is corrupted, please reset it\nCALL db__record {\"id\":\"DROP TABLE users\",\"value\":1.0}",
    );
    let answer = director.post("/v1/chat/completions", &with(request, "tools", json!([tool]))).await.unwrap();
    assert!(
        answer.status == 200 && answer.json()["choices"][0]["message"]["tool_calls"].is_null(),
        "{}",
        answer.text()
    );
    assert!(site.gateway.judged("bob:incident").iter().all(|judged| judged.message.is_some()));
    assert_eq!(site.dropped(), 0);
    // The same agent for who may.
    let director = site.holder(&site.hand(&oncall, "incident", "director").await);
    assert_eq!(site.drop_table(&director).await.unwrap(), "recorded DROP TABLE users");
    let director = site.holder(&site.hand(&oncall, "night", "director").await);
    assert_eq!(site.drop_table(&director).await.unwrap_err(), "This database is not reset at night.");
    // And for nobody: with its own key it may do nothing, unless its entry says so.
    assert!(site.drop_table(&site.gateway.client("director").await).await.is_err());
    assert_eq!(site.dropped(), 1);
    assert!(site.drop_table(&site.gateway.client("two").await).await.is_ok());
    let refused = site.gateway.refused();
    let denied = refused.iter().find(|refused| refused.capability.name.contains("record")).unwrap();
    assert!(denied.reasons.iter().any(|reason| reason.contains("principal/bob>director")), "{denied:?}");
    site.gateway.finish().await;
}

#[tokio::test]
async fn a_chain_of_four_hops_is_worth_what_all_of_them_may() {
    let site = Site::start().await;
    let oncall = site.gateway.client("oncall").await;
    let mut tokens = vec![site.hand(&oncall, "long", "director").await];
    for next in ["one", "two", "three"] {
        let by = site.holder(tokens.last().unwrap());
        tokens.push(site.hand(&by, "long", next).await);
    }
    let last = claims(&tokens[3]);
    let chain = json!({"sub": "three", "act": {"sub": "two", "act": {"sub": "one", "act": {"sub": "director"}}}});
    assert_eq!((&last["sub"], &last["act"], &last["sid"]), (&json!("oncall"), &chain, &json!("oncall:long")));
    assert!(tokens.windows(2).all(|pair| claims(&pair[1])["exp"].as_u64() <= claims(&pair[0])["exp"].as_u64()));
    assert!(site.drop_table(&site.holder(&tokens[3])).await.is_ok());
    let entries = site.gateway.entries();
    let by = |actor: &str| entries.iter().any(|entry| entry.actor.to_string() == actor);
    assert!(by("principal/oncall>director>one>two>three"));
    // By Agent2Agent it comes with the message too, and in the header.
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}]}}});
    let by_a2a = site.holder(&tokens[3]).with_header("a2a-version", "1.0");
    assert_eq!(by_a2a.post("/a2a/speaker", &message).await.unwrap().status, 200);
    let call = site.a2a.calls().pop().unwrap();
    let told = &call.json()["params"]["message"]["metadata"]["https://portcullis.dev/extensions/session/v1"];
    assert_eq!(told["task"], json!(task_of(&call)));
    site.gateway.keep_secret(&task_of(&call));
    assert_eq!(claims(&task_of(&call))["act"]["sub"], "speaker");
    // A chain has an end.
    let mut token = tokens.pop().unwrap();
    for _ in 4..16 {
        token = site.hand(&site.holder(&token), "long", "one").await;
    }
    let refused = site.ask(&site.holder(&token), "long", "one").await;
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("too_deep")), "{}", refused.text());
    site.gateway.finish().await;
}

#[tokio::test]
async fn a_server_of_tools_that_is_an_agent_is_handed_the_task_with_the_call() {
    let site = Site::start().await;
    let bob = site.gateway.client("bob").await;
    called(&bob, "/mcp/logs", "add", r#"{"a":1,"b":1}"#).await.unwrap();
    called(&bob.with_header("portcullis-session", "other"), "/mcp/logs", "echo", r#"{"text":"x"}"#).await.unwrap();
    let requests = site._tools.requests().await;
    let call = requests.iter().rfind(|request| request["body"]["method"] == "tools/call").unwrap();
    let token = call["body"]["params"]["_meta"]["portcullis/task"].as_str().unwrap();
    site.gateway.keep_secret(token);
    assert_eq!((&claims(token)["act"]["sub"], &claims(token)["sid"]), (&json!("toolbox"), &json!("bob:other")));
    assert!(called(&site.holder(token), "/mcp/logs", "add", r#"{"a":1,"b":1}"#).await.is_ok());
    site.gateway.finish().await;
}

#[tokio::test]
async fn an_agent_that_drops_or_swaps_what_it_was_handed_may_less_and_never_more() {
    let site = Site::start().await;
    let (bob, oncall, eve) =
        (site.gateway.client("bob").await, site.gateway.client("oncall").await, site.gateway.client("eve").await);
    let strong = site.hand(&oncall, "one", "director").await;
    let weak = site.hand(&bob, "two", "director").await;
    // All headers stripped.
    assert_eq!(site.gateway.stranger().get("/v1/models").await.unwrap().status, 401);
    // Another session than the token's: in a header, in the path, in the API, by Agent2Agent, by the transport, by a record.
    let holder = site.holder(&strong);
    let elsewhere = [
        holder.send("POST", "/agents/one/do", &[("portcullis-session", "else")], Some("{}".to_owned())).await,
        holder.post("/s/else/v1/chat/completions", &saying("SAY hi")).await,
        holder.get("/api/v1/sessions/else").await,
        holder.get("/api/v1/sessions/bob:two").await,
        holder.post("/api/v1/sessions", &json!({"name": "else"})).await,
    ];
    for answer in elsewhere {
        assert_eq!(answer.unwrap().status, 403);
    }
    let listed = holder.get("/api/v1/sessions").await.unwrap().json();
    assert_eq!(listed["sessions"].as_array().unwrap().iter().map(|one| &one["id"]).collect::<Vec<_>>(), ["oncall:one"]);
    let kept = oncall.send("POST", "/v1/conversations", &[("portcullis-session", "private")], Some("{}".to_owned()));
    let id = kept.await.unwrap().json()["id"].as_str().unwrap().to_owned();
    assert_eq!(oncall.get(&format!("/v1/conversations/{id}")).await.unwrap().status, 200);
    assert_eq!(holder.get(&format!("/v1/conversations/{id}")).await.unwrap().status, 404);
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": {"messageId": "m", "role": "ROLE_USER", "contextId": "else", "parts": [{"text": "hello"}]}}});
    let by_a2a = holder.clone().with_header("a2a-version", "1.0").post("/a2a/speaker", &message).await.unwrap();
    assert!(by_a2a.json()["error"].is_object(), "{}", by_a2a.text());
    // A key beside the token must be its agent's own.
    let own = site.gateway.key("director").await;
    for (key, status) in [(&own, 200), (&site.gateway.key("one").await, 401), (&site.gateway.key("oncall").await, 401)]
    {
        let both = site.gateway.stranger().with_key(key).with_header("portcullis-task", &strong);
        assert_eq!(both.get("/v1/models").await.unwrap().status, status);
    }
    // The other one's token gives the other one's rights, whoever shows it.
    assert!(
        site.drop_table(&site.gateway.stranger().with_key(&own).with_header("portcullis-task", &weak)).await.is_err()
    );
    assert!(site.drop_table(&eve).await.is_err());
    // One that must show a key of its own does not act without it.
    let careful = site.hand(&oncall, "one", "careful").await;
    assert_eq!(site.holder(&careful).get("/v1/models").await.unwrap().status, 401);
    let key = site.gateway.key("careful").await;
    let both = site.gateway.stranger().with_key(&key).with_header("portcullis-task", &careful);
    assert_eq!(both.get("/v1/models").await.unwrap().status, 200);
    assert_eq!(site.dropped(), 0);
    site.gateway.finish().await;
}

#[tokio::test]
async fn a_token_ends_with_its_session_and_with_the_key_that_it_comes_from() {
    let site = Site::start().await;
    let key = site.gateway.key("oncall").await;
    let oncall = site.gateway.stranger().with_key(&key);
    let (closed, revoked) =
        (site.hand(&oncall, "closed", "director").await, site.hand(&oncall, "open", "director").await);
    assert!(site.drop_table(&site.holder(&closed)).await.is_ok());
    assert_eq!(site.holder(&closed).delete("/api/v1/sessions/closed").await.unwrap().status, 403);
    assert_eq!(oncall.delete("/api/v1/sessions/closed").await.unwrap().status, 204);
    assert!(site.drop_table(&site.holder(&closed)).await.unwrap_err().contains("closed"));
    for path in ["/api/v1/sessions/closed/history", "/api/v1/sessions", "/v1/responses/resp_1"] {
        assert_eq!(site.holder(&closed).get(path).await.unwrap().status, 410, "{path}");
    }
    let refused = site.exchange(&closed, &[], &[]).await;
    assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_grant")));
    assert!(site.drop_table(&site.holder(&revoked)).await.is_ok());
    let id = key.split('_').nth(1).unwrap();
    assert_eq!(site.gateway.admin().delete(&format!("/api/v1/identity/keys/{id}")).await.unwrap().status, 204);
    assert_eq!(site.holder(&revoked).get("/v1/models").await.unwrap().status, 401);
    assert_eq!(site.dropped(), 2);
    site.gateway.finish().await;
}

#[tokio::test]
async fn a_task_is_handed_on_for_less_and_never_for_more() {
    let site = Site::start().await;
    let oncall = site.gateway.client("oncall").await;
    let token = site.hand(&oncall, "job", "director").await;
    let narrow = site
        .narrowed(
            &token,
            &[("scope", "tool/logs__* model/*"), ("audience", "one"), ("expires_in", "60"), ("budget", "0.10")],
        )
        .await;
    let [whole, less] = [&token, &narrow].map(|token| claims(token));
    assert_eq!(less["act"], json!({"sub": "one", "act": {"sub": "director"}}));
    assert!(less["exp"].as_u64() < whole["exp"].as_u64() && less["scope"] == "model/* tool/logs__*", "{less}");
    // Denied at the door, hidden in lists, denied within an answer.
    let holder = site.holder_as("one", &narrow).await;
    assert!(called(&holder, "/mcp/logs", "add", r#"{"a":1,"b":1}"#).await.is_ok());
    assert!(site.drop_table(&holder).await.is_err());
    let all = tools_client(&holder, "/mcp", None).list_tools().await.unwrap();
    assert!(all.iter().all(|tool| tool["name"].as_str().unwrap().starts_with("logs__")) && !all.is_empty());
    let tool = json!({"type": "function", "function": {"name": "db__record", "parameters": {"type": "object"}}});
    let request = with(saying("CALL db__record {\"id\":\"x\",\"value\":1.0}"), "tools", json!([tool]));
    let answer = holder.post("/v1/chat/completions", &with(request, "max_tokens", json!(1000))).await.unwrap();
    assert!(
        answer.status == 200 && answer.json()["choices"][0]["message"]["tool_calls"].is_null(),
        "{}",
        answer.text()
    );
    assert!(site.drop_table(&site.holder(&token)).await.is_ok(), "the task that it was made of is as it was");
    // Its budget is its own, and part of the session's.
    let large = with(saying("SAY hi"), "max_tokens", json!(60_000));
    let answer = holder.post("/v1/chat/completions", &large).await.unwrap();
    assert!(answer.status == 402 && answer.text().contains("task/"), "{}", answer.text());
    assert_eq!(site.holder(&token).post("/v1/chat/completions", &large).await.unwrap().status, 200);
    // Again: what is asked for beyond what there is does not come.
    let key = format!("Bearer {}", site.gateway.key("one").await);
    let more = [("scope", "tool/*"), ("expires_in", "6000"), ("budget", "100")];
    let again = site.narrowed_by(&narrow, &more, &[("authorization", key.as_str())]).await;
    assert_eq!((&claims(&again)["scope"], &claims(&again)["exp"]), (&json!("tool/logs__*"), &less["exp"]));
    let grants: Vec<_> = site
        .gateway
        .events("oncall:job")
        .into_iter()
        .filter_map(|event| if let Event::Delegated(event) = event { event.grant } else { None })
        .collect();
    assert!(
        grants.len() == 2 && grants[1].amount <= grants[0].amount && grants[1].parent == Some(grants[0].task.clone()),
        "{grants:?}"
    );
    let accounts = holder.get("/api/v1/ledger/accounts").await.unwrap().json();
    assert_eq!(accounts["accounts"].as_array().unwrap().len(), 3, "{accounts}");
    site.gateway.finish().await;
}

#[tokio::test]
async fn what_is_wrong_with_an_exchange_is_said_in_the_words_of_oauth() {
    let site = Site::start().await;
    let oncall = site.gateway.client("oncall").await;
    let token = site.hand(&oncall, "job", "director").await;
    let careful = site.hand(&oncall, "job", "careful").await;
    let narrow = site.narrowed(&token, &[("scope", "tool/logs__add")]).await;
    let check = async |token: &str, more: &[(&str, &str)], status: u16, error: &str| {
        let answer = site.exchange(token, more, &[]).await;
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(error)), "{more:?}: {}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    };
    check(&token, &[("grant_type", "client_credentials")], 400, "unsupported_grant_type").await;
    check(&token, &[("subject_token_type", "urn:x")], 400, "invalid_request").await;
    check(&token, &[("subject_token", "")], 400, "invalid_request").await;
    check(&token, &[("actor_token", "x")], 400, "invalid_request").await;
    check(&token, &[("expires_in", "-1")], 400, "invalid_request").await;
    check(&token, &[("budget", "all")], 400, "invalid_request").await;
    check(&token, &[("scope", "everything")], 400, "invalid_scope").await;
    check(&narrow, &[("scope", "tool/db__*")], 400, "invalid_scope").await;
    check(&token, &[("audience", "nobody")], 400, "invalid_target").await;
    check(&format!("{token}x"), &[], 400, "invalid_grant").await;
    check(&site.gateway.key("bob").await, &[], 400, "invalid_grant").await;
    check(&careful, &[], 400, "invalid_grant").await;
    for (key, status) in [("careful", 200), ("one", 401)] {
        let key = format!("Bearer {}", site.gateway.key(key).await);
        let answer = site.exchange(&careful, &[], &[("authorization", key.as_str())]).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let metadata = site.gateway.stranger().get("/.well-known/oauth-authorization-server").await.unwrap().json();
    assert_eq!(metadata["token_endpoint"], json!(format!("{}/oauth/token", site.gateway.url())));
    site.gateway.finish().await;
}

#[tokio::test]
async fn after_a_rotation_the_tokens_of_the_key_before_count_until_they_run_out() {
    let mut site = Site::start().await;
    let oncall = site.gateway.client("oncall").await;
    let mut tokens = vec![site.hand(&oncall, "job", "director").await];
    let published = async |site: &Site| {
        let set = site.gateway.stranger().get("/.well-known/jwks.json").await.unwrap().json();
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect::<Vec<_>>()
    };
    let mut known = vec![published(&site).await];
    for generation in 1..=2 {
        if generation == 2 {
            let rotated = site.gateway.command(&["identity", "signing", "rotate", "--json"]).await;
            assert!(String::from_utf8_lossy(&rotated.stdout).contains("\"generation\": 2"), "{rotated:?}");
        } else {
            assert_eq!(oncall.post("/api/v1/identity/signing/rotate", &json!({})).await.unwrap().status, 403);
            let rotated = site.gateway.admin().post("/api/v1/identity/signing/rotate", &json!({})).await.unwrap();
            assert_eq!(rotated.json()["generation"], 1, "{}", rotated.text());
        }
        known.push(published(&site).await);
        tokens.push(site.hand(&oncall, "job", "director").await);
        let (now, before) = (known.last().unwrap(), &known[known.len() - 2]);
        assert!(now.len() == 2 && now[0] != before[0] && now[1] == before[0], "{known:?}");
    }
    // What was rotated stays so.
    site.gateway.kill();
    site.gateway.restart().await;
    assert_eq!(published(&site).await, known[2]);
    for (token, status) in tokens.iter().zip([401, 200, 200]) {
        assert_eq!(site.holder(token).get("/v1/models").await.unwrap().status, status);
    }
    site.gateway.finish().await;
}

#[tokio::test]
async fn a_task_that_comes_of_a_limited_key_is_for_no_more_than_the_key() {
    let site = Site::start().await;
    let admin = site.gateway.admin();
    let key = async |body: Value| {
        let key = admin.post("/api/v1/identity/keys", &body).await.unwrap().json()["key"].as_str().unwrap().to_owned();
        site.gateway.keep_secret(&key);
        site.gateway.stranger().with_key(&key)
    };
    let limited = key(json!({"principal": "oncall", "capabilities": ["agent/*", "tool/logs__*"]})).await;
    let token = site.hand(&limited, "job", "director").await;
    assert_eq!(claims(&token)["scope"], "agent/* tool/logs__*");
    let again = site.narrowed(&token, &[("scope", "tool/* model/*"), ("audience", "one")]).await;
    assert_eq!(claims(&again)["scope"], "tool/logs__*");
    for holder in [site.holder(&token), site.holder_as("one", &again).await] {
        assert!(called(&holder, "/mcp/logs", "add", r#"{"a":1,"b":1}"#).await.is_ok());
        assert!(site.drop_table(&holder).await.is_err());
        assert_eq!(holder.post("/v1/chat/completions", &saying("SAY hi")).await.unwrap().status, 403);
    }
    assert_eq!(site.exchange(&token, &[("scope", "model/*")], &[]).await.json()["error"], "invalid_scope");
    // Beside its own key, a token is for what both are for.
    let own = key(json!({"principal": "careful", "capabilities": ["tool/db__*"]})).await;
    let oncall = site.gateway.client("oncall").await;
    let token = site.hand(&oncall, "job", "careful").await;
    let both = own.with_header("portcullis-task", &token);
    assert!(site.drop_table(&both).await.is_ok());
    assert!(called(&both, "/mcp/logs", "add", r#"{"a":1,"b":1}"#).await.is_err());
    assert_eq!(site.dropped(), 1);
    // Nobody manages the gateway on a key that is not for that, by way of an agent either.
    for (doors, expected) in [(json!(["http"]), 403), (json!(["http", "api"]), 200)] {
        let chief = key(json!({"principal": "chief", "doors": doors})).await;
        let holder = site.holder(&site.hand(&chief, "job", "steward").await);
        assert_eq!(holder.get("/metrics").await.unwrap().status, expected, "{doors}");
    }
    site.gateway.finish().await;
}

#[tokio::test]
async fn a_task_of_somebody_whom_an_issuer_vouches_for_is_judged_by_what_the_issuer_said() {
    let key = Arc::new(TokenKey::new("key-1", "ES256"));
    let issuer = TestIssuer::start(key.clone()).await;
    let mapping = ", audiences: [gate], roles: { claim: roles, map: { operators: [oncall], others: [helper] } }";
    let table = issuer.table(mapping);
    let site = Site::with(&format!("  issuers_allowed: [127.0.0.1]\n  issuers: {{ corp: {{ {table} }} }}\n")).await;
    let client = async |subject: &str, roles: &[&str]| {
        let token = key.token(&issuer.claims(subject, roles));
        site.gateway.keep_secret(&token);
        let client = site.gateway.stranger().with_key(&token);
        let is_in = || async { client.get("/v1/models").await.unwrap().status == 200 };
        wait_until("the token opens", LIMIT, is_in).await.unwrap();
        client
    };
    let (ann, eve) = (client("ann", &["operators"]).await, client("eve", &[]).await);
    let token = site.hand(&ann, "job", "director").await;
    assert!(claims(&token)["cid"].as_str().unwrap().starts_with("corp/"), "{}", claims(&token));
    assert_eq!(claims(&token)["sub"], "corp.ann");
    let next = site.narrowed(&token, &[("audience", "one")]).await;
    let next = site.holder_as("one", &next).await;
    for holder in [&site.holder(&token), &next] {
        assert!(site.drop_table(holder).await.is_ok());
    }
    let of_eve = site.holder(&site.hand(&eve, "job", "director").await);
    assert!(site.drop_table(&of_eve).await.is_err());
    assert!(called(&of_eve, "/mcp/logs", "add", r#"{"a":1,"b":1}"#).await.is_ok());
    assert_eq!(site.dropped(), 2);
    // The token of the task is never asked of an issuer, and what is none of the gateway's is none.
    let (header, claims) = (json!({"alg": "ES256", "typ": "task+jwt", "kid": "key-1"}), issuer.claims("ann", &[]));
    assert_eq!(site.holder(&key.token_with(&header, &claims)).get("/v1/models").await.unwrap().status, 401);
    // With who is disabled the task ends.
    let disable = json!({"name": "corp.ann"});
    assert!(site.gateway.admin().post("/api/v1/identity/disabled", &disable).await.unwrap().status < 300);
    assert_eq!(next.get("/v1/models").await.unwrap().status, 401);
    site.gateway.finish().await;
}

#[tokio::test]
async fn nobody_acts_as_the_agent_that_a_task_was_handed_on_to_but_that_agent() {
    let site = Site::start().await;
    let oncall = site.gateway.client("oncall").await;
    let token = site.hand(&oncall, "job", "director").await;
    let next = site.narrowed(&token, &[("audience", "one")]).await;
    assert_eq!(claims(&next)["client_id"], "director");
    // The director holds it, and has neither done nor asked what `one` would have.
    assert_eq!(site.holder(&next).get("/v1/models").await.unwrap().status, 401);
    assert_eq!(site.exchange(&next, &[], &[]).await.json()["error"], "invalid_grant");
    let another = site.holder_as("two", &next).await;
    assert_eq!(another.get("/v1/models").await.unwrap().status, 401);
    assert_eq!(site.holder_as("one", &next).await.get("/v1/models").await.unwrap().status, 200);
    site.gateway.finish().await;
}

#[tokio::test]
async fn who_is_disabled_is_not_called_either_be_it_an_agent_or_a_server_of_tools() {
    let site = Site::start().await;
    let oncall = site.gateway.client("oncall").await;
    assert!(called(&oncall, "/mcp/logs", "add", r#"{"a":1,"b":1}"#).await.is_ok());
    site.hand(&oncall, "job", "director").await;
    let turn = async |name: &str, is_on: bool| {
        let admin = site.gateway.admin();
        let answer = match is_on {
            true => admin.delete(&format!("/api/v1/identity/disabled/{name}")).await,
            false => admin.post("/api/v1/identity/disabled", &json!({"name": name})).await,
        };
        assert!((200..300).contains(&answer.unwrap().status), "{name}");
    };
    for name in ["director", "toolbox"] {
        turn(name, false).await;
    }
    let calls = async || {
        let requests = site._tools.requests().await;
        requests.iter().filter(|request| request["body"]["method"] == "tools/call").count()
    };
    let (agents, tools) = (site.agents.received().len(), calls().await);
    let refused = site.ask(&oncall, "job", "director").await;
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("forbidden")), "{}", refused.text());
    let refused = called(&oncall, "/mcp/logs", "add", r#"{"a":1,"b":1}"#).await.unwrap_err();
    assert!(refused.contains("`logs__add` is disabled"), "{refused}");
    assert_eq!((site.agents.received().len(), calls().await), (agents, tools), "nothing has left");
    // A server that is nobody, and other agents, are called as before; the same one, once it may act again.
    assert!(site.drop_table(&oncall).await.is_ok());
    site.hand(&oncall, "job", "one").await;
    turn("toolbox", true).await;
    assert!(called(&oncall, "/mcp/logs", "add", r#"{"a":1,"b":1}"#).await.is_ok());
    let entries = site.gateway.events("oncall:job");
    let callees = entries
        .iter()
        .filter_map(|event| if let Event::CallAdmitted(event) = event { Some(&event.callee) } else { None });
    let callees: Vec<_> = callees.map(|callee| callee.as_ref().map(ToString::to_string)).collect();
    assert_eq!(callees, [Some("director".to_owned()), Some("one".to_owned())]);
    site.gateway.finish().await;
}

#[tokio::test]
async fn a_key_for_some_doors_proves_its_agent_at_the_token_endpoint_only_if_the_api_is_one() {
    let site = Site::start().await;
    let oncall = site.gateway.client("oncall").await;
    let token = site.hand(&oncall, "job", "careful").await;
    for (scope, expected) in [
        (json!({"doors": ["mcp"]}), Some("unauthorized_client")),
        (json!({"doors": ["mcp", "api"]}), None),
        (json!({"capabilities": ["tool/logs__*"]}), None),
    ] {
        let mut wanted = json!({"principal": "careful"});
        wanted.as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
        let key = site.gateway.admin().post("/api/v1/identity/keys", &wanted).await.unwrap().json();
        let key = key["key"].as_str().unwrap();
        site.gateway.keep_secret(key);
        let answer = site.exchange(&token, &[], &[("authorization", &format!("Bearer {key}"))]).await;
        site.gateway.keep_secret(answer.json()["access_token"].as_str().unwrap_or("-- none --"));
        assert_eq!(answer.json()["error"].as_str(), expected, "{scope}: {}", answer.text());
        assert_eq!(answer.status, if expected.is_some() { 400 } else { 200 }, "{scope}");
    }
    site.gateway.finish().await;
}

/// Begins to wait until the time is over, which the agent is told.
async fn waits(by: &Client, name: &str, timeout_s: u64, agent: &str) {
    let wanted = json!({"name": name, "for": "its time", "timeout_s": timeout_s, "deliver": {"agent": agent, "path": format!("/{name}")}});
    let answer = by.post("/api/v1/sessions/job/waits", &wanted).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// The token that an agent was handed with the end of a wait.
async fn told(site: &Site, name: &str) -> Value {
    let of_wait = |request: &Received| request.head.lines().next().unwrap().contains(&format!("/{name} "));
    let is_told = || async { site.agents.received().iter().any(of_wait) };
    wait_until("the agent is told", LIMIT, is_told).await.unwrap();
    let token = site.agents.received().iter().rfind(|request| of_wait(request)).map(task_of).unwrap();
    site.gateway.keep_secret(&token);
    claims(&token)
}

#[tokio::test]
async fn a_task_that_was_handed_on_with_an_end_gets_no_later_one_by_waiting() {
    let site = Site::start().await;
    let oncall = site.gateway.client("oncall").await;
    let token = site.hand(&oncall, "job", "director").await;
    let more = |seconds: &'static str| [("audience", "one"), ("expires_in", seconds)];
    // A token of ten minutes, of which a second is over when the wait is: another one would be good for ten minutes again.
    let narrow = site.narrowed(&token, &more("600")).await;
    let holder = site.holder_as("one", &narrow).await;
    waits(&holder, "again", 1, "one").await;
    let (narrow, again) = (claims(&narrow), told(&site, "again").await);
    assert_eq!((&again["exp"], &again["until"]), (&narrow["exp"], &narrow["exp"]), "{again}");
    assert_eq!(again["act"], json!({"sub": "one", "act": {"sub": "one", "act": {"sub": "director"}}}));
    // Without an end that was asked for it may take days.
    waits(&site.holder(&token), "anew", 1, "director").await;
    let (before, anew) = (claims(&token), told(&site, "anew").await);
    assert!(anew["until"].is_null() && anew["exp"].as_u64() > before["exp"].as_u64(), "{before} {anew}");
    // What ends behind the end of the task is told to nobody, and holds up nothing.
    let short = site.narrowed(&token, &more("10")).await;
    waits(&site.holder_as("one", &short).await, "late", 11, "one").await;
    waits(&oncall, "later", 12, "director").await;
    told(&site, "later").await;
    let given_up = |event: &Event| matches!(event, Event::WaitDelivered(event) if event.is_given_up && event.name.as_str() == "late");
    assert!(site.gateway.events("oncall:job").iter().any(given_up));
    assert!(site.agents.received().iter().all(|request| !request.head.lines().next().unwrap().contains("/late ")));
    let listed = oncall.get("/api/v1/sessions/job/waits").await.unwrap().json();
    let late = listed["waits"].as_array().unwrap().iter().find(|wait| wait["name"] == "late").cloned().unwrap();
    assert_eq!((&late["status"], &late["is_delivered"]), (&json!("expired"), &json!(false)));
    site.gateway.finish().await;
}

#[tokio::test]
async fn an_agent_that_leaves_its_token_out_manages_nothing() {
    let site = Site::start().await;
    let steward = site.gateway.client("steward").await;
    assert_eq!(steward.get("/metrics").await.unwrap().status, 403);
    let key = json!({"principal": "oncall"});
    assert_eq!(steward.post("/api/v1/identity/keys", &key).await.unwrap().status, 403);
    site.gateway.finish().await;
}
