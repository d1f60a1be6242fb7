//! What an agent gets from the gateway's own MCP endpoint, in the words of its era.

use std::borrow::Cow;

use portcullis_domain::refusal::{Code, Refusal};

use crate::frame::jsonrpc::{self, Id};
use crate::frame::object::{Object, quoted};
use crate::mcp::meta;
use crate::mcp::version::{Era, Version};

const COMPLETE: &str = r#""complete""#;
/// What is served: nobody is told of changes.
const CAPABILITIES: &str = r#"{"tools":{"listChanged":false},"resources":{"subscribe":false,"listChanged":false}}"#;

/// Who the gateway says that it is.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What a model should know before it uses the tools.
    pub instructions: Option<&'a str>,
}

impl Server<'_> {
    fn info(&self) -> String {
        format!("{{\"name\":{},\"version\":{}}}", quoted(self.name), quoted(self.version))
    }
}

/// The answer to `initialize`; `version` is the one that was negotiated.
#[must_use]
pub fn initialized(id: &Id<'_>, version: Version, server: &Server<'_>) -> String {
    let mut result = Object::default();
    result.set("protocolVersion", quoted(version.as_str()));
    result.set("capabilities", CAPABILITIES);
    result.set("serverInfo", server.info());
    if let Some(instructions) = server.instructions {
        result.set("instructions", quoted(instructions));
    }
    jsonrpc::result(id, &result.to_string())
}

/// The answer to `server/discover`.
#[must_use]
pub fn discovered(id: &Id<'_>, server: &Server<'_>) -> String {
    let mut result = Object::default();
    result.set("supportedVersions", format!("[{}]", quoted(Version::MODERN.as_str())));
    result.set("capabilities", CAPABILITIES);
    if let Some(instructions) = server.instructions {
        result.set("instructions", quoted(instructions));
    }
    jsonrpc::result(id, &uncached(result, server))
}

/// The answer to `ping`.
#[must_use]
pub fn pong(id: &Id<'_>) -> String {
    jsonrpc::result(id, "{}")
}

/// The answer to `tools/list`, of entries that [`Tool::entry`](crate::mcp::Tool::entry) wrote for the era.
#[must_use]
pub fn tools<'a>(
    id: &Id<'_>,
    era: Era,
    entries: impl IntoIterator<Item = &'a str>,
    next_cursor: Option<&str>,
    server: &Server<'_>,
) -> String {
    let entries: Vec<&str> = entries.into_iter().collect();
    let mut result = Object::default();
    result.set("tools", format!("[{}]", entries.join(",")));
    if let Some(cursor) = next_cursor {
        result.set("nextCursor", quoted(cursor));
    }
    jsonrpc::result(id, &of_era(era, result, server))
}

/// The answer to `tools/call`, of the raw result that came from upstream or from [`refuse::mcp_tool_result`](crate::refuse::mcp_tool_result). It is the same bytes
/// but for what only the other era knows.
///
/// # Errors
///
/// [`Code::UpstreamFailed`] when the result is no object or asks for something instead of being one.
pub fn called(id: &Id<'_>, era: Era, result: &str) -> Result<String, Refusal> {
    let failed =
        |problem: String| Refusal::new(Code::UpstreamFailed, "the tool's result can't be read").because(problem);
    Ok(jsonrpc::result(id, &bridged(era, result).map_err(failed)?))
}

/// A message as an event of a stream.
#[must_use]
pub fn event(message: &str) -> String {
    format!("event: message\ndata: {message}\n\n")
}

fn bridged(era: Era, raw: &str) -> Result<Cow<'_, str>, String> {
    let mut result = Object::read(raw)?;
    let kind = result.raw("resultType");
    if kind.is_some_and(|kind| kind != COMPLETE) {
        return Err("the result is not complete".to_owned());
    }
    match era {
        Era::Modern if kind.is_some() => return Ok(Cow::Borrowed(raw)),
        Era::Modern => result.set("resultType", COMPLETE),
        Era::Legacy => {
            let is_structured_otherwise =
                result.raw("structuredContent").is_some_and(|content| !content.starts_with('{'));
            if !result.remove("resultType") && !is_structured_otherwise {
                return Ok(Cow::Borrowed(raw));
            }
            if is_structured_otherwise {
                result.remove("structuredContent");
            }
        }
    }
    Ok(Cow::Owned(result.to_string()))
}

