//! The door for chat completions: what passes, what is refused, and what becomes of answers that break off.

use portcullis_domain::event::{CallSettled, Outcome};
use portcullis_domain::refusal::Code;
use portcullis_testkit::http::Client;
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::{Gateway, LIMIT};
use crate::raw_upstream::{RawUpstream, SILENCE, event_head, whole};
use crate::scene::{MODEL_KEY, Scene, Setup};
use crate::spoken::{COMPLETIONS, Heard, ask, begin, in_session, listen, saying, streaming, with};

/// A gateway whose only model is this upstream.
pub(crate) async fn before(upstream: &RawUpstream) -> Gateway {
    let config = Setup::default().config(&upstream.url, "http://127.0.0.1:9");
    let gateway = Gateway::start(&config, &[("rules.cedar", "permit (principal, action, resource);")]).await;
    gateway.keep_secret(MODEL_KEY);
    gateway
}

/// Waits until so many calls of the session are settled.
async fn settled(gateway: &Gateway, session: &str, count: usize) -> Vec<CallSettled> {
    let are_there = || async { gateway.settled(session).len() >= count };
    wait_until(&format!("{count} calls of {session} are settled"), LIMIT, are_there).await.unwrap();
    gateway.settled(session)
}

#[tokio::test]
async fn members_that_nobody_here_knows_pass_on_the_way_up() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let unknown = r#""top_k": 1.50,"x_trace":{"deep" : [1, null, 1e-7]}"#;
    let body = format!(r#"{{"model":"scripted","messages":[{{"role":"user","content":"hi","x":[1.0]}}],{unknown}}}"#);
    let answer = client.send("POST", COMPLETIONS, &[("x-own", "1")], Some(body.clone())).await.unwrap();
    assert_eq!(
        answer.json()["system_fingerprint"],
        json!("scripted {\"top_k\":1.50,\"x_trace\":{\"deep\" : [1, null, 1e-7]}}")
    );
    let record = scene.model.http.get("/__requests").await.unwrap().text();
    assert!(record.contains(&body), "{record}");
    let headers = &scene.model.requests().await[0]["headers"];
    assert_eq!(headers["authorization"], json!("Bearer (the right key)"));
    assert_eq!(headers.get("x-own"), None);
    assert!(answer.header("portcullis-session").is_some_and(|name| name.starts_with("ses_")));
    assert!(answer.header("portcullis-call").is_some());
    scene.finish().await;
}

