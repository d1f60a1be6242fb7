//! A refusal in each dialect's own way of saying no. One function per door, and no other place makes an error body.
//!
//! What only the operator may know (`Refusal::reasons`) never gets out of here. Every form carries the stable code, so that
//! a program can tell refusals apart whichever door it came in by.

use std::fmt;

use portcullis_domain::ids::CallId;
use portcullis_domain::money::Nanodollars;
use portcullis_domain::refusal::{Code, Fault, Refusal, Shortfall};

use crate::frame::jsonrpc::{self, ErrorObject, Id};
use crate::frame::object::{Object, quoted};

/// The member of a tool result's `_meta` that carries the stable code.
pub const META_KEY: &str = "portcullis/refusal";

/// An answer that is an error, for a door that speaks HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// For the OpenAI API: `{"error":{"message","type","param","code"}}`, where exhausted money also has the member `portcullis`.
#[must_use]
pub fn openai(refusal: &Refusal) -> Answer {
    Answer { status: refusal.code.status(), content_type: "application/json", body: openai_body(refusal) }
}

/// For a stream of the OpenAI API that has begun: the error as an event. It ends the stream; `[DONE]` must not follow it.
#[must_use]
pub fn openai_event(refusal: &Refusal) -> String {
    format!("data: {}\n\n", openai_body(refusal))
}

/// The same for a stream of the Responses API: an event of type `error`.
#[must_use]
pub fn openai_response_event(refusal: &Refusal) -> String {
    let mut event = Object::default();
    event.set("type", quoted("error"));
    event.set("code", quoted(refusal.code.as_str()));
    event.set("message", quoted(&refusal.message));
    event.set("param", refusal.parameter.as_deref().map_or("null".to_owned(), quoted));
    event.set("sequence_number", "0".to_owned());
    format!("event: error\ndata: {event}\n\n")
}

/// For a tool call by the Model Context Protocol: the raw result, with a text that a model can act on. Members that differ
/// between the protocol's versions are added by whoever sends it.
#[must_use]
pub fn mcp_tool_result(refusal: &Refusal) -> String {
    let mut meta = Object::default();
    meta.set(META_KEY, details(refusal).to_string());
    let text = quoted(&advice(refusal));
    format!(r#"{{"content":[{{"type":"text","text":{text}}}],"isError":true,"_meta":{meta}}}"#)
}

/// For everything else by JSON-RPC: an error with a number of ours, or the specification's own where it has one for that.
///
/// The HTTP status is 200, since to many clients of the Model Context Protocol any other one is the end of the connection.
/// Only who is not known gets 401.
#[must_use]
pub fn jsonrpc(refusal: &Refusal, id: Option<&Id<'_>>) -> Answer {
    let error = ErrorObject::new(jsonrpc_code(refusal.code), &refusal.message).with_data(details(refusal).to_string());
    let status = if refusal.code == Code::Unauthenticated { 401 } else { 200 };
    Answer { status, content_type: "application/json", body: jsonrpc::error(id, &error) }
}

/// For the API of the gateway itself: RFC 9457.
#[must_use]
pub fn problem(refusal: &Refusal) -> Answer {
    let mut body = Object::default();
    body.set("type", quoted(&format!("urn:portcullis:refusal:{}", refusal.code)));
    body.set("title", quoted(&refusal.code.as_str().replace('_', " ")));
    body.set("status", refusal.code.status().to_string());
    body.set("detail", quoted(&refusal.message));
    body.extend(details(refusal).iter());
    Answer { status: refusal.code.status(), content_type: "application/problem+json", body: body.to_string() }
}

fn openai_body(refusal: &Refusal) -> String {
    let mut error = Object::default();
    error.set("message", quoted(&refusal.message));
    error.set("type", quoted(openai_type(refusal.code)));
    error.set("param", refusal.parameter.as_deref().map_or("null".to_owned(), quoted));
    error.set("code", quoted(refusal.code.as_str()));
    if let Some(shortfall) = &refusal.shortfall {
        error.set("portcullis", shortfall_of(shortfall).to_string());
    }
    if let Some(approval) = refusal.approval {
        error.set("portcullis", format!("{{\"approval\":{}}}", approval_of(approval)));
    }
    format!("{{\"error\":{error}}}")
}

/// The word for a kind of error that clients of OpenAI know.
fn openai_type(code: Code) -> &'static str {
    if code == Code::Unauthenticated {
        return "authentication_error";
    }
    match (code.fault(), code.status()) {
        (_, 402) => "insufficient_quota",
        (_, 403) => "permission_error",
        (_, 429) => "rate_limit_error",
        (Fault::Caller | Fault::Rules, _) => "invalid_request_error",
        (Fault::Upstream | Fault::Gateway, _) => "server_error",
    }
}

