//! How the answers of upstream servers are understood.

use portcullis_domain::json;
use portcullis_domain::refusal::{Code, Refusal};

use crate::frame::jsonrpc::{self, Message};
use crate::frame::object::Object;
use crate::mcp::egress::reader::Outcome;
use crate::mcp::tool::Tool;
use crate::mcp::version::{self, Era, Version};

/// What a server says when it is greeted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The version that is spoken from here on.
    pub version: Version,
    /// What a model should know before it uses the server's tools.
    pub instructions: Option<String>,
    /// Whether it has tools at all.
    pub has_tools: bool,
}

/// Reads the answer to [`discover`](super::discover): a greeting, or none when [`initialize`](super::initialize) is to be tried next.
///
/// A server that does not know the method may answer with any error of JSON-RPC, or with an HTTP status and no message at all
/// (`outcome` is none then).
///
/// # Errors
///
/// [`Code::UpstreamFailed`] when trying again in another way would not help: the gateway is not let in, or the server is down.
pub fn read_discovery(status: u16, outcome: Option<&Outcome>) -> Result<Option<Greeting>, Refusal> {
    if matches!(status, 401 | 403) || status >= 500 {
        return Err(failed(format!("HTTP status {status}")));
    }
    match outcome {
        Some(Outcome::Result(raw)) => Ok(discovery(raw)),
        Some(Outcome::Error { code: version::UNSUPPORTED, data: Some(data), .. }) if !speaks_legacy(data) => {
            Err(failed(format!("no version in common: {data}")))
        }
        Some(Outcome::Error { .. }) | None => Ok(None),
    }
}

/// Reads the result of [`initialize`](super::initialize).
///
/// # Errors
///
/// [`Code::UpstreamFailed`] when it is none, or names a version that is not spoken here.
pub fn read_initialized(outcome: &Outcome) -> Result<Greeting, Refusal> {
    let raw = result_of(outcome)?;
    let result = Object::read(raw).map_err(failed)?;
    let version: Option<String> = result.raw("protocolVersion").and_then(|raw| serde_json::from_str(raw).ok());
    let version = version.as_deref().and_then(Version::read).filter(|version| version.era() == Era::Legacy);
    let version = version.ok_or_else(|| failed(format!("the server names no version that is spoken here: {raw}")))?;
    Ok(greeting(version, &result))
}

/// Reads a page of tools, and where the next one begins. Entries that can't be read are told apart, as they don't spoil the others.
///
/// # Errors
///
/// [`Code::UpstreamFailed`] when the page itself can't be read.
pub fn read_tools(outcome: &Outcome) -> Result<ToolPage, Refusal> {
    let result = Object::read(result_of(outcome)?).map_err(failed)?;
    let entries = json::items(result.raw("tools").unwrap_or_default()).map_err(failed)?;
    let cursor = result.raw("nextCursor").filter(|raw| *raw != "null");
    let mut page =
        ToolPage { next_cursor: cursor.map(serde_json::from_str).transpose().map_err(failed)?, ..ToolPage::default() };
    for entry in entries {
        match Tool::read(entry.get()) {
            Ok(tool) => page.tools.push(tool),
            Err(problem) => page.problems.push(problem),
        }
    }
    Ok(page)
}

/// One page of a server's tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolPage {
    /// The tools.
    pub tools: Vec<Tool>,
    /// What was wrong with entries that are left out.
    pub problems: Vec<String>,
    /// Where the next page begins; a server that says so for ever must be cut off by the caller.
    pub next_cursor: Option<String>,
}

/// Reads the error in an answer with an HTTP status other than 2xx, where the body has one.
#[must_use]
pub fn read_failure(body: &[u8]) -> Option<Outcome> {
    match jsonrpc::read(body) {
        Ok(Message::Response(response)) => match response.outcome {
            jsonrpc::Outcome::Error(error) => Some(Outcome::of_error(&error)),
            jsonrpc::Outcome::Result(_) => None,
        },
        Ok(Message::Request(_) | Message::Notification(_)) | Err(_) => None,
    }
}

