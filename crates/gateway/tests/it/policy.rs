//! What rules read besides arguments, rules on trial, and the commands that ask about rules.

use portcullis_domain::event::Event;
use portcullis_domain::refusal::Code;
use tokio::task::JoinSet;

use crate::scene::{Scene, Setup, tools_client};
use crate::spoken::{in_session, listen, saying};

fn recording(id: usize) -> String {
    format!("{{\"id\":\"r{id}\",\"value\":{id}}}")
}

#[tokio::test]
async fn of_calls_that_come_at_once_no_more_pass_than_the_count_allows() {
    let rules = r#"
        permit (principal, action, resource);
        @id("three") @message("Three calls are enough.")
        forbid (principal, action == Action::"tools__record", resource) when { context.session.calls >= 3 };
    "#;
    let scene = Scene::of(&Setup { rules, ..Setup::default() }).await;
    let client = scene.client("ann").await;
    let mut calls = JoinSet::new();
    for id in 0..16 {
        let client = client.clone();
        calls.spawn(async move {
            let mut tools = tools_client(&client, "/mcp", Some("s"));
            tools.call_tool("tools__record", &recording(id), None).await.unwrap()
        });
    }
    let answers = calls.join_all().await;
    let denied: Vec<_> = answers.iter().filter(|answer| answer.is_error).collect();
    assert_eq!((scene.recorded().len(), denied.len()), (3, 13));
    assert!(denied.iter().all(|answer| answer.text == "Three calls are enough."), "{denied:?}");
    // Another session counts for itself.
    let mut tools = tools_client(&client, "/mcp", Some("other"));
    assert!(!tools.call_tool("tools__record", &recording(99), None).await.unwrap().is_error);
    assert!(scene.gateway.refused().iter().all(|refused| refused.code == Code::Denied));
    scene.finish().await;
}

#[tokio::test]
async fn what_a_session_has_spent_counts_inside_answers_of_models_too() {
    let rules = r#"
        permit (principal, action, resource);
        @id("poor") @message("Too much was spent.")
        forbid (principal, action == Action::"tools__record", resource)
        when { context.session.spent.greaterThan(decimal("0.0")) && context.time.date > 20240101 };
    "#;
    let scene = Scene::of(&Setup { rules, ..Setup::default() }).await;
    let client = scene.client("ann").await;
    let wish = saying("insist\nCALL tools__record {\"id\":\"x\",\"value\":1}");
    let first = listen(&client, &in_session("s"), &crate::spoken::with(wish.clone(), "stream", true.into())).await;
    assert_eq!(first.calls.len(), 1, "{first:?}");
    let second = listen(&client, &in_session("s"), &crate::spoken::with(wish, "stream", true.into())).await;
    assert!(second.calls.is_empty() && second.text.contains("Too much was spent."), "{second:?}");
    scene.finish().await;
}

#[tokio::test]
async fn a_rule_on_trial_is_written_down_and_not_applied() {
    let rules = r#"
        permit (principal, action, resource);
        @id("limit") @mode("audit") @message("Too much.")
        forbid (principal, action == Action::"tools__record", resource)
        when { context.arguments.value.greaterThan(decimal("10.0")) };
    "#;
    let scene = Scene::of(&Setup { rules, ..Setup::default() }).await;
    let client = scene.client("ann").await;
    let mut tools = tools_client(&client, "/mcp", Some("s"));
    for id in [5, 50] {
        assert!(!tools.call_tool("tools__record", &recording(id), None).await.unwrap().is_error);
    }
    assert_eq!(audits(&scene, "ann:s"), [vec![], vec!["`limit` would have denied: Too much.".to_owned()]]);
    let metrics = scene.gateway.admin().get("/metrics").await.unwrap().text();
    assert!(metrics.contains("portcullis_policy_audited_total 1"), "{metrics}");
    scene.finish().await;
}

#[tokio::test]
async fn where_all_rules_are_on_trial_nothing_is_refused_and_it_is_said_aloud() {
    let setup = Setup { rounds: 2, rules: "forbid (principal, action, resource);", ..Setup::default() };
    let scene = Scene::with(&setup, |config| config.replace("policy: {", "policy: { mode: audit,")).await;
    let client = scene.client("ann").await;
    let mut tools = tools_client(&client, "/mcp", Some("s"));
    assert!(!tools.call_tool("tools__record", &recording(1), None).await.unwrap().is_error);
    assert_eq!(audits(&scene, "ann:s"), [vec!["would have been denied by `rules.cedar:1`".to_owned()]]);
    assert!(scene.gateway.log().contains("NO CALL IS REFUSED BY POLICY"));
    let is_on_trial = |event: &Event| matches!(event, Event::PolicyActivated(activated) if activated.is_audit);
    assert!(scene.gateway.entries().iter().any(|entry| is_on_trial(&entry.event)));
    scene.finish().await;
}

/// What a command says, and its exit code.
async fn said(scene: &Scene, arguments: &[&str]) -> (String, i32) {
    let output = scene.gateway.command(arguments).await;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (text, output.status.code().unwrap_or(-1))
}

