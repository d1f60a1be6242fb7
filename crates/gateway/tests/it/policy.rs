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

/// What stands in the entries of calls that were admitted to the session.
fn audits(scene: &Scene, session: &str) -> Vec<Vec<String>> {
    let events = scene.gateway.events(session).into_iter();
    events.filter_map(|event| if let Event::CallAdmitted(call) = event { Some(call.audit) } else { None }).collect()
}
