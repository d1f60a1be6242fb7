//! Failures as statuses of gRPC (A2A 1.0, sections 5.4 and 10.6; `google/rpc/status.proto`, `google/rpc/error_details.proto`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_domain::json;

use crate::frame::grpc::Status;
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

/// The type of the details that name the reason.
pub(super) const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
/// The details that are understood: others are left out.
static DETAILS: [(&str, &Message); 2] =
    [(ERROR_INFO, &INFO), ("type.googleapis.com/google.rpc.BadRequest", &BAD_REQUEST)];

/// A status of that code and sentence. `typed_details` is a raw array of what 1.0 puts into its errors.
pub(super) fn status(code: &str, message: &str, typed_details: &str) -> Status {
    let status = Status::new(code, message);
    let mut details = Vec::new();
    for detail in json::items(typed_details).unwrap_or_default() {
        let Some((url, message)) = known(text(detail.get(), "@type").as_deref()) else { continue };
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

/// Whether the raw details name the reason, as they must.
pub(super) fn has_info(typed_details: &str) -> bool {
    let details = json::items(typed_details).unwrap_or_default();
    details.into_iter().any(|detail| text(detail.get(), "@type").as_deref() == Some(ERROR_INFO))
}

/// What an agent's status says: the sentence, without the name that 0.3 puts before it; that name; and the details as raw JSON.
pub(super) fn read(status: &Status) -> (String, Option<String>, Option<String>) {
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
        let Some((url, message)) = known(text(any.get(), "typeUrl").as_deref()) else { continue };
        let value = text(any.get(), "value").unwrap_or_default();
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

fn text(raw: &str, name: &str) -> Option<String> {
    let members = json::members(raw).ok()?;
    json::member(&members, name).and_then(json::text).map(std::borrow::Cow::into_owned)
}

fn known(url: Option<&str>) -> Option<(&'static str, &'static Message)> {
    DETAILS.iter().find(|(known, _)| Some(*known) == url).copied()
}
