//! Rules that ask a person: the call is parked, and runs once after exactly those who may have said yes, and in no other case.

use portcullis_domain::event::Event;
use portcullis_domain::policy::Effect;
use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::mcp::{self, ToolAnswer};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::gateway::LIMIT;
use crate::raw_upstream::RawUpstream;
use crate::scene::{Scene, Setup, tools_client};
use crate::spoken::{Heard, ask, function, in_session, listen, saying, with};

const RULES: &str = r#"
@id("everything")
permit (principal, action, resource);

@id("large")
@ask("manager")
@message("Payments above 10,000 need a manager.")
permit (principal in Role::"junior", action == Action::"tools__record", resource)
when { context.arguments.value.greaterThan(decimal("10000.0")) };

@id("huge")
@ask("manager") @approvals("2")
permit (principal in Role::"junior", action == Action::"tools__record", resource)
when { context.arguments.value.greaterThan(decimal("100000.0")) };

@id("wire")
@ask("manager")
permit (principal in Role::"junior", action == Action::"call_function", resource == Function::"wire");

@id("model")
@ask("manager")
permit (principal in Role::"junior", action == Action::"call_model", resource == Model::"dear");
"#;

const WHY: &str = "Payments above 10,000 need a manager.";

/// A gateway with these rules, and everybody who has something to say.
struct Desk {
    scene: Scene,
    ann: Client,
    tools: mcp::Client,
    bob: Client,
    mia: Client,
    max: Client,
    robot: Client,
}

impl Desk {
    async fn open() -> Self {
        Self::with("", "").await
    }

    /// With more of the tables `server` and `policy`.
    async fn with(server: &'static str, policy: &'static str) -> Self {
        let default = Setup::default();
        let setup = Setup {
            server,
            policy,
            principals: "{ ann: { roles: [junior] }, bob: { roles: [junior] }, mia: { roles: [manager] }, max: { roles: [manager, junior] }, dora: { roles: [director] }, robot: { roles: [manager] } }",
            models: default.models.replace("{ scripted:", "{ dear: { base_url: '{MODEL}/v1' }, scripted:"),
            servers: format!("{}\n  agents: {{ robot: {{ replicas: ['http://127.0.0.1:9'] }} }}", default.servers),
            rules: RULES,
            ..default
        };
        let scene = Scene::of(&setup).await;
        let ann = scene.client("ann").await;
        Self {
            tools: tools_client(&ann, "/mcp", Some("claim-99")),
            bob: scene.client("bob").await,
            mia: scene.client("mia").await,
            max: scene.client("max").await,
            robot: scene.client("robot").await,
            ann,
            scene,
        }
    }

    async fn pay(&mut self, arguments: &str) -> ToolAnswer {
        self.tools.call_tool("tools__record", arguments, None).await.unwrap()
    }

    /// Tries to pay and is told to wait; for which approval.
    async fn parked(&mut self, arguments: &str) -> String {
        let answer = self.pay(arguments).await;
        assert!(answer.is_error && answer.text.starts_with(WHY), "{answer:?}");
        let refusal = &answer.result["_meta"]["portcullis/refusal"];
        assert_eq!(refusal["code"], "approval_required", "{answer:?}");
        let id = refusal["approval"]["id"].as_str().unwrap().to_owned();
        assert!(answer.text.contains(&id), "{answer:?}");
        assert_eq!(refusal["approval"]["url"], format!("/api/v1/approvals/{id}"));
        id
    }

    async fn runs(&mut self, arguments: &str) {
        let answer = self.pay(arguments).await;
        assert_eq!((answer.text.as_str(), answer.is_error), ("recorded x", false), "{answer:?}");
    }

    async fn status(&self, id: &str) -> Value {
        self.ann.get(&format!("/api/v1/approvals/{id}")).await.unwrap().json()["status"].clone()
    }

    async fn until(&self, id: &str, status: &str) {
        let is_so = || async { self.status(id).await == status };
        wait_until(&format!("the approval is {status}"), LIMIT, is_so).await.unwrap();
    }

    fn count(&self, is_counted: impl Fn(&Event) -> bool) -> usize {
        self.scene.gateway.entries().iter().filter(|entry| is_counted(&entry.event)).count()
    }
}

fn payment(value: &str) -> String {
    format!("{{\"id\":\"x\",\"value\":{value}}}")
}

async fn answer(client: &Client, id: &str, verb: &str) -> Answer {
    client.post(&format!("/api/v1/approvals/{id}/{verb}"), &json!({})).await.unwrap()
}

