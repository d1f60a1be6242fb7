//! Principals of other issuers: whose tokens are good, what their claims come to, and what happens when their issuer changes its keys or is away.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::event::Event;
use portcullis_testkit::http::Client;
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::gateway::{Gateway, LIMIT, free_port, listen_at};
use crate::issuer::{AUDIENCE, TestIssuer, TokenKey, unsigned};
use crate::scene::{Scene, Setup, tools_client};
use crate::spoken::{COMPLETIONS, ask, in_session, saying};

const RULES: &str = r#"
permit (principal in Role::"junior", action, resource);
permit (principal in Role::"senior", action, resource);

@message("Limit Exceeded. Escalate to Manager.")
forbid (principal, action == Action::"tools__record", resource)
when { principal has limit && context.arguments.value.greaterThan(principal.limit) };
"#;

/// What the issuer's words mean here.
const MAPPING: &str = ", audiences: [gate], \
    roles: { claim: roles, map: { adjusters: [junior], managers: [senior], root: [administrator] } }, \
    attributes: { limit: { claim: limits.approval, type: decimal } }";

/// A configuration with these issuers, in which a test can say more of each.
fn setup(issuers: &[(&str, &TestIssuer, &str)]) -> Setup {
    setup_of(issuers, "[127.0.0.1]")
}

fn setup_of(issuers: &[(&str, &TestIssuer, &str)], allowed: &str) -> Setup {
    let table = |(name, issuer, more): &(&str, &TestIssuer, &str)| format!("{name}: {{ {} }}", issuer.table(more));
    let tables: Vec<String> = issuers.iter().map(table).collect();
    let principals =
        format!("{{ ann: {{ roles: [junior] }} }}, issuers_allowed: {allowed}, issuers: {{ {} }}", tables.join(", "));
    Setup { principals: Box::leak(principals.into_boxed_str()), rules: RULES, ..Setup::default() }
}

fn key(algorithm: &'static str) -> Arc<TokenKey> {
    Arc::new(TokenKey::new(&format!("key-{algorithm}"), algorithm))
}

/// The status with which the gateway receives somebody.
async fn status(gateway: &Gateway, token: &str) -> u16 {
    gateway.stranger().with_key(token).get("/v1/models").await.unwrap().status
}

/// Waits until the gateway receives somebody so.
async fn wait_for(gateway: &Gateway, token: &str, expected: u16) {
    let is_so = || async { status(gateway, token).await == expected };
    let waited = wait_until(&format!("a token is answered with {expected}"), LIMIT, is_so).await;
    waited.unwrap_or_else(|problem| panic!("{problem}\n{}", gateway.log()));
}

