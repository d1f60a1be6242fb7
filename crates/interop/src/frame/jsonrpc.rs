//! JSON-RPC 2.0 envelopes (<https://www.jsonrpc.org/specification>) over raw JSON, as strict as the Model Context Protocol wants them.
//!
//! Refused are batches, members that stand twice, ids other than texts and whole numbers, and parameters that are no object.
//! Ids, parameters, results and error data stay as they were written.

use std::borrow::Cow;
use std::fmt;

use portcullis_domain::json::{self, Members};
use serde_json::value::RawValue;

use crate::frame::object::quoted;

/// The message is no JSON.
pub const PARSE_ERROR: i64 = -32700;
/// The message is JSON but no request, notification or response.
pub const INVALID_REQUEST: i64 = -32600;
/// There is no such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The parameters do not fit the method.
pub const INVALID_PARAMS: i64 = -32602;
/// Something failed that the caller can't mend.
pub const INTERNAL_ERROR: i64 = -32603;

/// One message, as either side may send it.
#[derive(Debug, Clone)]
pub enum Message<'a> {
    /// Wants an answer.
    Request(Request<'a>),
    /// Wants none.
    Notification(Notification<'a>),
    /// Is one.
    Response(Response<'a>),
}

/// A call of a method.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What the answer must repeat.
    pub id: Id<'a>,
    /// The method.
    pub method: Cow<'a, str>,
    /// A JSON object, if there is one.
    pub params: Option<&'a RawValue>,
}

/// A message that nobody answers.
#[derive(Debug, Clone)]
pub struct Notification<'a> {
    /// The method.
    pub method: Cow<'a, str>,
    /// A JSON object, if there is one.
    pub params: Option<&'a RawValue>,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Response<'a> {
    /// The id of the request; none on errors about requests whose id could not be read.
    pub id: Option<Id<'a>>,
    /// What came of it.
    pub outcome: Outcome<'a>,
}

/// What came of a request.
#[derive(Debug, Clone)]
pub enum Outcome<'a> {
    /// The method's result.
    Result(&'a RawValue),
    /// Why there is none.
    Error(ErrorObject<'a>),
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorObject<'a> {
    /// The number of the error.
    pub code: i64,
    /// A sentence.
    pub message: Cow<'a, str>,
    /// Raw JSON of any type.
    pub data: Option<Cow<'a, str>>,
}

/// The id of a request: raw JSON of a text or a whole number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id<'a>(Cow<'a, str>);

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed<'a> {
    /// [`PARSE_ERROR`] or [`INVALID_REQUEST`].
    pub code: i64,
    /// What is wrong, for the sender.
    pub message: String,
    /// The id, where there is one that can be read: clients match refusals by it.
    pub id: Option<Id<'a>>,
}

/// Reads one message.
///
/// # Errors
///
/// [`Malformed`], which says what to answer.
pub fn read(body: &[u8]) -> Result<Message<'_>, Malformed<'_>> {
    let malformed = |code, message: &str| Malformed { code, message: message.to_owned(), id: None };
    let text = std::str::from_utf8(body).map_err(|_| malformed(PARSE_ERROR, "the message is not UTF-8"))?;
    if text.trim_start().starts_with('[') {
        return Err(malformed(INVALID_REQUEST, "batches are not accepted"));
    }
    let members = json::members(text)
        .map_err(|problem| malformed(fault_of(text), &format!("the message can't be read: {problem}")))?;
    let id = json::member(&members, "id").map(Id::read);
    let known_id = id.clone().flatten();
    read_members(&members, id).map_err(|message| Malformed { code: INVALID_REQUEST, message, id: known_id })
}

/// An object with a member twice is JSON, if only just; everything else that can't be read is a syntax error.
fn fault_of(text: &str) -> i64 {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => INVALID_REQUEST,
        Err(_) => PARSE_ERROR,
    }
}

fn read_members<'a>(members: &Members<'a>, id: Option<Option<Id<'a>>>) -> Result<Message<'a>, String> {
    let member = |name| json::member(members, name);
    if member("jsonrpc").and_then(json::text).as_deref() != Some("2.0") {
        return Err("`jsonrpc` is not \"2.0\"".to_owned());
    }
    let (method, result, error) = (member("method"), member("result"), member("error"));
    if let Some(method) = method {
        if result.is_some() || error.is_some() {
            return Err("a message with a `method` has no `result` and no `error`".to_owned());
        }
        let method = json::text(method).ok_or("`method` is not a text")?;
        let params = member("params");
        if params.is_some_and(|params| !params.get().starts_with('{')) {
            return Err("`params` is not an object".to_owned());
        }
        return match id {
            None => Ok(Message::Notification(Notification { method, params })),
            Some(Some(id)) => Ok(Message::Request(Request { id, method, params })),
            Some(None) => Err("`id` is neither a text nor a whole number".to_owned()),
        };
    }
    let outcome = match (result, error) {
        (Some(result), None) => Outcome::Result(result),
        (None, Some(error)) => Outcome::Error(ErrorObject::read(error)?),
        (None, None) => return Err("there is no `method`, no `result` and no `error`".to_owned()),
        (Some(_), Some(_)) => return Err("there is both a `result` and an `error`".to_owned()),
    };
    let has_id = matches!(id, Some(Some(_)));
    let may_lack_id = matches!(outcome, Outcome::Error(_)) && member("id").is_none_or(|id| id.get() == "null");
    if !has_id && !may_lack_id {
        return Err("`id` is neither a text nor a whole number".to_owned());
    }
    Ok(Message::Response(Response { id: id.flatten(), outcome }))
}

