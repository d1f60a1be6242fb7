//! Agent2Agent from end to end: golden pairs of the official libraries, and what must hold of any input.
//!
//! `a2a/pairs.json` has the same parameters, results and events in both versions (`old`, `new`), and some of them as 0.3 writes them over HTTP+JSON (`http`);
//! `a2a/card.json` is a card with the payload of its signature, and `a2a/http_requests.json` has requests of the latter kind, with names as in JSON and as in Protocol Buffers (`snake`). All were written by the official libraries.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use http::{HeaderMap, HeaderValue, Method as Verb};
use portcullis_interop::a2a::card::{Serving, signature::payload};
use portcullis_interop::a2a::egress::{AnswerReader, Inbound, Outgoing, ask};
use portcullis_interop::a2a::translate::{params::params, result::result};
use portcullis_interop::a2a::{
    A2aCall, Binding, Card, Change, Dialect, Edits, Interface, Method, News, Reply, Version, Webhook, answer, ingress,
};
use portcullis_interop::frame::jsonrpc::Id;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const PAIRS: &str = include_str!("a2a/pairs.json");
const CARD: &str = include_str!("a2a/card.json");
const HTTP_REQUESTS: &str = include_str!("a2a/http_requests.json");
const LIMIT_BYTES: usize = 1 << 20;