/// What becomes of a payment.
async fn pay(client: &Client, session: &str, value: u32) -> String {
    let arguments = format!(r#"{{"id":"x{value}","value":{value}}}"#);
    let answer = tools_client(client, "/mcp", Some(session)).call_tool("tools__record", &arguments, None).await;
    answer.map_or_else(|failure| failure.to_string(), |answer| answer.text)
}

/// How often principals were seen as they were not before.
fn seen(gateway: &Gateway) -> usize {
    gateway.entries().iter().filter(|entry| matches!(entry.event, Event::PrincipalSeen(_))).count()
}

#[tokio::test]
async fn who_comes_with_a_token_may_do_what_its_claims_say() {
    let keys = ["RS256", "PS256", "ES256", "EdDSA"].map(key);
    let issuer = TestIssuer::start(keys[0].clone()).await;
    issuer.publish(&[&keys[0], &keys[1], &keys[2], &keys[3]]);
    let mut scene = Scene::of(&setup(&[("corp", &issuer, MAPPING)])).await;
    let token = |number: usize, subject: &str, roles: &[&str], limit: Value| {
        let mut claims = issuer.claims(subject, roles);
        claims["limits"] = json!({"approval": limit});
        let token = keys[number].token(&claims);
        scene.gateway.keep_secret(&token);
        token
    };
    let mut tokens = Vec::new();
    for number in 0..keys.len() {
        let junior = token(number, "ann", &["adjusters", "unknown"], json!(10_000.0));
        wait_for(&scene.gateway, &junior, 200).await;
        let client = scene.gateway.stranger().with_key(&junior);
        let session = format!("claim-{number}");
        assert_eq!(ask(&client, &in_session(&session), &saying("SAY hi")).await.status, 200);
        let denied = pay(&client, &session, 50_000).await;
        assert!(denied.contains("Limit Exceeded. Escalate to Manager."), "{denied}");
        let paid = pay(&client, &session, 9_000).await;
        assert!(paid.contains("recorded"), "{paid}");
        assert!(!scene.gateway.events(&format!("corp.ann:{session}")).is_empty());
        tokens.push(junior);
    }
    assert_eq!(seen(&scene.gateway), 1, "four tokens say the same");
    // The same principal with another token, and others.
    let manager = scene.gateway.stranger().with_key(&token(2, "ann", &["managers"], Value::Null));
    assert!(pay(&manager, "claim-9", 50_000).await.contains("recorded"));
    let junior = scene.gateway.stranger().with_key(&tokens[0]);
    assert!(
        pay(&junior, "claim-9", 60_000).await.contains("Limit Exceeded"),
        "what another token may counts for nothing"
    );
    let nobody = scene.gateway.stranger().with_key(&token(3, "eve", &["unknown", "junior"], Value::Null));
    assert_eq!(ask(&nobody, COMPLETIONS, &saying("SAY hi")).await.status, 404);
    assert!(tools_client(&nobody, "/mcp", None).list_tools().await.unwrap().is_empty());
    for (roles, expected) in [(&["administrator"][..], 403), (&["adjusters"], 403), (&["root"], 200)] {
        let client = scene.gateway.stranger().with_key(&token(1, "operator", roles, Value::Null));
        assert_eq!(client.get("/metrics").await.unwrap().status, expected, "{roles:?}");
    }
    // The principal of the configuration with the same name is another one.
    let own = scene.client("ann").await;
    assert!(own.get("/api/v1/sessions").await.unwrap().text().find("claim-9").is_none());
    // Nobody is given a key who is only vouched for.
    let body = json!({"principal": "corp.ann"});
    assert_eq!(scene.gateway.admin().post("/api/v1/identity/keys", &body).await.unwrap().status, 404);
    let before = seen(&scene.gateway);
    scene.gateway.kill();
    scene.gateway.restart().await;
    for token in &tokens {
        wait_for(&scene.gateway, token, 200).await;
    }
    assert_eq!(seen(&scene.gateway), before, "what is known is not noted again");
    scene.finish().await;
}

#[tokio::test]
async fn a_token_that_is_not_good_opens_nothing() {
    let keys = ["RS256", "ES256", "EdDSA"].map(key);
    let (issuer, other) = (TestIssuer::start(keys[0].clone()).await, TestIssuer::start(key("ES256")).await);
    issuer.publish(&[&keys[0], &keys[1], &keys[2]]);
    let stranger = TokenKey::new("key-ES256", "ES256");
    let elsewhere = TestIssuer::start(Arc::new(TokenKey::new("key-ES256", "ES256"))).await;
    let only = format!("{MAPPING}, algorithms: [ES256, RS256, EdDSA]");
    let scene = Scene::of(&setup(&[("corp", &issuer, &only), ("partner", &other, ", audiences: [gate]")])).await;
    let [rsa, ec, ed] = &keys;
    let good = issuer.claims("ann", &["adjusters"]);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let headed = |name: &str, value: Value| {
        let mut header = ec.header();
        header[name] = value;
        header
    };
    for token in [rsa.token(&good), ec.token(&good), ed.token(&good)] {
        wait_for(&scene.gateway, &token, 200).await;
    }
    wait_for(&scene.gateway, &ec.token(&with("aud", json!(["x", AUDIENCE]))), 200).await;
    let signed = ec.token(&good);
    let (input, signature) = signed.rsplit_once('.').unwrap();
    let mut bad: Vec<(String, String)> = vec![
        ("for somebody else".to_owned(), ec.token(&with("aud", json!("https://other.example")))),
        ("for several others".to_owned(), ec.token(&with("aud", json!(["a", "b"])))),
        ("for nobody".to_owned(), ec.token(&without("aud"))),
        ("of an unknown issuer".to_owned(), ec.token(&with("iss", json!("https://login.example")))),
        ("of an issuer that is called alike".to_owned(), ec.token(&with("iss", json!(format!("{}/", issuer.name))))),
        ("of no issuer".to_owned(), ec.token(&without("iss"))),
        ("of another issuer of the configuration".to_owned(), ec.token(&with("iss", json!(other.name)))),
        ("of another one's key of the same name".to_owned(), stranger.token(&good)),
        ("of an unknown key".to_owned(), TokenKey::new("key-9", "ES256").token(&good)),
        ("that names another key".to_owned(), ec.token_with(&headed("kid", json!(ed.id)), &good)),
        ("that brings its key along".to_owned(), {
            let mut header = stranger.header();
            header["jwk"] = stranger.jwk();
            header["jku"] = json!(format!("{}/keys", elsewhere.name));
            header["x5u"] = json!(format!("{}/keys", elsewhere.name));
            stranger.token_with(&header, &good)
        }),
        ("that claims another algorithm".to_owned(), rsa.token_with(&json!({"alg": "PS256", "kid": rsa.id}), &good)),
        ("of another kind".to_owned(), ec.token_with(&headed("typ", json!("logout+jwt")), &good)),
        ("of the gateway's own kind".to_owned(), ec.token_with(&headed("typ", json!("task+jwt")), &good)),
        ("with something critical".to_owned(), ec.token_with(&headed("crit", json!(["exp"])), &good)),
        ("that has expired".to_owned(), ec.token(&with("exp", json!(1_000_000)))),
        ("that never expires".to_owned(), ec.token(&without("exp"))),
        ("that is still to come".to_owned(), ec.token(&with("nbf", json!(3_999_999_999_u64)))),
        ("that was issued tomorrow".to_owned(), ec.token(&with("iat", json!(3_999_999_999_u64)))),
        ("of nobody".to_owned(), ec.token(&without("sub"))),
        ("of somebody without a name".to_owned(), ec.token(&with("sub", json!("auth0|77")))),
        ("of somebody whose name would end early".to_owned(), ec.token(&with("sub", json!("ann:claim-99")))),
        ("with a limit that is none".to_owned(), ec.token(&with("limits", json!({"approval": "all"})))),
        ("that is too large".to_owned(), ec.token(&with("x", json!("x".repeat(17 << 10))))),
        ("with another signature".to_owned(), format!("{input}.{}", URL_SAFE_NO_PAD.encode([7; 64]))),
        ("with no signature".to_owned(), format!("{input}.")),
        ("with half a signature".to_owned(), format!("{input}.{}", &signature[..40])),
        ("with other claims".to_owned(), {
            format!("{}.{signature}", unsigned(&ec.header(), &issuer.claims("ann", &["managers"])))
        }),
    ];
    for algorithm in ["none", "None", "NONE", "", "HS256"] {
        let header = headed("alg", json!(algorithm));
        bad.push((format!("with `{algorithm}` for an algorithm"), format!("{}.", unsigned(&header, &good))));
        bad.push((format!("with `{algorithm}` and a signature"), format!("{}.{signature}", unsigned(&header, &good))));
    }
    for key in [rsa, ec, ed] {
        for secret in key.public_bytes() {
            let input = unsigned(&json!({"alg": "HS256", "kid": key.id, "typ": "JWT"}), &good);
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input.as_bytes());
            let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
            bad.push(("whose secret is a public key".to_owned(), token));
        }
    }
    let unknown = scene.gateway.stranger().with_key("pcs_000000000000_x").get("/v1/models").await.unwrap().text();
    let before = seen(&scene.gateway);
    for (what, token) in &bad {
        let answer = scene.gateway.stranger().with_key(token).get("/v1/models").await.unwrap();
        assert_eq!((answer.status, answer.text()), (401, unknown.clone()), "a token {what}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
    assert_eq!((seen(&scene.gateway), elsewhere.requests()), (before, 0));
    scene.finish().await;
}

#[tokio::test]
async fn new_keys_are_fetched_when_they_are_first_named_and_not_for_everybody_who_names_one() {
    let first = key("ES256");
    let second = Arc::new(TokenKey::new("second", "EdDSA"));
    let issuer = TestIssuer::start(first.clone()).await;
    let scene = Scene::of(&setup(&[("corp", &issuer, MAPPING)])).await;
    let claims = issuer.claims("ann", &["adjusters"]);
    wait_for(&scene.gateway, &first.token(&claims), 200).await;
    issuer.publish(&[&second]);
    wait_for(&scene.gateway, &second.token(&claims), 200).await;
    assert_eq!(status(&scene.gateway, &first.token(&claims)).await, 401, "the key is gone");
    let (before, begun) = (issuer.fetches(), now());
    for number in 0..40 {
        let other = TokenKey::new(&format!("other-{number}"), "EdDSA");
        assert_eq!(status(&scene.gateway, &other.token(&claims)).await, 401);
    }
    // One at once, and one more every five seconds at most, however long the forty have taken.
    let fetched = issuer.fetches() - before;
    let most = 2 + usize::try_from(begun.elapsed().as_secs()).unwrap() / 5;
    assert!(fetched <= most, "{fetched} fetches for 40 keys that nobody has, and at most {most} are right");
    scene.finish().await;
}

#[expect(clippy::disallowed_methods, reason = "the gateway fetches by the clock")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[tokio::test]
async fn an_issuer_that_is_away_is_waited_for_and_its_keys_are_kept_for_a_while() {
    let key = key("RS256");
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    // Only its name is needed now.
    let name = TestIssuer::start(key.clone()).await;
    let more = format!("{MAPPING}, refresh_s: 1, keys_kept_s: 30");
    let own = setup(&[("corp", &name, &more)]).principals.replace(&name.name, &format!("{url}/realms/corp"));
    let setup = Setup { principals: Box::leak(own.into_boxed_str()), ..setup(&[]) };
    let scene = Scene::of(&setup).await;
    let mut claims = name.claims("ann", &["adjusters"]);
    claims["iss"] = json!(format!("{url}/realms/corp"));
    let token = key.token(&claims);
    assert_eq!(status(&scene.gateway, &token).await, 502, "nobody can say whether it is good");
    assert_eq!(scene.client("ann").await.get("/v1/models").await.unwrap().status, 200, "keys are not concerned");
    let issuer = TestIssuer::start_at(listen_at(port).await, &url, key.clone());
    wait_for(&scene.gateway, &token, 200).await;
    issuer.set_down(true);
    let asked = issuer.requests();
    let is_asked = || async { issuer.requests() > asked };
    wait_until("the issuer is asked again", LIMIT, is_asked).await.unwrap();
    assert_eq!(status(&scene.gateway, &token).await, 200, "its keys are kept");
    wait_for(&scene.gateway, &token, 502).await;
    issuer.set_down(false);
    wait_for(&scene.gateway, &token, 200).await;
    scene.finish().await;
}

#[tokio::test]
async fn only_the_issuer_itself_says_where_its_keys_are_and_only_allowed_places_are_asked() {
    let key = key("EdDSA");
    let impostor = TestIssuer::start(key.clone()).await;
    impostor.pretend("https://login.example");
    let closed = TestIssuer::start(key.clone()).await;
    let scene = Scene::of(&setup(&[("corp", &impostor, MAPPING)])).await;
    assert_eq!(status(&scene.gateway, &key.token(&impostor.claims("ann", &["adjusters"]))).await, 502);
    assert!(impostor.requests() > 0 && impostor.fetches() == 0, "{}", scene.gateway.log());
    scene.finish().await;
    let scene = Scene::of(&setup_of(&[("corp", &closed, MAPPING)], "[]")).await;
    assert_eq!(status(&scene.gateway, &key.token(&closed.claims("ann", &["adjusters"]))).await, 502);
    assert_eq!(closed.requests(), 0);
    scene.finish().await;
}

#[tokio::test]
async fn another_mapping_holds_from_the_next_call_on() {
    let key = key("EdDSA");
    let issuer = TestIssuer::start(key.clone()).await;
    let given = setup(&[("corp", &issuer, MAPPING)]);
    let scene = Scene::of(&given).await;
    let token = key.token(&issuer.claims("ann", &["adjusters"]));
    wait_for(&scene.gateway, &token, 200).await;
    let client = scene.gateway.stranger().with_key(&token);
    assert_eq!(ask(&client, COMPLETIONS, &saying("SAY hi")).await.status, 200);
    let reconfigure = async |principals: String| {
        let setup = Setup { principals: Box::leak(principals.into_boxed_str()), ..setup(&[]) };
        scene.gateway.configure(&setup.config(&scene.model.url, &scene.tools.url));
        scene.gateway.reload().await;
    };
    reconfigure(given.principals.replace("adjusters: [junior], ", "")).await;
    wait_for(&scene.gateway, &token, 200).await;
    assert_eq!(ask(&client, COMPLETIONS, &saying("SAY hi")).await.status, 404, "the role means nothing any more");
    reconfigure("{ ann: { roles: [junior], attributes: { limit: 1.5 } } }".to_owned()).await;
    assert_eq!(status(&scene.gateway, &token).await, 401);
    // Somebody of the configuration could be taken for one of the issuer's: nothing of that is taken.
    let colliding = given.principals.replace("{ ann: {", "{ corp.ann: {");
    let setup = Setup { principals: Box::leak(colliding.into_boxed_str()), ..setup(&[]) };
    scene.gateway.configure(&setup.config(&scene.model.url, &scene.tools.url));
    scene.gateway.wait_for_log("the principal `corp.ann` could be one of its own", 1).await;
    assert_eq!(status(&scene.gateway, &token).await, 401);
    scene.finish().await;
}

#[tokio::test]
async fn keys_may_stand_in_the_configuration_or_in_a_file() {
    let (inline, filed) = (key("ES256"), key("RS256"));
    let issuer = TestIssuer::start(inline.clone()).await;
    let keys = json!({"keys": [inline.jwk()]}).to_string();
    let principals = format!(
        "{{}}, issuers: {{ a: {{ issuer: urn:a, jwks: '{keys}'{MAPPING} }}, b: {{ issuer: urn:b, jwks_file: keys.json{MAPPING} }} }}"
    );
    let setup = Setup { principals: Box::leak(principals.into_boxed_str()), rules: RULES, ..Setup::default() };
    let model = crate::scene::Upstream::model(setup.served).await;
    let folder = tempfile::tempdir().unwrap();
    let tools = crate::scene::Upstream::tools(setup.era, folder.path().join("effects")).await;
    let file = json!({"keys": [filed.jwk()]}).to_string();
    let files = [("rules.cedar", RULES), ("keys.json", &file)];
    let gateway = Gateway::start(&setup.config(&model.url, &tools.url), &files).await;
    let of = |key: &TokenKey, name: &str| {
        let mut claims = issuer.claims("ann", &["adjusters"]);
        claims["iss"] = json!(name);
        key.token(&claims)
    };
    wait_for(&gateway, &of(&inline, "urn:a"), 200).await;
    wait_for(&gateway, &of(&filed, "urn:b"), 200).await;
    assert_eq!(status(&gateway, &of(&inline, "urn:b")).await, 401);
    assert_eq!(status(&gateway, &of(&filed, "urn:a")).await, 401);
    assert_eq!(issuer.requests(), 0);
    // No client could go to `urn:a` for a token.
    assert_eq!(gateway.stranger().get("/.well-known/oauth-protected-resource/mcp").await.unwrap().status, 401);
    gateway.finish().await;
}

#[tokio::test]
async fn clients_of_tools_are_told_where_to_get_a_token() {
    let key = key("EdDSA");
    let issuer = TestIssuer::start(key.clone()).await;
    let server = ", public_url: 'https://gate.example.org/', allowed_hosts: [gate.example.org]";
    let scene = Scene::of(&Setup { server, ..setup(&[("corp", &issuer, MAPPING)]) }).await;
    let stranger = scene.gateway.stranger();
    const BASE: &str = "https://gate.example.org";
    for path in ["", "/mcp", "/mcp/tools", "/s/claim-99/mcp"] {
        let answer = stranger.get(&format!("/.well-known/oauth-protected-resource{path}")).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        let metadata = answer.json();
        assert_eq!(metadata["resource"], json!(format!("{BASE}{path}")));
        assert_eq!(metadata["authorization_servers"], json!([issuer.name]));
        assert_eq!(metadata["bearer_methods_supported"], json!(["header"]));
    }
    let challenge = async |path: &str, headers: &[(&str, &str)]| {
        let answer = stranger.send("POST", path, headers, Some("{}".to_owned())).await.unwrap();
        assert_eq!(answer.status, 401, "{path}");
        answer.header("www-authenticate").unwrap().to_owned()
    };
    for path in ["/mcp", "/mcp/tools", "/s/claim-99/mcp"] {
        let metadata = format!("resource_metadata=\"{BASE}/.well-known/oauth-protected-resource{path}\"");
        let without = challenge(path, &[]).await;
        assert!(without.contains(&metadata) && !without.contains("error="), "{without}");
        let mut claims = issuer.claims("ann", &["adjusters"]);
        claims["aud"] = json!("https://other.example.org/mcp");
        let with = challenge(path, &[("authorization", &format!("Bearer {}", key.token(&claims)))]).await;
        assert!(with.contains(&metadata) && with.contains("error=\"invalid_token\""), "{with}");
    }
    assert_eq!(challenge("/v1/chat/completions", &[]).await, "Bearer realm=\"portcullis\"");
    for path in ["/v1/models", "/mcpx", "x"] {
        let other = stranger.get(&format!("/.well-known/oauth-protected-resource{path}")).await.unwrap();
        assert_eq!(other.status, 401, "{path}");
    }
    scene.finish().await;
    let scene = Scene::start().await;
    let answer = scene.gateway.stranger().get("/.well-known/oauth-protected-resource/mcp").await.unwrap();
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer realm=\"portcullis\"")));
    scene.finish().await;
}

