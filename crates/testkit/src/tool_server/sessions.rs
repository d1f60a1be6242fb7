//! The era of sessions: MCP 2025-11-25, "Streamable HTTP".

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::json;
use serde_json::value::RawValue;

use super::reply::{Reply, SESSION_HEADER, takes_both_forms, text};
use super::tools;
use crate::mcp::{Fault, Incoming, LEGACY_VERSIONS, ToolCall, ToolResult, answer, initialized, read};

/// How many sessions may be open; the oldest is ended for one more.
const MAX_SESSIONS: usize = 10_000;

/// The sessions that are open.
pub(super) struct Sessions {
    /// Whether there is a tool `count`.
    is_counting: bool,
    /// Locked to look up or change, never across a wait.
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// With how often `count` was called in each.
    numbers: BTreeMap<u64, u64>,
    last: u64,
}

impl Sessions {
    pub(super) fn new(is_counting: bool) -> Self {
        Self { is_counting, open: Mutex::default() }
    }

    /// Counts a call of `count`.
    fn count(&self, session: &str) -> u64 {
        let number = session.strip_prefix("session-").and_then(|number| number.parse::<u64>().ok());
        let mut open = self.open();
        let Some(count) = number.and_then(|number| open.numbers.get_mut(&number)) else { return 0 };
        *count += 1;
        *count
    }

    /// Ends all sessions, as a restart of the server would.
    pub(super) fn forget(&self) {
        self.open().numbers.clear();
    }

    fn begin(&self) -> String {
        let mut open = self.open();
        open.last += 1;
        let number = open.last;
        open.numbers.insert(number, 0);
        if open.numbers.len() > MAX_SESSIONS {
            open.numbers.pop_first();
        }
        format!("session-{number}")
    }

    fn end(&self, session: &str) {
        self.open().numbers.retain(|number, _| format!("session-{number}") != session);
    }

    /// What is wrong with the session that a request names.
    fn check(&self, headers: &HeaderMap) -> Result<String, Reply> {
        let Some(session) = text(headers, SESSION_HEADER) else {
            let fault = Fault::new(-32000, "Bad Request: Server not initialized");
            return Err(Reply::fault(StatusCode::BAD_REQUEST, None, &fault));
        };
        let number = session.strip_prefix("session-").and_then(|number| number.parse().ok());
        if number.is_some_and(|number| self.open().numbers.contains_key(&number)) {
            return Ok(session.to_owned());
        }
        Err(Reply::fault(StatusCode::NOT_FOUND, None, &Fault::new(-32001, "Session not found")))
    }

    /// No operation leaves the set half changed, so a panic elsewhere does not matter.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers any request to the endpoint.
pub(super) async fn reply(
    sessions: &Sessions,
    method: &Method,
    headers: &HeaderMap,
    body: &str,
    effects: &Path,
) -> Reply {
    match *method {
        Method::POST => {}
        Method::DELETE => {
            return match sessions.check(headers) {
                Ok(session) => {
                    sessions.end(&session);
                    Reply::empty(StatusCode::OK)
                }
                Err(reply) => reply,
            };
        }
        _ => return Reply::empty(StatusCode::METHOD_NOT_ALLOWED),
    }
    if !takes_both_forms(headers) {
        return Reply::empty(StatusCode::NOT_ACCEPTABLE);
    }
    let incoming = match read(body) {
        Ok(incoming) => incoming,
        Err(fault) => return Reply::fault(StatusCode::BAD_REQUEST, None, &fault),
    };
    if let Incoming::Request { id, method, params } = &incoming
        && method == "initialize"
    {
        let message = answer(id, Ok(initialized(params.as_deref(), "sample")));
        return Reply { session: Some(sessions.begin()), ..Reply::message(message) };
    }
    let session = match sessions.check(headers) {
        Ok(session) => session,
        Err(reply) => return reply,
    };
    if text(headers, "mcp-protocol-version").is_some_and(|version| !LEGACY_VERSIONS.contains(&version)) {
        let fault = Fault::new(Fault::INVALID_REQUEST, "unsupported MCP-Protocol-Version");
        return Reply::fault(StatusCode::BAD_REQUEST, None, &fault);
    }
    match incoming {
        Incoming::Request { id, method, params } => {
            let called =
                params.as_deref().filter(|_| method == "tools/call").and_then(|raw| ToolCall::read(Some(raw)).ok());
            if sessions.is_counting && called.is_some_and(|call| call.name == "count") {
                let result = ToolResult::text(sessions.count(&session).to_string());
                return Reply::message(answer(&id, Ok(result.to_json())));
            }
            request(sessions.is_counting, &id, &method, params.as_deref(), effects).await
        }
        Incoming::Notification | Incoming::Response => Reply::empty(StatusCode::ACCEPTED),
    }
}

async fn request(is_counting: bool, id: &RawValue, method: &str, params: Option<&RawValue>, effects: &Path) -> Reply {
    let outcome = match method {
        "ping" => Ok(json!({})),
        "tools/list" => Ok(tools::listed(is_counting)),
        "tools/call" => match ToolCall::read(params) {
            Ok(call) => tools::call(&call, effects).await,
            Err(fault) => Err(fault),
        },
        _ => Err(Fault::unknown_method()),
    };
    Reply::message(answer(id, outcome))
}
