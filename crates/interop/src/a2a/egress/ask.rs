//! What an agent is asked.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method as Verb};
use portcullis_domain::json;

use crate::a2a::call::{A2aCall, text_of};
use crate::a2a::card::Interface;
use crate::a2a::failure::{Failure, Kind};
use crate::a2a::grpc;
use crate::a2a::method::Method;
use crate::a2a::query;
use crate::a2a::route::{self, Route};
use crate::a2a::translate::legacy;
use crate::a2a::version::{Binding, Dialect, EXTENSIONS, HEADER, LEGACY_EXTENSIONS, Version};
use crate::frame::grpc::{ACCEPT_ENCODING, IDENTITY, MEDIA_TYPE, frame};
use crate::frame::jsonrpc::{self, Id};
use crate::frame::object::{Object, quoted};

/// A request for an agent. A credential is put into its headers by whoever sends it.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The verb.
    pub verb: Verb,
    /// The whole URL.
    pub url: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; none where the verb has none.
    pub body: Option<Bytes>,
}

/// The request for a call. `params` are the call's parameters as [`A2aCall::edited`] gave them, and `id` is the request's by JSON-RPC.
///
/// # Errors
///
/// [`Kind::UnsupportedOperation`] for what the agent's version does not have; [`Kind::InvalidParams`] for what can't be said in it.
pub fn ask(interface: &Interface, call: &A2aCall<'_>, params: &str, id: u64) -> Result<Outgoing, Failure> {
    let params = call.params_for(params, interface.dialect.form())?;
    let invalid = |problem: String| Failure::new(Kind::InvalidParams, problem);
    let mut params = Object::read(&params).map_err(invalid)?;
    // The tenant is the agent's word, not the client's.
    params.remove("tenant");
    let mut outgoing = match interface.dialect.binding {
        Binding::JsonRpc => {
            if let (Version::V1_0, Some(tenant)) = (interface.dialect.version, &interface.tenant) {
                params.set("tenant", quoted(tenant));
            }
            by_jsonrpc(interface, call.method, &params, id)?
        }
        Binding::HttpJson => by_http(interface, call.method, params)?,
        Binding::Grpc => by_grpc(interface, call.method, params)?,
    };
    outgoing.headers.extend(headers(interface.dialect, call));
    Ok(outgoing)
}

fn by_jsonrpc(interface: &Interface, method: Method, params: &Object<'_>, id: u64) -> Result<Outgoing, Failure> {
    let version = interface.dialect.version;
    let name = method.name(version).ok_or_else(|| unsupported(version))?;
    let is_bare = method == Method::GetExtendedCard && version == Version::V0_3;
    let params = (!is_bare).then(|| params.to_string());
    let body = jsonrpc::request(&Id::number(id), name, params.as_deref());
    Ok(Outgoing { verb: Verb::POST, url: interface.url.clone(), headers: HeaderMap::new(), body: Some(body.into()) })
}

/// The path is the service's, whatever path the interface has.
fn by_grpc(interface: &Interface, method: Method, mut params: Object<'_>) -> Result<Outgoing, Failure> {
    let version = interface.dialect.version;
    let path = grpc::path(version, method).ok_or_else(|| unsupported(version))?;
    if let (Version::V1_0, Some(tenant)) = (version, &interface.tenant) {
        params.set("tenant", quoted(tenant));
    }
    let invalid = |problem: String| Failure::new(Kind::InvalidParams, problem);
    let asked = grpc::from_params(version, method, &params.to_string()).map_err(invalid)?;
    let message = grpc::asked(version, method, &asked).map_err(invalid)?;
    let uri: http::Uri = interface.url.parse().map_err(|_| invalid(format!("`{}` is no URL", interface.url)))?;
    let (scheme, authority) = (uri.scheme_str().unwrap_or("http"), uri.authority().map_or("", |name| name.as_str()));
    let url = format!("{scheme}://{authority}{path}");
    Ok(Outgoing { verb: Verb::POST, url, headers: HeaderMap::new(), body: Some(frame(&message)) })
}

