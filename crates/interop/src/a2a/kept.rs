//! Calls and answers as bytes, so that what was asked and answered can be kept, judged and sent as one piece.
//!
//! The binding is left out: the same call is the same, however it came.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::a2a::call::A2aCall;
use crate::a2a::method::Method;
use crate::a2a::reply::Reply;
use crate::a2a::version::{Binding, Dialect, Version};

#[derive(Serialize, Deserialize)]
struct Asked<'a> {
    version: Cow<'a, str>,
    /// As 1.0 calls it.
    method: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    extensions: Vec<String>,
    #[serde(borrow)]
    params: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
struct Answered<'a> {
    version: Cow<'a, str>,
    method: Cow<'a, str>,
    #[serde(borrow)]
    replies: Vec<&'a RawValue>,
}

/// Writes a call with these parameters, as [`A2aCall::edited`] gave them.
///
/// # Errors
///
/// When they are no JSON.
pub fn write_call(call: &A2aCall<'_>, params: &str) -> Result<Vec<u8>, String> {
    let wrong = |error: serde_json::Error| error.to_string();
    let asked = Asked {
        version: call.form().as_str().into(),
        method: name(call.method).into(),
        extensions: call.extensions.clone(),
        params: serde_json::from_str(params).map_err(wrong)?,
    };
    serde_json::to_vec(&asked).map_err(wrong)
}

/// Reads what [`write_call`] wrote.
///
/// # Errors
///
/// A sentence when it is something else.
pub fn read_call(bytes: &[u8]) -> Result<A2aCall<'_>, String> {
    let asked: Asked<'_> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(A2aCall {
        dialect: Dialect::new(version(&asked.version)?, Binding::JsonRpc),
        method: method(&asked.method)?,
        id: None,
        extensions: asked.extensions,
        params: asked.params.get().into(),
    })
}

/// Writes what a call was answered with: one reply, or all events of a stream. All have the form of the first.
///
/// # Errors
///
/// When there is none, or one is no JSON.
pub fn write_replies(replies: &[Reply]) -> Result<Vec<u8>, String> {
    let wrong = |error: serde_json::Error| error.to_string();
    let first = replies.first().ok_or("there is no answer")?;
    let raw = replies.iter().map(|reply| serde_json::from_str(reply.raw())).collect::<Result<_, _>>().map_err(wrong)?;
    let answered =
        Answered { version: first.form().as_str().into(), method: name(first.method()).into(), replies: raw };
    serde_json::to_vec(&answered).map_err(wrong)
}

/// Reads what [`write_replies`] wrote.
///
/// # Errors
///
/// A sentence when it is something else.
pub fn read_replies(bytes: &[u8]) -> Result<Vec<Reply>, String> {
    let answered: Answered<'_> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let (version, method) = (version(&answered.version)?, method(&answered.method)?);
    answered.replies.into_iter().map(|raw| Reply::read(method, version, raw.get())).collect()
}

fn name(method: Method) -> &'static str {
    method.name(Version::V1_0).unwrap_or_default()
}

fn method(name: &str) -> Result<Method, String> {
    Method::read(Version::V1_0, name).ok_or_else(|| format!("`{name}` is no method"))
}

fn version(text: &str) -> Result<Version, String> {
    Version::read(text).ok_or_else(|| format!("`{text}` is no version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was() {
        for (version, binding) in [(Version::V0_3, Binding::JsonRpc), (Version::V1_0, Binding::HttpJson)] {
            let params = r#"{"message":{"parts":[ ],"x":1.50}}"#;
            let call = A2aCall {
                dialect: Dialect::new(version, binding),
                method: Method::SendStreamingMessage,
                id: None,
                extensions: vec!["https://x".to_owned()],
                params: "{}".into(),
            };
            let bytes = write_call(&call, params).unwrap();
            let read = read_call(&bytes).unwrap();
            assert_eq!((read.form(), read.method, &*read.params), (version, call.method, params));
            assert_eq!(read.extensions, call.extensions);
        }
        let reply = |raw| Reply::read(Method::SendStreamingMessage, Version::V0_3, raw).unwrap();
        let replies = [reply(r#"{"kind":"message", "x":1.0}"#), reply(r#"{"kind":"task","id":"t"}"#)];
        assert_eq!(read_replies(&write_replies(&replies).unwrap()).unwrap(), replies);
        assert!(read_call(b"POST / HTTP/1.1").is_err() && read_replies(b"{}").is_err() && write_replies(&[]).is_err());
    }
}
