//! Agent2Agent by gRPC, as a client of the gateway and as an agent behind it: the same calls, sessions and refusals as by the other bindings.

use portcullis_domain::event::Outcome;
use portcullis_interop::a2a::{Kind, Method, Version};
use portcullis_testkit::http::Client;
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::a2a_agent::{Agent, Speaks};
use crate::gateway::{Gateway, LIMIT, free_port};
use crate::grpc_peer::{GrpcAgent, GrpcClient, text};
use crate::scene::Setup;

const ALL: &str = "permit (principal, action, resource);";
const TOKEN: &str = "tok-agent-5d1f";
const VERSIONS: [Version; 2] = [Version::V1_0, Version::V0_3];

fn config(server: &'static str, agents: &[(&str, &str, Option<u16>)]) -> String {
    let setup = Setup { server, models: "{}".to_owned(), servers: "{}".to_owned(), ..Setup::default() };
    let table = |(name, url, port): &(&str, &str, Option<u16>)| {
        let port = port.map(|port| format!(", grpc_port: {port}")).unwrap_or_default();
        format!("{name}: {{ protocol: a2a, replicas: ['{url}'], token: '{TOKEN}'{port} }}")
    };
    let agents: Vec<String> = agents.iter().map(table).collect();
    setup.config("", "").replace("policy:", &format!("  agents: {{ {} }}\npolicy:", agents.join(", ")))
}

struct Stage {
    gateway: Gateway,
    key: String,
}

impl Stage {
    async fn start(config: &str, rules: &str) -> Self {
        let gateway = Gateway::start(config, &[("rules.cedar", rules)]).await;
        gateway.keep_secret(TOKEN);
        let key = gateway.key("ann").await;
        Self { gateway, key }
    }

    async fn before(agent: &GrpcAgent) -> Self {
        Self::start(&config("", &[("adjuster", &agent.card.url, Some(agent.port))]), ALL).await
    }

    fn grpc(&self, version: Version) -> GrpcClient {
        GrpcClient::new(&self.gateway.url(), &self.key, version)
    }

    fn http(&self) -> Client {
        self.gateway.stranger().with_key(&self.key)
    }

    fn outcomes(&self, session: &str) -> Vec<Outcome> {
        self.gateway.settled(&format!("ann:{session}")).iter().map(|settled| settled.outcome).collect()
    }
}

fn message(text: &str, context: &str) -> Value {
    json!({"message": {"messageId": "m-1", "role": "ROLE_USER", "contextId": context, "parts": [{"text": text}]}})
}

async fn rpc(client: &Client, version: &str, method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    client.send("POST", "/a2a/adjuster", &[("a2a-version", version)], Some(body)).await.unwrap().json()
}

#[tokio::test]
async fn a_client_by_grpc_reaches_an_agent_of_any_version_and_binding() {
    for speaks in [Speaks::New, Speaks::Old, Speaks::Rest] {
        let agent = Agent::start(speaks).await;
        let stage = Stage::start(&config("", &[("adjuster", &agent.upstream.url, None)]), ALL).await;
        for version in VERSIONS {
            let client = stage.grpc(version);
            let context = format!("claim-{}", version.as_str());
            let sent = client.call(Method::SendMessage, &message("hello", &context)).await;
            let task = &sent.replies[0]["task"];
            assert_eq!(
                (&task["contextId"], &task["status"]["state"], &task["artifacts"][0]["parts"][0]["text"]),
                (&json!(context), &json!("TASK_STATE_COMPLETED"), &json!("hello")),
                "{speaks:?} {version:?} {sent:?}"
            );
            assert_eq!(text(&sent.headers, "portcullis-session"), Some(context.as_str()));
            let head = agent.calls().last().unwrap().head.clone();
            assert!(head.contains(&format!("authorization: bearer {TOKEN}")) && !head.contains("grpc"), "{head}");
            let got = client.call(Method::GetTask, &json!({"id": task["id"]})).await;
            assert_eq!(got.replies[0]["id"], task["id"], "{got:?}");
            let none = client.call(Method::GetTask, &json!({"id": "made-up"})).await;
            assert_eq!((none.kind(), none.status.name()), (Some(Kind::TaskNotFound), "NOT_FOUND"), "{none:?}");
            if speaks != Speaks::Rest {
                let events = client.call(Method::SendStreamingMessage, &message("hello", &context)).await;
                let last = &events.replies.last().unwrap()["statusUpdate"];
                assert_eq!(last["status"]["state"], "TASK_STATE_COMPLETED", "{events:?}");
                assert_eq!((events.replies.len(), events.status.code), (2, 0), "{events:?}");
            }
        }
        stage.gateway.finish().await;
    }
}

