//! What a client sends to an agent behind the gateway, by JSON-RPC, HTTP+JSON or gRPC, in either version.
//!
//! A refusal is ready to be sent. What is read here is all that is needed to judge and to map a call; the rest stays raw. What
//! an agent could read otherwise than we do is refused: names that differ by capitals, members that stand twice, and what is
//! nested too deep for other readers.

use std::borrow::Cow;

use http::{HeaderMap, Method as Verb};
use portcullis_domain::json;
use serde_json::value::RawValue;

use crate::a2a::call::{A2aCall, member, text_of};
use crate::a2a::failure::{Failure, Kind};
use crate::a2a::grpc;
use crate::a2a::method::Method;
use crate::a2a::query;
use crate::a2a::route::{self, Stray};
use crate::a2a::shape::{self, Shape};
use crate::a2a::state::Role;
use crate::a2a::translate::legacy;
use crate::a2a::version::{Binding, Dialect, Version, extensions};
use crate::a2a::walk::{self, DEPTH_LIMIT};
use crate::frame::jsonrpc::{self, Malformed, Message};
use crate::frame::object::{Object, quoted};
use crate::refuse::Answer;

/// Reads a request by JSON-RPC. `raw_query` is what stands behind the question mark of its URL.
///
/// # Errors
///
/// The answer that says what is wrong.
pub fn read_jsonrpc<'a>(headers: &HeaderMap, raw_query: Option<&str>, body: &'a [u8]) -> Result<A2aCall<'a>, Answer> {
    let newest = Dialect::new(Version::V1_0, Binding::JsonRpc);
    let message = jsonrpc::read(body).map_err(|Malformed { code, message, id }| {
        let dialect = Version::of(headers, raw_query).map_or(newest, |version| Dialect { version, ..newest });
        let kind = if code == jsonrpc::PARSE_ERROR { Kind::Parse } else { Kind::InvalidRequest };
        Failure::new(kind, message).answer(dialect, id.as_ref())
    })?;
    let request = match message {
        Message::Request(request) => request,
        Message::Notification(_) | Message::Response(_) => {
            let failure = Failure::new(Kind::InvalidRequest, "a request must have a `method` and an `id`");
            return Err(failure.answer(newest, None));
        }
    };
    let version = Version::of(headers, raw_query)
        .map_err(|unsupported| Failure::from(unsupported).answer(newest, Some(&request.id)))?;
    let dialect = Dialect::new(version, Binding::JsonRpc);
    let refused = |failure: Failure| failure.answer(dialect, Some(&request.id));
    check_depth(body).map_err(refused)?;
    let method = Method::read(version, &request.method).ok_or_else(|| refused(no_method(version, &request.method)))?;
    let raw = request.params.map_or("{}", |params| params.get());
    let params = walk::normal(raw, Shape::of_params(method, version)).map_err(invalid).map_err(refused)?;
    check(method, version, &params).map_err(refused)?;
    let extensions = extensions(headers);
    Ok(A2aCall { dialect, method, id: Some(request.id), extensions, params })
}

/// Reads a request over HTTP+JSON. `path` is what stands behind the agent's own, as it was sent.
///
/// # Errors
///
/// The answer that says what is wrong.
pub fn read_http<'a>(
    verb: &Verb,
    path: &str,
    raw_query: Option<&str>,
    headers: &HeaderMap,
    body: &'a [u8],
) -> Result<A2aCall<'a>, Answer> {
    let newest = Dialect::new(Version::V1_0, Binding::HttpJson);
    let version =
        Version::of(headers, raw_query).map_err(|unsupported| Failure::from(unsupported).answer(newest, None))?;
    let dialect = Dialect::new(version, Binding::HttpJson);
    read_route(dialect, verb, path, raw_query, body)
        .map(|(method, params)| A2aCall { dialect, method, id: None, extensions: extensions(headers), params })
        .map_err(|failure| {
            let answer = failure.answer(dialect, None);
            // A path that is there for other verbs is not missing.
            let is_verb = matches!(route::read(version, verb, path), Err(Stray::Verb));
            Answer { status: if is_verb { 405 } else { answer.status }, ..answer }
        })
}

