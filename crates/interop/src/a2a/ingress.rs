//! What a client sends to an agent behind the gateway, by JSON-RPC or HTTP+JSON, in either version.
//!
//! A refusal is ready to be sent. What is read here is all that is needed to judge and to map a call; the rest stays raw. What
//! an agent could read otherwise than we do is refused: names that differ by capitals, members that stand twice, and what is
//! nested too deep for other readers.

use std::borrow::Cow;

use http::{HeaderMap, Method as Verb};

use crate::a2a::call::{A2aCall, member, text_of};
use crate::a2a::failure::{Failure, Kind};
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
    let version = Version::of(headers, raw_query).map_err(|failure| failure.answer(newest, Some(&request.id)))?;
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
    let version = Version::of(headers, raw_query).map_err(|failure| failure.answer(newest, None))?;
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
    if let Err(problem) = serde_json::from_str::<&serde_json::value::RawValue>(text) {
        return Err(Failure::new(Kind::Parse, format!("the body is no JSON: {problem}")));
    }
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
    match method {
        Method::SendMessage | Method::SendStreamingMessage => legacy::send_to_new(raw),
        Method::CreatePushConfig => legacy::create_push_to_new(raw),
        _ => Object::read(raw).map(|object| object.to_string()),
    }
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
        _ => &[],
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
    let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(invalid(what.to_owned())) };
    match method {
        Method::SendMessage | Method::SendStreamingMessage => {
            must(member(params, &["message"]).is_some_and(|raw| raw.starts_with('{')), "`message` is not an object")?;
            must(text(&["message", "messageId"]).is_some(), "`message.messageId` is not a text")?;
            let role = member(params, &["message", "role"]).and_then(Role::read);
            must(role.is_some(), "`message.role` is not a role")?;
            let parts = member(params, &["message", "parts"]).map(portcullis_domain::json::items);
            must(matches!(parts, Some(Ok(parts)) if !parts.is_empty()), "`message.parts` is not an array with parts")?;
            for name in ["contextId", "taskId"] {
                let value = member(params, &["message", name]);
                must(value.is_none_or(|raw| raw.starts_with('"')), &format!("`message.{name}` is not a text"))?;
            }
            Ok(())
        }
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