#[tokio::test]
async fn questions_are_tried_and_tested_beside_the_gateway() {
    let scene = Scene::start().await;
    let check = async |value: &str, arguments: &[&str], expected: (&str, i32)| {
        let arguments = [&["policy", "try", "--as", "ann", "tool/tools__record", value], arguments].concat();
        let (text, code) = said(&scene, &arguments).await;
        assert!(text.contains(expected.0) && code == expected.1, "{arguments:?}: {code} {text}");
    };
    let limit = "ann: tool/tools__record: deny by `limit`: Limit Exceeded. Escalate to Manager.";
    check(r#"{"id":"x","value":50000}"#, &[], (limit, 1)).await;
    check(r#"{"id":"x","value":1}"#, &[], ("allow by `everything`", 0)).await;
    check(r#"{"id":"x","value":50000}"#, &["--offline"], (limit, 1)).await;
    check(r#"{"id":"x","value":"1"}"#, &[], ("a number is expected", 1)).await;
    check(r#"{"id":"x","value":50000}"#, &["--json"], ("\"effect\": \"deny\"", 1)).await;

    let tests = r#"tests:
  - { name: a junior is stopped, principal: ann, capability: tool/tools__record, arguments: { id: x, value: 50000 }, expect: deny, by: limit, message: Limit Exceeded. Escalate to Manager. }
  - { name: nobody gets around it, chain: [boss, ann], capability: tool/tools__record, arguments: '{"id":"x","value":1e5}', expect: deny, by: limit }
  - { name: a senior is not, principal: boss, capability: tool/tools__record, arguments: { id: x, value: 50000 }, expect: allow }
"#;
    scene.gateway.replace("rules.test.yaml", tests);
    assert_eq!(said(&scene, &["policy", "test"]).await, ("3 passed, 0 failed\n".to_owned(), 0));
    scene.gateway.replace("rules.test.yaml", &tests.replace("expect: allow", "expect: deny, by: limit"));
    let (text, code) = said(&scene, &["policy", "test", "--offline"]).await;
    let expected =
        "a senior is not\n  expected deny by `limit`\n  found    allow by `everything`\n2 passed, 1 failed\n";
    assert!(text.ends_with(expected) && code == 1, "{text}");
    scene.gateway.replace("rules.test.yaml", &tests.replace("chain:", "chian:"));
    let (text, code) = said(&scene, &["policy", "test", "--offline"]).await;
    assert!(text.contains("rules.test.yaml") && text.contains("chian") && code == 78, "{code} {text}");
    scene.finish().await;
}

#[tokio::test]
async fn those_who_are_vouched_for_are_tried_as_the_configuration_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let authority = portcullis_testkit::authority::Authority::new(folder.path()).unwrap();
    let own = authority.issue("IP:127.0.0.1").unwrap();
    for (name, text) in [
        ("gate.pem", own.certificate.as_str()),
        ("gate.key", &own.key),
        ("rules.cedar", "@id(\"j\") permit (principal in Role::\"junior\", action, resource);"),
        (
            "portcullis.yaml",
            "server: { tls: { certificate_file: gate.pem, key_file: gate.key } }
identity:
  principals: { helper: { roles: [junior] } }
  issuers: { corp: { issuer: 'https://login.example', audiences: [gate], roles: { claim: groups, map: { adjusters: [junior] } } } }
  certificates: { prod: { trust_domain: example.org, ca_file: ca.pem, principals: { '/a/*': { roles: [junior] }, '/b': { principal: helper }, '/c': {} } } }
registry: { models: { gpt: { base_url: 'http://127.0.0.1:1/v1' } } }
policy: { files: [rules.cedar] }
",
        ),
        (
            "rules.test.yaml",
            "tests:
  - { name: an adjuster, token: { issuer: corp, claims: { sub: eve, groups: [adjusters] } }, capability: model/gpt, expect: allow, by: j }
  - { name: somebody else, token: { issuer: corp, claims: { sub: eve, groups: [others] } }, capability: model/gpt, expect: deny }
  - { name: through an agent, token: { issuer: corp, claims: { sub: eve, groups: [others] } }, chain: [helper], capability: model/gpt, expect: deny }
  - { name: a workload, certificate: { issuer: prod, name: 'spiffe://example.org/a/x' }, capability: model/gpt, expect: allow }
  - { name: the helper, certificate: { issuer: prod, name: 'spiffe://example.org/b' }, capability: model/gpt, expect: allow }
  - { name: one of no role, certificate: { issuer: prod, name: 'spiffe://example.org/c' }, capability: model/gpt, expect: deny }
  - { name: within the scope, principal: helper, scope: 'model/g*', capability: model/gpt, expect: allow }
  - { name: outside of it, principal: helper, scope: 'tool/x__*', capability: model/gpt, expect: deny }
",
        ),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let check = async |arguments: &[&str], expected: &str, code: i32| {
        let output = crate::gateway::run(folder.path(), arguments).await;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(expected) && output.status.code() == Some(code), "{arguments:?}: {text}");
    };
    check(&["policy", "test"], "8 passed, 0 failed", 0).await;
    let attempt = async |more: &[&str], expected: &str, code: i32| {
        check(&[&["policy", "try", "model/gpt"], more].concat(), expected, code).await;
    };
    let claims = r#"{"sub":"eve","groups":["adjusters"]}"#;
    attempt(&["--issuer", "corp", "--claims", claims], "corp.eve: model/gpt: allow by `j`", 0).await;
    attempt(&["--issuer", "corp", "--claims", claims, "--scope", "tool/x__*"], "outside of what this task", 1).await;
    attempt(&["--issuer", "corp", "--claims", r#"{"sub":"e e"}"#], "corp.e e", 1).await;
    attempt(&["--issuer", "prod", "--certificate", "spiffe://example.org/b"], "helper: model/gpt: allow", 0).await;
    attempt(&["--issuer", "prod", "--certificate", "spiffe://example.org/d"], "nobody's", 1).await;
    attempt(&["--issuer", "prod", "--certificate", "spiffe://other.org/b"], "vouches for nobody of", 1).await;
    attempt(&["--issuer", "none", "--claims", claims], "no `identity.issuers.none`", 1).await;
    attempt(&[], "--as", 2).await;
}

#[tokio::test]
async fn past_decisions_are_explained_and_judged_by_other_rules() {
    let rules = r#"
        @id("everything") permit (principal, action, resource);
        @id("limit") @message("Too much.") forbid (principal, action == Action::"tools__record", resource)
        when { context.arguments.value.greaterThan(decimal("10.0")) || context.session.calls > 3 };
    "#;
    let scene = Scene::of(&Setup { rules, ..Setup::default() }).await;
    let client = scene.client("ann").await;
    let mut tools = tools_client(&client, "/mcp", Some("s"));
    for id in [1, 2, 50, 3] {
        tools.call_tool("tools__record", &recording(id), None).await.unwrap();
    }
    listen(
        &client,
        &in_session("s"),
        &crate::spoken::with(saying("insist\nCALL tools__record {\"id\":\"x\",\"value\":7}"), "stream", true.into()),
    )
    .await;
    let refused = scene.gateway.refused()[0].call.to_string();
    let settled = scene.gateway.settled("ann:s");
    let judging = settled.iter().find(|settled| !settled.judged.is_empty()).unwrap().call.to_string();

    // Other rules come; what was decided is explained by those of then.
    scene.gateway.replace("rules.cedar", "@id(\"all\") permit (principal, action, resource);");
    scene.gateway.reload().await;
    for (call, expected) in [
        (
            &refused,
            &[
                "what     tool/tools__record",
                "\"value\":50",
                "said     deny by `limit`; Too much.",
                "again    the same: deny by `limit`",
            ][..],
        ),
        (
            &judging,
            &["wanted in the answer", "until then  4 calls, 1 refused", "again    the same: deny by `limit`"][..],
        ),
    ] {
        let (text, code) = said(&scene, &["policy", "explain", call]).await;
        assert!(code == 0 && expected.iter().all(|part| text.contains(part)), "{code} {text}");
    }
    let (text, code) = said(&scene, &["policy", "explain", &"0".repeat(32)]).await;
    assert!(code == 1 && text.contains("the journal has no call"), "{code} {text}");

    scene.gateway.replace("same.cedar", rules);
    let (text, code) =
        said(&scene, &["policy", "backtest", "--policies", &path(&scene, "same.cedar"), "--strict"]).await;
    assert!(code == 0 && text.contains("nothing would change"), "{code} {text}");
    scene.gateway.replace("strict.cedar", &rules.replace("10.0", "1.5").replace(" > 3", " > 30"));
    let flags = ["policy", "backtest", "--policies", &path(&scene, "strict.cedar"), "--json", "--strict"];
    let (text, code) = said(&scene, &flags).await;
    let end = text.rfind('}').unwrap() + 1;
    let found: serde_json::Value = serde_json::from_str(&text[..end]).unwrap();
    let changes: Vec<(u64, &str, &str)> = found["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            (change["count"].as_u64().unwrap(), change["from"].as_str().unwrap(), change["to"].as_str().unwrap())
        })
        .collect();
    // 2 and 3 were allowed.
    assert_eq!((changes.as_slice(), code), ([(2, "allow", "deny")].as_slice(), 1), "{text}");

    let (text, code) = said(&scene, &["policy", "history"]).await;
    assert!(code == 0 && text.lines().count() == 3, "{text}");
    let first = text.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let (text, code) = said(&scene, &["policy", "show", &first]).await;
    assert!(code == 0 && text.contains("@id(\"limit\")"), "{text}");
    scene.finish().await;
}

fn path(scene: &Scene, name: &str) -> String {
    scene.gateway.file(name).display().to_string()
}

/// What stands in the entries of calls that were admitted to the session.
fn audits(scene: &Scene, session: &str) -> Vec<Vec<String>> {
    let events = scene.gateway.events(session).into_iter();
    events.filter_map(|event| if let Event::CallAdmitted(call) = event { Some(call.audit) } else { None }).collect()
}