/// Reads a request by gRPC. `message` is the message without its prefix; which version is spoken is known by the service.
///
/// # Errors
///
/// The answer that says what is wrong.
pub fn read_grpc(headers: &HeaderMap, path: &str, message: &[u8]) -> Result<A2aCall<'static>, Answer> {
    let newest = Dialect::new(Version::V1_0, Binding::Grpc);
    let no_service = || Failure::new(Kind::MethodNotFound, format!("there is no `{path}`")).answer(newest, None);
    let (version, name) = grpc::service(path).ok_or_else(no_service)?;
    let dialect = Dialect::new(version, Binding::Grpc);
    let read = || {
        let stated = Version::stated(headers, None).map_err(Failure::from)?;
        if let Some(stated) = stated.filter(|stated| *stated != version) {
            let message = format!("this service speaks version {}, not {}", version.as_str(), stated.as_str());
            return Err(Failure::new(Kind::VersionNotSupported, message));
        }
        let method = grpc::method(version, name).ok_or_else(|| no_method(version, name))?;
        let json = grpc::asked_json(version, method, message).map_err(invalid)?;
        check_depth(json.as_bytes())?;
        let params = grpc::to_params(version, method, &json).map_err(invalid)?;
        check(method, Version::V1_0, &params)?;
        Ok((method, params))
    };
    let (method, params) = read().map_err(|failure| failure.answer(dialect, None))?;
    Ok(A2aCall { dialect, method, id: None, extensions: extensions(headers), params: params.into() })
}

fn read_route<'a>(
    dialect: Dialect,
    verb: &Verb,
    path: &str,
    raw_query: Option<&str>,
    body: &'a [u8],
) -> Result<(Method, Cow<'a, str>), Failure> {
    let version = dialect.version;
    let route = route::read(version, verb, path).map_err(|_| no_method(version, &format!("{verb} {path}")))?;
    let method = route.method;
    check_depth(body)?;
    let text = std::str::from_utf8(body).map_err(|_| Failure::new(Kind::Parse, "the body is not UTF-8"))?;
    let text = if text.trim().is_empty() { "{}" } else { text };
    let no_json = |problem: serde_json::Error| Failure::new(Kind::Parse, format!("the body is no JSON: {problem}"));
    // Without white space around it, as all that look into it expect.
    let text = serde_json::from_str::<&RawValue>(text).map_err(no_json)?.get();
    let raw = match (method, *verb == Verb::POST) {
        (Method::SendMessage | Method::SendStreamingMessage | Method::CreatePushConfig | Method::CancelTask, true) => {
            let is_legacy_push = version == Version::V0_3 && method == Method::CreatePushConfig;
            let shape =
                if is_legacy_push { &shape::LEGACY_PUSH_REQUEST } else { Shape::of_params(method, Version::V1_0) };
            let raw = walk::normal(text, shape).map_err(invalid)?;
            match version {
                Version::V0_3 => Cow::Owned(from_legacy(method, &raw).map_err(invalid)?),
                Version::V1_0 => raw,
            }
        }
        _ => Cow::Owned(from_query(method, raw_query.unwrap_or_default())?),
    };
    let params = with_ids(raw, &route).map_err(invalid)?;
    check(method, Version::V1_0, &params)?;
    Ok((method, params))
}

fn from_legacy(method: Method, raw: &str) -> Result<String, String> {
    if method.is_sending() {
        return legacy::send_to_new(raw);
    }
    if method == Method::CreatePushConfig { legacy::create_push_to_new(raw) } else { Ok(raw.to_owned()) }
}

