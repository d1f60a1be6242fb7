//! What a client gets, in what it speaks.

use bytes::Bytes;

use crate::a2a::call::A2aCall;
use crate::a2a::failure::{Failure, Kind};
use crate::a2a::grpc;
use crate::a2a::method::Method;
use crate::a2a::reply::Reply;
use crate::a2a::translate::legacy;
use crate::a2a::version::Binding;
use crate::frame::grpc::frame;
use crate::frame::jsonrpc;
use crate::frame::sse;
use crate::refuse::Answer;

/// A whole answer that is no refusal: its status is 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// The media type.
    pub content_type: &'static str,
    /// The body; by gRPC the framed message, behind which the trailers of success come.
    pub body: Bytes,
}

/// The whole answer to a call. Where a stream is awaited, use [`event`] for a message too: some clients take nothing else.
///
/// # Errors
///
/// [`Kind::InvalidAgentResponse`] when the reply can't be said in the client's version.
pub fn whole(call: &A2aCall<'_>, reply: &Reply) -> Result<Whole, Failure> {
    if call.dialect.binding == Binding::Grpc {
        return Ok(Whole { content_type: call.dialect.media_type(), body: framed(call, reply)? });
    }
    Ok(Whole { content_type: call.dialect.media_type(), body: body(call, reply)?.into() })
}

/// One event of the stream that answers a call.
///
/// # Errors
///
/// [`Kind::InvalidAgentResponse`] when the reply can't be said in the client's version.
pub fn event(call: &A2aCall<'_>, reply: &Reply) -> Result<Bytes, Failure> {
    if call.dialect.binding == Binding::Grpc {
        return framed(call, reply);
    }
    Ok(sse::event(&body(call, reply)?).into())
}

fn framed(call: &A2aCall<'_>, reply: &Reply) -> Result<Bytes, Failure> {
    let message = grpc::answered(call.dialect.version, call.method, &body(call, reply)?).map_err(unreadable)?;
    Ok(frame(&message))
}

/// The answer to [`Method::GetExtendedCard`], whose card was written by [`card`](crate::a2a::card) for the client's version.
#[must_use]
pub fn card(call: &A2aCall<'_>, raw_card: &str) -> Answer {
    let body = match &call.id {
        Some(id) => jsonrpc::result(id, raw_card),
        None => raw_card.to_owned(),
    };
    Answer { status: 200, content_type: "application/json", body }
}

fn body(call: &A2aCall<'_>, reply: &Reply) -> Result<String, Failure> {
    let reply = reply.in_form(call.form()).map_err(unreadable)?;
    let raw = if call.dialect.is_older_form() { legacy(&reply).map_err(unreadable)? } else { reply.raw().to_owned() };
    Ok(match &call.id {
        Some(id) => jsonrpc::result(id, &raw),
        None => raw,
    })
}

fn unreadable(problem: String) -> Failure {
    Failure::new(Kind::InvalidAgentResponse, format!("the agent's answer can't be read: {problem}"))
}

/// A reply in the form that 0.3 has over HTTP+JSON.
fn legacy(reply: &Reply) -> Result<String, String> {
    let raw = reply.raw();
    match reply.method() {
        Method::SendMessage | Method::SendStreamingMessage | Method::SubscribeToTask => legacy::payload_to_old(raw),
        Method::GetTask | Method::CancelTask => legacy::task_to_old(raw),
        Method::CreatePushConfig | Method::GetPushConfig => legacy::push_to_old(raw),
        Method::ListPushConfigs => legacy::push_page_to_old(raw),
        Method::ListTasks | Method::DeletePushConfig | Method::GetExtendedCard => Ok(raw.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::a2a::version::{Dialect, Version};
    use crate::frame::jsonrpc::Id;

    fn call(version: Version, binding: Binding) -> A2aCall<'static> {
        A2aCall {
            dialect: Dialect::new(version, binding),
            method: Method::SendMessage,
            id: (binding == Binding::JsonRpc).then(|| Id::number(7)),
            extensions: Vec::new(),
            params: "{}".into(),
        }
    }

    #[test]
    fn every_client_gets_the_answer_as_it_speaks() {
        let raw = r#"{"message":{"messageId":"m","role":"ROLE_AGENT","parts":[{"text":"hi"}]}}"#;
        let reply = Reply::read(Method::SendMessage, Version::V1_0, raw).unwrap();
        for (version, binding, expected) in [
            (Version::V1_0, Binding::HttpJson, raw.to_owned()),
            (Version::V1_0, Binding::JsonRpc, format!(r#"{{"jsonrpc":"2.0","id":7,"result":{raw}}}"#)),
            (
                Version::V0_3,
                Binding::JsonRpc,
                r#"{"jsonrpc":"2.0","id":7,"result":{"messageId":"m","role":"agent","parts":[{"text":"hi","kind":"text"}],"kind":"message"}}"#.to_owned(),
            ),
            (
                Version::V0_3,
                Binding::HttpJson,
                r#"{"message":{"messageId":"m","role":"ROLE_AGENT","content":[{"text":"hi"}]}}"#.to_owned(),
            ),
        ] {
            let call = call(version, binding);
            assert_eq!(whole(&call, &reply).unwrap().body, expected);
            assert_eq!(event(&call, &reply).unwrap(), format!("data: {expected}\n\n"));
        }
    }

    #[test]
    fn an_answer_that_has_no_words_in_the_other_version_is_the_agents_fault() {
        let raw = r#"{"message":{"messageId":"m","role":"ROLE_AGENT","parts":[{"video":"hi"}]}}"#;
        let reply = Reply::read(Method::SendMessage, Version::V1_0, raw).unwrap();
        let failure = whole(&call(Version::V0_3, Binding::JsonRpc), &reply).unwrap_err();
        assert_eq!(failure.kind(), Some(Kind::InvalidAgentResponse));
        let same = whole(&call(Version::V1_0, Binding::JsonRpc), &reply).unwrap().body;
        assert!(String::from_utf8(same.to_vec()).unwrap().contains(raw));
    }
}