/// A result with what its era demands.
pub(super) fn of_era(era: Era, result: Object<'_>, server: &Server<'_>) -> String {
    match era {
        Era::Legacy => result.to_string(),
        Era::Modern => uncached(result, server),
    }
}

/// A modern result that nobody may keep: what is seen depends on who asks.
fn uncached(mut result: Object<'_>, server: &Server<'_>) -> String {
    result.set("resultType", COMPLETE);
    result.set("ttlMs", "0");
    result.set("cacheScope", r#""private""#);
    result.set("_meta", format!("{{\"{}\":{}}}", meta::SERVER, server.info()));
    result.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Server<'_> = Server { name: "portcullis", version: "0.1.0", instructions: Some("say \"hi\"") };

    #[test]
    fn a_client_is_greeted_in_its_era() {
        assert_eq!(
            initialized(&Id::number(0), Version::V2025_06_18, &SERVER),
            r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":false},"resources":{"subscribe":false,"listChanged":false}},"serverInfo":{"name":"portcullis","version":"0.1.0"},"instructions":"say \"hi\""}}"#
        );
        assert_eq!(
            discovered(&Id::number(1), &Server { instructions: None, ..SERVER }),
            r#"{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":false},"resources":{"subscribe":false,"listChanged":false}},"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"portcullis","version":"0.1.0"}}}}"#
        );
        assert_eq!(pong(&Id::number(2)), r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
    }

    #[test]
    fn a_list_has_what_its_era_demands() {
        let entries = [r#"{"name":"a","inputSchema":{"type":"object"}}"#, r#"{"name":"b"}"#];
        assert_eq!(
            tools(&Id::number(1), Era::Legacy, entries, Some("2"), &SERVER),
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","inputSchema":{"type":"object"}},{"name":"b"}],"nextCursor":"2"}}"#
        );
        assert_eq!(
            tools(&Id::number(1), Era::Modern, [], None, &SERVER),
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"portcullis","version":"0.1.0"}}}}"#
        );
    }

    #[test]
    fn a_result_passes_but_for_what_the_other_era_does_not_know() {
        for (era, result, expected) in [
            (Era::Legacy, r#"{ "content":[ ], "x":1.0 }"#, r#"{ "content":[ ], "x":1.0 }"#),
            (Era::Modern, r#"{ "resultType":"complete","content":[ ]}"#, r#"{ "resultType":"complete","content":[ ]}"#),
            (Era::Modern, r#"{ "content":[ ], "x":1.0 }"#, r#"{"content":[ ],"x":1.0,"resultType":"complete"}"#),
            (
                Era::Legacy,
                r#"{"resultType":"complete","content":[],"structuredContent":{"a":1.0}}"#,
                r#"{"content":[],"structuredContent":{"a":1.0}}"#,
            ),
            (Era::Legacy, r#"{"content":[],"structuredContent":[1]}"#, r#"{"content":[]}"#),
            (
                Era::Modern,
                r#"{"resultType":"complete","structuredContent":[1]}"#,
                r#"{"resultType":"complete","structuredContent":[1]}"#,
            ),
        ] {
            let answer = called(&Id::number(1), era, result).unwrap();
            assert_eq!(answer, format!(r#"{{"jsonrpc":"2.0","id":1,"result":{expected}}}"#));
        }
        for result in
            ["null", "[]", r#"{"resultType":"input_required","requestState":"x"}"#, r#"{"content":[],"content":[]}"#]
        {
            assert_eq!(called(&Id::number(1), Era::Modern, result).unwrap_err().code, Code::UpstreamFailed);
        }
    }
}