impl<'a> Id<'a> {
    fn read(raw: &'a RawValue) -> Option<Self> {
        let text = raw.get();
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        (is_whole || json::text(raw).is_some()).then_some(Self(Cow::Borrowed(text)))
    }

    /// The id of a request that the gateway makes.
    #[must_use]
    pub fn number(number: u64) -> Self {
        Self(Cow::Owned(number.to_string()))
    }

    /// The id of a request that the gateway makes, as a text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(Cow::Owned(quoted(text)))
    }

    /// What it says, where it is a text.
    #[must_use]
    pub fn as_text(&self) -> Option<String> {
        serde_json::from_str(&self.0).ok()
    }

    /// The id as it was written.
    #[must_use]
    pub fn as_raw(&self) -> &str {
        &self.0
    }

    /// The same, free of the message that it was read from.
    #[must_use]
    pub fn into_owned(self) -> Id<'static> {
        Id(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for Id<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl<'a> ErrorObject<'a> {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<Cow<'a, str>>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The same with raw JSON as its data.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<Cow<'a, str>>) -> Self {
        self.data = Some(data.into());
        self
    }

    fn read(raw: &'a RawValue) -> Result<Self, String> {
        let members = json::members(raw.get()).map_err(|problem| format!("`error` can't be read: {problem}"))?;
        let code = json::member(&members, "code").and_then(|code| code.get().parse().ok());
        let message = json::member(&members, "message").and_then(json::text);
        Ok(Self {
            code: code.ok_or("the error's `code` is not a whole number")?,
            message: message.ok_or("the error's `message` is not a text")?,
            data: json::member(&members, "data").map(|data| Cow::Borrowed(data.get())),
        })
    }
}

/// A request; `params` is a raw JSON object.
#[must_use]
pub fn request(id: &Id<'_>, method: &str, params: Option<&str>) -> String {
    let params = params.map(|params| format!(",\"params\":{params}")).unwrap_or_default();
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{}{params}}}", quoted(method))
}

/// A notification; `params` is a raw JSON object.
#[must_use]
pub fn notification(method: &str, params: Option<&str>) -> String {
    let params = params.map(|params| format!(",\"params\":{params}")).unwrap_or_default();
    format!("{{\"jsonrpc\":\"2.0\",\"method\":{}{params}}}", quoted(method))
}

/// The answer with the raw JSON `result`.
#[must_use]
pub fn result(id: &Id<'_>, result: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}")
}

