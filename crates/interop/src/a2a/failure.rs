//! Why a call of this protocol has no result, in the words of each version and binding.
//!
//! One table has the errors of the specification (1.0, sections 3.3.2 and 5.4; the details are those of `google.rpc.ErrorInfo`).
//! What is ours has the number of its HTTP status, which lies outside of the ranges that are reserved for others.

use std::borrow::Cow;

use bytes::Bytes;
use portcullis_domain::json;

use crate::a2a::status::{self, ERROR_INFO};
use crate::a2a::version::{Binding, Dialect, Unsupported, Version};
use crate::frame::grpc::Status;
use crate::frame::jsonrpc::{self, ErrorObject, Id};
use crate::frame::object::{Object, quoted};
use crate::frame::sse;
use crate::refuse::Answer;

/// Whose reasons the protocol's own errors are.
const PROTOCOL_DOMAIN: &str = "a2a-protocol.org";
/// Whose reasons ours are.
const OUR_DOMAIN: &str = "portcullis";

/// An error that the specification knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No JSON.
    Parse,
    /// JSON, but no request.
    InvalidRequest,
    /// No such method in this version.
    MethodNotFound,
    /// The parameters do not fit the method.
    InvalidParams,
    /// Something failed that the caller can't mend.
    Internal,
    /// No such task for this caller.
    TaskNotFound,
    /// The task has ended.
    TaskNotCancelable,
    /// The agent sends no news by itself.
    PushNotSupported,
    /// The agent does not do this.
    UnsupportedOperation,
    /// The agent can't read such parts.
    ContentTypeNotSupported,
    /// The agent's answer is none.
    InvalidAgentResponse,
    /// The agent has no card for known callers.
    ExtendedCardNotConfigured,
    /// The agent demands an extension that the request does not name.
    ExtensionRequired,
    /// The version is not spoken here.
    VersionNotSupported,
}

/// The row of an error in the specification's table.
struct Row {
    kind: Kind,
    code: i64,
    name: &'static str,
    reason: &'static str,
    status: u16,
}

const fn row(kind: Kind, code: i64, name: &'static str, reason: &'static str, status: u16) -> Row {
    Row { kind, code, name, reason, status }
}

const INTERNAL: Row = row(Kind::Internal, jsonrpc::INTERNAL_ERROR, "InternalError", "INTERNAL_ERROR", 500);
const ROWS: [Row; 14] = [
    row(Kind::Parse, jsonrpc::PARSE_ERROR, "JSONParseError", "INVALID_REQUEST", 400),
    row(Kind::InvalidRequest, jsonrpc::INVALID_REQUEST, "InvalidRequestError", "INVALID_REQUEST", 400),
    row(Kind::MethodNotFound, jsonrpc::METHOD_NOT_FOUND, "MethodNotFoundError", "METHOD_NOT_FOUND", 404),
    row(Kind::InvalidParams, jsonrpc::INVALID_PARAMS, "InvalidParamsError", "INVALID_PARAMS", 400),
    INTERNAL,
    row(Kind::TaskNotFound, -32001, "TaskNotFoundError", "TASK_NOT_FOUND", 404),
    row(Kind::TaskNotCancelable, -32002, "TaskNotCancelableError", "TASK_NOT_CANCELABLE", 400),
    row(Kind::PushNotSupported, -32003, "PushNotificationNotSupportedError", "PUSH_NOTIFICATION_NOT_SUPPORTED", 400),
    row(Kind::UnsupportedOperation, -32004, "UnsupportedOperationError", "UNSUPPORTED_OPERATION", 400),
    row(Kind::ContentTypeNotSupported, -32005, "ContentTypeNotSupportedError", "CONTENT_TYPE_NOT_SUPPORTED", 400),
    row(Kind::InvalidAgentResponse, -32006, "InvalidAgentResponseError", "INVALID_AGENT_RESPONSE", 500),
    row(
        Kind::ExtendedCardNotConfigured,
        -32007,
        "ExtendedAgentCardNotConfiguredError",
        "EXTENDED_AGENT_CARD_NOT_CONFIGURED",
        400,
    ),
    row(Kind::ExtensionRequired, -32008, "ExtensionSupportRequiredError", "EXTENSION_SUPPORT_REQUIRED", 400),
    row(Kind::VersionNotSupported, -32009, "VersionNotSupportedError", "VERSION_NOT_SUPPORTED", 400),
];

