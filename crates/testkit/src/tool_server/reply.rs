//! What goes back over HTTP, before it is written as JSON or as an event.

use axum::http::{HeaderMap, StatusCode, header};
use serde_json::value::RawValue;

use crate::mcp::{Fault, fault_answer};

/// The name of the header that carries a session (MCP 2025-11-25, "Session Management").
pub(super) const SESSION_HEADER: &str = "mcp-session-id";

/// An answer of either era.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// A session that begins with this answer.
    pub(super) session: Option<String>,
    /// A JSON-RPC message, or nothing.
    pub(super) message: Option<String>,
}

impl Reply {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, session: None, message: None }
    }

    pub(super) fn message(message: String) -> Self {
        Self { status: StatusCode::OK, session: None, message: Some(message) }
    }

    pub(super) fn fault(status: StatusCode, id: Option<&RawValue>, fault: &Fault) -> Self {
        Self { status, session: None, message: Some(fault_answer(id, fault)) }
    }
}

/// The value of a header that is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether the client takes both forms that an answer may have, as it has to say.
pub(super) fn takes_both_forms(headers: &HeaderMap) -> bool {
    let accepted = text(headers, header::ACCEPT.as_str()).unwrap_or_default();
    ["application/json", "text/event-stream"].iter().all(|form| accepted.contains(form))
}