#[tokio::test]
async fn who_is_vouched_for_answers_approvals_by_the_roles_that_the_token_gives() {
    let own = key("ES256");
    let issuer = TestIssuer::start(own.clone()).await;
    let rules = r#"permit (principal, action, resource);
        @ask("senior") permit (principal in Role::"junior", action == Action::"tools__record", resource);"#;
    let scene = Scene::of(&Setup { rules, ..setup(&[("corp", &issuer, MAPPING)]) }).await;
    let client = async |subject: &str, role: &str| {
        let token = own.token(&issuer.claims(subject, &[role]));
        scene.gateway.keep_secret(&token);
        wait_for(&scene.gateway, &token, 200).await;
        scene.gateway.stranger().with_key(&token)
    };
    let (junior, senior) = (client("eve", "adjusters").await, client("mia", "managers").await);
    let asks = async |client: &Client| {
        let mut tools = tools_client(client, "/mcp", Some("claim-1"));
        tools.call_tool("tools__record", r#"{"id":"x","value":1.0}"#, None).await.unwrap()
    };
    let ann = scene.client("ann").await;
    for asker in [&ann, &junior] {
        let parked = asks(asker).await;
        let id = parked.result["_meta"]["portcullis/refusal"]["approval"]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/approvals/{id}/approve");
        let refused = junior.post(&path, &json!({})).await.unwrap().status;
        assert!(refused == 404 || refused == 403, "{refused}");
        let pending = senior.get("/api/v1/approvals").await.unwrap().json();
        assert_eq!(pending["approvals"][0]["id"], id.as_str(), "{pending}");
        assert!(pending["approvals"][0]["link"].is_null(), "a link stands for a name alone: {pending}");
        assert_eq!(senior.post(&path, &json!({})).await.unwrap().status, 200);
        let done = asks(asker).await;
        assert_eq!((done.text.as_str(), done.is_error), ("recorded x", false));
    }
    // Another token of the same principal is another one's word.
    let parked = asks(&ann).await;
    let id = parked.result["_meta"]["portcullis/refusal"]["approval"]["id"].as_str().unwrap().to_owned();
    let less = client("mia", "adjusters").await;
    let path = format!("/api/v1/approvals/{id}/approve");
    assert_eq!(less.post(&path, &json!({})).await.unwrap().status, 404);
    scene.finish().await;
}
