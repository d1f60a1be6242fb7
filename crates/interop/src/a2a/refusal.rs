//! A refusal of ours, in the words of this protocol.
//!
//! Two forms, by who can do something about it. What the deployment's rules say no to (policy, budgets) is answered to a message by
//! a *message of the agent*: the libraries make exceptions of errors, which end the run of whoever called, while the words of a
//! message reach the model that sent it, and it can go another way. The specification allows a message for an answer to any message that is sent (1.0,
//! section 3.1.1), nothing may follow it in a stream, and no task has to be kept for it, as a task in the state `rejected` would demand. Programs
//! know it by the stable code in its metadata. Everything else, and every other method, gets an error: there is nobody to read words.

use portcullis_domain::refusal::{Code, Fault, Refusal};

use crate::a2a::call::A2aCall;
use crate::a2a::failure::{Failure, Kind};
use crate::a2a::reply::Reply;
use crate::a2a::state::Role;
use crate::a2a::version::Version;
use crate::frame::object::{Object, quoted};
use crate::refuse::{META_KEY, advice, details};

/// A refusal as an error.
#[must_use]
pub fn failure(refusal: &Refusal) -> Failure {
    let message = refusal.message.as_str();
    let failure = match kind(refusal.code) {
        Some(kind) => Failure::new(kind, message),
        None => {
            let status = refusal.code.status();
            Failure::other(i64::from(status), status, refusal.code.as_str().to_ascii_uppercase(), message)
        }
    };
    let mut failure =
        failure.with("code", refusal.code.as_str()).with("retryable", refusal.code.is_retryable().to_string());
    if let Some(parameter) = &refusal.parameter {
        failure = failure.with("parameter", parameter.as_str());
    }
    if let Some(shortfall) = &refusal.shortfall {
        failure = failure.with("account", shortfall.account.as_str());
        for (name, amount) in [
            ("granted", shortfall.granted),
            ("spent", shortfall.spent),
            ("held", shortfall.held),
            ("needed", shortfall.needed),
        ] {
            failure = failure.with(name, amount.to_string());
        }
    }
    failure
}

/// A refusal as a message of the agent, where that is the form for it: `message_id` is the id that it gets, `context_id` and
/// `task_id` are what the client knows the conversation by.
#[must_use]
pub fn message(
    refusal: &Refusal,
    call: &A2aCall<'_>,
    message_id: &str,
    context_id: Option<&str>,
    task_id: Option<&str>,
) -> Option<Reply> {
    if !call.method.is_sending() || refusal.code.fault() != Fault::Rules || refusal.code == Code::Forbidden {
        return None;
    }
    let mut message = Object::default();
    message.set("messageId", quoted(message_id));
    for (name, id) in [("contextId", context_id), ("taskId", task_id)] {
        if let Some(id) = id {
            message.set(name, quoted(id));
        }
    }
    message.set("role", quoted(Role::Agent.name()));
    message.set("parts", format!("[{{\"text\":{}}}]", quoted(&advice(refusal))));
    message.set("metadata", format!("{{\"{META_KEY}\":{}}}", details(refusal)));
    Reply::read(call.method, Version::V1_0, &format!("{{\"message\":{message}}}")).ok()
}