/// What the path says goes before what the body says.
fn with_ids<'a>(raw: Cow<'a, str>, route: &route::Route) -> Result<Cow<'a, str>, String> {
    let Some(task_id) = &route.task_id else { return Ok(raw) };
    let mut params = Object::read(&raw)?;
    let is_push = matches!(
        route.method,
        Method::CreatePushConfig | Method::GetPushConfig | Method::ListPushConfigs | Method::DeletePushConfig
    );
    params.set(if is_push { "taskId" } else { "id" }, quoted(task_id));
    if let Some(config_id) = &route.config_id {
        params.set("id", quoted(config_id));
    }
    Ok(Cow::Owned(params.to_string()))
}

/// The parameters of a query as JSON. Those that the method does not know are left out: there is no place for them in a body.
fn from_query(method: Method, raw_query: &str) -> Result<String, Failure> {
    let texts: &[&str] = &["contextId", "status", "pageToken", "statusTimestampAfter"];
    let mut params = Object::default();
    let known: &[&'static str] = match method {
        Method::GetTask => &["historyLength"],
        Method::ListTasks => &[
            "contextId",
            "status",
            "pageSize",
            "pageToken",
            "historyLength",
            "statusTimestampAfter",
            "includeArtifacts",
        ],
        Method::ListPushConfigs => &["pageSize", "pageToken"],
        Method::SendMessage
        | Method::SendStreamingMessage
        | Method::CancelTask
        | Method::SubscribeToTask
        | Method::CreatePushConfig
        | Method::GetPushConfig
        | Method::DeletePushConfig
        | Method::GetExtendedCard => &[],
    };
    for (name, value) in query::pairs(raw_query) {
        let Some(known) = known.iter().find(|known| walk::is_same_name(&name, known)) else { continue };
        if params.raw(known).is_some() {
            return Err(invalid(format!("`{known}` stands twice")));
        }
        let is_whole = value.strip_prefix('-').unwrap_or(&value).bytes().all(|byte| byte.is_ascii_digit());
        let raw = match value.to_ascii_lowercase().as_str() {
            _ if texts.contains(known) => quoted(&value),
            word @ ("true" | "false") if *known == "includeArtifacts" => word.to_owned(),
            _ if *known != "includeArtifacts" && is_whole && value.parse::<i32>().is_ok() => value,
            _ => return Err(invalid(format!("`{known}` can't be `{value}`"))),
        };
        params.set(known, raw);
    }
    Ok(params.to_string())
}

/// What every agent demands of the parameters, and what the gateway needs to judge them.
fn check(method: Method, form: Version, params: &str) -> Result<(), Failure> {
    let text = |path: &[&str]| text_of(params, path).filter(|text| !text.is_empty());
    match method {
        Method::SendMessage | Method::SendStreamingMessage => check_message(params),
        Method::GetTask | Method::CancelTask | Method::SubscribeToTask => {
            must(text(&["id"]).is_some(), "`id` is not a text")
        }
        Method::CreatePushConfig => {
            let path: &[&str] = if form == Version::V0_3 { &["pushNotificationConfig", "url"] } else { &["url"] };
            must(text(&["taskId"]).is_some(), "`taskId` is not a text")?;
            must(text(path).is_some(), "the `url` for notifications is not a text")
        }
        Method::GetPushConfig | Method::ListPushConfigs | Method::DeletePushConfig => {
            let (task, config) =
                if form == Version::V0_3 { ("id", "pushNotificationConfigId") } else { ("taskId", "id") };
            must(text(&[task]).is_some(), &format!("`{task}` is not a text"))?;
            // A client of 0.3 may ask for the one place that there is.
            let needs_config =
                method == Method::DeletePushConfig || (method == Method::GetPushConfig && form == Version::V1_0);
            must(!needs_config || text(&[config]).is_some(), &format!("`{config}` is not a text"))
        }
        Method::ListTasks | Method::GetExtendedCard => {
            let context = member(params, &["contextId"]);
            must(context.is_none_or(|raw| raw.starts_with('"')), "`contextId` is not a text")
        }
    }
}