#[tokio::test]
async fn an_answer_of_which_nothing_is_denied_is_the_same_bytes() {
    let body = r#"{ "id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hi","reasoning":{"sig":"a\/b"}},"finish_reason":"stop","x":1.50}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"x":{}},"zzz":[1e400] }"#;
    let chunk = |rest: &str| format!("data: {{\"id\":\"x\", \"choices\":[{rest}],\"zzz\":1.50}}\n\n");
    let events = [
        chunk(r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null}"#),
        chunk(r#"{"index":0,"delta":{"content":"hi","x":[1.0]}}"#),
        ": a comment\n\n".to_owned(),
        chunk(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#),
        "data: [DONE]\n\n".to_owned(),
    ];
    let streamed = events.concat();
    let expected = streamed.clone();
    let upstream = RawUpstream::start(move |request| match request.json()["stream"].as_bool() {
        Some(true) => vec![event_head(), streamed.clone().into_bytes()],
        _ => vec![whole(200, "", body)],
    });
    let upstream = upstream.await;
    let gateway = before(&upstream).await;
    let client = gateway.client("ann").await;
    assert_eq!(ask(&client, COMPLETIONS, &saying("hi")).await.text(), body);
    let stream = begin(&client, COMPLETIONS, &streaming("hi")).await;
    assert_eq!(stream.whole().await.unwrap().text(), expected);
    gateway.finish().await;
}

#[tokio::test]
async fn a_model_is_asked_by_its_own_name_and_below_its_own_path() {
    let upstream = RawUpstream::of_body(200, "", r#"{"choices":[{"message":{"content":"hi"}}]}"#).await;
    let models = format!("{{ nice: {{ base_url: '{}/deep/v1/', model: 'ugly-2026' }} }}", upstream.url);
    let setup =
        Setup { models, servers: "{}".to_owned(), rules: "permit (principal, action, resource);", ..Setup::default() };
    let gateway = Gateway::start(&setup.config("", ""), &[("rules.cedar", setup.rules)]).await;
    let client = gateway.client("ann").await;
    let answer = ask(&client, COMPLETIONS, &with(saying("hi"), "model", json!("nice"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = upstream.received();
    assert!(received[0].head.starts_with("post /deep/v1/chat/completions http/1.1"), "{}", received[0].head);
    assert!(!received[0].head.contains("authorization"), "{}", received[0].head);
    assert_eq!(received[0].json()["model"], json!("ugly-2026"));
    gateway.finish().await;
}

#[tokio::test]
async fn usage_is_asked_for_upstream_and_given_only_to_those_who_asked() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let check = async |options: Option<Value>, is_given: bool| {
        scene.model.forget().await;
        let request = streaming("SAY one two three");
        let request = options.map_or(request.clone(), |options| with(request, "stream_options", options));
        let heard = listen(&client, COMPLETIONS, &request).await;
        assert_eq!((heard.text.as_str(), heard.is_done), ("one two three", true));
        assert_eq!(heard.usage.is_some(), is_given, "{request}");
        let has_trace = heard.events.iter().any(|event| event.contains("usage"));
        assert_eq!(has_trace, is_given, "{request}: {:?}", heard.events);
        let asked = &scene.model.requests().await[0]["body"]["stream_options"];
        assert_eq!(asked["include_usage"], json!(true), "{request}");
    };
    check(None, false).await;
    check(Some(Value::Null), false).await;
    check(Some(json!({"include_usage": false, "x": 1})), false).await;
    check(Some(json!({"include_usage": true})), true).await;
    scene.finish().await;
}

#[tokio::test]
async fn errors_of_the_model_pass_as_they_are_and_cost_nothing() {
    let check = async |status: u16, headers: &str, body: &str, kept: &[(&str, &str)]| {
        let upstream = RawUpstream::of_body(status, headers, body).await;
        let gateway = before(&upstream).await;
        let client = gateway.client("ann").await;
        for request in [saying("hi"), streaming("hi")] {
            let answer = ask(&client, &in_session("s"), &request).await;
            assert_eq!((answer.status, answer.text().as_str()), (status, body));
            for (name, value) in kept {
                assert_eq!(answer.header(name), Some(*value), "{name} of {status}");
            }
            assert_eq!(answer.header("x-upstream"), None);
        }
        for settled in gateway.settled("ann:s") {
            assert_eq!((settled.outcome, settled.charged.nanos()), (Outcome::Failed, 0));
        }
        assert_eq!(gateway.settled("ann:s").len(), 2);
        gateway.finish().await;
    };
    let limited = r#"{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}"#;
    check(
        429,
        "retry-after: 7\r\nretry-after-ms: 6500\r\nx-upstream: 1\r\n",
        limited,
        &[("retry-after", "7"), ("retry-after-ms", "6500")],
    )
    .await;
    check(500, "", r#"{"error":{"message":"oops"}}"#, &[("content-type", "application/json")]).await;
    check(503, "content-type: text/html\r\n", "<h1>busy</h1>", &[("content-type", "text/html")]).await;
    check(400, "", r#"{"error":{"message":"context length"}}"#, &[]).await;
}

#[tokio::test]
async fn what_the_upstream_says_to_the_gateway_itself_does_not_reach_the_caller() {
    for (status, body) in
        [(401, "bad key sk-upstream-6f1d27aa90"), (403, "project prj-17 is blocked"), (302, "elsewhere"), (204, "")]
    {
        let upstream = RawUpstream::of_body(status, "location: http://inner/\r\n", body).await;
        let gateway = before(&upstream).await;
        let client = gateway.client("ann").await;
        for request in [saying("hi"), streaming("hi")] {
            let answer = ask(&client, COMPLETIONS, &request).await;
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!("upstream_failed")), "{status}");
            let is_told = !body.is_empty() && answer.text().contains(body);
            assert!(!is_told && answer.header("location").is_none(), "{}", answer.text());
        }
        gateway.finish().await;
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_said_and_costs_nothing() {
    let port = crate::gateway::free_port();
    let config = Setup::default().config(&format!("http://127.0.0.1:{port}"), "http://127.0.0.1:9");
    let gateway = Gateway::start(&config, &[("rules.cedar", "permit (principal, action, resource);")]).await;
    let client = gateway.client("ann").await;
    for request in [saying("hi"), streaming("hi")] {
        let answer = ask(&client, &in_session("s"), &request).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!("upstream_failed")));
        assert!(!answer.text().contains(&port.to_string()), "{}", answer.text());
    }
    let settled = gateway.settled("ann:s");
    assert!(
        settled.iter().all(|settled| settled.outcome == Outcome::Failed && settled.charged.nanos() == 0),
        "{settled:?}"
    );
    gateway.finish().await;
}

#[tokio::test]
async fn a_model_that_is_not_in_the_registry_is_not_found_and_nothing_is_asked() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    for request in [saying("hi"), streaming("hi")] {
        let answer = ask(&client, COMPLETIONS, &with(request, "model", json!("gpt-17"))).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("capability_not_found")));
        assert_eq!(answer.json()["error"]["param"], json!("model"));
    }
    assert_eq!(scene.model.requests().await.len(), 0);
    assert!(scene.gateway.refused().iter().all(|refused| refused.code == Code::CapabilityNotFound));
    assert_eq!(scene.gateway.refused().len(), 2);
    scene.finish().await;
}

#[tokio::test]
async fn what_can_not_be_read_is_refused_before_anything_is_asked() {
    let scene = Scene::of(&Setup { server: ", body_limit_bytes: 20000", ..Setup::default() }).await;
    let client = scene.client("ann").await;
    let check = async |body: &str, status: u16, param: Option<&str>| {
        let answer = client.send("POST", COMPLETIONS, &[], Some(body.to_owned())).await.unwrap();
        let shown: String = body.chars().take(200).collect();
        assert_eq!(answer.status, status, "{shown}: {}", answer.text());
        let error = &answer.json()["error"];
        assert!(error["message"].is_string() && error["type"].is_string() && error["code"].is_string(), "{error}");
        assert_eq!(error["param"].as_str(), param, "{shown}");
    };
    check("", 400, None).await;
    check("{", 400, None).await;
    check("[]", 400, None).await;
    check("null", 400, None).await;
    check(r#"{"model":"scripted","messages":[]} x"#, 400, None).await;
    check(r#"{"model":"scripted","model":"other","messages":[{"role":"user","content":"hi"}]}"#, 400, None).await;
    check(r#"{"model":"scripted","messages":[{"role":"user","content":"a","content":"b"}]}"#, 400, Some("messages[0]"))
        .await;
    check(r#"{"messages":[]}"#, 400, Some("model")).await;
    check(r#"{"model":7,"messages":[]}"#, 400, Some("model")).await;
    check(r#"{"model":"scripted"}"#, 400, Some("messages")).await;
    check(r#"{"model":"scripted","messages":"hi"}"#, 400, Some("messages")).await;
    check(r#"{"model":"scripted","messages":["hi"]}"#, 400, Some("messages[0]")).await;
    check(r#"{"model":"scripted","messages":[],"stream":"yes"}"#, 400, Some("stream")).await;
    check(r#"{"model":"scripted","messages":[],"n":0}"#, 400, Some("n")).await;
    check(r#"{"model":"scripted","messages":[],"max_tokens":-1}"#, 400, Some("max_tokens")).await;
    check(r#"{"model":"scripted","messages":[],"tools":[{}]}"#, 400, Some("tools[0].type")).await;
    check(&saying(&"x".repeat(20_000)).to_string(), 413, None).await;
    check(&format!(r#"{{"model":"scripted","messages":{}"#, "[".repeat(10_000)), 400, None).await;
    let path = in_session("bad name");
    let answer = ask(&client, &path.replace(' ', "%20"), &saying("hi")).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let not_utf8 =
        [br#"{"model":"scripted","messages":[{"role":"user","content":""#.as_slice(), &[0xff], br#""}]}"#].concat();
    let key = scene.gateway.key("ann").await;
    let answer = send_raw(&scene.gateway, &key, not_utf8.len(), &not_utf8, Then::Waits).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    // Half of what was announced, and then the end: whatever is answered, nothing is asked.
    let answer = send_raw(&scene.gateway, &key, 500, br#"{"model":"scripted","messages":[]}"#, Then::Ends).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = send_raw(&scene.gateway, &key, 30_000, &[b'x'; 100], Then::Waits).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(scene.model.requests().await.len(), 0);
    assert_eq!(ask(&client, COMPLETIONS, &saying("SAY fine")).await.status, 200);
    scene.finish().await;
}

/// What a client does once it has sent what it has.
#[derive(PartialEq)]
enum Then {
    /// It closes its half, which to an HTTP/1.1 server means that it has left.
    Ends,
    Waits,
}

/// Sends a body of which only a part may be what its length says; what comes back.
async fn send_raw(gateway: &Gateway, key: &str, length: usize, body: &[u8], then: Then) -> String {
    let address = gateway.url().replace("http://", "");
    let mut socket = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST {COMPLETIONS} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    if then == Then::Ends {
        socket.shutdown().await.unwrap();
    }
    let mut answer = Vec::new();
    // A connection that was reset has said what there was to say.
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_is_not_served_is_said_in_the_callers_own_words() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    for (method, path) in [("POST", "/v1/embeddings"), ("GET", COMPLETIONS), ("POST", "/v1/"), ("POST", "/v1/models")] {
        let answer = client.send(method, path, &[], Some("{}".to_owned())).await.unwrap();
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("not_found")), "{method} {path}");
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_call_upstream_and_it_is_settled() {
    let setup = Setup { ledger: "{ budgets: { ann: { usd: 5.00 } } }", ..Setup::default() };
    let scene = Scene::of(&setup).await;
    let key = scene.gateway.key("ann").await;
    // A client of its own for each, so that dropping the request closes its connection.
    let new_client = || Client::new(&scene.gateway.url()).with_key(&key);

    let plain = tokio::spawn({
        let client = new_client();
        async move { ask(&client, &in_session("plain"), &saying("HANG")).await }
    });
    scene.model.wait_for_outcome("pending").await;
    plain.abort();
    assert!(plain.await.is_err());
    scene.model.wait_for_outcome("dropped").await;
    let [settled] = &settled(&scene.gateway, "ann:plain", 1).await[..] else { panic!("one call") };
    assert_eq!((settled.outcome, settled.tokens), (Outcome::Aborted, None));
    // Nobody can know what it has cost, so all that it might have.
    assert!(settled.charged.nanos() > 32_000_000, "{settled:?}");

    let client = new_client();
    let mut stream = begin(&client, &in_session("stream"), &streaming("SAY one two three\nHANG")).await;
    let mut heard = Heard::default();
    while heard.text != "one two three" {
        heard.take(stream.next_event().await.unwrap().unwrap().data);
    }
    drop((stream, client));
    scene.model.wait_for_outcome("dropped").await;
    let [settled] = &self::settled(&scene.gateway, "ann:stream", 1).await[..] else { panic!("one call") };
    assert_eq!(settled.outcome, Outcome::Aborted);
    // What was produced, and not what might have been.
    let output = settled.tokens.unwrap().output;
    assert!((3..10).contains(&output), "{settled:?}");

    let begun = tokio::spawn({
        let client = new_client();
        async move { ask(&client, &in_session("early"), &streaming("HANG")).await }
    });
    scene.model.wait_for_outcome("pending").await;
    begun.abort();
    scene.model.wait_for_outcome("dropped").await;
    assert_eq!(self::settled(&scene.gateway, "ann:early", 1).await[0].outcome, Outcome::Aborted);
    scene.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_the_model_is_asked_again_cancels_that_too() {
    let call = |arguments: &str| json!({"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}});
    let message = json!({"role": "assistant", "content": "so", "tool_calls": [call("{}")]});
    let plain = json!({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}).to_string();
    let delta = json!({"choices": [{"index": 0, "delta": message, "finish_reason": "tool_calls"}]});
    let streamed = format!("data: {delta}\n\ndata: [DONE]\n\n");
    let upstream = RawUpstream::start(move |request| {
        match (request.json()["messages"].as_array().map(Vec::len), request.json()["stream"].as_bool()) {
            (Some(1), Some(true)) => vec![event_head(), streamed.clone().into_bytes()],
            (Some(1), _) => vec![whole(200, "", &plain)],
            _ => vec![SILENCE.to_vec()],
        }
    });
    let upstream = upstream.await;
    let config = Setup::default().config(&upstream.url, "http://127.0.0.1:9");
    let rules = r#"permit (principal, action == Action::"call_model", resource);"#;
    let gateway = Gateway::start(&config, &[("rules.cedar", rules)]).await;
    let key = gateway.key("ann").await;
    for (number, request) in [(1, saying("go")), (2, streaming("go"))] {
        let client = Client::new(&gateway.url()).with_key(&key);
        let asked = tokio::spawn(async move { ask(&client, &in_session("s"), &request).await });
        let is_asked_again = || async { upstream.received().len() == number * 2 };
        wait_until("the model is asked again", LIMIT, is_asked_again).await.unwrap();
        asked.abort();
        upstream.wait_for_leavers(number).await;
        let settled = settled(&gateway, "ann:s", number * 2).await;
        assert_eq!(settled.last().unwrap().outcome, Outcome::Aborted);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_and_no_end() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let answer = ask(&client, &in_session("s"), &saying("TOKENS 20\nCUT")).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!("upstream_failed")));
    let heard = listen(&client, &in_session("s"), &streaming("TOKENS 20\nCUT")).await;
    assert!(
        heard.text.starts_with("word1 word2 ") && heard.error.is_some() && !heard.is_done && heard.finish.is_none(),
        "{heard:?}"
    );
    let settled = scene.gateway.settled("ann:s");
    assert!(settled.iter().all(|settled| settled.outcome == Outcome::Unknown), "{settled:?}");
    assert!(settled.iter().all(|settled| settled.charged.nanos() > 0), "{settled:?}");
    scene.finish().await;
}

#[tokio::test]
async fn what_is_no_answer_is_not_handed_on() {
    let held = r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{"}}]}}]}"#;
    for (plain, streamed) in [
        ("", "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"),
        ("<html>", "data: <html>\n\n"),
        (r#"{"choices":[{"message":{"tool_calls":[{"id":"x"}]}}]}"#, "data: {\"choices\":7}\n\n"),
        (r#"{"choices":{}}"#, held),
        (r#"{"choices":[{"message":{"content":"a","content":"b"}}]}"#, "data: {\"choices\":[],\"choices\":[]}\n\n"),
    ] {
        let upstream = RawUpstream::start(move |request| match request.json()["stream"].as_bool() {
            Some(true) => vec![event_head(), streamed.as_bytes().to_vec()],
            _ => vec![whole(200, "", plain)],
        });
        let upstream = upstream.await;
        let gateway = before(&upstream).await;
        let client = gateway.client("ann").await;
        let answer = ask(&client, &in_session("s"), &saying("hi")).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!("upstream_failed")), "{plain}");
        let heard = listen(&client, &in_session("s"), &streaming("hi")).await;
        assert!(heard.error.is_some() && heard.calls.is_empty() && !heard.is_done, "{streamed}: {heard:?}");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn it_does_not_matter_how_a_stream_is_cut_into_packets() {
    let text = "grüße, 世界 👋";
    let chunk = |delta: Value, finish: Value| {
        format!(
            "data: {}\r\n\r\n",
            json!({"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        )
    };
    let call = |index: u64, rest: Value| json!({"tool_calls": [with(rest, "index", json!(index))]});
    let events = [
        chunk(json!({"role": "assistant", "content": text}), Value::Null),
        ": keep-alive\n\n".to_owned(),
        chunk(call(0, json!({"id": "c", "function": {"name": "f", "arguments": "{\"ü\""}})), Value::Null),
        "event: message\nid: 7\n".to_owned() + &chunk(call(0, json!({"function": {"arguments": ":1}"}})), Value::Null),
        chunk(json!({}), json!("tool_calls")),
        "data: [DONE]\n\n".to_owned(),
    ];
    let events = events.concat().into_bytes();
    for size in [1, 5, 64, 100_000] {
        let events = events.clone();
        let upstream = RawUpstream::start(move |_| {
            [event_head()].into_iter().chain(events.chunks(size).map(<[u8]>::to_vec)).collect()
        });
        let upstream = upstream.await;
        let gateway = before(&upstream).await;
        let client = gateway.client("ann").await;
        let heard = listen(&client, COMPLETIONS, &streaming("hi")).await;
        assert_eq!((heard.text.as_str(), heard.finish.as_deref(), heard.is_done), (text, Some("tool_calls"), true));
        assert_eq!(heard.calls, [("f".to_owned(), "{\"ü\":1}".to_owned())]);
        gateway.finish().await;
    }
}

#[tokio::test]
async fn models_that_the_caller_may_not_call_are_not_shown() {
    let rules = r#"
        permit (principal, action, resource);
        forbid (principal == Principal::"bob", action == Action::"call_model", resource == Model::"secret");
    "#;
    let model = "{ base_url: '{MODEL}/v1', api_key: 'k' }";
    let setup = Setup { models: format!("{{ scripted: {model}, secret: {model} }}"), rules, ..Setup::default() };
    let scene = Scene::of(&setup).await;
    let names = |answer: Value| -> Vec<String> {
        answer["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    let (ann, bob) = (scene.client("ann").await, scene.client("bob").await);
    assert_eq!(names(ann.get("/v1/models").await.unwrap().json()), ["scripted", "secret"]);
    assert_eq!(names(bob.get("/v1/models").await.unwrap().json()), ["scripted"]);
    assert_eq!(ann.get("/v1/models/secret").await.unwrap().status, 200);
    let hidden = bob.get("/v1/models/secret").await.unwrap();
    let missing = bob.get("/v1/models/nothing").await.unwrap();
    assert_eq!((hidden.status, hidden.text()), (404, missing.text().replace("nothing", "secret")));
    for request in [saying("hi"), streaming("hi")] {
        let called = async |name: &str| ask(&bob, COMPLETIONS, &with(request.clone(), "model", json!(name))).await;
        let (hidden, missing) = (called("secret").await, called("nothing").await);
        assert_eq!((hidden.status, hidden.text()), (404, missing.text().replace("nothing", "secret")));
    }
    let why: Vec<String> = scene.gateway.refused().into_iter().flat_map(|refused| refused.reasons).collect();
    assert_eq!(why, ["`model/secret` is hidden from `principal/bob`: forbidden by `rules.cedar:3`"; 2]);
    assert_eq!(scene.model.requests().await.len(), 0);
    scene.finish().await;
}

#[tokio::test]
async fn only_so_many_calls_are_under_way_at_a_time() {
    let scene = Scene::of(&Setup { server: ", calls_limit: 2", ..Setup::default() }).await;
    let key = scene.gateway.key("ann").await;
    let new_client = || Client::new(&scene.gateway.url()).with_key(&key);
    // One that has begun to answer, and one that has not.
    let mut stream = begin(&new_client(), COMPLETIONS, &streaming("SAY one\nHANG")).await;
    assert!(stream.next_event().await.unwrap().is_some());
    let client = new_client();
    let waiting = tokio::spawn(async move { ask(&client, COMPLETIONS, &saying("HANG")).await });
    let two_are_asked = || async { scene.model.requests().await.len() == 2 };
    wait_until("both are under way", LIMIT, two_are_asked).await.unwrap();
    let refused = ask(&new_client(), COMPLETIONS, &saying("SAY hi")).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (429, &json!("too_many")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(new_client().get("/healthz").await.unwrap().status, 200, "health is no call");
    drop(stream);
    let has_place = || async { ask(&new_client(), COMPLETIONS, &saying("SAY hi")).await.status == 200 };
    wait_until("there is a place again", LIMIT, has_place).await.unwrap();
    waiting.abort();
    scene.finish().await;
}