/// Unknown names are wrong parameters by the specification. What is ours has the number of its HTTP status, which lies
/// outside of the range that is reserved for others.
fn jsonrpc_code(code: Code) -> i64 {
    if code == Code::InvalidRequest {
        return jsonrpc::INVALID_REQUEST;
    }
    let is_parameter = matches!(code, Code::InvalidArguments | Code::CapabilityNotFound);
    if is_parameter { jsonrpc::INVALID_PARAMS } else { i64::from(code.status()) }
}

/// What a program may know of a refusal.
pub(crate) fn details(refusal: &Refusal) -> Object<'static> {
    let mut details = Object::default();
    details.set("code", quoted(refusal.code.as_str()));
    details.set("retryable", refusal.code.is_retryable().to_string());
    if let Some(parameter) = &refusal.parameter {
        details.set("parameter", quoted(parameter));
    }
    if let Some(shortfall) = &refusal.shortfall {
        details.set("shortfall", shortfall_of(shortfall).to_string());
    }
    if let Some(approval) = refusal.approval {
        details.set("approval", approval_of(approval).to_string());
    }
    details
}

/// The path at the gateway's own API where it stands how an approval stands.
#[must_use]
pub fn approval_path(approval: CallId) -> String {
    format!("/api/v1/approvals/{approval}")
}

fn approval_of(approval: CallId) -> Object<'static> {
    let mut object = Object::default();
    object.set("id", quoted(&approval.to_string()));
    object.set("url", quoted(&approval_path(approval)));
    object
}

fn shortfall_of(shortfall: &Shortfall) -> Object<'static> {
    let mut object = Object::default();
    object.set("account", quoted(&shortfall.account));
    for (name, amount) in [
        ("granted", shortfall.granted),
        ("spent", shortfall.spent),
        ("held", shortfall.held),
        ("needed", shortfall.needed),
    ] {
        object.set(name, Amount(amount).to_string());
    }
    object
}

/// An amount for programs and for people.
struct Amount(Nanodollars);

impl fmt::Display for Amount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{{\"nanodollars\":{},\"dollars\":\"{}\"}}", self.0.nanos(), self.0)
    }
}

