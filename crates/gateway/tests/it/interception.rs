//! Tool calls are judged where the agent asks for them and before that, inside the model's answer.

use portcullis_domain::event::{Event, Judged};
use portcullis_domain::policy::Effect;
use portcullis_domain::refusal::Code;
use portcullis_testkit::http::Client;
use serde_json::{Value, json};

use crate::chat::before;
use crate::gateway::Gateway;
use crate::raw_upstream::{RawUpstream, event_head, whole};
use crate::scene::{Scene, Setup, tools_client};
use crate::spoken::{COMPLETIONS, Heard, ask, begin, function, hear_both, in_session, listen, saying, streaming, with};

const MESSAGE: &str = "Limit Exceeded. Escalate to Manager.";
const NOTE: &str = "[blocked: tools__record: Limit Exceeded. Escalate to Manager.]";

fn record(value: &str) -> String {
    format!("CALL tools__record {{\"id\":\"x\",\"value\":{value}}}")
}

fn recorded(value: &str) -> (String, String) {
    ("tools__record".to_owned(), format!("{{\"id\":\"x\",\"value\":{value}}}"))
}

#[tokio::test]
async fn text_flows_on_while_a_call_is_still_being_written() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    for value in ["5", "20000"] {
        let request = streaming(&format!("SLOW 3 40\n{}", record(value)));
        let mut stream = begin(&client, &in_session("s"), &request).await;
        let mut heard = Heard::default();
        while heard.text != "word1 word2 word3" {
            heard.take(stream.next_event().await.unwrap().unwrap().data);
        }
        // The model still writes: ten pieces with a pause before each.
        assert_eq!(scene.model.requests().await.last().unwrap()["outcome"], json!("pending"));
        assert!(heard.calls.is_empty());
        while let Some(event) = stream.next_event().await.unwrap() {
            heard.take(event.data);
        }
        assert_eq!(heard.calls.len(), usize::from(value == "5"), "{heard:?}");
        assert!(heard.is_done);
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_call_comes_as_one_once_it_is_whole_and_judged() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let request = streaming(&format!("SLOW 1 30\n{}", record("5")));
    let mut stream = begin(&client, COMPLETIONS, &request).await;
    let mut heard = Heard::default();
    while heard.calls.is_empty() {
        heard.take(stream.next_event().await.unwrap().unwrap().data);
    }
    // Nothing but the end is left to the model when the client hears of the call at all.
    while heard.calls != [recorded("5")] {
        heard.take(stream.next_event().await.unwrap().unwrap().data);
        assert_eq!(heard.finish, None);
    }
    assert_eq!(scene.model.requests().await[0]["outcome"], json!("pending"));
    drop(stream);
    scene.finish().await;
}

#[tokio::test]
async fn a_denied_call_is_taken_out_and_the_model_is_asked_again_with_the_message_of_the_rule() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    for is_stream in [false, true] {
        scene.model.forget().await;
        let session = if is_stream { "streamed" } else { "plain" };
        let request = with(saying(&format!("SAY I will record it.\n{}", record("50000"))), "stream", json!(is_stream));
        let heard = if is_stream {
            listen(&client, &in_session(session), &request).await
        } else {
            Heard::whole(&ask(&client, &in_session(session), &request).await)
        };
        assert!(heard.calls.is_empty() && heard.is_done && heard.error.is_none(), "{heard:?}");
        let before = if is_stream { "I will record it.\n\n" } else { "" };
        assert_eq!(heard.text, format!("{before}That is beyond my limit. I escalate it to the manager."));
        assert_eq!(heard.finish.as_deref(), Some("stop"));

        let asked = scene.model.requests().await;
        assert_eq!(asked.len(), 2);
        let added = &asked[1]["body"]["messages"].as_array().unwrap()[1..];
        let expected = [
            json!({"role": "assistant", "content": "I will record it."}),
            json!({"role": "system", "content": MESSAGE}),
        ];
        assert_eq!(added, expected);

        let settled = scene.gateway.settled(&format!("ann:{session}"));
        let [Judged { capability, effect, arguments, policies, message, .. }] = &settled[0].judged[..] else {
            panic!("one call")
        };
        assert_eq!((capability.to_string().as_str(), *effect), ("tool/tools__record", Effect::Deny));
        assert_eq!(arguments, &recorded("50000").1);
        assert_eq!((policies.as_slice(), message.as_deref()), (["limit".to_owned()].as_slice(), Some(MESSAGE)));
        let events = scene.gateway.events(&format!("ann:{session}"));
        let parents: Vec<_> = events
            .iter()
            .filter_map(|event| if let Event::CallAdmitted(admitted) = event { Some(admitted.parent) } else { None })
            .collect();
        assert_eq!(parents, [None, Some(settled[0].call)], "the second call names the first");

        // The session goes on, and what was denied there is denied here.
        assert_eq!(ask(&client, &in_session(session), &saying("SAY on")).await.status, 200);
        let mut tools = tools_client(&client, "/mcp", Some(session));
        let denied = tools.call_tool("tools__record", &recorded("50000").1, None).await.unwrap();
        assert_eq!((denied.text.as_str(), denied.is_error), (MESSAGE, true));
        let allowed = tools.call_tool("tools__record", &recorded("10000").1, None).await.unwrap();
        assert_eq!((allowed.text.as_str(), allowed.is_error), ("recorded x", false));
    }
    assert_eq!(scene.recorded(), [recorded("10000").1, recorded("10000").1]);
    scene.finish().await;
}