fn by_http(interface: &Interface, method: Method, mut params: Object<'_>) -> Result<Outgoing, Failure> {
    let version = interface.dialect.version;
    let whole = params.to_string();
    let text = |name: &str| text_of(&whole, &[name]);
    let (task_id, config_id) = match method {
        Method::GetTask | Method::CancelTask | Method::SubscribeToTask => (text("id"), None),
        Method::CreatePushConfig | Method::ListPushConfigs => (text("taskId"), None),
        Method::GetPushConfig | Method::DeletePushConfig => (text("taskId"), Some(text("id").unwrap_or_default())),
        Method::SendMessage | Method::SendStreamingMessage | Method::ListTasks | Method::GetExtendedCard => {
            (None, None)
        }
    };
    if config_id.as_ref().is_some_and(String::is_empty) {
        return Err(Failure::new(Kind::InvalidParams, "over HTTP+JSON a place for notifications is named by its id"));
    }
    let route = Route { method, task_id, config_id };
    let (verb, path) = route::written(version, &route).ok_or_else(|| unsupported(version))?;
    let named: &[&str] = match method {
        Method::GetTask | Method::CancelTask | Method::SubscribeToTask => &["id"],
        Method::GetPushConfig | Method::DeletePushConfig => &["id", "taskId"],
        Method::CreatePushConfig | Method::ListPushConfigs => &["taskId"],
        Method::SendMessage | Method::SendStreamingMessage | Method::ListTasks | Method::GetExtendedCard => &[],
    };
    let is_body = verb == Verb::POST;
    let body = match (is_body, version) {
        (false, _) => None,
        (true, Version::V0_3) => {
            Some(legacy_body(method, &whole).map_err(|problem| Failure::new(Kind::InvalidParams, problem))?)
        }
        (true, Version::V1_0) => {
            params.retain(|name| method == Method::CreatePushConfig || !named.contains(&name));
            Some(params.to_string())
        }
    };
    params.retain(|name| !named.contains(&name));
    let query = if is_body { String::new() } else { query_of(method, &params.to_string()) };
    let base = interface.url.trim_end_matches('/');
    let tenant = interface.tenant.as_ref().filter(|_| version == Version::V1_0);
    let tenant = tenant.map(|tenant| format!("/{}", query::encoded(tenant))).unwrap_or_default();
    let body = body.map(Bytes::from);
    Ok(Outgoing { verb, url: format!("{base}{tenant}{path}{query}"), headers: HeaderMap::new(), body })
}

fn legacy_body(method: Method, params: &str) -> Result<String, String> {
    if method.is_sending() {
        return legacy::send_to_old(params);
    }
    if method == Method::CreatePushConfig { legacy::create_push_to_old(params) } else { Ok("{}".to_owned()) }
}

/// The parameters that have a place in a query: those that are one word. A task's metadata has none.
fn query_of(method: Method, params: &str) -> String {
    if !matches!(method, Method::GetTask | Method::ListTasks | Method::ListPushConfigs) {
        return String::new();
    }
    let members = json::members(params).unwrap_or_default();
    let word = |raw: &serde_json::value::RawValue| match raw.get().chars().next() {
        Some('{' | '[' | 'n') | None => None,
        Some('"') => json::text(raw).map(std::borrow::Cow::into_owned),
        Some(_) => Some(raw.get().to_owned()),
    };
    let pairs: Vec<(String, String)> =
        members.iter().filter_map(|(name, raw)| Some((name.to_string(), word(raw)?))).collect();
    query::query(&pairs)
}

