//! JSON-RPC 2.0 as MCP uses it: one message at a time, no batches.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::json::with;

/// What came in. Ids and parameters stay as they were written.
#[derive(Debug)]
pub(crate) enum Incoming {
    Request {
        id: Box<RawValue>,
        method: String,
        params: Option<Box<RawValue>>,
    },
    Notification,
    /// An answer to a request of ours; the sample servers have none.
    Response,
}

/// A JSON-RPC error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

impl Fault {
    pub(crate) const PARSE_ERROR: i64 = -32700;
    pub(crate) const INVALID_REQUEST: i64 = -32600;
    pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
    pub(crate) const INVALID_PARAMS: i64 = -32602;

    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(crate) fn unknown_method() -> Self {
        Self::new(Self::METHOD_NOT_FOUND, "Method not found")
    }
}

/// Reads one message.
pub(crate) fn read(text: &str) -> Result<Incoming, Fault> {
    #[derive(Deserialize)]
    struct Envelope {
        jsonrpc: String,
        id: Option<Box<RawValue>>,
        method: Option<String>,
        params: Option<Box<RawValue>>,
    }
    let json: &RawValue =
        serde_json::from_str(text).map_err(|error| Fault::new(Fault::PARSE_ERROR, error.to_string()))?;
    let envelope: Envelope =
        serde_json::from_str(json.get()).map_err(|error| Fault::new(Fault::INVALID_REQUEST, error.to_string()))?;
    if envelope.jsonrpc != "2.0" {
        return Err(Fault::new(Fault::INVALID_REQUEST, "`jsonrpc` is not 2.0"));
    }
    match (envelope.id, envelope.method) {
        (Some(id), Some(method)) => Ok(Incoming::Request { id, method, params: envelope.params }),
        (None, Some(_)) => Ok(Incoming::Notification),
        (Some(_), None) => Ok(Incoming::Response),
        (None, None) => Err(Fault::new(Fault::INVALID_REQUEST, "there is no method")),
    }
}

/// The answer to the request `id`, on one line.
pub(crate) fn answer(id: &RawValue, outcome: Result<Value, Fault>) -> String {
    match outcome {
        Ok(result) => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}"),
        Err(fault) => fault_answer(Some(id), &fault),
    }
}

/// An error as an answer, to no request in particular where the id could not be read.
pub(crate) fn fault_answer(id: Option<&RawValue>, fault: &Fault) -> String {
    let error = json!({"code": fault.code, "message": fault.message});
    let error = fault.data.iter().fold(error, |error, data| with(error, "data", data.clone()));
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{error}}}", id.map_or("null", RawValue::get))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let check = |text: &str, expected: &str| {
            let shown = match read(text) {
                Ok(Incoming::Request { id, method, params }) => {
                    format!("{id} {method} {}", params.map_or_else(|| "-".to_owned(), |params| params.to_string()))
                }
                Ok(Incoming::Notification) => "notification".to_owned(),
                Ok(Incoming::Response) => "response".to_owned(),
                Err(fault) => fault.code.to_string(),
            };
            assert_eq!(shown, expected, "{text}");
        };
        check(r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#, "0 ping -");
        check(r#"{"jsonrpc":"2.0","id":"a\u0062","method":"m","params":{ "x":1.0}}"#, r#""a\u0062" m { "x":1.0}"#);
        check(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, "notification");
        check(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "response");
        check("{", "-32700");
        check("[]", "-32600");
        check(r#"{"id":1,"method":"m"}"#, "-32600");
        check(r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#, "-32600");
        check(r#"{"jsonrpc":"2.0"}"#, "-32600");
    }

    #[test]
    fn an_answer_carries_the_id_as_it_came() {
        let id = RawValue::from_string("\"a\\u0062\"".to_owned()).unwrap();
        assert_eq!(answer(&id, Ok(json!({}))), r#"{"jsonrpc":"2.0","id":"a\u0062","result":{}}"#);
        let fault = Fault { data: Some(json!([1])), ..Fault::new(-1, "no") };
        let expected = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"no","data":[1]}}"#;
        assert_eq!(fault_answer(None, &fault), expected);
    }
}