#[tokio::test]
async fn an_agent_by_grpc_is_reached_by_clients_of_any_version_and_binding() {
    for version in VERSIONS {
        let agent = GrpcAgent::start(version).await;
        let stage = Stage::before(&agent).await;
        let http = stage.http();
        let new = rpc(&http, "1.0", "SendMessage", message("direct hi", "claim-1")).await;
        assert_eq!(new["result"]["message"]["contextId"], "claim-1", "{version:?} {new}");
        assert_eq!(new["result"]["message"]["parts"][1]["data"], json!({"n": 1}), "{new}");
        let (headers, _, asked) = agent.calls().remove(0);
        assert_eq!(text(&headers, "authorization"), Some(format!("Bearer {TOKEN}").as_str()));
        assert_eq!(text(&headers, "portcullis-principal"), Some("ann"));
        assert_eq!(text(&headers, "grpc-timeout"), Some("600S"));
        assert!(asked["message"]["contextId"] != "claim-1" && asked["message"]["contextId"].is_string(), "{asked}");
        let tenant = if version == Version::V1_0 { json!("ten") } else { Value::Null };
        assert_eq!(asked["tenant"], tenant);
        let old = json!({"message": {"kind": "message", "messageId": "m", "role": "user", "contextId": "claim-1", "parts": [{"kind": "text", "text": "hello"}]}});
        let task = rpc(&http, "0.3", "message/send", old).await;
        let id = task["result"]["id"].as_str().unwrap_or_else(|| panic!("{task}")).to_owned();
        assert_eq!(
            (&task["result"]["kind"], &task["result"]["status"]["state"]),
            (&json!("task"), &json!("completed"))
        );
        for client in VERSIONS {
            let got = stage.grpc(client).call(Method::GetTask, &json!({"id": id})).await;
            assert_eq!(got.replies[0]["status"]["timestamp"], "2026-11-22T19:41:01Z", "{got:?}");
            let events = stage.grpc(client).call(Method::SendStreamingMessage, &message("hello", "claim-2")).await;
            assert_eq!((events.replies.len(), events.status.code), (2, 0), "{events:?}");
            let failed = stage.grpc(client).call(Method::SendMessage, &message("fail", "claim-2")).await;
            assert_eq!(failed.kind(), Some(Kind::ContentTypeNotSupported), "{failed:?}");
        }
        let cancelled = rpc(&http, "1.0", "CancelTask", json!({"id": id})).await;
        assert_eq!(cancelled["result"]["status"]["state"], "TASK_STATE_CANCELED", "{cancelled}");
        let listed = rpc(&http, "1.0", "ListTasks", json!({"contextId": "claim-1"})).await;
        match version {
            Version::V1_0 => assert_eq!(listed["result"]["totalSize"], 1, "{listed}"),
            Version::V0_3 => assert_eq!(listed["error"]["code"], -32004, "{listed}"),
        }
        let failed = rpc(&http, "1.0", "SendMessage", message("fail", "claim-2")).await;
        assert_eq!((&failed["error"]["code"], &failed["error"]["message"]), (&json!(-32005), &json!("no such parts")));
        stage.gateway.finish().await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_ends_the_call_at_the_agent() {
    let agent = GrpcAgent::start(Version::V1_0).await;
    let stage = Stage::before(&agent).await;
    let client = stage.grpc(Version::V1_0);
    for (number, words) in ["wait", "hang"].into_iter().enumerate() {
        let request = client.request(Method::SendStreamingMessage, &message(words, words));
        let calling = tokio::spawn({
            let client = client.clone();
            async move { client.send(request).await }
        });
        let is_asked = || async { agent.calls().len() == number + 1 };
        wait_until("the agent is asked", LIMIT, is_asked).await.unwrap();
        if words == "wait" {
            drop(calling.await.unwrap());
        } else {
            calling.abort();
        }
        agent.wait_for_leavers(number + 1).await;
        let is_settled = || async { stage.outcomes(words) == [Outcome::Aborted] };
        wait_until("the call is settled", LIMIT, is_settled).await.unwrap();
    }
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_client_that_sets_a_time_is_not_kept_longer() {
    let agent = GrpcAgent::start(Version::V1_0).await;
    let stage = Stage::before(&agent).await;
    let hurried = stage.grpc(Version::V1_0).with("grpc-timeout", "15S");
    let call = async |method: Method, words: &str, replies: usize| {
        let late = hurried.call(method, &message(words, &format!("{words}-{replies}-{}", method.is_streaming()))).await;
        assert_eq!((late.status.name(), late.replies.len()), ("DEADLINE_EXCEEDED", replies), "{late:?}");
    };
    tokio::join!(
        call(Method::SendMessage, "hang", 0),
        call(Method::SendStreamingMessage, "hang", 0),
        call(Method::SendStreamingMessage, "wait", 2),
    );
    agent.wait_for_leavers(3).await;
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_refusal_is_a_status_with_its_reason() {
    let agent = GrpcAgent::start(Version::V1_0).await;
    let stage =
        Stage::start(&config(", body_limit_bytes: 2000", &[("adjuster", &agent.card.url, Some(agent.port))]), ALL)
            .await;
    let client = stage.grpc(Version::V1_0);
    let stranger = GrpcClient::new(&stage.gateway.url(), "", Version::V1_0);
    let hello = message("hello", "claim-1");
    for (client, method, params, code, reason) in [
        (stranger, Method::SendMessage, hello.clone(), "UNAUTHENTICATED", "UNAUTHENTICATED"),
        (
            client.clone().with("portcullis-agent", "nobody"),
            Method::SendMessage,
            hello.clone(),
            "NOT_FOUND",
            "CAPABILITY_NOT_FOUND",
        ),
        (
            client.clone().with("a2a-version", "0.3"),
            Method::SendMessage,
            hello.clone(),
            "FAILED_PRECONDITION",
            "VERSION_NOT_SUPPORTED",
        ),
        (
            client.clone().with("portcullis-session", "x"),
            Method::SendMessage,
            hello.clone(),
            "INVALID_ARGUMENT",
            "INVALID_PARAMS",
        ),
        (client.clone(), Method::SendMessage, message(&"x".repeat(2_000), "c"), "INVALID_ARGUMENT", "TOO_LARGE"),
        (client.clone(), Method::CancelTask, json!({"id": "t-1"}), "NOT_FOUND", "TASK_NOT_FOUND"),
        (client.clone(), Method::GetTask, json!({}), "INVALID_ARGUMENT", "INVALID_PARAMS"),
        (client.clone(), Method::ListTasks, json!({"pageSize": 101}), "INVALID_ARGUMENT", "INVALID_PARAMS"),
        (
            client.clone(),
            Method::CreatePushConfig,
            json!({"taskId": "t", "url": "u"}),
            "FAILED_PRECONDITION",
            "PUSH_NOTIFICATION_NOT_SUPPORTED",
        ),
        (client.clone(), Method::GetExtendedCard, json!({}), "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION"),
    ] {
        let refused = client.call(method, &params).await;
        let details = String::from_utf8_lossy(refused.status.details.as_deref().unwrap_or_default()).into_owned();
        assert_eq!(refused.status.name(), code, "{method:?} {refused:?}");
        assert!(details.contains(reason), "{method:?} {details}");
    }
    let mut request = client.request(Method::GetTask, &json!({"id": "t"}));
    *request.uri_mut() = format!("{}/lf.a2a.v1.A2AService/DeleteEverything", stage.gateway.url()).parse().unwrap();
    let unknown = client.read(Method::GetTask, client.send(request).await).await;
    assert_eq!(unknown.status.name(), "UNIMPLEMENTED", "{unknown:?}");
    for (body, code) in [
        (&b"\x01\0\0\0\x01x"[..], "UNIMPLEMENTED"),
        (b"\0\0\0\0\x05x", "INVALID_ARGUMENT"),
        (b"\0\0\0\0\x01\xff", "INVALID_ARGUMENT"),
    ] {
        let mut request = client.request(Method::GetTask, &json!({"id": "t"}));
        *request.body_mut() = http_body_util::Full::new(bytes::Bytes::from_static(body));
        let refused = client.read(Method::GetTask, client.send(request).await).await;
        assert_eq!(refused.status.name(), code, "{refused:?}");
        assert_eq!(text(&refused.headers, "grpc-accept-encoding").is_some(), body[0] == 1);
    }
    let old_http = stage.http().send("POST", "/lf.a2a.v1.A2AService/GetTask", &[], Some(String::new())).await.unwrap();
    assert_eq!(old_http.status, 505);
    assert_eq!(agent.calls().len(), 0);
    stage.gateway.finish().await;
}

#[tokio::test]
async fn what_a_rule_says_no_to_is_said_by_a_message() {
    let agent = GrpcAgent::start(Version::V1_0).await;
    let rules = "permit (principal, action, resource) unless { context.session.name like \"shut-*\" };\n@message(\"Not on Sundays.\")\nforbid (principal, action == Action::\"call_agent\", resource) when { context.session.name like \"shut-*\" };";
    let stage = Stage::start(&config("", &[("adjuster", &agent.card.url, Some(agent.port))]), rules).await;
    for version in VERSIONS {
        for method in [Method::SendMessage, Method::SendStreamingMessage] {
            let told = stage.grpc(version).call(method, &message("hello", "shut-1")).await;
            assert_eq!(told.replies[0]["message"]["parts"][0]["text"], "Not on Sundays.", "{told:?}");
            assert_eq!(told.status.code, 0);
        }
    }
    assert_eq!(agent.calls().len(), 0);
    stage.gateway.finish().await;
}

#[tokio::test]
async fn the_agent_is_named_by_the_tenant_that_its_card_says_or_by_metadata() {
    let [one, two] = [Agent::start(Speaks::New).await, Agent::start(Speaks::New).await];
    let stage =
        Stage::start(&config("", &[("one", &one.upstream.url, None), ("two", &two.upstream.url, None)]), ALL).await;
    let card = stage.http().get("/a2a/two/.well-known/agent-card.json").await.unwrap().json();
    let all = card["supportedInterfaces"].as_array().unwrap();
    let grpc = all.iter().find(|one| one["protocolBinding"] == "GRPC").unwrap();
    assert_eq!((&grpc["tenant"], &grpc["protocolVersion"]), (&json!("two"), &json!("1.0")), "{card}");
    let mut client = stage.grpc(Version::V1_0);
    client.url = format!("http://{}", grpc["url"].as_str().unwrap());
    client.tenant = grpc["tenant"].as_str().map(str::to_owned);
    let hello = message("hello", "claim-1");
    assert_eq!(client.call(Method::SendMessage, &hello).await.status.code, 0);
    assert_eq!((one.calls().len(), two.calls().len()), (0, 1));
    let old = stage.grpc(Version::V0_3);
    assert_eq!(old.call(Method::SendMessage, &hello).await.status.name(), "INVALID_ARGUMENT");
    assert_eq!(old.with("portcullis-agent", "one").call(Method::SendMessage, &hello).await.status.code, 0);
    assert_eq!((one.calls().len(), two.calls().len()), (1, 1));
    let torn = client.with("portcullis-agent", "one").call(Method::SendMessage, &hello).await;
    assert_eq!(torn.status.name(), "INVALID_ARGUMENT", "{torn:?}");
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_message_that_is_sent_twice_under_one_key_is_sent_once() {
    let agent = GrpcAgent::start(Version::V0_3).await;
    let stage = Stage::before(&agent).await;
    for method in [Method::SendMessage, Method::SendStreamingMessage] {
        let before = agent.calls().len();
        let key = if method.is_streaming() { "k-1" } else { "k-2" };
        let client = stage.grpc(Version::V1_0).with("idempotency-key", key);
        let first = client.call(method, &message("hello", "claim-1")).await;
        let again = client.call(method, &message("hello", "claim-1")).await;
        assert_eq!((&first.replies, agent.calls().len()), (&again.replies, before + 1), "{again:?}");
        assert_eq!(text(&again.headers, "idempotency-replayed"), Some("true"));
    }
    stage.gateway.finish().await;
}

#[tokio::test]
async fn the_other_doors_are_there_over_http_2_too() {
    let agent = Agent::start(Speaks::New).await;
    let stage = Stage::start(&config("", &[("adjuster", &agent.upstream.url, None)]), ALL).await;
    let client = stage.grpc(Version::V1_0);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": message("hello", "claim-1")});
    let mut request = client.request(Method::GetTask, &json!({"id": "t"}));
    *request.uri_mut() = format!("{}/a2a/adjuster", stage.gateway.url()).parse().unwrap();
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    *request.body_mut() = http_body_util::Full::new(body.to_string().into());
    let answer = client.send(request).await;
    let answer = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["result"]["task"]["contextId"], "claim-1", "{answer}");
    // A page of another host is not let in by another name of it.
    let mut request = client.request(Method::GetTask, &json!({"id": "t"}));
    request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    let refused = client.read(Method::GetTask, client.send(request).await).await;
    assert_eq!(refused.status.name(), "PERMISSION_DENIED", "{refused:?}");
    stage.gateway.finish().await;
}

#[tokio::test]
async fn an_agent_that_does_not_speak_grpc_where_it_should_is_an_agent_that_failed() {
    let agent = GrpcAgent::start(Version::V1_0).await;
    // Where the card is nobody speaks HTTP/2, and at the other port nobody listens.
    for (port, outcome) in [(None, None), (Some(free_port()), Some(Outcome::Failed))] {
        let stage = Stage::start(&config("", &[("adjuster", &agent.card.url, port)]), ALL).await;
        let failed = stage.grpc(Version::V1_0).call(Method::SendMessage, &message("hello", "claim-1")).await;
        assert_eq!(failed.status.name(), "UNAVAILABLE", "{failed:?}");
        let settled = stage.outcomes("claim-1");
        assert!(settled.iter().all(|settled| *settled != Outcome::Completed), "{settled:?}");
        if let Some(outcome) = outcome {
            assert!(settled.contains(&outcome), "{settled:?}");
        }
        stage.gateway.finish().await;
    }
}

#[tokio::test]
async fn a_connection_says_by_its_first_bytes_what_it_speaks_however_slowly_they_come() {
    let agent = Agent::start(Speaks::New).await;
    let stage = Stage::start(&config("", &[("adjuster", &agent.upstream.url, None)]), ALL).await;
    let address = stage.gateway.url().replace("http://", "");
    let http1 = format!("PUT /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    // The preface, and empty settings: they are answered with settings, whose frame begins with three bytes of length and its type.
    let http2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for (said, place, expected) in [(http1.as_str(), 0, &b"HTTP/1.1 401"[..]), (http2, 3, b"\x04\0\0\0\0\0")] {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        for byte in said.bytes() {
            socket.write_all(&[byte]).await.unwrap();
        }
        let mut answer = vec![0; place + expected.len()];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer[place..], expected);
    }
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_ends_one_stream_and_not_the_gateway() {
    let agent = Agent::start(Speaks::New).await;
    let stage = Stage::start(&config("", &[("adjuster", &agent.upstream.url, None)]), ALL).await;
    let client = stage.grpc(Version::V1_0);
    let mut request = client.request(Method::SendMessage, &message("hello", "claim-1"));
    for number in 0..20 {
        let name: http::HeaderName = format!("x-large-{number}").parse().unwrap();
        request.headers_mut().insert(name, "x".repeat(5_000).parse().unwrap());
    }
    let refused = client.try_send(request).await;
    assert!(refused.is_none_or(|status| status == 431), "{refused:?}");
    assert_eq!(client.call(Method::SendMessage, &message("hello", "claim-1")).await.status.code, 0);
    assert_eq!(agent.calls().len(), 1);
    stage.gateway.finish().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_holds_up_no_stop() {
    let agent = Agent::start(Speaks::New).await;
    let mut stage = Stage::start(&config(", drain_s: 1", &[("adjuster", &agent.upstream.url, None)]), ALL).await;
    let address = stage.gateway.url().replace("http://", "");
    let mut silent = TcpStream::connect(&address).await.unwrap();
    // This one came later, and has been served.
    assert_eq!(stage.http().get("/healthz").await.unwrap().status, 200);
    stage.gateway.stop().await;
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0);
    assert!(!stage.gateway.log().contains("still under way"), "{}", stage.gateway.log());
    stage.gateway.restart().await;
    stage.gateway.finish().await;
}