fn headers(Dialect { version, binding }: Dialect, call: &A2aCall<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if binding == Binding::Grpc {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(ACCEPT_ENCODING, IDENTITY);
    } else {
        let accepted =
            if call.method.is_streaming() { "text/event-stream, application/json" } else { "application/json" };
        headers.insert(ACCEPT, HeaderValue::from_static(accepted));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(HeaderName::from_static(HEADER), HeaderValue::from_static(version.as_str()));
    let extensions = HeaderValue::from_str(&call.extensions.join(", ")).ok().filter(|value| !value.is_empty());
    if let Some(value) = extensions {
        if version == Version::V0_3 {
            headers.insert(HeaderName::from_static(LEGACY_EXTENSIONS), value.clone());
        }
        headers.insert(HeaderName::from_static(EXTENSIONS), value);
    }
    headers
}

fn unsupported(version: Version) -> Failure {
    let message = format!("the agent speaks version {}, which does not have this", version.as_str());
    Failure::new(Kind::UnsupportedOperation, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(to: (Version, Binding), method: Method, params: &'static str) -> Result<(String, String), Kind> {
        let dialect = Dialect::new(Version::V1_0, Binding::JsonRpc);
        let call = A2aCall { dialect, method, id: None, extensions: vec!["https://x".into()], params: params.into() };
        let interface = Interface {
            url: "https://agent/a2a/".into(),
            dialect: Dialect::new(to.0, to.1),
            tenant: Some("ten ant".into()),
        };
        let outgoing = ask(&interface, &call, params, 7).map_err(|failure| failure.kind().unwrap())?;
        assert_eq!(outgoing.headers[HEADER], to.0.as_str());
        assert_eq!(outgoing.headers[EXTENSIONS], "https://x");
        assert_eq!(outgoing.headers.contains_key(LEGACY_EXTENSIONS), to.0 == Version::V0_3);
        let body = String::from_utf8(outgoing.body.unwrap_or_default().to_vec()).unwrap();
        Ok((format!("{} {}", outgoing.verb, outgoing.url), body))
    }

    #[test]
    fn an_agent_is_asked_in_what_it_speaks() {
        use Binding::{HttpJson, JsonRpc};
        use Version::{V0_3, V1_0};
        let send =
            r#"{"tenant":"mine","message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hi"}],"x":1.0}}"#;
        let get = r#"{"id":"t/1","historyLength":3,"metadata":{"a":1}}"#;
        for (to, method, params, line, body) in [
            (
                (V1_0, JsonRpc),
                Method::SendMessage,
                send,
                "POST https://agent/a2a/",
                r#"{"jsonrpc":"2.0","id":7,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hi"}],"x":1.0},"tenant":"ten ant"}}"#,
            ),
            (
                (V0_3, JsonRpc),
                Method::SendMessage,
                send,
                "POST https://agent/a2a/",
                r#"{"jsonrpc":"2.0","id":7,"method":"message/send","params":{"message":{"messageId":"m","role":"user","parts":[{"text":"hi","kind":"text"}],"x":1.0,"kind":"message"}}}"#,
            ),
            (
                (V1_0, HttpJson),
                Method::SendMessage,
                send,
                "POST https://agent/a2a/ten%20ant/message:send",
                r#"{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hi"}],"x":1.0}}"#,
            ),
            (
                (V0_3, HttpJson),
                Method::SendMessage,
                send,
                "POST https://agent/a2a/v1/message:send",
                r#"{"message":{"messageId":"m","role":"ROLE_USER","x":1.0,"content":[{"text":"hi"}]},"configuration":{"blocking":true}}"#,
            ),
            ((V1_0, HttpJson), Method::GetTask, get, "GET https://agent/a2a/ten%20ant/tasks/t%2F1?historyLength=3", ""),
            ((V0_3, HttpJson), Method::GetTask, get, "GET https://agent/a2a/v1/tasks/t%2F1?historyLength=3", ""),
            (
                (V1_0, HttpJson),
                Method::CancelTask,
                get,
                "POST https://agent/a2a/ten%20ant/tasks/t%2F1:cancel",
                r#"{"historyLength":3,"metadata":{"a":1}}"#,
            ),
            (
                (V1_0, HttpJson),
                Method::ListTasks,
                r#"{"contextId":"c d","includeArtifacts":true,"x":null}"#,
                "GET https://agent/a2a/ten%20ant/tasks?contextId=c%20d&includeArtifacts=true",
                "",
            ),
            (
                (V0_3, JsonRpc),
                Method::DeletePushConfig,
                r#"{"taskId":"t","id":"p"}"#,
                "POST https://agent/a2a/",
                r#"{"jsonrpc":"2.0","id":7,"method":"tasks/pushNotificationConfig/delete","params":{"pushNotificationConfigId":"p","id":"t"}}"#,
            ),
            (
                (V1_0, HttpJson),
                Method::DeletePushConfig,
                r#"{"taskId":"t","id":"p"}"#,
                "DELETE https://agent/a2a/ten%20ant/tasks/t/pushNotificationConfigs/p",
                "",
            ),
            (
                (V0_3, HttpJson),
                Method::CreatePushConfig,
                r#"{"taskId":"t","id":"p","url":"u"}"#,
                "POST https://agent/a2a/v1/tasks/t/pushNotificationConfigs",
                r#"{"parent":"tasks/t","configId":"p","config":{"name":"tasks/t/pushNotificationConfigs/p","pushNotificationConfig":{"id":"p","url":"u"}}}"#,
            ),
            (
                (V0_3, JsonRpc),
                Method::GetExtendedCard,
                "{}",
                "POST https://agent/a2a/",
                r#"{"jsonrpc":"2.0","id":7,"method":"agent/getAuthenticatedExtendedCard"}"#,
            ),
        ] {
            assert_eq!(asked(to, method, params), Ok((line.to_owned(), body.to_owned())));
        }
        for binding in [JsonRpc, HttpJson] {
            assert_eq!(
                asked((V0_3, binding), Method::ListTasks, "{}").map(|(line, _)| line),
                Err(Kind::UnsupportedOperation)
            );
        }
    }
}
