//! Agent2Agent 1.0.1 as two tables: every method, and every error with the numbers and words that the specification gives it (sections 5.3, 5.4, 9.5, 10.6 and 11.6), each
//! by every binding and through the gateway.

use std::sync::PoisonError;

use portcullis_interop::a2a::{Binding, Method, Version};
use portcullis_testkit::http::{Answer, Client};
use serde_json::{Value, json};

use crate::a2a::{ALL, TOKEN, config, message, send};
use crate::a2a_agent::{Agent, Speaks};
use crate::gateway::Gateway;
use crate::grpc_peer::GrpcClient;

const BINDINGS: [Binding; 3] = [Binding::JsonRpc, Binding::HttpJson, Binding::Grpc];
const VERSION: (&str, &str) = ("a2a-version", "1.0");
/// What JSON-RPC, HTTP and gRPC say of an error, and why it is one.
type Words = (i64, u16, &'static str, &'static str);

struct Stage {
    gateway: Gateway,
    agents: [Agent; 1],
    http: Client,
    grpc: GrpcClient,
}

impl Stage {
    /// Before an agent whose card is changed so.
    async fn start(from: &'static str, to: &'static str) -> Self {
        let agents = [Agent::start(Speaks::New).await];
        let change = move |card: &str| card.replace(from, to);
        *agents[0].state.sealed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(change));
        let listen = "listen: '127.0.0.1:{PORT}'";
        let server = format!("{listen}, public_url: 'http://127.0.0.1:{{PORT}}', push_allowed: ['127.0.0.1']");
        let config = config(&agents, "").replace(listen, &server);
        let gateway = Gateway::start(&config, &[("rules.cedar", ALL)]).await;
        gateway.keep_secret(TOKEN);
        let key = gateway.key("ann").await;
        let (http, grpc) = (gateway.stranger().with_key(&key), GrpcClient::new(&gateway.url(), &key, Version::V1_0));
        Self { gateway, agents, http, grpc }
    }

    async fn post(&self, path: &str, version: &str, body: &str) -> Answer {
        let path = format!("/a2a/adjuster{path}");
        self.http.send("POST", &path, &[("a2a-version", version)], Some(body.to_owned())).await.unwrap()
    }

    /// Calls, and gives everything that is answered, as 1.0 writes it, or what JSON-RPC, HTTP and gRPC say is wrong, as far as the binding says it.
    async fn call(&self, binding: Binding, method: Method, params: &Value) -> Result<Vec<Value>, Said> {
        match binding {
            Binding::JsonRpc => {
                let name = method.name(Version::V1_0).unwrap();
                let body = json!({"jsonrpc": "2.0", "id": 1, "method": name, "params": params}).to_string();
                Said::by_jsonrpc(&self.post("", "1.0", &body).await)
            }
            Binding::HttpJson => {
                let (verb, path, body) = request(method, params);
                let path = format!("/a2a/adjuster{path}");
                Said::by_http(&self.http.send(verb, &path, &[VERSION], body).await.unwrap())
            }
            Binding::Grpc => {
                let called = self.grpc.call(method, params).await;
                let details = called.status.details.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                let said = Said {
                    grpc: Some(called.status.name().to_owned()),
                    details: details.into_owned(),
                    ..Said::default()
                };
                if called.status.code == 0 { Ok(called.replies) } else { Err(said) }
            }
        }
    }
}

/// What is said of an error.
#[derive(Debug, Default)]
struct Said {
    code: Option<i64>,
    http: Option<u16>,
    grpc: Option<String>,
    /// With the reason in them.
    details: String,
}

impl Said {
    fn by_jsonrpc(answer: &Answer) -> Result<Vec<Value>, Self> {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let all = values(answer);
        match all[0].get("error") {
            None => Ok(all.into_iter().map(|value| value["result"].clone()).collect()),
            Some(error) => {
                Err(Self { code: error["code"].as_i64(), details: error["data"].to_string(), ..Self::default() })
            }
        }
    }