fn check_message(params: &str) -> Result<(), Failure> {
    let message = member(params, &["message"]).filter(|raw| raw.starts_with('{'));
    must(message.is_some(), "`message` is not an object")?;
    let members = json::members(message.unwrap_or("{}")).map_err(invalid)?;
    let value = |name| json::member(&members, name).filter(|raw| raw.get() != "null");
    let id = value("messageId").and_then(json::text);
    must(id.is_some_and(|id| !id.is_empty()), "`message.messageId` is not a text")?;
    must(value("role").is_some_and(|raw| Role::read(raw.get()).is_some()), "`message.role` is not a role")?;
    let parts = value("parts").map(|raw| json::items(raw.get()));
    must(matches!(parts, Some(Ok(parts)) if !parts.is_empty()), "`message.parts` is not an array with parts")?;
    for name in ["contextId", "taskId"] {
        must(value(name).is_none_or(|raw| raw.get().starts_with('"')), &format!("`message.{name}` is not a text"))?;
    }
    Ok(())
}

fn must(holds: bool, what: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(invalid(what.to_owned())) }
}

fn check_depth(body: &[u8]) -> Result<(), Failure> {
    if walk::is_too_deep(body) {
        return Err(Failure::new(Kind::InvalidRequest, format!("the JSON is nested deeper than {DEPTH_LIMIT} levels")));
    }
    Ok(())
}

fn invalid(problem: String) -> Failure {
    Failure::new(Kind::InvalidParams, problem)
}