/// The specification's own error for it, where there is one.
fn kind(code: Code) -> Option<Kind> {
    match code {
        Code::InvalidRequest => Some(Kind::InvalidRequest),
        Code::InvalidArguments => Some(Kind::InvalidParams),
        Code::NotFound => Some(Kind::TaskNotFound),
        Code::UnsupportedVersion => Some(Kind::VersionNotSupported),
        Code::Unauthenticated
        | Code::Denied
        | Code::Blocked
        | Code::Forbidden
        | Code::TooDeep
        | Code::SessionNotFound
        | Code::SessionClosed
        | Code::SessionFrozen
        | Code::ApprovalRequired
        | Code::CapabilityNotFound
        | Code::Conflict
        | Code::IdempotencyKeyReused
        | Code::OutcomeUnknown
        | Code::WaitOver
        | Code::TurnUnderWay
        | Code::BudgetExhausted
        | Code::PriceUnknown
        | Code::TooLarge
        | Code::TooMany
        | Code::StaleDecision
        | Code::CredentialUnavailable
        | Code::UpstreamFailed
        | Code::UpstreamTimeout
        | Code::StoreUnavailable => None,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::money::Nanodollars;
    use portcullis_domain::refusal::Shortfall;
    use serde_json::{Value, json};

    use super::*;
    use crate::a2a::answer;
    use crate::a2a::method::Method;
    use crate::a2a::version::{Binding, Dialect};
    use crate::frame::jsonrpc::Id;

    fn denied() -> Refusal {
        Refusal::new(Code::Denied, "Limit Exceeded. Escalate to Manager.").because("secret")
    }

    fn call(version: Version, method: Method) -> A2aCall<'static> {
        let dialect = Dialect::new(version, Binding::JsonRpc);
        A2aCall { dialect, method, id: Some(Id::number(1)), extensions: Vec::new(), params: "{}".into() }
    }

    #[test]
    fn a_model_that_sent_a_message_reads_the_words_of_the_rule() {
        let metadata = json!({META_KEY: {"code": "denied", "retryable": false}});
        let text = "Limit Exceeded. Escalate to Manager.";
        for (version, expected) in [
            (
                Version::V1_0,
                json!({"message": {"messageId": "m", "contextId": "c", "role": "ROLE_AGENT", "parts": [{"text": text}], "metadata": metadata}}),
            ),
            (
                Version::V0_3,
                json!({"messageId": "m", "contextId": "c", "role": "agent", "parts": [{"text": text, "kind": "text"}], "metadata": metadata, "kind": "message"}),
            ),
        ] {
            let call = call(version, Method::SendStreamingMessage);
            let reply = message(&denied(), &call, "m", Some("c"), None).unwrap();
            assert!(reply.is_last());
            let body: Value = serde_json::from_slice(&answer::whole(&call, &reply).unwrap().body).unwrap();
            assert_eq!(body["result"], expected);
        }
    }

    #[test]
    fn where_no_model_reads_there_is_an_error() {
        let sending = call(Version::V1_0, Method::SendMessage);
        for (code, is_message) in [
            (Code::Denied, true),
            (Code::BudgetExhausted, true),
            (Code::PriceUnknown, true),
            (Code::Forbidden, false),
            (Code::InvalidRequest, false),
            (Code::TooMany, false),
            (Code::UpstreamFailed, false),
        ] {
            let refusal = Refusal::new(code, "no");
            assert_eq!(message(&refusal, &sending, "m", None, None).is_some(), is_message, "{code}");
            assert!(message(&refusal, &call(Version::V1_0, Method::GetTask), "m", None, None).is_none());
        }
    }

    #[test]
    fn a_refusal_is_an_error_in_every_version_and_binding() {
        let amount = Nanodollars::new(1_000_000_000);
        let account = "principal/ann".to_owned();
        let shortfall = Shortfall { account, granted: amount, spent: amount, held: amount, needed: amount };
        let mut refusal = Refusal::new(Code::BudgetExhausted, "no money").because("secret");
        refusal.shortfall = Some(Box::new(shortfall));
        let failure = failure(&refusal);
        let facts = json!({"code": "budget_exhausted", "retryable": "false", "account": "principal/ann", "granted": "$1.00", "spent": "$1.00", "held": "$1.00", "needed": "$1.00"});
        for (version, binding, status, pointer, expected) in [
            (Version::V1_0, Binding::JsonRpc, 200, "/error/data/0/metadata", &facts),
            (Version::V0_3, Binding::JsonRpc, 200, "/error/data", &facts),
            (Version::V1_0, Binding::HttpJson, 402, "/error/details/0/metadata", &facts),
            (Version::V0_3, Binding::HttpJson, 402, "/data", &facts),
            (Version::V1_0, Binding::JsonRpc, 200, "/error/code", &json!(402)),
            (Version::V1_0, Binding::JsonRpc, 200, "/error/data/0/reason", &json!("BUDGET_EXHAUSTED")),
            (Version::V1_0, Binding::HttpJson, 402, "/error/status", &json!("RESOURCE_EXHAUSTED")),
            (Version::V0_3, Binding::HttpJson, 402, "/code", &json!(402)),
        ] {
            let answer = failure.answer(Dialect::new(version, binding), None);
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!((answer.status, body.pointer(pointer)), (status, Some(expected)), "{version:?} {binding:?}");
            assert!(!answer.body.contains("secret"));
        }
    }

    #[test]
    fn what_the_specification_has_a_number_for_gets_it() {
        for (code, number) in [
            (Code::InvalidRequest, -32600),
            (Code::InvalidArguments, -32602),
            (Code::NotFound, -32001),
            (Code::UnsupportedVersion, -32009),
            (Code::Denied, 403),
            (Code::SessionClosed, 410),
            (Code::TooMany, 429),
            (Code::UpstreamTimeout, 504),
        ] {
            assert_eq!(failure(&Refusal::new(code, "no")).code(Version::V1_0), number, "{code}");
        }
    }
}
