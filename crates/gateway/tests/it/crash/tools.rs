//! Calls of tools that leave a trace, each with an id of its own, by both ways of MCP and to all servers. Some are over the limit and must leave none.

use std::time::Duration;

use portcullis_domain::digest::Digest;
use portcullis_domain::ids::SessionId;
use portcullis_testkit::mcp;
use serde_json::Value;

use super::callers::{Caller, End};
use super::notes::{Heard, ToolNote};
use super::site::{CHILD, LEGACY, LIMIT_OF_AMOUNTS, MODERN};

/// The version of stateless clients.
const VERSION: &str = "2026-07-28";
/// What a call that may not be made is answered with.
const DENIED: &str = "Limit Exceeded";

/// A call that leaves a trace.
struct Tracing {
    server: &'static str,
    /// The tool as the server calls it.
    tool: &'static str,
    id: String,
    arguments: String,
    is_denied: bool,
    session: SessionId,
}

/// One call as clients of 2025-11-25 make it, in a connection of its own or after the first.
pub(super) async fn legacy(caller: &mut Caller) -> Result<(), End> {
    let http = caller.http.clone();
    let session = caller.session();
    let path = if caller.chance.one_in(2) { None } else { Some(server(caller)) };
    let mut client = mcp::Client::new(
        http.with_header("portcullis-session", session.name.as_str()),
        &path.map_or("/mcp".to_owned(), |server| format!("/mcp/{server}")),
    );
    // The greeting says nothing of tools; a few calls follow it.
    for _ in 0..=caller.chance.below(4) {
        let tracing = tracing(caller, path, session.clone());
        let name =
            if path.is_some() { tracing.tool.to_owned() } else { format!("{}__{}", tracing.server, tracing.tool) };
        sent(caller, &tracing);
        let answer = client.call_tool(&name, &tracing.arguments, None).await?;
        heard(caller, &tracing, answer.is_error, &answer.text)?;
    }
    Ok(())
}

/// One call as clients of 2026-07-28 make it; some leave before the answer, which cancels it.
pub(super) async fn modern(caller: &mut Caller) -> Result<(), End> {
    let session = caller.session();
    let tracing = tracing(caller, None, session);
    let name = format!("{}__{}", tracing.server, tracing.tool);
    let meta = format!(
        r#"{{"io.modelcontextprotocol/protocolVersion":"{VERSION}","io.modelcontextprotocol/clientInfo":{{"name":"crash","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}"#
    );
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":"{}","method":"tools/call","params":{{"name":"{name}","arguments":{},"_meta":{meta}}}}}"#,
        tracing.id, tracing.arguments
    );
    let headers = [
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", VERSION),
        ("mcp-method", "tools/call"),
        ("mcp-name", name.as_str()),
        ("portcullis-session", tracing.session.name.as_str()),
    ];
    sent(caller, &tracing);
    let patience = if caller.chance.one_in(12) { caller.chance.below(12) } else { 600_000 };
    let answer = caller.http.send("POST", "/mcp", &headers, Some(body));
    let Ok(answer) = tokio::time::timeout(Duration::from_millis(patience), answer).await else {
        caller.notes.lock().left += 1;
        return Ok(());
    };
    let answer = answer?;
    let result = answer.json()["result"].clone();
    let (is_error, text) = (result["isError"] == Value::Bool(true), result["content"][0]["text"].as_str());
    match text {
        Some(text) if answer.status == 200 => heard(caller, &tracing, is_error, text),
        _ => Err(End::Wrong(format!("{} {}", answer.status, answer.text()))),
    }
}

fn server(caller: &mut Caller) -> &'static str {
    match caller.chance.below(4) {
        0 => CHILD,
        1 => LEGACY,
        _ => MODERN,
    }
}

fn tracing(caller: &mut Caller, server_of_path: Option<&'static str>, session: SessionId) -> Tracing {
    let server = server_of_path.unwrap_or_else(|| server(caller));
    let id = caller.next();
    let is_denied = caller.chance.one_in(8);
    let amount = if is_denied { LIMIT_OF_AMOUNTS + 1 } else { caller.chance.below(LIMIT_OF_AMOUNTS) };
    let (tool, arguments) = if server == CHILD {
        ("approve_payment", format!(r#"{{"claim_id":"{id}","amount":{amount}.50}}"#))
    } else {
        ("record", format!(r#"{{"id":"{id}", "value":{amount}.50}}"#))
    };
    Tracing { server, tool, id, arguments, is_denied, session }
}

/// Noted before it is sent: whatever comes of it, its effect is known to have a sender.
fn sent(caller: &Caller, tracing: &Tracing) {
    let note = ToolNote { id: tracing.id.clone(), server: tracing.server, heard: Heard::Nothing };
    caller.notes.lock().tools.insert(digest(tracing), note);
}

fn heard(caller: &Caller, tracing: &Tracing, is_error: bool, text: &str) -> Result<(), End> {
    let done = [format!("recorded {}", tracing.id), format!("paid for {}.", tracing.id)];
    let heard = match (is_error, tracing.is_denied) {
        (false, false) if done.iter().any(|done| text.ends_with(done)) => Heard::Done,
        (true, true) if text.contains(DENIED) => Heard::Denied,
        _ => return Err(End::Wrong(format!("{} of {} is answered with `{text}`", tracing.arguments, tracing.server))),
    };
    if let Some(note) = caller.notes.lock().tools.get_mut(&digest(tracing)) {
        note.heard = heard;
    }
    Ok(())
}

fn digest(tracing: &Tracing) -> Digest {
    Digest::of(tracing.arguments.as_bytes())
}