fn no_method(version: Version, name: &str) -> Failure {
    let message = format!(
        "version {} has no method `{name}`; the version of a request stands in its header `A2A-Version`",
        version.as_str()
    );
    Failure::new(Kind::MethodNotFound, message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn headers(version: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static("a2a-version"), http::HeaderValue::from_static(version))])
    }

    /// The method and the parameters, or the status and the body.
    type Seen = Result<(Method, String), (u16, Value)>;

    fn seen(read: Result<A2aCall<'_>, Answer>) -> Seen {
        match read {
            Ok(call) => Ok((call.method, call.params.into_owned())),
            Err(answer) => Err((answer.status, serde_json::from_str(&answer.body).unwrap())),
        }
    }

    #[test]
    fn a_method_is_read_by_its_name_in_each_version() {
        let old = r#"{"message":{"messageId":"m","role":"user","parts":[{"kind":"text","text":"hi"}], "x":1.0}}"#;
        let new = r#"{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hi"}], "x":1.0}}"#;
        for (version, method, params, expected) in [
            ("", "message/send", old, Method::SendMessage),
            ("0.3", "message/stream", old, Method::SendStreamingMessage),
            ("1.0", "SendMessage", new, Method::SendMessage),
            ("1.0.1", "SendStreamingMessage", new, Method::SendStreamingMessage),
            ("", "tasks/get", r#"{"id":"t"}"#, Method::GetTask),
            ("1.0", "ListTasks", "{}", Method::ListTasks),
            ("", "tasks/pushNotificationConfig/get", r#"{"id":"t"}"#, Method::GetPushConfig),
            ("1.0", "DeleteTaskPushNotificationConfig", r#"{"taskId":"t","id":"p"}"#, Method::DeletePushConfig),
            ("", "agent/getAuthenticatedExtendedCard", "{}", Method::GetExtendedCard),
        ] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":"x","method":"{method}","params":{params}}}"#);
            let read = read_jsonrpc(&headers(version), None, body.as_bytes()).unwrap();
            assert_eq!((read.method, read.params.as_ref()), (expected, params));
            assert!(matches!(read.params, Cow::Borrowed(_)));
            assert_eq!(read.id.unwrap().as_raw(), "\"x\"");
        }
        let bare = br#"{"jsonrpc":"2.0","id":1,"method":"agent/getAuthenticatedExtendedCard"}"#;
        assert_eq!(read_jsonrpc(&HeaderMap::new(), None, bare).unwrap().params, "{}");
    }

    #[test]
    fn what_is_wrong_has_the_number_of_the_specification() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"GetTask","params":{{"id":"t","x":{}1{}}}}}"#,
            "[".repeat(99),
            "]".repeat(99)
        );
        let call =
            |method: &str, params: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#);
        let send = |message: &str| call("SendMessage", &format!(r#"{{"message":{message}}}"#));
        for (version, body, id, code) in [
            ("1.0", "{".to_owned(), Value::Null, -32700),
            ("1.0", "[]".to_owned(), Value::Null, -32600),
            ("1.0", r#"{"jsonrpc":"2.0","method":"GetTask","params":{"id":"t"}}"#.to_owned(), Value::Null, -32600),
            ("1.0", r#"{"jsonrpc":"1.0","id":7,"method":"GetTask"}"#.to_owned(), json!(7), -32600),
            ("1.0", deep, json!(7), -32600),
            ("1.0", call("message/send", "{}"), json!(7), -32601),
            ("0.3", call("SendMessage", "{}"), json!(7), -32601),
            ("0.3", call("tasks/list", "{}"), json!(7), -32601),
            ("2.0", call("GetTask", r#"{"id":"t"}"#), json!(7), -32009),
            ("1.0", call("GetTask", "{}"), json!(7), -32602),
            ("1.0", call("GetTask", r#"{"id":7}"#), json!(7), -32602),
            ("1.0", call("GetTask", r#"{"id":"t","Id":"u"}"#), json!(7), -32602),
            ("1.0", call("CreateTaskPushNotificationConfig", r#"{"taskId":"t"}"#), json!(7), -32602),
            ("1.0", call("SendMessage", "{}"), json!(7), -32602),
            ("1.0", send(r#"{"messageId":"","role":"ROLE_USER","parts":[{"text":"a"}]}"#), json!(7), -32602),
            ("1.0", send(r#"{"messageId":"m","role":"ROLE_GOD","parts":[{"text":"a"}]}"#), json!(7), -32602),
            ("1.0", send(r#"{"messageId":"m","role":"ROLE_USER","parts":[]}"#), json!(7), -32602),
            (
                "1.0",
                send(r#"{"messageId":"m","role":"ROLE_USER","parts":[{"text":"a"}],"taskId":1}"#),
                json!(7),
                -32602,
            ),
            (
                "1.0",
                send(r#"{"messageId":"m","role":"ROLE_USER","parts":[{"text":"a"}],"TaskId":"t"}"#),
                json!(7),
                -32602,
            ),
        ] {
            let (status, answer) = seen(read_jsonrpc(&headers(version), None, body.as_bytes())).unwrap_err();
            assert_eq!((status, &answer["id"], &answer["error"]["code"]), (200, &id, &json!(code)), "{body}");
        }
    }

    #[test]
    fn an_id_that_hides_behind_another_spelling_is_found() {
        let body = br#"{"jsonrpc":"2.0","id":7,"method":"SendMessage","params":{"message":{"message_id":"m","role":1,"parts":[{"text":"a"}],"task_id":"t","context_id":"c"}}}"#;
        let headers = headers("1.0");
        let read = read_jsonrpc(&headers, None, body).unwrap();
        assert_eq!((read.task_id().as_deref(), read.context_id().as_deref()), (Some("t"), Some("c")));
        assert!(!read.params.contains("_id"), "{}", read.params);
    }

    #[test]
    fn a_path_becomes_parameters() {
        let send = r#"{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"a"}]}, "x":1.0}"#;
        let push = r#"{"url":"u","taskId":"another"}"#;
        for (version, verb, path, query, body, method, params) in [
            ("1.0", Verb::POST, "/message:send", "", send, Method::SendMessage, send),
            (
                "1.0",
                Verb::GET,
                "/tasks/t%2F1",
                "history_length=3&x=1",
                "",
                Method::GetTask,
                r#"{"historyLength":3,"id":"t/1"}"#,
            ),
            (
                "1.0",
                Verb::GET,
                "/tasks",
                "contextId=c+d&pageSize=5&includeArtifacts=true",
                "",
                Method::ListTasks,
                r#"{"contextId":"c d","pageSize":5,"includeArtifacts":true}"#,
            ),
            (
                "1.0",
                Verb::POST,
                "/tasks/t:cancel",
                "",
                r#"{"metadata":{"a":1.0}}"#,
                Method::CancelTask,
                r#"{"metadata":{"a":1.0},"id":"t"}"#,
            ),
            ("1.0", Verb::POST, "/tasks/t:subscribe", "", "", Method::SubscribeToTask, r#"{"id":"t"}"#),
            (
                "1.0",
                Verb::POST,
                "/tasks/t/pushNotificationConfigs",
                "",
                push,
                Method::CreatePushConfig,
                r#"{"url":"u","taskId":"t"}"#,
            ),
            (
                "1.0",
                Verb::DELETE,
                "/tasks/t/pushNotificationConfigs/p",
                "",
                "",
                Method::DeletePushConfig,
                r#"{"taskId":"t","id":"p"}"#,
            ),
            ("1.0", Verb::GET, "/extendedAgentCard", "", "", Method::GetExtendedCard, "{}"),
            (
                "0.3",
                Verb::GET,
                "/v1/tasks/t",
                "historyLength=2",
                "",
                Method::GetTask,
                r#"{"historyLength":2,"id":"t"}"#,
            ),
            ("", Verb::GET, "/v1/card", "", "", Method::GetExtendedCard, "{}"),
            (
                "",
                Verb::POST,
                "/v1/message:stream",
                "",
                r#"{"request":{"message_id":"m","role":"ROLE_USER","content":[{"text":"a"}]}}"#,
                Method::SendStreamingMessage,
                r#"{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"a"}]}}"#,
            ),
            (
                "",
                Verb::POST,
                "/v1/tasks/t/pushNotificationConfigs",
                "",
                r#"{"parent":"tasks/x","config_id":"p","config":{"name":"tasks/x/pushNotificationConfigs/p","push_notification_config":{"url":"u"}}}"#,
                Method::CreatePushConfig,
                r#"{"taskId":"t","url":"u","id":"p"}"#,
            ),
        ] {
            let read = read_http(&verb, path, Some(query), &headers(version), body.as_bytes());
            assert_eq!(seen(read), Ok((method, params.to_owned())), "{verb} {path}");
        }
    }

    #[test]
    fn a_request_over_http_that_is_wrong_has_its_status() {
        for (version, verb, path, query, body, status, reason) in [
            ("1.0", Verb::GET, "/message:send", "", "", 405, "METHOD_NOT_FOUND"),
            ("1.0", Verb::POST, "/v1/message:send", "", "{}", 404, "METHOD_NOT_FOUND"),
            ("1.0", Verb::POST, "/message:send", "", "{", 400, "INVALID_REQUEST"),
            ("1.0", Verb::POST, "/message:send", "", "{}", 400, "INVALID_PARAMS"),
            ("1.0", Verb::GET, "/tasks/t", "historyLength=many", "", 400, "INVALID_PARAMS"),
            ("1.0", Verb::GET, "/tasks", "pageSize=1&page_size=2", "", 400, "INVALID_PARAMS"),
            ("3.0", Verb::GET, "/tasks", "", "", 400, "VERSION_NOT_SUPPORTED"),
        ] {
            let (found, answer) =
                seen(read_http(&verb, path, Some(query), &headers(version), body.as_bytes())).unwrap_err();
            assert_eq!((found, &answer["error"]["details"][0]["reason"]), (status, &json!(reason)), "{verb} {path}");
        }
        let (status, answer) = seen(read_http(&Verb::GET, "/tasks/t", None, &HeaderMap::new(), b"")).unwrap_err();
        assert_eq!((status, &answer["code"], &answer["type"]), (404, &json!(-32601), &json!("MethodNotFoundError")));
    }
}