/// The sentence for a model, with what it can do about it. What a rule says is said in the rule's own words.
pub(crate) fn advice(refusal: &Refusal) -> String {
    let message = &refusal.message;
    if matches!(refusal.code, Code::Denied | Code::Blocked | Code::ApprovalRequired) {
        return message.clone();
    }
    let hint = match (refusal.code.fault(), refusal.code.is_retryable()) {
        (Fault::Upstream, _) => "The call may have had an effect all the same: check before you repeat it.",
        (Fault::Caller, false) => "Correct the call before you repeat it.",
        (Fault::Rules | Fault::Gateway, false) => {
            "Repeating the call will not help: go on without it, or say what you need."
        }
        (Fault::Caller | Fault::Rules | Fault::Gateway, true) => "The same call may pass later.",
    };
    format!("{message}. {hint}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn exhausted() -> Refusal {
        let amount = Nanodollars::new;
        let (granted, spent) = (amount(1_000_000_000), amount(900_000_000));
        let shortfall =
            Shortfall { account: "principal/ann".into(), granted, spent, held: amount(0), needed: amount(250_000_000) };
        Refusal {
            shortfall: Some(Box::new(shortfall)),
            ..Refusal::new(Code::BudgetExhausted, "the budget of `principal/ann` is used up").because("secret")
        }
    }

    fn denied() -> Refusal {
        Refusal::new(Code::Denied, "Limit Exceeded. Escalate to Manager.").because("policy limit-1")
    }

    fn shown(body: &str) -> Value {
        assert!(!body.contains("secret") && !body.contains("policy limit-1"), "{body}");
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn the_openai_door_says_no_as_openai_does() {
        for (code, status, kind) in [
            (Code::InvalidRequest, 400, "invalid_request_error"),
            (Code::Unauthenticated, 401, "authentication_error"),
            (Code::BudgetExhausted, 402, "insufficient_quota"),
            (Code::Denied, 403, "permission_error"),
            (Code::CapabilityNotFound, 404, "invalid_request_error"),
            (Code::TooMany, 429, "rate_limit_error"),
            (Code::UpstreamFailed, 502, "server_error"),
            (Code::StoreUnavailable, 503, "server_error"),
        ] {
            let answer = openai(&Refusal::new(code, "no \"x\"").about("tools[0]"));
            assert_eq!(answer.status, status);
            let expected =
                json!({"error": {"message": "no \"x\"", "type": kind, "param": "tools[0]", "code": code.as_str()}});
            assert_eq!(shown(&answer.body), expected);
        }
    }

    #[test]
    fn a_program_can_read_how_much_money_is_missing() {
        let amount = |nanodollars: u64, dollars: &str| json!({"nanodollars": nanodollars, "dollars": dollars});
        let expected = json!({
            "account": "principal/ann", "granted": amount(1_000_000_000, "$1.00"), "spent": amount(900_000_000, "$0.90"),
            "held": amount(0, "$0.00"), "needed": amount(250_000_000, "$0.25"),
        });
        let refusal = exhausted();
        assert_eq!(shown(&openai(&refusal).body)["error"]["portcullis"], expected);
        assert_eq!(shown(&mcp_tool_result(&refusal))["_meta"][META_KEY]["shortfall"], expected);
        assert_eq!(shown(&jsonrpc(&refusal, None).body)["error"]["data"]["shortfall"], expected);
        assert_eq!(shown(&problem(&refusal).body)["shortfall"], expected);
    }

    #[test]
    fn a_model_reads_the_words_of_the_rule() {
        let text = "Limit Exceeded. Escalate to Manager.";
        let expected = json!({
            "content": [{"type": "text", "text": text}], "isError": true, "_meta": {META_KEY: {"code": "denied", "retryable": false}},
        });
        assert_eq!(shown(&mcp_tool_result(&denied())), expected);
        let text = &shown(&mcp_tool_result(&Refusal::new(Code::UpstreamTimeout, "the tool did not answer in time")))["content"]
            [0]["text"];
        assert_eq!(
            text,
            "the tool did not answer in time. The call may have had an effect all the same: check before you repeat it."
        );
    }

    #[test]
    fn who_waits_for_a_person_learns_what_for_and_where_to_look() {
        let refusal = Refusal {
            approval: Some(CallId([1; 16])),
            ..Refusal::new(Code::ApprovalRequired, "This call needs the approval of a person.").because("secret")
        };
        let id = "01".repeat(16);
        let expected = json!({"id": id, "url": format!("/api/v1/approvals/{id}")});
        assert_eq!(shown(&openai(&refusal).body)["error"]["portcullis"]["approval"], expected);
        assert_eq!(shown(&jsonrpc(&refusal, None).body)["error"]["data"]["approval"], expected);
        assert_eq!(shown(&problem(&refusal).body)["approval"], expected);
        let result = shown(&mcp_tool_result(&refusal));
        assert_eq!(result["_meta"][META_KEY]["approval"], expected);
        assert_eq!(result["content"][0]["text"], "This call needs the approval of a person.");
    }

    #[test]
    fn errors_of_our_own_have_numbers_outside_of_the_reserved_range() {
        for (code, number, status) in [
            (Code::InvalidRequest, -32600, 200),
            (Code::CapabilityNotFound, -32602, 200),
            (Code::Denied, 403, 200),
            (Code::BudgetExhausted, 402, 200),
            (Code::Unauthenticated, 401, 401),
            (Code::StoreUnavailable, 503, 200),
        ] {
            let answer = jsonrpc(&Refusal::new(code, "no"), Some(&Id::number(7)));
            let data = json!({"code": code.as_str(), "retryable": code.is_retryable()});
            let expected = json!({"jsonrpc": "2.0", "id": 7, "error": {"code": number, "message": "no", "data": data}});
            assert_eq!((shown(&answer.body), answer.status), (expected, status));
        }
    }

    #[test]
    fn the_api_says_no_as_rfc_9457_does() {
        let answer = problem(&Refusal::new(Code::SessionNotFound, "there is no session `a`").about("session"));
        let expected = json!({
            "type": "urn:portcullis:refusal:session_not_found", "title": "session not found", "status": 404,
            "detail": "there is no session `a`", "code": "session_not_found", "retryable": false, "parameter": "session",
        });
        assert_eq!(
            (shown(&answer.body), answer.status, answer.content_type),
            (expected, 404, "application/problem+json")
        );
    }
}