/// The answer that there is no result; without an id where the request's could not be read.
#[must_use]
pub fn error(id: Option<&Id<'_>>, error: &ErrorObject<'_>) -> String {
    let id = id.map_or("null", Id::as_raw);
    let data = error.data.as_ref().map(|data| format!(",\"data\":{data}")).unwrap_or_default();
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{},\"message\":{}{data}}}}}",
        error.code,
        quoted(&error.message)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message in short, or the code and id of what is wrong with it.
    fn shown(body: &str) -> String {
        let raw = |raw: Option<&RawValue>| raw.map_or("-".to_owned(), |raw| raw.get().to_owned());
        match read(body.as_bytes()) {
            Ok(Message::Request(Request { id, method, params })) => format!("request {id} {method} {}", raw(params)),
            Ok(Message::Notification(Notification { method, params })) => {
                format!("notification {method} {}", raw(params))
            }
            Ok(Message::Response(Response { id, outcome })) => {
                let id = id.map_or("-".to_owned(), |id| id.to_string());
                match outcome {
                    Outcome::Result(result) => format!("result {id} {}", result.get()),
                    Outcome::Error(ErrorObject { code, message, data }) => {
                        format!("error {id} {code} {message} {}", data.unwrap_or("-".into()))
                    }
                }
            }
            Err(Malformed { code, id, .. }) => format!("{code} {}", id.map_or("-".to_owned(), |id| id.to_string())),
        }
    }

    #[test]
    fn messages_are_read_without_touching_their_parts() {
        for (body, expected) in [
            (r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#, "request 0 ping -"),
            (
                r#" {"method":"a\u002fb","params":{ "x": 1.0 },"jsonrpc":"2.0","id":"\u0031"} "#,
                r#"request "\u0031" a/b { "x": 1.0 }"#,
            ),
            (r#"{"jsonrpc":"2.0","id":-12345678901234567890,"method":"x"}"#, "request -12345678901234567890 x -"),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, "notification notifications/initialized -"),
            (r#"{"jsonrpc":"2.0","id":3,"result":{"a":[1]}}"#, r#"result 3 {"a":[1]}"#),
            (r#"{"jsonrpc":"2.0","id":3,"result":null}"#, "result 3 null"),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no","data":[1.0]}}"#,
                "error - -32700 no [1.0]",
            ),
            (r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"no"}}"#, "error - -32000 no -"),
        ] {
            assert_eq!(shown(body), expected, "{body}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (body, expected) in [
            ("", "-32700 -"),
            ("{", "-32700 -"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"x"} {}"#, "-32700 -"),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"x"}]"#, "-32600 -"),
            ("1", "-32600 -"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"x","method":"y"}"#, "-32600 -"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"x","\u006dethod":"y"}"#, "-32600 -"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, "-32600 -"),
            (r#"{"jsonrpc":"2.0","id":1.0,"method":"x"}"#, "-32600 -"),
            (r#"{"jsonrpc":"2.0","id":1e2,"method":"x"}"#, "-32600 -"),
            (r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#, "-32600 -"),
            (r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#, "-32600 1"),
            (r#"{"id":1,"method":"x"}"#, "-32600 1"),
            (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, "-32600 1"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[]}"#, "-32600 1"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":null}"#, "-32600 1"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{}}"#, "-32600 1"),
            (r#"{"jsonrpc":"2.0","id":1}"#, "-32600 1"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#, "-32600 1"),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":""}}"#, "-32600 1"),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, "-32600 1"),
            (r#"{"jsonrpc":"2.0","id":[],"error":{"code":1,"message":""}}"#, "-32600 -"),
            (r#"{"jsonrpc":"2.0","result":{}}"#, "-32600 -"),
        ] {
            assert_eq!(shown(body), expected, "{body}");
        }
        assert_eq!(read(b"\xFF").unwrap_err().code, PARSE_ERROR);
    }

    #[test]
    fn what_is_passed_unread_is_strict_json_all_the_same() {
        let read_with = |value: &[u8]| {
            let body = [br#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":"#, value, b"}}"].concat();
            read(&body).map(|_| ()).map_err(|malformed| malformed.code)
        };
        let refused = [
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1:2]",
            "[1",
            "1]",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "{\"a\" 1}",
            "{\"a\"}",
            "{1:1}",
            "{\"a\":1 \"b\":2}",
            "[][]",
            "01",
            "-01",
            "+1",
            ".5",
            "1.",
            "1.e1",
            "1e",
            "1e+",
            "0x1",
            "1_000",
            "-",
            "--1",
            "NaN",
            "Infinity",
            "-Infinity",
            "1 000",
            "nul",
            "True",
            "\"\n\"",
            "\"\t\"",
            "\"\0\"",
            r#""\x41""#,
            r#""\u00""#,
            r#""\u00g0""#,
            r#""\'""#,
            "\"",
            "'a'",
            "\u{feff}1",
            "1//",
            "/**/1",
            "\u{b}1",
            "\u{a0}1",
            "",
        ];
        for value in refused {
            assert_eq!(read_with(value.as_bytes()), Err(PARSE_ERROR), "{value:?}");
        }
        for value in [&b"\"\xFF\""[..], b"\"\xC0\xAF\"", b"\"\xED\xA0\x80\"", b"\xFF"] {
            assert_eq!(read_with(value), Err(PARSE_ERROR), "{value:?}");
        }
        let deep = ["[".repeat(10_000), "]".repeat(10_000)].concat();
        for value in [
            " [ ] ",
            "-0",
            "1E+2",
            "123456789012345678901234567890.5e-400",
            r#""\ud83d\ude00\/""#,
            "\"\u{7f}\u{10ffff}\"",
            "{\"\":null}",
            &deep,
        ] {
            assert_eq!(read_with(value.as_bytes()), Ok(()), "{value:?}");
        }
    }

    #[test]
    fn what_is_built_reads_back() {
        let id = Id::number(7);
        assert_eq!(shown(&request(&id, "a\"b", Some("{\"x\":1}"))), "request 7 a\"b {\"x\":1}");
        assert_eq!(shown(&request(&id, "ping", None)), "request 7 ping -");
        assert_eq!(shown(&notification("n", None)), "notification n -");
        assert_eq!(shown(&result(&id, "{}")), "result 7 {}");
        assert_eq!(shown(&error(Some(&id), &ErrorObject::new(403, "no\n").with_data("{}"))), "error 7 403 no\n {}");
        assert_eq!(shown(&error(None, &ErrorObject::new(1, "no"))), "error - 1 no -");
    }
}