#[tokio::test]
async fn the_same_amounts_are_denied_at_both_places() {
    let scene = Scene::start().await;
    let (ann, boss) = (scene.client("ann").await, scene.client("boss").await);
    let check = async |client: &Client, value: &str, is_allowed: bool| {
        let before = scene.recorded().len();
        let heard = hear_both(client, COMPLETIONS, &saying(&format!("insist\n{}", record(value)))).await;
        assert_eq!(!heard.calls.is_empty(), is_allowed, "{value}: {heard:?}");
        assert_eq!(scene.recorded().len(), before);
        let mut tools = tools_client(client, "/mcp/tools", None);
        let answer = tools.call_tool("record", &recorded(value).1, None).await.unwrap();
        assert_eq!(!answer.is_error, is_allowed, "{value}: {}", answer.text);
        assert_eq!(scene.recorded().len(), before + usize::from(is_allowed));
    };
    for value in ["10000", "10000.0", "1e4", "10000.0000", "100000e-1", "-50000", "0"] {
        check(&ann, value, true).await;
    }
    for value in ["10000.01", "10000.0001", "50000", "1E5", "100000000000e-3", "922337203685477"] {
        check(&ann, value, false).await;
        check(&boss, value, true).await;
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_model_that_insists_is_asked_only_so_often() {
    for rounds in [0, 1, 3] {
        let scene = Scene::of(&Setup { rounds, ..Setup::default() }).await;
        let client = scene.client("ann").await;
        for is_stream in [false, true] {
            scene.model.forget().await;
            let request = with(saying(&format!("insist\nSAY so\n{}", record("20000"))), "stream", json!(is_stream));
            let request = with(request, "stream_options", json!({"include_usage": true}));
            let heard = if is_stream {
                listen(&client, &in_session("s"), &request).await
            } else {
                Heard::whole(&ask(&client, &in_session("s"), &request).await)
            };
            let asked = scene.model.requests().await;
            assert_eq!(asked.len(), usize::from(rounds) + 1);
            assert!(heard.calls.is_empty() && heard.text.ends_with(NOTE), "{heard:?}");
            assert_eq!(heard.finish.as_deref(), Some("stop"));
            // What all rounds have cost together: the client pays for it.
            let settled = scene.gateway.settled("ann:s");
            let of_this = &settled[settled.len() - asked.len()..];
            let output: u64 = of_this.iter().map(|settled| settled.tokens.unwrap().output).sum();
            assert_eq!(heard.usage.unwrap()["completion_tokens"], json!(output));
        }
        assert!(scene.recorded().is_empty());
        scene.finish().await;
    }
}

#[tokio::test]
async fn parallel_calls_are_judged_one_by_one_and_what_is_left_is_numbered_anew() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let check = async |values: &[&str], more: &str, left: &[&str]| {
        scene.model.forget().await;
        let calls: Vec<String> = values.iter().map(|value| record(value)).collect();
        let heard = hear_both(&client, COMPLETIONS, &saying(&format!("SAY both\n{}{more}", calls.join("\n")))).await;
        let left: Vec<_> = left.iter().map(|value| recorded(value)).collect();
        assert_eq!(heard.calls, left, "{values:?}");
        assert_eq!(heard.finish.as_deref(), Some("tool_calls"));
        assert_eq!(heard.text.contains(NOTE), left.len() < values.len(), "{heard:?}");
        // Something was left, so the model is not asked again.
        assert_eq!(scene.model.requests().await.len(), 2, "one for each way of asking");
    };
    for more in ["", "\nINTERLEAVED"] {
        check(&["1", "20000"], more, &["1"]).await;
        check(&["20000", "1"], more, &["1"]).await;
        check(&["1", "2"], more, &["1", "2"]).await;
        check(&["1", "20000", "2", "30000", "3"], more, &["1", "2", "3"]).await;
    }
    scene.finish().await;
}

/// Arguments that no rule can judge, and a word of the reason.
const UNJUDGEABLE: &[(&str, &str)] = &[
    (r#"{"id":"x"}"#, "missing"),
    (r#"{"id":"x","value":null}"#, "null"),
    (r#"{"id":"x","value":"1"}"#, "number"),
    (r#"{"id":"x","value":true}"#, "number"),
    (r#"{"id":"x","value":1.00001}"#, "four digits"),
    (r#"{"id":"x","value":1e400}"#, "out of range"),
    (r#"{"id":"x","value":99999999999999999999}"#, "out of range"),
    (r#"{"id":"x","value":{"amount":1}}"#, "number"),
    (r#"{"id":"x","value":[1]}"#, "number"),
    (r#"{"id":"x","value":1,"value":20000}"#, "twice"),
    (r#"{"id":"x","value":20000,"value":1}"#, "twice"),
    (r#"{"id":"x","value":1,"v\u0061lue":20000}"#, "twice"),
    (r#"{"id":"x","value":1,"amount":20000}"#, "not declared"),
    (r#"{"id":7,"value":1}"#, "text"),
];

#[tokio::test]
async fn arguments_that_no_rule_can_judge_are_denied_at_both_places() {
    let scene = Scene::of(&Setup { rounds: 0, ..Setup::default() }).await;
    let client = scene.client("boss").await;
    for (arguments, reason) in UNJUDGEABLE {
        let heard = hear_both(&client, &in_session("model"), &saying(&format!("CALL tools__record {arguments}"))).await;
        assert!(heard.calls.is_empty() && heard.text.contains("[blocked: tools__record: "), "{arguments}: {heard:?}");
        assert!(heard.text.contains(reason), "{arguments}: {heard:?}");
        for judged in scene.gateway.judged("boss:model").iter().rev().take(2) {
            assert_eq!((judged.effect, judged.arguments.as_str()), (Effect::Deny, *arguments));
            assert!(judged.message.as_deref().is_some_and(|message| message.contains(reason)), "{judged:?}");
        }
        let mut tools = tools_client(&client, "/mcp", Some("tool"));
        let params = format!(r#"{{"name":"tools__record","arguments":{arguments}}}"#);
        let denied = tools.request("tools/call", Some(&params), &[]).await.unwrap();
        assert_eq!(denied["isError"], json!(true), "{arguments}: {denied}");
        assert!(denied["content"][0]["text"].as_str().unwrap().contains(reason), "{arguments}: {denied}");
        let refused = scene.gateway.refused();
        let refused = refused.last().unwrap();
        assert_eq!(
            (refused.code, refused.capability.to_string().as_str()),
            (Code::InvalidArguments, "tool/tools__record")
        );
        assert!(refused.message.contains(reason), "{refused:?}");
    }
    assert!(scene.recorded().is_empty());
    let mut tools = tools_client(&client, "/mcp", Some("tool"));
    assert!(!tools.call_tool("tools__record", r#"{"id":"x","value":1}"#, None).await.unwrap().is_error);
    scene.finish().await;
}

#[tokio::test]
async fn arguments_that_are_no_object_are_denied_in_answers_of_models() {
    let scene = Scene::of(&Setup { rounds: 0, ..Setup::default() }).await;
    let client = scene.client("boss").await;
    for arguments in
        ["[1]", "{\"id\":\"x\",\"value\":1", "20000", "\"{}\"", "null", "{} {}", "{'id':'x','value':1}", ""]
    {
        let heard = hear_both(&client, COMPLETIONS, &saying(&format!("CALL tools__record {arguments}"))).await;
        assert!(heard.calls.is_empty() && heard.text.contains("[blocked: tools__record: "), "{arguments}: {heard:?}");
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_function_that_the_registry_does_not_know_is_judged_as_such() {
    let rules = r#"
        permit (principal, action, resource);
        @id("no-shell") @message("No shell here.")
        forbid (principal, action == Action::"call_function", resource == Function::"shell");
    "#;
    let scene = Scene::of(&Setup { rules, rounds: 0, ..Setup::default() }).await;
    let client = scene.client("ann").await;
    let request = |text: &str| with(saying(text), "tools", json!([function("shell"), function("weather")]));
    let heard = hear_both(&client, &in_session("s"), &request("CALL weather {\"city\":\"Rome\"}")).await;
    assert_eq!(heard.calls, [("weather".to_owned(), "{\"city\":\"Rome\"}".to_owned())]);
    let heard = hear_both(&client, &in_session("s"), &request("CALL shell {\"line\":\"rm\"}\nCALL weather {}")).await;
    assert_eq!(heard.calls, [("weather".to_owned(), "{}".to_owned())]);
    assert!(heard.text.contains("[blocked: shell: No shell here.]"), "{heard:?}");
    let judged = scene.gateway.judged("ann:s");
    let denied = judged.iter().find(|judged| judged.effect == Effect::Deny).unwrap();
    assert_eq!(
        (denied.capability.to_string().as_str(), denied.policies.as_slice()),
        ("function/shell", ["no-shell".to_owned()].as_slice())
    );
    scene.finish().await;
}

#[tokio::test]
async fn a_name_without_its_server_is_judged_as_every_tool_that_it_may_mean() {
    let rules = r#"
        permit (principal, action, resource);
        @message("Not the second.") forbid (principal, action == Action::"second__echo", resource);
        @message("Limit Exceeded. Escalate to Manager.") forbid (principal, action == Action::"first__record", resource)
        when { context.arguments.value.greaterThan(decimal("10000.0")) };
    "#;
    let server = "{ url: '{TOOLS}/mcp', token: 'tok-upstream-b81c7730fe' }";
    let servers = format!("{{ first: {server}, second: {server} }}");
    let scene = Scene::of(&Setup { rules, servers, rounds: 0, ..Setup::default() }).await;
    let client = scene.client("ann").await;
    let check = async |call: &str, blocked: &str| {
        let heard = hear_both(&client, COMPLETIONS, &saying(&format!("CALL {call}"))).await;
        assert_eq!(heard.calls.is_empty(), !blocked.is_empty(), "{call}: {heard:?}");
        assert!(heard.text.contains(blocked), "{call}: {heard:?}");
    };
    check("first__echo {\"text\":\"a\"}", "").await;
    check("second__echo {\"text\":\"a\"}", "Not the second.").await;
    check("echo {\"text\":\"a\"}", "Not the second.").await;
    check("record {\"id\":\"x\",\"value\":20000}", "Limit Exceeded.").await;
    check("record {\"id\":\"x\",\"value\":2}", "").await;
    check("record {\"value\":20000}", "missing").await;
    scene.finish().await;
}

#[tokio::test]
async fn what_the_provider_would_run_by_itself_is_policed_in_the_request() {
    let rules = r#"
        permit (principal, action == Action::"call_model", resource);
        permit (principal in Role::"senior", action == Action::"call_function", resource == Function::"web_search");
    "#;
    let scene = Scene::of(&Setup { rules, ..Setup::default() }).await;
    let (ann, boss) = (scene.client("ann").await, scene.client("boss").await);
    let check = async |client: &Client, name: &str, value: Value, is_allowed: bool| {
        scene.model.forget().await;
        for is_stream in [false, true] {
            let request = with(with(saying("SAY hi"), name, value.clone()), "stream", json!(is_stream));
            let answer = ask(client, COMPLETIONS, &request).await;
            assert_eq!(answer.status == 200, is_allowed, "{name} {value}: {}", answer.text());
            if !is_allowed {
                assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("denied")));
            }
        }
        assert_eq!(scene.model.requests().await.len(), if is_allowed { 2 } else { 0 });
    };
    check(&ann, "tools", json!([{"type": "web_search"}]), false).await;
    check(&ann, "tools", json!([function("f"), {"type": "mcp", "server_url": "http://x"}]), false).await;
    check(&ann, "web_search_options", json!({}), false).await;
    check(&ann, "tools", json!([function("f")]), true).await;
    check(&boss, "tools", json!([{"type": "web_search"}]), true).await;
    check(&boss, "web_search_options", json!({}), true).await;
    check(&boss, "tools", json!([{"type": "web_search"}, {"type": "mcp"}]), false).await;
    scene.finish().await;
}

#[tokio::test]
async fn functions_of_the_old_form_are_refused_in_requests_and_judged_in_answers() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    for (name, value) in [("functions", json!([{"name": "f"}])), ("function_call", json!("auto"))] {
        let answer = ask(&client, COMPLETIONS, &with(saying("hi"), name, value)).await;
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(name)));
    }
    assert_eq!(scene.model.requests().await.len(), 0);
    scene.finish().await;

    let call = json!({"name": "shell", "arguments": "{}"});
    let plain = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": null, "function_call": call}, "finish_reason": "function_call"}]});
    let streamed = format!(
        "data: {}\n\ndata: {}\n\ndata: [DONE]\n\n",
        json!({"choices": [{"index": 0, "delta": {"role": "assistant", "function_call": call}, "finish_reason": null}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "function_call"}]}),
    );
    let upstream = RawUpstream::start(move |request| match request.json()["stream"].as_bool() {
        Some(true) => vec![event_head(), streamed.clone().into_bytes()],
        _ => vec![whole(200, "", &plain.to_string())],
    });
    let upstream = upstream.await;
    let config = Setup { rounds: 0, ..Setup::default() }.config(&upstream.url, "http://127.0.0.1:9");
    let rules = r#"permit (principal, action == Action::"call_model", resource);"#;
    let gateway = Gateway::start(&config, &[("rules.cedar", rules)]).await;
    let client = gateway.client("ann").await;
    for request in [saying("go"), streaming("go")] {
        let answer = ask(&client, COMPLETIONS, &request).await;
        assert!(answer.status == 200 && !answer.text().contains("function_call"), "{}", answer.text());
        assert!(answer.text().contains("[blocked: shell: "), "{}", answer.text());
    }
    gateway.finish().await;
}

#[tokio::test]
async fn when_the_model_can_not_be_asked_again_the_answer_ends_without_the_denied_call() {
    let call = json!({"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let message = json!({"role": "assistant", "content": "so", "tool_calls": [call]});
    let plain = json!({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}).to_string();
    let delta = json!({"choices": [{"index": 0, "delta": message, "finish_reason": "tool_calls"}]});
    let streamed = format!("data: {delta}\n\ndata: [DONE]\n\n");
    for again in [whole(500, "", "{}"), whole(401, "", "{}"), whole(200, "", "no json"), Vec::new()] {
        let (plain, streamed) = (plain.clone(), streamed.clone());
        let upstream = RawUpstream::start(move |request| {
            let body = request.json();
            match (body["messages"].as_array().map(Vec::len), body["stream"].as_bool()) {
                (Some(1), Some(true)) => vec![event_head(), streamed.clone().into_bytes()],
                (Some(1), _) => vec![whole(200, "", &plain)],
                _ => vec![again.clone()],
            }
        });
        let upstream = upstream.await;
        let config = Setup::default().config(&upstream.url, "http://127.0.0.1:9");
        let rules = r#"permit (principal, action == Action::"call_model", resource);"#;
        let gateway = Gateway::start(&config, &[("rules.cedar", rules)]).await;
        let client = gateway.client("ann").await;
        let heard = hear_both(&client, COMPLETIONS, &saying("go")).await;
        assert!(
            heard.calls.is_empty() && heard.text.starts_with("so") && heard.text.contains("[blocked: f: "),
            "{heard:?}"
        );
        assert_eq!(heard.finish.as_deref(), Some("stop"));
        gateway.finish().await;
    }
}

#[tokio::test]
async fn every_one_of_several_answers_is_judged() {
    let choice = |index: u64, name: &str| {
        let call =
            json!({"id": format!("c{index}"), "type": "function", "function": {"name": name, "arguments": "{}"}});
        json!({"index": index, "message": {"role": "assistant", "content": null, "tool_calls": [call]}, "finish_reason": "tool_calls"})
    };
    let body = json!({"choices": [choice(0, "shell"), choice(1, "weather")], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}});
    let upstream = RawUpstream::of_body(200, "", &body.to_string()).await;
    let gateway = before(&upstream).await;
    let rules = r#"permit (principal, action, resource);
        forbid (principal, action == Action::"call_function", resource == Function::"shell");"#;
    gateway.replace("rules.cedar", rules);
    gateway.reload().await;
    let client = gateway.client("ann").await;
    let answer = ask(&client, COMPLETIONS, &with(saying("go"), "n", json!(2))).await.json();
    assert_eq!(answer["choices"][0]["message"].get("tool_calls"), None, "{answer}");
    assert_eq!(answer["choices"][0]["finish_reason"], json!("stop"));
    assert_eq!(answer["choices"][1], body["choices"][1]);
    assert_eq!(upstream.received().len(), 1);
    gateway.finish().await;
}