/// The approvals that wait for an answer of this one.
async fn pending(client: &Client) -> Vec<Value> {
    let answer = client.get("/api/v1/approvals").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["approvals"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_manager_approves_and_exactly_that_call_runs_once_after_any_restart() {
    let mut desk = Desk::open().await;
    desk.runs(&payment("10000")).await;
    let id = desk.parked(&payment("50000")).await;
    assert_eq!(desk.parked(&payment("50000.0")).await.len(), 32, "another text is another call");
    assert_eq!(desk.parked(" { \"value\" : 50000, \"id\":\"x\" }").await, id, "nobody is asked twice");
    assert_eq!(desk.status(&id).await, "pending");

    // Who is not asked learns nothing, and who asks answers nothing.
    for (client, verb, status) in [
        (&desk.bob, "approve", 404),
        (&desk.scene.gateway.admin(), "approve", 404),
        (&desk.ann, "approve", 403),
        (&desk.ann, "deny", 403),
        (&desk.robot, "approve", 403),
    ] {
        let answered = answer(client, &id, verb).await;
        assert_eq!(answered.status, status, "{}", answered.text());
    }
    assert_eq!(desk.bob.get(&format!("/api/v1/approvals/{id}")).await.unwrap().status, 404);
    assert_eq!(
        (pending(&desk.bob).await.len(), pending(&desk.ann).await.len(), pending(&desk.robot).await.len()),
        (0, 0, 0)
    );
    let shown = pending(&desk.mia).await.into_iter().find(|shown| shown["id"] == id.as_str()).unwrap();
    for (member, expected) in [
        ("/by", json!("ann")),
        ("/through", json!([])),
        ("/session", json!("ann:claim-99")),
        ("/capability", json!("tool/tools__record")),
        ("/arguments", json!({"id": "x", "value": 50000})),
        ("/message", json!(WHY)),
        ("/policies", json!(["large"])),
        ("/asks", json!([{"role": "manager", "approvals": 1, "missing": 1}])),
        ("/cost", json!("$0.00")),
    ] {
        assert_eq!(shown.pointer(member), Some(&expected), "{shown}");
    }
    assert!(desk.ann.get(&format!("/api/v1/approvals/{id}")).await.unwrap().json().get("link").is_none());

    desk.scene.gateway.kill();
    desk.scene.gateway.restart().await;
    let path = format!("/api/v1/approvals/{id}/approve");
    let key = [("idempotency-key", "yes-1"), ("content-type", "application/json")];
    for replayed in [None, Some("true")] {
        let body = Some(r#"{"comment":"checked"}"#.to_owned());
        let answered = desk.mia.send("POST", &path, &key, body).await.unwrap();
        assert_eq!((answered.status, answered.header("idempotency-replayed")), (200, replayed), "{}", answered.text());
        assert_eq!(answered.json()["status"], "approved");
    }
    desk.scene.gateway.kill();
    desk.scene.gateway.restart().await;

    assert_ne!(desk.parked(&payment("50001")).await, id, "one more is another call");
    desk.runs(&payment("50000")).await;
    assert_eq!(desk.status(&id).await, "used");
    assert_ne!(desk.parked(&payment("50000")).await, id, "an approval is good for one call");
    assert_eq!(answer(&desk.max, &id, "approve").await.status, 410, "it is too late for another answer");
    assert_eq!(desk.scene.recorded(), [payment("10000"), payment("50000")]);
    let said =
        |event: &Event| matches!(event, Event::ApprovalAnswered(said) if said.comment.as_deref() == Some("checked"));
    assert_eq!(desk.count(said), 1);
    desk.scene.finish().await;
}

#[tokio::test]
async fn a_repetition_under_its_key_gets_the_answer_and_asks_nobody() {
    let mut desk = Desk::open().await;
    let id = desk.parked(&payment("50000")).await;
    assert_eq!(answer(&desk.mia, &id, "approve").await.status, 200);
    for _ in 0..3 {
        let called = desk.tools.call_tool("tools__record", &payment("50000"), Some("pay-1")).await.unwrap();
        assert_eq!(called.text, "recorded x");
    }
    assert_eq!(desk.scene.recorded().len(), 1);
    assert_eq!(desk.count(|event| matches!(event, Event::ApprovalRequested(_))), 1);
    desk.scene.finish().await;
}

#[tokio::test]
async fn many_retries_at_once_use_an_approval_once() {
    let mut desk = Desk::open().await;
    let id = desk.parked(&payment("50000")).await;
    assert_eq!(answer(&desk.mia, &id, "approve").await.status, 200);
    let mut retries = tokio::task::JoinSet::new();
    for number in 0..12 {
        let mut tools = tools_client(&desk.ann, "/mcp", Some("claim-99"));
        let key = format!("retry-{number}");
        retries.spawn(async move { tools.call_tool("tools__record", &payment("50000"), Some(&key)).await.unwrap() });
    }
    let answers = retries.join_all().await;
    assert_eq!(answers.iter().filter(|answer| !answer.is_error).count(), 1, "{answers:?}");
    assert_eq!(desk.scene.recorded().len(), 1);
    desk.scene.finish().await;
}

#[tokio::test]
async fn the_gateway_makes_an_approved_call_itself_once_and_says_what_came_of_it() {
    let mut desk = Desk::with("", ", approvals: { run: true }").await;
    let wait = async |desk: &Desk, id: &str| {
        let path = format!("/api/v1/sessions/claim-99/waits/approval_{id}");
        let has_come = || async { desk.ann.get(&path).await.unwrap().json()["status"] != "open" };
        wait_until("the wait has ended", LIMIT, has_come).await.unwrap();
        desk.ann.get(&path).await.unwrap().json()
    };
    let first = desk.pay(&payment("50000")).await;
    assert!(first.text.contains("do not repeat it"), "{first:?}");
    let id = desk.parked(&payment("50000")).await;
    let denied = desk.parked(&payment("60000")).await;
    assert_eq!(
        desk.ann.get("/api/v1/sessions/claim-99").await.unwrap().json()["waiting_for"].as_array().unwrap().len(),
        2
    );
    assert_eq!(answer(&desk.mia, &id, "approve").await.status, 200);
    // Whenever it dies, the call is made at most once.
    desk.scene.gateway.kill();
    desk.scene.gateway.restart().await;
    let ended = wait(&desk, &id).await;
    let data = &ended["event"]["data"];
    assert!(matches!(data["status"].as_str(), Some("completed" | "unknown")), "{ended}");
    assert_eq!((&data["approval"], desk.status(&id).await), (&json!(id), json!("used")));
    assert!(desk.scene.recorded().len() <= 1);
    if data["status"] == "completed" {
        assert_eq!(data["result"]["content"][0]["text"], "recorded x", "{ended}");
        // The same call again gets that answer, and is no other payment.
        desk.runs(&payment("50000")).await;
        assert_eq!(desk.scene.recorded().len(), 1);
    }
    assert_eq!(answer(&desk.mia, &denied, "deny").await.status, 200);
    assert_eq!(wait(&desk, &denied).await["event"]["data"]["status"], "denied");

    // Without a crash it is made for certain.
    let id = desk.parked(&payment("70000")).await;
    assert_eq!(answer(&desk.mia, &id, "approve").await.status, 200);
    let ended = wait(&desk, &id).await;
    assert_eq!((&ended["status"], &ended["event"]["data"]["status"]), (&json!("arrived"), &json!("completed")));
    desk.runs(&payment("70000")).await;
    assert_eq!(desk.scene.recorded().iter().filter(|line| **line == payment("70000")).count(), 1);
    desk.scene.finish().await;
}

#[tokio::test]
async fn people_answer_on_the_command_line() {
    let mut desk = Desk::open().await;
    let key = desk.scene.gateway.key("mia").await;
    std::fs::write(desk.scene.gateway.file("mia.key"), key).unwrap();
    let id = desk.parked(&payment("50000")).await;
    let other = desk.parked(&payment("60000")).await;
    let run = async |arguments: &[&str]| {
        let all = [&["approval"], arguments, &["--key-file", "mia.key"]].concat();
        let output = desk.scene.gateway.command(&all).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, listed, _) = run(&["list"]).await;
    assert!(code == Some(0) && listed.contains(&id) && listed.contains(&other) && listed.contains("ann"), "{listed}");
    let (_, shown, _) = run(&["show", &id]).await;
    for part in ["pending", "tool/tools__record", WHY, "\"value\": 50000", "1 of 1 with the role `manager`"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let (code, said, _) = run(&["approve", &id]).await;
    assert_eq!((code, said.trim()), (Some(0), format!("approval {id} is approved").as_str()));
    let (_, said, _) = run(&["deny", &other, "--comment", "Ask for an invoice first.", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), json!({"id": other, "status": "denied"}));
    let (code, _, problem) = run(&["approve", &other]).await;
    assert!(code == Some(1) && problem.contains("was denied"), "{problem}");
    desk.runs(&payment("50000")).await;
    let denied = desk.pay(&payment("60000")).await;
    assert!(denied.is_error && denied.text.ends_with("has said no: Ask for an invoice first."), "{denied:?}");
    assert_eq!(denied.result["_meta"]["portcullis/refusal"]["code"], "denied");
    assert_eq!(desk.scene.recorded(), [payment("50000")]);
    desk.scene.finish().await;
}

#[tokio::test]
async fn a_link_shows_what_is_asked_and_answers_only_when_it_is_posted_to() {
    let mut desk = Desk::open().await;
    for is_form in [true, false] {
        let id = desk.parked(&payment("50000")).await;
        let link = pending(&desk.mia).await[0]["link"].as_str().unwrap().to_owned();
        let path = link.strip_prefix(&desk.scene.gateway.url()).unwrap().to_owned();
        let nobody = desk.scene.gateway.stranger();
        // As what looks for dangerous links in a mail does.
        for method in ["GET", "HEAD", "OPTIONS", "PUT"] {
            nobody.send(method, &path, &[], None).await.unwrap();
        }
        let page = nobody.get(&path).await.unwrap();
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        for part in [WHY, "50000", "<b>mia</b>", "value=\"approve\""] {
            assert!(page.text().contains(part), "{part}: {}", page.text());
        }
        assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
        assert_eq!((page.header("cache-control"), page.header("x-frame-options")), (Some("no-store"), Some("DENY")));
        let shown = nobody.send("GET", &path, &[("accept", "application/json")], None).await.unwrap().json();
        assert_eq!(shown["arguments"], json!({"id": "x", "value": 50000}));
        assert_eq!(desk.status(&id).await, "pending");

        let (media, yes, no) = if is_form {
            ("application/x-www-form-urlencoded", "comment=fine+by+me&answer=approve", "answer=deny")
        } else {
            ("application/json", r#"{"answer":"approve"}"#, r#"{"answer":"deny"}"#)
        };
        let origin = desk.scene.gateway.url();
        let headers = [("content-type", media), ("origin", origin.as_str())];
        let foreign = [("content-type", media), ("origin", "https://evil.example.org")];
        let post = async |path: &str, headers: &[(&str, &str)], body: &str| {
            nobody.send("POST", path, headers, Some(body.to_owned())).await.unwrap()
        };
        assert_eq!(post(&path, &foreign, yes).await.status, 403);
        assert_eq!(post(&path, &headers, "answer=perhaps").await.status, 400);
        let forged = format!("{}x", &path[..path.len() - 1]);
        assert_eq!((post(&forged, &headers, yes).await.status, nobody.get(&forged).await.unwrap().status), (404, 404));
        let said = post(&path, &headers, yes).await;
        assert!(said.status == 200 && said.text().contains("approved"), "{}", said.text());
        assert_eq!(post(&path, &headers, yes).await.status, 200, "the same again is the same");
        assert_eq!(post(&path, &headers, no).await.status, 410);
        assert!(!nobody.get(&path).await.unwrap().text().contains("<button"));
        desk.runs(&payment("50000")).await;
    }
    let by_link = |event: &Event| matches!(event, Event::ApprovalAnswered(said) if said.is_by_link);
    assert_eq!((desk.count(by_link), desk.scene.recorded().len()), (2, 2));
    desk.scene.finish().await;
}

#[tokio::test]
async fn four_eyes_are_those_of_two_people_who_have_no_part_in_it() {
    let mut desk = Desk::open().await;
    let id = desk.parked(&payment("200000")).await;
    assert_eq!(answer(&desk.mia, &id, "approve").await.json()["status"], "pending");
    assert_eq!(answer(&desk.mia, &id, "approve").await.json()["status"], "pending");
    assert_eq!(pending(&desk.max).await[0]["asks"], json!([{"role": "manager", "approvals": 2, "missing": 1}]));
    assert_eq!(desk.parked(&payment("200000")).await, id);
    assert_eq!(answer(&desk.max, &id, "approve").await.json()["status"], "approved");
    desk.runs(&payment("200000")).await;

    // Max is a manager and a junior too, and still needs another one.
    let mut tools = tools_client(&desk.max, "/mcp", Some("his"));
    let parked = tools.call_tool("tools__record", &payment("50000"), None).await.unwrap();
    let id = parked.result["_meta"]["portcullis/refusal"]["approval"]["id"].as_str().unwrap().to_owned();
    assert!(pending(&desk.max).await.is_empty());
    assert_eq!(answer(&desk.max, &id, "approve").await.status, 403);
    assert_eq!(answer(&desk.mia, &id, "approve").await.status, 200);
    assert_eq!(tools.call_tool("tools__record", &payment("50000"), None).await.unwrap().text, "recorded x");
    // What was approved for one is nothing to another.
    let of_ann = desk.parked(&payment("70000")).await;
    assert_eq!(answer(&desk.mia, &of_ann, "approve").await.status, 200);
    assert!(tools.call_tool("tools__record", &payment("70000"), None).await.unwrap().is_error);
    desk.scene.finish().await;
}

#[tokio::test]
async fn other_policies_make_every_approval_void() {
    let mut desk = Desk::open().await;
    let (given, open) = (desk.parked(&payment("50000")).await, desk.parked(&payment("60000")).await);
    assert_eq!(answer(&desk.mia, &given, "approve").await.status, 200);
    desk.scene.gateway.replace("rules.cedar", &format!("{RULES}\n// Something else."));
    desk.scene.gateway.reload().await;
    assert_eq!((desk.status(&given).await, desk.status(&open).await), (json!("void"), json!("void")));
    let late = answer(&desk.mia, &open, "approve").await;
    assert_eq!((late.status, late.json()["code"].clone()), (410, json!("wait_over")), "{}", late.text());
    let again = desk.parked(&payment("50000")).await;
    assert_ne!(again, given);
    // A reload that changes nothing takes nothing away.
    desk.scene.gateway.reload().await;
    assert_eq!(answer(&desk.mia, &again, "approve").await.status, 200);
    desk.runs(&payment("50000")).await;
    assert_eq!(desk.scene.recorded().len(), 1);
    desk.scene.finish().await;
}

#[tokio::test]
async fn an_approval_expires_and_says_so() {
    let mut desk = Desk::with("", ", approvals: { expires_s: 1 }").await;
    let id = desk.parked(&payment("50000")).await;
    desk.until(&id, "expired").await;
    let late = answer(&desk.mia, &id, "approve").await;
    assert!(late.status == 410 && late.text().contains("expired at"), "{}", late.text());
    assert!(pending(&desk.mia).await.is_empty());
    assert_ne!(desk.parked(&payment("50000")).await, id);
    assert!(desk.scene.recorded().is_empty());
    assert!(desk.count(|event| matches!(event, Event::ApprovalExpired(_))) >= 1);
    desk.scene.finish().await;
}

#[tokio::test]
async fn others_are_called_in_after_a_while_and_whoever_is_to_be_told_is_told() {
    let hook = RawUpstream::of_body(200, "", "{}").await;
    let mut desk = Desk::with(
        ", push_allowed: ['127.0.0.1']",
        ", approvals: { expires_s: 600, escalate: [{ after_s: 15, role: director }], notify: 'https://hook.example.org/approvals' }",
    )
    .await;
    let dora = desk.scene.client("dora").await;
    // The address is known only now.
    let file = desk.scene.gateway.file("portcullis.yaml");
    let config = std::fs::read_to_string(file).unwrap().replace("https://hook.example.org", &hook.url);
    desk.scene.gateway.replace("portcullis.yaml", &config);
    desk.scene.gateway.reload().await;
    let id = desk.parked(&payment("50000")).await;
    let told = || async { hook.received().len() >= 2 };
    wait_until("it is told, and told again when others are called in", LIMIT, told).await.unwrap();
    let (first, second) = (hook.received()[0].clone(), hook.received()[1].clone());
    assert_eq!(
        (&first.json()["type"], &second.json()["type"]),
        (&json!("approval.requested"), &json!("approval.escalated"))
    );
    assert!(
        first.head.contains(&format!("webhook-id: {id}-0")) && second.head.contains(&format!("webhook-id: {id}-1"))
    );
    assert_eq!(first.json()["approval"]["id"], id.as_str());
    let invited = |told: &Value| {
        let links = told["links"].as_array().unwrap().iter();
        links.map(|link| link["principal"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(invited(&first.json()), ["max", "mia"], "no agent is asked, whatever its roles");
    assert_eq!(invited(&second.json()), ["dora", "max", "mia"]);
    assert_eq!(pending(&dora).await[0]["escalated"], json!(["director"]));
    let link = second.json()["links"][0]["url"].as_str().unwrap().to_owned();
    let path = link.strip_prefix(&desk.scene.gateway.url()).unwrap().to_owned();
    let said = desk.scene.gateway.stranger().post(&path, &json!({"answer": "approve"})).await.unwrap();
    assert_eq!((said.status, said.json()["status"].clone()), (200, json!("approved")), "{}", said.text());
    desk.runs(&payment("50000")).await;
    assert_eq!(hook.received().len(), 2);
    desk.scene.finish().await;
}

#[tokio::test]
async fn a_tool_call_inside_an_answer_is_asked_about_where_it_takes_effect() {
    let mut desk = Desk::open().await;
    let wire = |text: &str| with(saying(text), "tools", json!([function("wire")]));
    let hear = async |client: &Client, request: &Value, is_stream: bool| {
        let path = in_session("claim-99");
        if is_stream {
            listen(client, &path, &with(request.clone(), "stream", json!(true))).await
        } else {
            Heard::whole(&ask(client, &path, request).await)
        }
    };
    for (number, is_stream) in [false, true].into_iter().enumerate() {
        // A function that no door will see is held until somebody has said yes, and goes on once.
        let call = format!("CALL wire {{\"amount\":{number}}}");
        let request = wire(&call);
        let held = hear(&desk.ann, &request, is_stream).await;
        assert!(held.calls.is_empty(), "{held:?}");
        let waiting = pending(&desk.mia).await;
        assert_eq!(
            (waiting.len(), &waiting[0]["capability"], &waiting[0]["place"]),
            (1, &json!("function/wire"), &json!("model_answer"))
        );
        assert_eq!(waiting[0]["arguments"], json!({"amount": number}));
        let judged = desk.scene.gateway.judged("ann:claim-99");
        let id = waiting[0]["id"].as_str().unwrap();
        assert!(
            judged.iter().any(|judged| judged.message.as_ref().is_some_and(|message| message.contains(id))),
            "{judged:?}"
        );
        assert_eq!(answer(&desk.mia, id, "approve").await.status, 200);
        let passed = hear(&desk.ann, &request, is_stream).await;
        assert_eq!(passed.calls, [("wire".to_owned(), format!("{{\"amount\":{number}}}"))], "{passed:?}");
        let again = hear(&desk.ann, &request, is_stream).await;
        assert!(again.calls.is_empty(), "{again:?}");
        let waiting = pending(&desk.mia).await;
        assert_eq!(answer(&desk.mia, waiting[0]["id"].as_str().unwrap(), "deny").await.status, 200);

        // A tool of the gateway's own goes on to the agent, and is asked about where the agent calls it.
        let arguments = payment(&format!("5000{number}"));
        let passed = hear(&desk.ann, &saying(&format!("CALL tools__record {arguments}")), is_stream).await;
        assert_eq!(passed.calls, [("tools__record".to_owned(), arguments.clone())], "{passed:?}");
        assert!(pending(&desk.mia).await.is_empty());
        let judged = desk.scene.gateway.judged("ann:claim-99");
        assert_eq!(judged.last().unwrap().effect, Effect::Ask);
        let id = desk.parked(&arguments).await;
        assert_eq!(answer(&desk.mia, &id, "approve").await.status, 200);
        desk.runs(&arguments).await;
    }
    desk.scene.finish().await;
}

#[tokio::test]
async fn a_model_that_must_be_asked_for_is_refused_as_its_clients_expect() {
    let desk = Desk::open().await;
    let request = with(saying("SAY hello"), "model", json!("dear"));
    let refused = ask(&desk.ann, &in_session("s"), &request).await;
    let body = refused.json();
    let id = body["error"]["portcullis"]["approval"]["id"].as_str().unwrap().to_owned();
    assert_eq!((refused.status, &body["error"]["code"]), (403, &json!("approval_required")), "{body}");
    assert_eq!(refused.header("location"), Some(format!("/api/v1/approvals/{id}").as_str()));
    assert_eq!(
        ask(&desk.ann, &in_session("s"), &request).await.json()["error"]["portcullis"]["approval"]["id"],
        id.as_str()
    );
    assert!(desk.scene.model.requests().await.is_empty());
    assert_eq!(answer(&desk.mia, &id, "approve").await.status, 200);
    // The scripted model serves no such one, and says so itself: it was asked.
    ask(&desk.ann, &in_session("s"), &request).await;
    assert_eq!(desk.scene.model.requests().await.len(), 1);
    desk.scene.finish().await;
}