    fn by_http(answer: &Answer) -> Result<Vec<Value>, Self> {
        if answer.status == 200 {
            return Ok(values(answer));
        }
        assert_eq!(answer.header("content-type"), Some("application/a2a+json"));
        let error = answer.json()["error"].clone();
        assert_eq!(error["code"], answer.status, "{error}");
        Err(Self {
            http: Some(answer.status),
            grpc: error["status"].as_str().map(str::to_owned),
            details: error["details"].to_string(),
            ..Self::default()
        })
    }

    fn check(&self, (code, http, grpc, reason): Words, case: &str) {
        assert!(self.code.is_none_or(|said| said == code), "{case} {self:?}");
        assert!(self.http.is_none_or(|said| said == http), "{case} {self:?}");
        assert!(self.grpc.as_ref().is_none_or(|said| said == grpc), "{case} {self:?}");
        let is_ours = self.details.contains("a2a-protocol.org") && self.details.contains("google.rpc.ErrorInfo");
        assert!(is_ours && self.details.contains(reason), "{case} {self:?}");
    }
}

/// A whole answer, or all events of a stream.
fn values(answer: &Answer) -> Vec<Value> {
    if answer.header("content-type") != Some("text/event-stream") {
        return vec![answer.json()];
    }
    let text = answer.text();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The request by HTTP+JSON.
fn request(method: Method, params: &Value) -> (&'static str, String, Option<String>) {
    let text = |name: &str| params[name].as_str().unwrap_or_default();
    let places = |name: &str| format!("/tasks/{}/pushNotificationConfigs", text(name));
    let (verb, path) = match method {
        Method::SendMessage => ("POST", "/message:send".to_owned()),
        Method::SendStreamingMessage => ("POST", "/message:stream".to_owned()),
        Method::GetTask => ("GET", format!("/tasks/{}", text("id"))),
        Method::ListTasks => ("GET", format!("/tasks?contextId={}&pageSize={}", text("contextId"), params["pageSize"])),
        Method::CancelTask => ("POST", format!("/tasks/{}:cancel", text("id"))),
        Method::SubscribeToTask => ("POST", format!("/tasks/{}:subscribe", text("id"))),
        Method::CreatePushConfig => ("POST", places("taskId")),
        Method::GetPushConfig => ("GET", format!("{}/{}", places("taskId"), text("id"))),
        Method::ListPushConfigs => ("GET", places("taskId")),
        Method::DeletePushConfig => ("DELETE", format!("{}/{}", places("taskId"), text("id"))),
        Method::GetExtendedCard => ("GET", "/extendedAgentCard".to_owned()),
    };
    (verb, path, (verb == "POST").then(|| params.to_string()))
}

#[tokio::test]
async fn every_method_is_there_by_every_binding() {
    let stage = Stage::start("", "").await;
    for binding in BINDINGS {
        let context = format!("claim-{binding:?}");
        let task = send(&stage.http, "1.0", "wait briefly", Some(&context), None).await["id"].clone();
        let hello = |text: &str| message("1.0", text, Some(&context), None);
        let url = "http://127.0.0.1:1/news";
        #[rustfmt::skip]
        let table = [
            (Method::SendMessage,          hello("wait"),                                        "/task/status/state",         json!("TASK_STATE_INPUT_REQUIRED")),
            (Method::SendMessage,          hello("direct"),                                      "/message/role",              json!("ROLE_AGENT")),
            (Method::SendStreamingMessage, hello("hello"),                                       "/statusUpdate/status/state", json!("TASK_STATE_COMPLETED")),
            (Method::GetTask,              json!({"id": task}),                                  "/id",                        task.clone()),
            (Method::ListTasks,            json!({"contextId": context, "pageSize": 9}),         "/totalSize",                 json!(3)),
            (Method::ListTasks,            json!({"pageSize": 9}),                               "/nextPageToken",             json!("")),
            (Method::CreatePushConfig,     json!({"taskId": task, "id": "p", "url": url}),       "/url",                       json!(url)),
            (Method::GetPushConfig,        json!({"taskId": task, "id": "p"}),                   "/id",                        json!("p")),
            (Method::ListPushConfigs,      json!({"taskId": task}),                              "/configs/0/taskId",          task.clone()),
            (Method::DeletePushConfig,     json!({"taskId": task, "id": "p"}),                   "",                           json!({})),
            (Method::SubscribeToTask,      json!({"id": task}),                                  "/statusUpdate/taskId",       task.clone()),
            (Method::CancelTask,           json!({"id": task}),                                  "/status/state",              json!("TASK_STATE_CANCELED")),
            (Method::GetExtendedCard,      json!({}),                                            "/description",               json!("Adjusts large claims.")),
        ];
        assert!(Method::ALL.iter().all(|method| table.iter().any(|(row, ..)| row == method)));
        for (method, params, place, expected) in table {
            let said = stage.call(binding, method, &params).await;
            let last = said.as_ref().ok().and_then(|replies| replies.last()?.pointer(place));
            assert_eq!(last, Some(&expected), "{binding:?} {method:?} {said:?}");
        }
    }
    stage.gateway.finish().await;
}

#[tokio::test]
async fn every_error_has_the_words_of_the_specification_by_every_binding() {
    let stage = Stage::start("", "").await;
    let plain = Stage::start("true", "false").await;
    let done = send(&stage.http, "1.0", "hello", None, None).await["id"].clone();
    let place = json!({"taskId": send(&plain.http, "1.0", "wait", None, None).await["id"], "id": "p", "url": "http://127.0.0.1:1/"});
    let hello = |text: &str| message("1.0", text, None, None);
    #[rustfmt::skip]
    let table: [(&Stage, Method, Value, Words); 20] = [
        (&stage, Method::SendMessage,          json!({"message": {}}),     (-32602, 400, "INVALID_ARGUMENT",    "INVALID_PARAMS")),
        (&stage, Method::ListTasks,            json!({"pageSize": 101}),   (-32602, 400, "INVALID_ARGUMENT",    "INVALID_PARAMS")),
        (&stage, Method::SendMessage,          hello("fail -32603"),       (-32603, 500, "INTERNAL",            "INTERNAL_ERROR")),
        (&stage, Method::GetTask,              json!({"id": "made-up"}),   (-32001, 404, "NOT_FOUND",           "TASK_NOT_FOUND")),
        (&stage, Method::CancelTask,           json!({"id": "made-up"}),   (-32001, 404, "NOT_FOUND",           "TASK_NOT_FOUND")),
        (&stage, Method::SubscribeToTask,      json!({"id": "made-up"}),   (-32001, 404, "NOT_FOUND",           "TASK_NOT_FOUND")),
        (&stage, Method::CancelTask,           json!({"id": done}),        (-32002, 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE")),
        (&plain, Method::CreatePushConfig,     place.clone(),              (-32003, 400, "FAILED_PRECONDITION", "PUSH_NOTIFICATION_NOT_SUPPORTED")),
        (&plain, Method::GetPushConfig,        place.clone(),              (-32003, 400, "FAILED_PRECONDITION", "PUSH_NOTIFICATION_NOT_SUPPORTED")),
        (&plain, Method::ListPushConfigs,      place.clone(),              (-32003, 400, "FAILED_PRECONDITION", "PUSH_NOTIFICATION_NOT_SUPPORTED")),
        (&plain, Method::DeletePushConfig,     place.clone(),              (-32003, 400, "FAILED_PRECONDITION", "PUSH_NOTIFICATION_NOT_SUPPORTED")),
        (&stage, Method::SubscribeToTask,      json!({"id": done}),        (-32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION")),
        (&plain, Method::SendStreamingMessage, hello("hello"),             (-32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION")),
        (&plain, Method::SubscribeToTask,      json!({"id": place["taskId"]}), (-32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION")),
        (&plain, Method::GetExtendedCard,      json!({}),                  (-32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION")),
        (&stage, Method::SendMessage,          hello("fail -32005"),       (-32005, 400, "INVALID_ARGUMENT",    "CONTENT_TYPE_NOT_SUPPORTED")),
        (&stage, Method::SendMessage,          hello("garble it"),         (-32006, 500, "INTERNAL",            "INVALID_AGENT_RESPONSE")),
        (&stage, Method::SendStreamingMessage, hello("fail -32006"),       (-32006, 500, "INTERNAL",            "INVALID_AGENT_RESPONSE")),
        (&stage, Method::GetExtendedCard,      json!({}),                  (-32007, 400, "FAILED_PRECONDITION", "EXTENDED_AGENT_CARD_NOT_CONFIGURED")),
        (&stage, Method::SendMessage,          hello("fail -32008"),       (-32008, 400, "FAILED_PRECONDITION", "EXTENSION_SUPPORT_REQUIRED")),
    ];
    // It says that it has a card for known callers, and then has none.
    *stage.agents[0].state.has_card.lock().unwrap_or_else(PoisonError::into_inner) = false;
    for (stage, method, params, words) in table {
        for binding in BINDINGS {
            let case = format!("{binding:?} {method:?} {params}");
            let said = stage.call(binding, method, &params).await;
            said.err().unwrap_or_else(|| panic!("{case} is answered")).check(words, &case);
        }
    }
    plain.gateway.finish().await;
    stage.gateway.finish().await;
}

#[tokio::test]
async fn what_can_not_be_read_has_the_words_of_the_specification_too() {
    let stage = Stage::start("", "").await;
    let hello = message("1.0", "hello", None, None).to_string();
    let get = |method: &str| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"id": "t"}}).to_string();
    #[rustfmt::skip]
    let table: [(&str, &str, String, Words); 7] = [
        ("",              "1.0", "{".to_owned(),             (-32700, 400, "INVALID_ARGUMENT",    "INVALID_REQUEST")),
        ("/message:send", "1.0", "{".to_owned(),             (-32700, 400, "INVALID_ARGUMENT",    "INVALID_REQUEST")),
        ("",              "1.0", r#"{"id": 1}"#.to_owned(),  (-32600, 400, "INVALID_ARGUMENT",    "INVALID_REQUEST")),
        ("",              "1.0", get("DeleteEverything"),    (-32601, 404, "NOT_FOUND",           "METHOD_NOT_FOUND")),
        ("/everything",   "1.0", "{}".to_owned(),            (-32601, 404, "NOT_FOUND",           "METHOD_NOT_FOUND")),
        ("",              "9.9", get("GetTask"),             (-32009, 400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED")),
        ("/message:send", "9.9", hello,                      (-32009, 400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED")),
    ];
    for (path, version, body, words) in table {
        let answer = stage.post(path, version, &body).await;
        let said = if path.is_empty() { Said::by_jsonrpc(&answer) } else { Said::by_http(&answer) };
        said.unwrap_err().check(words, &format!("{path} {version} {body}"));
    }
    let client = stage.grpc.clone().with("a2a-version", "9.9");
    let mut unread = stage.grpc.request(Method::GetTask, &json!({"id": "t"}));
    *unread.body_mut() = http_body_util::Full::new(bytes::Bytes::from_static(b"\0\0\0\0\x01\xff"));
    let mut unknown = stage.grpc.request(Method::GetTask, &json!({"id": "t"}));
    *unknown.uri_mut() = format!("{}/lf.a2a.v1.A2AService/DeleteEverything", stage.gateway.url()).parse().unwrap();
    for (request, code, reason) in [
        (unread, "INVALID_ARGUMENT", "INVALID_PARAMS"),
        (unknown, "UNIMPLEMENTED", "METHOD_NOT_FOUND"),
        (client.request(Method::GetTask, &json!({"id": "t"})), "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED"),
    ] {
        let said = client.read(Method::GetTask, client.send(request).await).await;
        let details = String::from_utf8_lossy(said.status.details.as_deref().unwrap_or_default()).into_owned();
        assert!(said.status.name() == code && details.contains(reason), "{code} {said:?}");
    }
    assert_eq!(stage.agents[0].calls().len(), 0);
    stage.gateway.finish().await;
}
