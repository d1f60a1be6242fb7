//! Failures as statuses of gRPC (A2A 1.0, sections 5.4 and 10.6; `google/rpc/status.proto`, `google/rpc/error_details.proto`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_domain::json;

use crate::a2a::call::text_of;
use crate::a2a::failure::{ERROR_INFO, Failure};
use crate::a2a::version::Version;
use crate::frame::grpc::{Status, sentence};
use crate::frame::object::{Object, quoted};
use crate::frame::proto::Kind::{Bytes, Int32, One, Text};
use crate::frame::proto::{self, Field, Message};

static STATUS: Message = Message {
    fields: &[Field::new(1, "code", Int32), Field::new(2, "message", Text), Field::new(3, "details", One(&ANY)).many()],
};
static ANY: Message = Message { fields: &[Field::new(1, "typeUrl", Text), Field::new(2, "value", Bytes)] };
static INFO: Message = Message {
    fields: &[Field::new(1, "reason", Text), Field::new(2, "domain", Text), Field::new(3, "metadata", Text).map()],
};
static BAD_REQUEST: Message = Message { fields: &[Field::new(1, "fieldViolations", One(&VIOLATION)).many()] };
static VIOLATION: Message = Message {
    fields: &[Field::new(1, "field", Text), Field::new(2, "description", Text), Field::new(3, "reason", Text)],
};

/// The details that are understood: others are left out.
static DETAILS: [(&str, &Message); 2] =
    [(ERROR_INFO, &INFO), ("type.googleapis.com/google.rpc.BadRequest", &BAD_REQUEST)];

/// The status that says of a failure what its error says by other bindings. Clients of 0.3 know it by the name in its sentence.
pub(in crate::a2a) fn status(failure: &Failure, version: Version) -> Status {
    let message = match version {
        Version::V1_0 => failure.message.clone(),
        Version::V0_3 => format!("{}: {}", failure.name(), failure.message),
    };
    let status = Status::new(failure.grpc_name(), sentence(&message));
    let mut details = Vec::new();
    for detail in json::items(&failure.typed_details()).unwrap_or_default() {
        let Some((url, message)) = known(text_of(detail.get(), &["@type"]).as_deref()) else { continue };
        if let Ok(bytes) = proto::from_json(message, detail.get()) {
            details.push(format!(r#"{{"typeUrl":"{url}","value":"{}"}}"#, STANDARD.encode(bytes)));
        }
    }
    let mut whole = Object::default();
    whole.set("code", status.code.to_string());
    whole.set("message", quoted(&status.message));
    whole.set("details", format!("[{}]", details.join(",")));
    let details = proto::from_json(&STATUS, &whole.to_string()).ok();
    Status { details, ..status }
}

/// What an agent's status says: the sentence, without the name that 0.3 puts before it; that name; and the details as raw JSON.
pub(in crate::a2a) fn read_failure(status: &Status) -> (String, Option<String>, Option<String>) {
    let named = status.message.split_once(": ").filter(|(name, _)| name.ends_with("Error") && !name.contains(' '));
    let details = status.details.as_ref().and_then(|bytes| details(bytes)).filter(|details| details != "[]");
    let message = named.map_or(status.message.as_str(), |(_, message)| message);
    (message.to_owned(), named.map(|(name, _)| name.to_owned()), details)
}

fn details(bytes: &[u8]) -> Option<String> {
    let whole = proto::to_json(&STATUS, bytes).ok()?;
    let whole = json::members(&whole).ok()?;
    let mut found = Vec::new();
    for any in json::member(&whole, "details").map(|raw| json::items(raw.get()).unwrap_or_default()).unwrap_or_default()
    {
        let Some((url, message)) = known(text_of(any.get(), &["typeUrl"]).as_deref()) else { continue };
        let value = text_of(any.get(), &["value"]).unwrap_or_default();
        let Some(raw) = STANDARD.decode(value).ok().and_then(|bytes| proto::to_json(message, &bytes).ok()) else {
            continue;
        };
        let mut detail = Object::default();
        detail.set("@type", quoted(url));
        detail.extend(json::members(&raw).ok()?.iter().map(|(name, value)| (name.as_ref(), value.get())));
        found.push(detail.to_string());
    }
    Some(format!("[{}]", found.join(",")))
}

fn known(url: Option<&str>) -> Option<(&'static str, &'static Message)> {
    DETAILS.iter().find(|(known, _)| Some(*known) == url).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::a2a::failure::Kind;

    #[test]
    fn a_status_says_what_the_error_says() {
        let failure = Failure::new(Kind::TaskNotFound, "there is no task").with("taskId", "t");
        let new = status(&failure, Version::V1_0);
        // Made by the official library: `Status(code=5, message=…, details=[ErrorInfo(…)])`.
        let expected = "\x08\x05\x12\x10there is no task\x1a\x67\n\x28type.googleapis.com/google.rpc.ErrorInfo\x12\x3b\n\x0eTASK_NOT_FOUND\x12\x10a2a-protocol.org\x1a\x0b\n\x06taskId\x12\x01t";
        let found = String::from_utf8(new.details.clone().unwrap()).unwrap();
        assert!(found.starts_with("\x08\x05\x12\x10there is no task\x1a"), "{found:?} {expected:?}");
        assert_eq!((new.name(), new.message.as_str()), ("NOT_FOUND", "there is no task"));
        let (message, name, details) = read_failure(&new);
        assert_eq!((message.as_str(), name), ("there is no task", None));
        assert_eq!(details.as_deref(), Some(failure.typed_details().as_str()));

        let old = status(&failure, Version::V0_3);
        assert_eq!(old.message, "TaskNotFoundError: there is no task");
        let (message, name, _) = read_failure(&old);
        assert_eq!((message.as_str(), name.as_deref()), ("there is no task", Some("TaskNotFoundError")));
    }

    #[test]
    fn an_error_has_the_code_of_the_specification() {
        for (kind, name) in [
            (Kind::InvalidRequest, "INVALID_ARGUMENT"),
            (Kind::MethodNotFound, "UNIMPLEMENTED"),
            (Kind::InvalidParams, "INVALID_ARGUMENT"),
            (Kind::Internal, "INTERNAL"),
            (Kind::TaskNotFound, "NOT_FOUND"),
            (Kind::TaskNotCancelable, "FAILED_PRECONDITION"),
            (Kind::PushNotSupported, "FAILED_PRECONDITION"),
            (Kind::UnsupportedOperation, "FAILED_PRECONDITION"),
            (Kind::ContentTypeNotSupported, "INVALID_ARGUMENT"),
            (Kind::InvalidAgentResponse, "INTERNAL"),
            (Kind::ExtendedCardNotConfigured, "FAILED_PRECONDITION"),
            (Kind::ExtensionRequired, "FAILED_PRECONDITION"),
            (Kind::VersionNotSupported, "FAILED_PRECONDITION"),
        ] {
            assert_eq!(status(&Failure::new(kind, "no"), Version::V1_0).name(), name, "{kind:?}");
        }
    }
}