/// Reads the result of a tool call.
///
/// # Errors
///
/// [`Code::UpstreamFailed`] when the server has answered with an error or asks for something in the middle of the call.
pub fn read_called(outcome: &Outcome) -> Result<&str, Refusal> {
    let raw = result_of(outcome)?;
    let kind = Object::read(raw).map_err(failed)?.raw("resultType").map(str::to_owned);
    match kind.as_deref() {
        None | Some(r#""complete""#) => Ok(raw),
        Some(_) => Err(Refusal::new(
            Code::UpstreamFailed,
            "the tool asks for input in the middle of a call, which is not served yet",
        )),
    }
}

fn result_of(outcome: &Outcome) -> Result<&str, Refusal> {
    match outcome {
        Outcome::Result(raw) => Ok(raw),
        Outcome::Error { code, message, .. } => {
            Err(Refusal::new(Code::UpstreamFailed, format!("the server says: {message}"))
                .because(format!("error {code}")))
        }
    }
}

fn discovery(raw: &str) -> Option<Greeting> {
    let result = Object::read(raw).ok()?;
    let versions: Vec<String> = serde_json::from_str(result.raw("supportedVersions")?).ok()?;
    let is_modern = versions.iter().any(|version| version == Version::MODERN.as_str());
    is_modern.then(|| greeting(Version::MODERN, &result))
}

fn greeting(version: Version, result: &Object<'_>) -> Greeting {
    let capabilities = result.raw("capabilities").and_then(|raw| Object::read(raw).ok());
    Greeting {
        version,
        instructions: result.raw("instructions").and_then(|raw| serde_json::from_str(raw).ok()),
        has_tools: capabilities.is_some_and(|capabilities| capabilities.raw("tools").is_some()),
    }
}

/// Whether the data of an error on versions leaves room for `initialize`.
fn speaks_legacy(data: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Data {
        supported: Vec<String>,
    }
    let supported = serde_json::from_str::<Data>(data).map(|data| data.supported).unwrap_or_default();
    supported.is_empty()
        || supported.iter().any(|version| Version::read(version).is_some_and(|version| version.era() == Era::Legacy))
}

fn failed(problem: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::UpstreamFailed, "the server's answer can't be used").because(problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_era_of_a_server_is_found_out() {
        let result = |raw: &str| Some(Outcome::Result(raw.to_owned()));
        let error = |code: i64, data: Option<&str>| {
            Some(Outcome::Error { code, message: "no".into(), data: data.map(str::to_owned) })
        };
        let found = |greeting: Option<Greeting>| {
            greeting.map_or("initialize".to_owned(), |greeting| greeting.version.as_str().to_owned())
        };
        for (status, outcome, expected) in [
            (
                200,
                result(r#"{"supportedVersions":["2026-07-28","2025-11-25"],"capabilities":{"tools":{}}}"#),
                Some("2026-07-28"),
            ),
            (200, result(r#"{"supportedVersions":["2025-11-25"]}"#), Some("initialize")),
            (200, result("{}"), Some("initialize")),
            (200, error(-32601, None), Some("initialize")),
            (400, error(-32000, None), Some("initialize")),
            (400, error(-32022, Some(r#"{"supported":["2025-11-25"]}"#)), Some("initialize")),
            (400, error(-32022, Some(r#"{"supported":["2099-01-01"]}"#)), None),
            (404, None, Some("initialize")),
            (401, error(-32000, None), None),
            (403, None, None),
            (503, None, None),
        ] {
            let read = read_discovery(status, outcome.as_ref()).ok().map(found);
            assert_eq!(read.as_deref(), expected, "{status} {outcome:?}");
        }
        let raw = r#"{"protocolVersion":"2025-03-26","capabilities":{"tools":{}},"instructions":"hi"}"#;
        let greeting = read_initialized(&Outcome::Result(raw.to_owned())).unwrap();
        assert_eq!(
            (greeting.version, greeting.instructions.as_deref(), greeting.has_tools),
            (Version::V2025_03_26, Some("hi"), true)
        );
        assert!(read_initialized(&Outcome::Result(raw.replace("2025-03-26", "2026-07-28"))).is_err());
        assert_eq!(read_failure(br#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"no"}}"#), error(-32000, None));
        assert_eq!(read_failure(b"<html>"), None);
    }

    #[test]
    fn an_entry_that_can_not_be_read_does_not_spoil_the_page() {
        let page = Outcome::Result(r#"{"tools":[{"name":"a","x":1.0},{"name":5}],"nextCursor":"2"}"#.to_owned());
        let page = read_tools(&page).unwrap();
        assert_eq!(page.tools.iter().map(|tool| tool.raw.as_str()).collect::<Vec<_>>(), [r#"{"name":"a","x":1.0}"#]);
        assert_eq!((page.problems.len(), page.next_cursor.as_deref()), (1, Some("2")));
        for raw in ["{}", r#"{"tools":{}}"#, "[]"] {
            assert!(read_tools(&Outcome::Result(raw.to_owned())).is_err(), "{raw}");
        }
    }

    #[test]
    fn a_result_is_told_from_what_is_none() {
        let read = |raw: &str| {
            read_called(&Outcome::Result(raw.to_owned())).map(str::to_owned).map_err(|refusal| refusal.code)
        };
        assert_eq!(read(r#"{ "content":[] }"#), Ok(r#"{ "content":[] }"#.to_owned()));
        assert_eq!(read(r#"{"resultType":"complete"}"#), Ok(r#"{"resultType":"complete"}"#.to_owned()));
        assert_eq!(read(r#"{"resultType":"input_required","requestState":"x"}"#), Err(Code::UpstreamFailed));
        let refusal =
            read_called(&Outcome::Error { code: -32602, message: "Unknown tool: x".into(), data: None }).unwrap_err();
        assert_eq!(refusal.message, "the server says: Unknown tool: x");
    }
}
