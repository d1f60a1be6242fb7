//! Rules of before, put back: they count whatever the files say, at every gateway and after every start, until the files change or somebody rolls forward.

use portcullis_domain::event::Event;
use portcullis_domain::ids::Actor;
use portcullis_domain::journal::Entry;
use portcullis_testkit::effects;
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use portcullis_testkit::tool_server::Era;
use serde_json::{Value, json};

use crate::fleet::{Fleet, Member};
use crate::gateway::{Gateway, LIMIT, signal};
use crate::scene::{Scene, Setup, TOOLS_TOKEN, TOOLS_WAIT_S, Upstream, tools_client};

/// Ann may record up to so much.
fn up_to(limit: u32) -> String {
    format!(
        "permit (principal, action, resource);\n@id(\"up-to-{limit}\") forbid (principal in Role::\"junior\", action == Action::\"tools__record\", resource)\nwhen {{ context.arguments.value.greaterThan(decimal(\"{limit}.0\")) }};\n"
    )
}

/// The most that Ann may record, of these.
async fn limit(client: &Client, session: &str) -> u32 {
    let mut tools = tools_client(client, "/mcp", Some(session));
    let mut most = 0;
    for value in [100, 200, 300, 400] {
        let answer = tools.call_tool("tools__record", &format!("{{\"id\":\"x\",\"value\":{value}}}"), None).await;
        if !answer.unwrap().is_error {
            most = value;
        }
    }
    most
}

async fn back(client: &Client, body: Value) -> Answer {
    client.post("/api/v1/policy/rollback", &body).await.unwrap()
}

async fn versions(client: &Client) -> Value {
    client.get("/api/v1/policy/versions").await.unwrap().json()
}

fn in_force(versions: &Value) -> &Value {
    versions["versions"].as_array().unwrap().iter().find(|one| one["is_in_force"] == true).unwrap()
}

async fn write(gateway: &Gateway, rules: &str) {
    gateway.replace("rules.cedar", rules);
    gateway.reload().await;
}

/// What the journal says of going back and forth: by whom, and why.
fn turns(gateway: &Gateway) -> Vec<(&'static str, String, String)> {
    let turn = |entry: Entry<Event>| {
        if let Event::PolicyRolledBack(event) = entry.event {
            Some(("back", entry.actor.to_string(), event.reason))
        } else if let Event::PolicyRolledForward(event) = entry.event {
            Some(("forward", entry.actor.to_string(), event.reason))
        } else {
            None
        }
    };
    gateway.entries().into_iter().filter_map(turn).collect()
}