impl Kind {
    /// Its number by JSON-RPC.
    #[must_use]
    pub fn code(self) -> i64 {
        self.row().code
    }

    /// The error with that number.
    #[must_use]
    pub fn of_code(code: i64) -> Option<Self> {
        ROWS.iter().find(|row| row.code == code).map(|row| row.kind)
    }

    pub(super) fn of_reason(reason: &str) -> Option<Self> {
        // Unreadable JSON and an unreadable request have the same reason; the latter is the wider one.
        ROWS.iter().rev().find(|row| row.reason == reason).map(|row| row.kind)
    }

    pub(super) fn of_name(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name == name).map(|row| row.kind)
    }

    fn row(self) -> &'static Row {
        ROWS.iter().find(|row| row.kind == self).unwrap_or(&INTERNAL)
    }

    /// Its number for clients of 0.3, which know fewer.
    fn legacy_code(self) -> i64 {
        match self {
            Self::ExtensionRequired | Self::VersionNotSupported => jsonrpc::INTERNAL_ERROR,
            Self::Parse
            | Self::InvalidRequest
            | Self::MethodNotFound
            | Self::InvalidParams
            | Self::Internal
            | Self::TaskNotFound
            | Self::TaskNotCancelable
            | Self::PushNotSupported
            | Self::UnsupportedOperation
            | Self::ContentTypeNotSupported
            | Self::InvalidAgentResponse
            | Self::ExtendedCardNotConfigured => self.code(),
        }
    }
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    what: What,
    /// A sentence for the client.
    pub message: String,
    metadata: Vec<(&'static str, String)>,
    /// Raw details as an agent gave them: an array in 1.0, anything in 0.3.
    details: Option<Details>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Known(Kind),
    /// Not of the specification: of ours, or of an agent.
    Other {
        code: i64,
        status: u16,
        reason: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Details {
    Typed(String),
    Any(String),
}

impl Failure {
    /// An error of the specification.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { what: What::Known(kind), message: message.into(), metadata: Vec::new(), details: None }
    }

    /// An error that the specification has no word for.
    pub(super) fn other(code: i64, status: u16, reason: String, message: impl Into<String>) -> Self {
        Self {
            what: What::Other { code, status, reason },
            message: message.into(),
            metadata: Vec::new(),
            details: None,
        }
    }

    /// The same, with what a program may want to know.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((name, value.into()));
        self
    }

    pub(super) fn with_details(mut self, details: Option<Details>) -> Self {
        self.details = details;
        self
    }

    /// The same, with another text wherever this one stands. Agents name tasks in their sentences by ids that mean nothing to
    /// the client.
    #[must_use]
    pub fn renamed(&self, from: &str, to: &str) -> Self {
        let replaced = |text: &str| if from.is_empty() { text.to_owned() } else { text.replace(from, to) };
        let details = self.details.as_ref().map(|details| match details {
            Details::Typed(raw) => Details::Typed(replaced(raw)),
            Details::Any(raw) => Details::Any(replaced(raw)),
        });
        Self { message: replaced(&self.message), details, ..self.clone() }
    }

    /// What it says.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Which error of the specification it is, if it is one.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match self.what {
            What::Known(kind) => Some(kind),
            What::Other { .. } => None,
        }
    }

    /// Its number by JSON-RPC in that version.
    #[must_use]
    pub fn code(&self, version: Version) -> i64 {
        match (&self.what, version) {
            (What::Known(kind), Version::V1_0) => kind.code(),
            (What::Known(kind), Version::V0_3) => kind.legacy_code(),
            (What::Other { code, .. }, _) => *code,
        }
    }

    /// The answer to a request that came so, before any stream has begun. By gRPC the body is the lines of the trailers, and there is no message.
    #[must_use]
    pub fn answer(&self, dialect: Dialect, id: Option<&Id<'_>>) -> Answer {
        let status = match dialect.binding {
            // To clients of JSON-RPC any other status means that there was no answer, but for a missing key.
            Binding::JsonRpc if self.status() == 401 => 401,
            Binding::JsonRpc => 200,
            Binding::HttpJson => self.http_status(dialect.version),
            Binding::Grpc => 200,
        };
        Answer { status, content_type: dialect.media_type(), body: self.body(dialect, id) }
    }

    /// The same as the last event of a stream.
    #[must_use]
    pub fn event(&self, dialect: Dialect, id: Option<&Id<'_>>) -> Bytes {
        match dialect.binding {
            Binding::JsonRpc => sse::event(&self.body(dialect, id)).into(),
            Binding::HttpJson => format!("event: error\n{}", sse::event(&self.body(dialect, id))).into(),
            Binding::Grpc => self.grpc_status(dialect.version).frame(),
        }
    }

    fn body(&self, dialect: Dialect, id: Option<&Id<'_>>) -> String {
        let Dialect { version, binding } = dialect;
        let details = match version {
            Version::V0_3 => self.legacy_details(),
            Version::V1_0 => Some(self.typed_details()),
        };
        let mut body = Object::default();
        match (binding, version) {
            (Binding::JsonRpc, _) => {
                let mut error = ErrorObject::new(self.code(version), self.message.as_str());
                error.data = details.map(Cow::Owned);
                return jsonrpc::error(id, &error);
            }
            (Binding::Grpc, version) => return self.grpc_status(version).lines(),
            (Binding::HttpJson, Version::V0_3) => {
                body.set("code", self.code(version).to_string());
                body.set("type", quoted(self.name()));
                body.set("message", quoted(&self.message));
                details.into_iter().for_each(|details| body.set("data", details));
            }
            (Binding::HttpJson, Version::V1_0) => {
                let mut error = Object::default();
                error.set("code", self.status().to_string());
                error.set("status", quoted(grpc_code(self.status(), self.kind())));
                error.set("message", quoted(&self.message));
                details.into_iter().for_each(|details| error.set("details", details));
                body.set("error", error.to_string());
            }
        }
        body.to_string()
    }

    fn typed_details(&self) -> String {
        let mut details = Vec::new();
        if let Some(Details::Typed(raw)) = &self.details {
            if status::has_info(raw) {
                return raw.clone();
            }
            details = json::items(raw).unwrap_or_default();
        }
        let mut metadata = Object::default();
        for (name, value) in &self.metadata {
            metadata.set(name, quoted(value));
        }
        if let Some(Details::Any(raw)) = &self.details {
            metadata.set("data", quoted(raw));
        }
        let (reason, domain) = match &self.what {
            What::Known(kind) => (kind.row().reason, PROTOCOL_DOMAIN),
            What::Other { reason, .. } => (reason.as_str(), OUR_DOMAIN),
        };
        let (reason, domain) = (quoted(reason), quoted(domain));
        let info = format!(r#"{{"@type":"{ERROR_INFO}","reason":{reason},"domain":{domain},"metadata":{metadata}}}"#);
        let all: Vec<&str> =
            [info.as_str()].into_iter().chain(details.into_iter().map(|detail| detail.get())).collect();
        format!("[{}]", all.join(","))
    }

    fn legacy_details(&self) -> Option<String> {
        if let Some(Details::Typed(raw) | Details::Any(raw)) = &self.details {
            return Some(raw.clone());
        }
        let mut data = Object::default();
        for (name, value) in &self.metadata {
            data.set(name, quoted(value));
        }
        (!self.metadata.is_empty()).then(|| data.to_string())
    }

    /// The same by gRPC. Clients of 0.3 know it by the name in its sentence.
    #[must_use]
    pub fn grpc_status(&self, version: Version) -> Status {
        let code = match self.kind() {
            // `NOT_FOUND` is for what a method has not found.
            Some(Kind::MethodNotFound) => "UNIMPLEMENTED",
            kind => grpc_code(self.status(), kind),
        };
        let message = match version {
            Version::V1_0 => self.message.clone(),
            Version::V0_3 => format!("{}: {}", self.name(), self.message),
        };
        status::status(code, &message, &self.typed_details())
    }

    fn name(&self) -> &'static str {
        self.kind().unwrap_or(Kind::Internal).row().name
    }

    fn status(&self) -> u16 {
        match &self.what {
            What::Known(kind) => kind.row().status,
            What::Other { status, .. } => *status,
        }
    }

    fn http_status(&self, version: Version) -> u16 {
        match (self.kind(), version) {
            (Some(Kind::TaskNotCancelable), Version::V0_3) => 409,
            _ => self.status(),
        }
    }
}

