//! Asking the person in front of a client whether a call may be made (elicitation): as a request on the stream of the call in the legacy era (2025-06-18 to 2025-11-25), as a result
//! that wants the call once more in the modern one (2026-07-28).
//!
//! What is asked is one form. An answer counts only if it says which: a client that accepts forms without showing them approves nothing.

use std::borrow::Cow;

use portcullis_domain::json;
use serde_json::value::RawValue;

use crate::decision::Decision;
use crate::frame::jsonrpc::{self, Id};
use crate::frame::object::{Object, quoted};
use crate::mcp::version::Version;

/// The name of what is asked for, in the modern era.
const KEY: &str = "approval";
/// What the form has.
const FORM: &str = r#"{"type":"object","properties":{"decision":{"type":"string","title":"Decision","description":"May this call be made?","enum":["approve","deny"]},"comment":{"type":"string","title":"Comment","maxLength":2000}},"required":["decision"]}"#;

/// What the person has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// Yes or no, and why.
    Said {
        /// Whether it is a yes.
        is_yes: bool,
        /// In their words.
        comment: Option<String>,
    },
    /// Nothing: the question was put away, or the answer can't be read.
    Nothing,
}

/// Whether a client of that version with these raw capabilities shows forms to whoever is in front of it.
#[must_use]
pub fn is_possible(version: Version, capabilities: &str) -> bool {
    let elicitation = Object::read(capabilities).ok().and_then(|mut all| all.take("elicitation").map(Cow::into_owned));
    let Some(modes) = elicitation.as_deref().and_then(|raw| Object::read(raw).ok()) else { return false };
    // Before there were modes, forms were all there was.
    version >= Version::V2025_06_18 && (modes.raw("form").is_some() || modes.raw("url").is_none())
}

/// The request of the legacy era.
#[must_use]
pub fn request(id: &Id<'_>, message: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"method":"elicitation/create","params":{}}}"#, id.as_raw(), params(message))
}

/// That nobody waits any more for the answer to the request.
#[must_use]
pub fn cancelled(id: &Id<'_>) -> String {
    let id = id.as_raw();
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"nobody has answered in time"}}}}"#
    )
}

/// The answer to `tools/call` of the modern era that asks; the client comes again with `state`.
#[must_use]
pub fn required(id: &Id<'_>, message: &str, state: &str) -> String {
    let result = format!(
        r#"{{"resultType":"input_required","inputRequests":{{"{KEY}":{{"method":"elicitation/create","params":{}}}}},"requestState":{}}}"#,
        params(message),
        quoted(state)
    );
    jsonrpc::result(id, &result)
}

/// The answer in the `inputResponses` of the modern era.
#[must_use]
pub fn read_responses(responses: Option<&RawValue>) -> Answered {
    let members = responses.and_then(|raw| json::members(raw.get()).ok()).unwrap_or_default();
    json::member(&members, KEY).map_or(Answered::Nothing, |raw| read(raw.get()))
}

/// The answer in the raw result of a request.
#[must_use]
pub fn read(result: &str) -> Answered {
    let members = json::members(result).unwrap_or_default();
    let text = |name: &str| json::member(&members, name).and_then(json::text);
    let content = json::member(&members, "content").map_or("{}", |content| content.get());
    match text("action").as_deref() {
        Some("decline") => Answered::Said { is_yes: false, comment: None },
        Some("accept") => read_form(content),
        _ => Answered::Nothing,
    }
}

fn read_form(content: &str) -> Answered {
    let said = |Decision { is_yes, comment }| Answered::Said { is_yes, comment };
    Decision::read(content).map_or(Answered::Nothing, said)
}

fn params(message: &str) -> String {
    format!(r#"{{"message":{},"requestedSchema":{FORM}}}"#, quoted(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_shows_forms_is_asked() {
        for (version, capabilities, expected) in [
            (Version::V2025_06_18, r#"{"elicitation":{}}"#, true),
            (Version::V2025_11_25, r#"{"elicitation":{"form":{},"url":{}}}"#, true),
            (Version::V2026_07_28, r#"{"sampling":{},"elicitation":{"form":{}}}"#, true),
            (Version::V2025_11_25, r#"{"elicitation":{"url":{}}}"#, false),
            (Version::V2025_03_26, r#"{"elicitation":{}}"#, false),
            (Version::V2025_11_25, r#"{"sampling":{}}"#, false),
            (Version::V2025_11_25, r#"{"elicitation":null}"#, false),
            (Version::V2025_11_25, r#"{"elicitation":true}"#, false),
            (Version::V2025_11_25, "[]", false),
        ] {
            assert_eq!(is_possible(version, capabilities), expected, "{version:?} {capabilities}");
        }
    }

    #[test]
    fn an_answer_counts_only_if_it_says_which() {
        let said = |is_yes, comment: Option<&str>| Answered::Said { is_yes, comment: comment.map(str::to_owned) };
        for (result, expected) in [
            (r#"{"action":"accept","content":{"decision":"approve"}}"#, said(true, None)),
            (r#"{"action":"accept","content":{"decision":"approve","comment":"ok"}}"#, said(true, Some("ok"))),
            (r#"{"action":"accept","content":{"decision":"deny","comment":" "}}"#, said(false, None)),
            (r#"{"action":"decline"}"#, said(false, None)),
            (r#"{"action":"decline","content":{"decision":"approve"}}"#, said(false, None)),
            (r#"{"action":"cancel"}"#, Answered::Nothing),
            (r#"{"action":"cancel","content":{"decision":"approve"}}"#, Answered::Nothing),
            (r#"{"action":"accept"}"#, Answered::Nothing),
            (r#"{"action":"accept","content":{}}"#, Answered::Nothing),
            (r#"{"action":"accept","content":{"decision":true}}"#, Answered::Nothing),
            (r#"{"action":"accept","content":{"decision":"yes"}}"#, Answered::Nothing),
            (r#"{"action":"accept","content":{"decision":"approve","comment":7}}"#, Answered::Nothing),
            (r#"{"action":"accept","content":{"decision":"deny","decision":"approve"}}"#, Answered::Nothing),
            (r#"{"action":"decline","action":"accept","content":{"decision":"approve"}}"#, Answered::Nothing),
            ("null", Answered::Nothing),
        ] {
            assert_eq!(read(result), expected, "{result}");
        }
        let responses: Box<RawValue> =
            serde_json::from_str(r#"{"approval":{"action":"accept","content":{"decision":"approve"}}}"#).unwrap();
        assert_eq!(read_responses(Some(&responses)), said(true, None));
        assert_eq!(read_responses(None), Answered::Nothing);
    }

    #[test]
    fn what_is_asked_is_json_whatever_the_message_says() {
        let message = "May \"it\" be?\n{";
        for written in
            [request(&Id::text("AQ"), message), cancelled(&Id::text("AQ")), required(&Id::number(3), message, "state")]
        {
            assert!(serde_json::from_str::<serde_json::Value>(&written).is_ok(), "{written}");
        }
        let asked: serde_json::Value = serde_json::from_str(&required(&Id::number(3), message, "state")).unwrap();
        assert_eq!(asked["result"]["inputRequests"]["approval"]["params"]["message"], message);
    }
}