#[tokio::test]
async fn what_was_rolled_back_stays_so_until_the_files_say_something_else() {
    let mut scene = Scene::of(&Setup { rules: Box::leak(up_to(100).into_boxed_str()), ..Setup::default() }).await;
    let ann = scene.client("ann").await;
    write(&scene.gateway, &up_to(200)).await;
    write(&scene.gateway, &up_to(300)).await;
    assert_eq!(limit(&ann, "a").await, 300);

    let output = scene.gateway.command(&["policy", "rollback", "--reason", "claims were paid twice"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("are in force again"), "{output:?}");
    assert_eq!(limit(&ann, "a").await, 200, "as soon as it is answered");

    // Neither a reload of the same files nor a start undoes it.
    scene.gateway.reload().await;
    assert_eq!(limit(&ann, "b").await, 200);
    scene.gateway.kill();
    scene.gateway.restart().await;
    assert_eq!(limit(&ann, "b").await, 200);
    assert!(scene.gateway.log().contains("the policies were rolled back"));
    // Nor do files whose rules only stand in another place.
    let (model, tools) = (scene.model.url.clone(), scene.tools.url.clone());
    scene.gateway.replace("other.cedar", &up_to(300));
    let config = Setup::default().config(&model, &tools);
    scene.gateway.configure(&config.replace("[rules.cedar]", "[other.cedar]"));
    scene.gateway.reload().await;
    assert_eq!(limit(&ann, "b").await, 200);
    scene.gateway.configure(&config);
    scene.gateway.reload().await;

    // Once more goes further back, and not to what was rolled back from.
    assert_eq!(back(&scene.gateway.admin(), json!({})).await.status, 200);
    assert_eq!(limit(&ann, "c").await, 100);
    let refused = back(&scene.gateway.admin(), json!({})).await;
    assert_eq!(refused.status, 412, "{}", refused.text());

    write(&scene.gateway, &up_to(400)).await;
    assert_eq!(limit(&ann, "d").await, 400);
    let admin = "principal/admin".to_owned();
    let expected = [
        ("back", admin.clone(), "claims were paid twice".to_owned()),
        ("back", admin.clone(), String::new()),
        ("forward", Actor::Gateway.to_string(), String::new()),
    ];
    assert_eq!(turns(&scene.gateway), expected);
    // What was rolled back from is not what was before.
    assert_eq!(back(&scene.gateway.admin(), json!({})).await.status, 200);
    assert_eq!(limit(&ann, "e").await, 100);

    let output = scene.gateway.command(&["policy", "rollforward", "--reason", "it was not that"]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(limit(&ann, "f").await, 400);
    assert_eq!(turns(&scene.gateway).last(), Some(&("forward", admin, "it was not that".to_owned())));
    scene.gateway.kill();
    scene.gateway.restart().await;
    assert_eq!(limit(&ann, "g").await, 400);
    let listed = scene.gateway.command(&["policy", "versions"]).await;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("claims were paid twice") && listed.matches(" now ").count() == 1, "{listed}");
    scene.finish().await;
}

#[tokio::test]
async fn what_can_not_be_put_back_is_refused_and_everything_stays_as_it_was() {
    let scene = Scene::of(&Setup { rules: Box::leak(up_to(100).into_boxed_str()), ..Setup::default() }).await;
    let (ann, admin) = (scene.client("ann").await, scene.gateway.admin());
    let of_tools = in_force(&versions(&admin).await)["version"].clone();
    let check = async |client: &Client, body: Value, status: u16, expected: &str| {
        let before = scene.gateway.entries().len();
        let answer = back(client, body).await;
        assert!(answer.status == status && answer.text().contains(expected), "{}: {}", answer.status, answer.text());
        assert_eq!(scene.gateway.entries().len(), before, "nothing is journaled");
    };
    check(&admin, json!({}), 412, "no other rules were in force before these").await;
    check(&admin, json!({"version": "0000"}), 404, "there was no version `0000`").await;
    check(&admin, json!({"version": of_tools}), 412, "are in force").await;
    check(&admin, json!({"versions": 1}), 400, "unknown field").await;
    check(&ann, json!({}), 403, "administrator").await;
    assert_eq!(ann.get("/api/v1/policy/versions").await.unwrap().status, 403);
    let forward = admin.post("/api/v1/policy/rollforward", &json!({})).await.unwrap();
    assert!(forward.status == 412 && forward.text().contains("nothing was rolled back"), "{}", forward.text());

    // Those rules speak of a tool that is not there any more.
    let config = Setup { servers: "{}".to_owned(), ..Setup::default() }.config(&scene.model.url, &scene.tools.url);
    scene.gateway.replace("rules.cedar", "permit (principal, action, resource);");
    scene.gateway.configure(&config);
    scene.gateway.reload().await;
    check(&admin, json!({"version": of_tools}), 412, "do not fit the tools and principals of today").await;
    check(&admin, json!({}), 412, "tools__record").await;

    // Once for its key, whatever has happened since.
    scene.gateway.replace("rules.cedar", "@id(\"all\") permit (principal, action, resource);");
    scene.gateway.reload().await;
    let keyed = admin.clone().with_header("idempotency-key", "k1");
    let (first, again) = (back(&keyed, json!({})).await, back(&keyed, json!({})).await);
    assert_eq!((first.status, first.text()), (200, again.text()));
    assert_eq!((again.header("idempotency-replayed"), turns(&scene.gateway).len()), (Some("true"), 1));
    let listed = versions(&admin).await;
    assert_eq!(in_force(&listed)["version"], first.json()["version"]);
    assert_eq!(in_force(&listed)["by"], "principal/admin");
    check(&admin, json!({"version": first.json()["replaced"]}), 412, "policy rollforward").await;
    scene.finish().await;
}

#[tokio::test]
async fn what_was_approved_under_other_rules_is_void_after_a_rollback_too() {
    let asking = |id: &str| {
        format!(
            "permit (principal, action, resource);\n@id(\"{id}\") @ask(\"senior\") permit (principal in Role::\"junior\", action == Action::\"tools__record\", resource);\n"
        )
    };
    let scene = Scene::of(&Setup { rules: Box::leak(asking("one").into_boxed_str()), ..Setup::default() }).await;
    let (ann, boss) = (scene.client("ann").await, scene.client("boss").await);
    let mut tools = tools_client(&ann, "/mcp", Some("s"));
    let mut park = async || {
        let answer = tools.call_tool("tools__record", r#"{"id":"x","value":1}"#, None).await.unwrap();
        answer.result["_meta"]["portcullis/refusal"]["approval"]["id"].as_str().unwrap().to_owned()
    };
    let status = async |id: &str| {
        boss.get(&format!("/api/v1/approvals/{id}")).await.unwrap().json()["status"].as_str().unwrap().to_owned()
    };
    let approve = async |id: &str| {
        let answer = boss.post(&format!("/api/v1/approvals/{id}/approve"), &json!({})).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let first = park().await;
    approve(&first).await;
    write(&scene.gateway, &asking("two")).await;
    let second = park().await;
    approve(&second).await;
    assert_eq!(back(&scene.gateway.admin(), json!({})).await.status, 200);
    assert_eq!((status(&first).await, status(&second).await), ("void".to_owned(), "void".to_owned()));
    let third = park().await;
    assert!(third != first && third != second, "it is asked anew");
    assert!(scene.recorded().is_empty());
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rollback_beside_a_reload_comes_before_it_or_after_it() {
    let scene = Scene::of(&Setup { rules: Box::leak(up_to(100).into_boxed_str()), ..Setup::default() }).await;
    let (ann, admin) = (scene.client("ann").await, scene.gateway.admin());
    for round in 0..4_u32 {
        // New rules every time, whose limits tell them apart.
        let (old, new) = (200 + 100 * (round % 2), 400 - 300 * (round % 2));
        let marked = |limit: u32| format!("{}// round {round}\n", up_to(limit));
        write(&scene.gateway, &marked(old)).await;
        scene.gateway.replace("rules.cedar", &marked(new));
        signal(scene.gateway.process_id(), rustix::process::Signal::HUP);
        let (one, other) = tokio::join!(back(&admin, json!({})), back(&admin, json!({})));
        assert!([200, 412].contains(&one.status) && [200, 412].contains(&other.status), "{}", one.text());
        scene.gateway.reload().await;
        let listed = versions(&admin).await;
        let now = in_force(&listed);
        assert_eq!(listed["is_rolled_back"], !now["rolled_back_to"].is_null(), "{listed}");
        let limit = limit(&ann, &format!("s{round}")).await;
        // What was rolled back before the new rules came was ended by them.
        assert!(listed["is_rolled_back"] == true || limit == new, "{limit}: {listed}");
        let text = scene.gateway.command(&["policy", "show", now["version"].as_str().unwrap()]).await;
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(text.contains(&format!("up-to-{limit}\"")), "{limit}: {text}");
    }
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_gateways_all_go_back_with_the_one_that_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let effects = folder.path().join("effects.jsonl");
    let tools = Upstream::tools(Era::Sessions, effects.clone()).await;
    let config = format!(
        "server: {{ listen: '127.0.0.1:{{PORT}}' }}\njournal: {{ store: 'sqlite:data' }}\n\
         identity: {{ principals: {{ ann: {{ roles: [junior] }} }} }}\n\
         registry: {{ tools_wait_s: {TOOLS_WAIT_S}, servers: {{ tools: {{ url: '{}/mcp', token: '{TOOLS_TOKEN}' }} }} }}\n\
         policy: {{ files: [rules.cedar] }}\n",
        tools.url,
    );
    let Some(mut fleet) = Fleet::start(2, &config).await else { return };
    let key = fleet.key("ann").await;
    let ann: Vec<Client> = fleet.members.iter().map(|member| member.client().with_key(&key)).collect();
    let admin = |member: &Member| member.client().with_key(&fleet.admin_key());
    let admins: Vec<Client> = fleet.members.iter().map(admin).collect();
    let wait_for = async |client: &Client, expected: u32| {
        let is_so = || async {
            let answer = client.get("/v1/models").await;
            answer.is_ok_and(|answer| answer.status == 200) && limit(client, "s").await == expected
        };
        wait_until(&format!("the limit is {expected}"), LIMIT, is_so).await.unwrap();
    };
    for rules in [up_to(200), up_to(300)] {
        for member in &fleet.members {
            std::fs::write(member.folder.join("rules.new"), &rules).unwrap();
            std::fs::rename(member.folder.join("rules.new"), member.folder.join("rules.cedar")).unwrap();
            signal(member.process.id(), rustix::process::Signal::HUP);
        }
        let expected = if rules == up_to(200) { 200 } else { 300 };
        for client in &ann {
            wait_for(client, expected).await;
        }
    }
    assert_eq!(back(&admins[0], json!({"reason": "too much"})).await.status, 200);
    let before = made(&effects, 300);
    // No call passes by the other rules from then on, wherever it comes to.
    for _ in 0..5 {
        for client in &ann {
            limit(client, "s").await;
        }
    }
    assert_eq!(made(&effects, 300), before);
    for client in &ann {
        wait_for(client, 200).await;
    }
    // The other one has learnt of it, and one that starts does too.
    let refused = back(&admins[1], json!({"version": in_force(&versions(&admins[0]).await)["version"]})).await;
    assert_eq!(refused.status, 412, "{}", refused.text());
    fleet.members[1].stop().await;
    fleet.members[1].restart().await;
    wait_for(&ann[1], 200).await;
    wait_for(&ann[0], 200).await;
    let forward = admins[1].post("/api/v1/policy/rollforward", &json!({})).await.unwrap();
    assert_eq!(forward.status, 200, "{}", forward.text());
    wait_for(&ann[0], 300).await;
    wait_for(&ann[1], 300).await;

    // Of two who go back at once, one does; the other one has looked at what is not in force any more.
    let (one, other) = tokio::join!(back(&admins[0], json!({})), back(&admins[1], json!({})));
    let mut both = [one.status, other.status];
    both.sort_unstable();
    assert!(both == [200, 412] || both == [200, 200], "{} {}", one.text(), other.text());
    fleet.finish().await;
}

/// How often that much was recorded.
fn made(effects: &std::path::Path, value: u32) -> usize {
    let line = format!("{{\"id\":\"x\",\"value\":{value}}}");
    effects::lines(effects).unwrap().iter().filter(|made| **made == line).count()
}