impl From<Unsupported> for Failure {
    fn from(Unsupported { requested }: Unsupported) -> Self {
        let all: Vec<&str> = Version::ALL.iter().map(|version| version.as_str()).collect();
        let message = format!("version `{requested}` is not spoken here, but {} are", all.join(" and "));
        Self::new(Kind::VersionNotSupported, message)
    }
}

/// The word of `google.rpc.Code` for a status of HTTP.
fn grpc_code(status: u16, kind: Option<Kind>) -> &'static str {
    match (status, kind) {
        (
            400,
            Some(Kind::Parse | Kind::InvalidRequest | Kind::InvalidParams | Kind::ContentTypeNotSupported) | None,
        )
        | (413, _) => "INVALID_ARGUMENT",
        (400 | 410 | 412, _) => "FAILED_PRECONDITION",
        (401, _) => "UNAUTHENTICATED",
        (402 | 429, _) => "RESOURCE_EXHAUSTED",
        (403, _) => "PERMISSION_DENIED",
        (404, _) => "NOT_FOUND",
        (502 | 503, _) => "UNAVAILABLE",
        (504, _) => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const OLD: Dialect = Dialect { version: Version::V0_3, binding: Binding::JsonRpc };
    const OLD_HTTP: Dialect = Dialect { version: Version::V0_3, binding: Binding::HttpJson };
    const NEW: Dialect = Dialect { version: Version::V1_0, binding: Binding::JsonRpc };
    const NEW_HTTP: Dialect = Dialect { version: Version::V1_0, binding: Binding::HttpJson };

    fn check(failure: &Failure, dialect: Dialect, status: u16, expected: &Value) {
        let answer = failure.answer(dialect, Some(&Id::number(1)));
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &body), (status, expected), "{dialect:?}");
        let event = failure.event(dialect, Some(&Id::number(1)));
        assert!(event.ends_with(format!("data: {}\n\n", answer.body).as_bytes()), "{event:?}");
    }

    #[test]
    fn an_error_of_the_specification_is_written_as_each_version_and_binding_has_it() {
        let failure = Failure::new(Kind::TaskNotCancelable, "it has ended").with("taskId", "t-1");
        let details = json!([{"@type": ERROR_INFO, "reason": "TASK_NOT_CANCELABLE", "domain": "a2a-protocol.org", "metadata": {"taskId": "t-1"}}]);
        let data = json!({"taskId": "t-1"});
        let envelope = |error: Value| json!({"jsonrpc": "2.0", "id": 1, "error": error});
        let error = |data: &Value| envelope(json!({"code": -32002, "message": "it has ended", "data": data}));
        check(&failure, NEW, 200, &error(&details));
        check(&failure, OLD, 200, &error(&data));
        let body = json!({"code": -32002, "type": "TaskNotCancelableError", "message": "it has ended", "data": data});
        check(&failure, OLD_HTTP, 409, &body);
        let error =
            json!({"code": 400, "status": "FAILED_PRECONDITION", "message": "it has ended", "details": details});
        check(&failure, NEW_HTTP, 400, &json!({"error": error}));
    }

    #[test]
    fn what_0_3_has_no_number_for_is_internal_to_its_clients() {
        let failure = Failure::new(Kind::VersionNotSupported, "no");
        assert_eq!((failure.code(Version::V1_0), failure.code(Version::V0_3)), (-32009, -32603));
        assert_eq!(Failure::new(Kind::ExtendedCardNotConfigured, "no").code(Version::V0_3), -32007);
    }

    #[test]
    fn the_details_of_an_agent_pass_as_they_are_where_the_version_has_a_place_for_them() {
        let typed =
            Failure::new(Kind::TaskNotFound, "no").with_details(Some(Details::Typed("[{\"@type\": 1.0}]".into())));
        let told = typed.answer(NEW, None).body;
        assert!(told.contains(r#""reason":"TASK_NOT_FOUND""#) && told.contains(r#"},{"@type": 1.0}]"#), "{told}");
        assert!(typed.answer(OLD, None).body.contains(r#""data":[{"@type": 1.0}]"#));
        let any = Failure::new(Kind::TaskNotFound, "no").with_details(Some(Details::Any("[1, \"a\"]".into())));
        assert!(any.answer(OLD, None).body.contains(r#""data":[1, "a"]"#));
        assert!(any.answer(NEW, None).body.contains(r#""metadata":{"data":"[1, \"a\"]"}"#));
    }

    #[test]
    fn an_agents_name_for_a_task_does_not_reach_the_client() {
        let details = Some(Details::Typed(r#"[{"metadata":{"taskId":"up-1"}}]"#.into()));
        let failure = Failure::new(Kind::TaskNotFound, "no task up-1").with_details(details).renamed("up-1", "t-1");
        let body = failure.answer(NEW, None).body;
        assert!(body.contains("no task t-1") && body.contains(r#""taskId":"t-1""#) && !body.contains("up-1"), "{body}");
    }

    #[test]
    fn only_a_missing_key_has_a_status_of_its_own_by_json_rpc() {
        for (status, expected) in [(401, 401), (403, 200), (503, 200)] {
            let failure = Failure::other(i64::from(status), status, "X".into(), "no");
            assert_eq!(failure.answer(NEW, None).status, expected);
            assert_eq!(failure.answer(NEW_HTTP, None).status, status);
        }
    }

    #[test]
    fn a_status_says_what_the_error_says() {
        let failure = Failure::new(Kind::TaskNotFound, "there is no task").with("taskId", "t");
        let new = failure.grpc_status(Version::V1_0);
        // Made by the official library.
        let details = "CAUSEHRoZXJlIGlzIG5vIHRhc2saWwoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkVycm9ySW5mbxIvCg5UQVNLX05PVF9GT1VORBIQYTJhLXByb3RvY29sLm9yZxoLCgZ0YXNrSWQSAXQ=";
        let found = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, new.details.as_ref().unwrap());
        assert_eq!(found, details);
        assert_eq!((new.name(), new.message.as_str()), ("NOT_FOUND", "there is no task"));
        let (message, name, details) = status::read(&new);
        assert_eq!((message.as_str(), name), ("there is no task", None));
        assert_eq!(details.as_deref(), Some(failure.typed_details().as_str()));

        let old = failure.grpc_status(Version::V0_3);
        assert_eq!(old.message, "TaskNotFoundError: there is no task");
        let (message, name, _) = status::read(&old);
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
            assert_eq!(Failure::new(kind, "no").grpc_status(Version::V1_0).name(), name, "{kind:?}");
        }
    }
}