/// A value as two libraries agree on it: numbers have no written form, and what is false by default may be left out.
fn plain(value: &Value) -> Value {
    let defaults = ["final", "blocking", "append", "lastChunk", "returnImmediately"];
    match value {
        Value::Object(members) => {
            let is_default =
                |(name, value): &(&String, &Value)| defaults.contains(&name.as_str()) && **value == Value::Bool(false);
            let kept = members.iter().filter(|member| !is_default(member));
            Value::Object(kept.map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Value::Number(number) => json!(number.as_f64()),
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

fn same(found: &str, expected: &Value, name: &str) {
    let found: Value = serde_json::from_str(found).unwrap();
    assert_eq!(plain(&found), plain(expected), "{name}");
}

fn method_of(pair: &Value) -> Method {
    Method::read(Version::V1_0, pair["method"].as_str().unwrap()).unwrap()
}

fn pairs(text: &str) -> Vec<Value> {
    let pairs: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(pairs.len() > 1);
    pairs
}

fn call(dialect: Dialect, method: Method, raw: &str) -> A2aCall<'_> {
    let id = (dialect.binding == Binding::JsonRpc).then(|| Id::number(1));
    A2aCall { dialect, method, id, extensions: Vec::new(), params: raw.into() }
}

#[test]
fn both_directions_say_what_the_official_libraries_say() {
    for pair in pairs(PAIRS) {
        let (name, method) = (pair["name"].as_str().unwrap(), method_of(&pair));
        let (old, new) = (pair["old"].to_string(), pair["new"].to_string());
        let direction = pair["direction"].as_str().unwrap();
        let translated = |from, to, raw: &str| match pair["what"].as_str().unwrap() {
            "params" => params(method, from, to, raw).unwrap().into_owned(),
            _ => result(method, from, to, raw).unwrap().into_owned(),
        };
        if direction != "to-old" {
            same(&translated(Version::V0_3, Version::V1_0, &old), &pair["new"], name);
        }
        if direction != "to-new" {
            same(&translated(Version::V1_0, Version::V0_3, &new), &pair["old"], name);
        }
        for (version, raw) in [(Version::V0_3, &old), (Version::V1_0, &new)] {
            assert_eq!(&translated(version, version, raw), raw);
        }
    }
}

#[test]
fn the_old_form_over_http_is_read_and_written_as_the_official_libraries_do() {
    let dialect = Dialect::new(Version::V0_3, Binding::HttpJson);
    for pair in pairs(PAIRS).into_iter().filter(|pair| pair.get("http").is_some()) {
        let (name, method) = (pair["name"].as_str().unwrap(), method_of(&pair));
        let reply = Reply::read(method, Version::V0_3, &pair["old"].to_string()).unwrap();
        let whole = answer::whole(&call(dialect, method, "{}"), &reply).unwrap();
        same(std::str::from_utf8(&whole.body).unwrap(), &pair["http"], name);

        let mut reader = AnswerReader::new(dialect, method, 200, Some("application/json"), LIMIT_BYTES);
        reader.feed(pair["http"].to_string().as_bytes()).unwrap();
        reader.feed_end().unwrap();
        let Some(Inbound::Reply(reply)) = reader.next_inbound() else { panic!("{name}") };
        same(reply.raw(), &pair["new"], name);
    }
    for request in pairs(HTTP_REQUESTS) {
        let name = request["name"].as_str().unwrap();
        for form in ["http", "snake"] {
            let body = request[form].to_string();
            let read =
                ingress::read_http(&Verb::POST, "/v1/message:send", None, &HeaderMap::new(), body.as_bytes()).unwrap();
            // What is not written is false in Protocol Buffers, and false there means to return at once.
            let mut expected = request["new"].clone();
            let returns = request["http"]["configuration"].get("blocking").is_none();
            expected["configuration"]["returnImmediately"] = json!(returns);
            same(&read.params, &expected, name);
        }
        let new = request["new"].to_string();
        let interface = Interface { url: "https://agent".into(), dialect, tenant: None };
        let newest = Dialect::new(Version::V1_0, Binding::JsonRpc);
        let outgoing = ask(&interface, &call(newest, Method::SendMessage, &new), &new, 1).unwrap();
        same(std::str::from_utf8(&outgoing.body.unwrap()).unwrap(), &request["http"], name);
    }
}

#[test]
fn the_payload_of_a_signature_is_that_of_the_official_library() {
    let pair: Value = serde_json::from_str(CARD).unwrap();
    assert_eq!(payload(&pair["card"].to_string()).unwrap(), pair["payload"].as_str().unwrap());
}

fn headers(version: Version) -> HeaderMap {
    let value = HeaderValue::from_static(version.as_str());
    HeaderMap::from_iter([(http::HeaderName::from_static("a2a-version"), value)])
}

fn interface(version: Version, binding: Binding) -> Interface {
    Interface { url: "https://agent".into(), dialect: Dialect::new(version, binding), tenant: None }
}

/// A message with unknown members wherever an object of the protocol may stand, as that version writes it.
fn message(version: Version, extra: &str) -> String {
    match version {
        Version::V0_3 => format!(
            r#"{{"message":{{"kind":"message","messageId":"m","role":"user","parts":[{{"kind":"text","text":"hi",{extra}}}],"contextId":"c",{extra}}},"configuration":{{"blocking":true,"pushNotificationConfig":{{"url":"u",{extra}}},{extra}}},{extra}}}"#
        ),
        Version::V1_0 => format!(
            r#"{{"message":{{"messageId":"m","role":"ROLE_USER","parts":[{{"text":"hi",{extra}}}],"contextId":"c",{extra}}},"configuration":{{"taskPushNotificationConfig":{{"url":"u",{extra}}},{extra}}},{extra}}}"#
        ),
    }
}

fn forwarded(from: Version, to: Interface, params: &str) -> Outgoing {
    let name = Method::SendMessage.name(from).unwrap();
    let body = format!(r#"{{"jsonrpc":"2.0","id":"x","method":"{name}","params":{params}}}"#);
    let read = ingress::read_jsonrpc(&headers(from), None, body.as_bytes()).unwrap();
    let news = News::To(Webhook { url: "https://gate", token: None, id: None });
    let edited = read.edited(&Edits { news, ..Edits::default() }).unwrap();
    ask(&to, &read, &edited, 1).unwrap()
}

fn text(outgoing: Outgoing) -> String {
    String::from_utf8(outgoing.body.unwrap().to_vec()).unwrap()
}

const NAMES: &str = "jsonrpc id method params message messageId message_id contextId ContextID taskId role parts kind text file data metadata configuration \
    pushNotificationConfig taskPushNotificationConfig url status state history tasks result error code task statusUpdate artifactUpdate artifact authentication \
    schemes name supportedInterfaces signatures skills";
const TEXTS: &str = "2.0 message/send SendMessage tasks/get user ROLE_USER text file data task https://a";

/// JSON with the protocol's own words among others, so that it gets past the first checks now and then.
fn any_json() -> impl Strategy<Value = Value> {
    let word = |words: &'static str| prop::sample::select(words.split_whitespace().collect::<Vec<_>>());
    let name = prop_oneof![word(NAMES).prop_map(str::to_owned), "\\PC{0,6}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word(TEXTS).prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        let members = prop::collection::vec((name.clone(), inner.clone()), 0..8);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Feeds JSON to everything that reads.
fn read_everywhere(raw: &str) {
    for version in Version::ALL {
        let headers = headers(version);
        let _ = ingress::read_jsonrpc(&headers, None, raw.as_bytes());
        for method in Method::ALL {
            let name = method.name(version).unwrap_or_default();
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{name}","params":{raw}}}"#);
            let _ = ingress::read_jsonrpc(&headers, None, body.as_bytes()).map(|call| forward_everywhere(&call));
            read_as_answers(version, method, raw);
        }
        for path in ["message:send", "tasks/t:cancel", "tasks/t/pushNotificationConfigs"] {
            for path in [format!("/{path}"), format!("/v1/{path}")] {
                let _ = ingress::read_http(&Verb::POST, &path, Some("a=%ff"), &headers, raw.as_bytes());
            }
        }
    }
    read_as_card(raw);
    let _ = payload(raw);
}

fn forward_everywhere(call: &A2aCall<'_>) {
    let _ = (call.text(), call.message_id(), call.push_url(), call.reference_task_ids());
    let edits = Edits {
        news: News::To(Webhook { url: "https://gate", token: None, id: None }),
        task_id: Change::Put("t"),
        context_id: Change::Remove,
        metadata: &[("a", "{}")],
        ..Edits::default()
    };
    let Ok(edited) = call.edited(&edits) else { return };
    for (version, binding) in [
        (Version::V0_3, Binding::JsonRpc),
        (Version::V0_3, Binding::HttpJson),
        (Version::V1_0, Binding::HttpJson),
        (Version::V0_3, Binding::Grpc),
        (Version::V1_0, Binding::Grpc),
    ] {
        let _ = ask(&interface(version, binding), call, &edited, 1);
    }
}

fn read_as_answers(version: Version, method: Method, raw: &str) {
    for (binding, status) in
        [Binding::JsonRpc, Binding::HttpJson].into_iter().flat_map(|binding| [(binding, 200), (binding, 400)])
    {
        let mut reader = AnswerReader::new(Dialect::new(version, binding), method, status, None, LIMIT_BYTES);
        let _ = reader.feed(raw.as_bytes()).and_then(|()| reader.feed_end());
        while let Some(inbound) = reader.next_inbound() {
            let Inbound::Reply(reply) = inbound else { continue };
            let _ = (reply.text(), reply.is_last(), reply.renamed(&mut |_, _| Some("x".into())));
            let _ = reply.with_tasks_where(|_| true);
            for form in Version::ALL {
                let _ = reply.in_form(form);
            }
        }
    }
}

fn read_as_card(raw: &str) {
    let Ok(card) = Card::read(raw.as_bytes()) else { return };
    let _ = card.skills();
    let _ = card.serve(&Serving { url: "https://g", grpc: None, version: None, pushes: true, has_extended: true });
}

proptest! {
    #[test]
    fn nothing_that_is_read_panics(value in any_json()) {
        read_everywhere(&value.to_string());
    }

    #[test]
    fn nothing_that_is_no_json_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "[\\[\\]{}\",:0-9a-z\\\\]{0,40}") {
        let _ = ingress::read_jsonrpc(&HeaderMap::new(), None, &bytes);
        let _ = ingress::read_http(&Verb::POST, &String::from_utf8_lossy(&bytes), None, &HeaderMap::new(), &bytes);
        read_everywhere(&text);
    }

    #[test]
    fn what_is_not_known_reaches_the_agent_as_it_was_written(number in "-?[1-9][0-9]{0,20}(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?", value in any_json(), name in "x[a-z]{1,6}[0-9]") {
        let extra = format!(r#""{name}":[{number},{value}, {{"role": 1.50}}]"#);
        for from in Version::ALL {
            let params = message(from, &extra);
            let count = params.matches(&extra).count();
            // In the same version nothing changes but the envelope.
            let body = text(forwarded(from, interface(from, Binding::JsonRpc), &params));
            prop_assert_eq!(body.matches(&extra).count(), count);
            for to in Version::ALL {
                for binding in [Binding::JsonRpc, Binding::HttpJson] {
                    let body = text(forwarded(from, interface(to, binding), &params));
                    prop_assert_eq!(body.matches(&extra).count(), count, "{:?} {:?} {}", to, binding, body);
                }
            }
        }
    }

    #[test]
    fn a_message_comes_back_from_the_other_version_as_it_was(value in any_json(), text in "\\PC{0,12}") {
        let (text, data) = (json!(text), json!({"value": value}));
        for (version, params) in [
            (Version::V0_3, json!({"message": {"messageId": "m", "role": "agent", "parts": [{"text": text, "kind": "text"}, {"data": data, "kind": "data"}, {"file": {"uri": "u", "name": "n"}, "kind": "file"}], "metadata": data, "kind": "message"}})),
            (Version::V1_0, json!({"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}, {"data": value}, {"raw": "aGk=", "mediaType": "a/b"}], "metadata": data}, "configuration": {"returnImmediately": true}})),
        ] {
            let other = if version == Version::V0_3 { Version::V1_0 } else { Version::V0_3 };
            let raw = params.to_string();
            let there = portcullis_interop::a2a::translate::params::params(Method::SendMessage, version, other, &raw).unwrap();
            let back = portcullis_interop::a2a::translate::params::params(Method::SendMessage, other, version, &there).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&back).unwrap(), params);
        }
    }
}
