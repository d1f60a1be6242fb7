//! What an agent answers: one result, or a stream of events.

mod grpc;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use portcullis_domain::json;
use portcullis_domain::refusal::{Code, Refusal};

use crate::a2a::call::{member, text_of};
use crate::a2a::failure::{Details, Failure, Kind};
use crate::a2a::method::Method;
use crate::a2a::reply::Reply;
use crate::a2a::shape::Shape;
use crate::a2a::status::ERROR_INFO;
use crate::a2a::translate::legacy;
use crate::a2a::version::{Binding, Dialect, Version};
use crate::a2a::walk;
use crate::frame::grpc::{Frames, MEDIA_TYPE as GRPC, Status};
use crate::frame::jsonrpc::{self, ErrorObject, Malformed, Message, Outcome};
use crate::frame::sse::{Decoder, Event};

/// Takes the body of an agent's answer in pieces, and gives what is in it.
#[derive(Debug)]
pub struct AnswerReader {
    dialect: Dialect,
    method: Method,
    status: u16,
    limit_bytes: usize,
    body: Body,
    found: VecDeque<Inbound>,
}

#[derive(Debug)]
enum Body {
    Whole(BytesMut),
    Events(Decoder),
    /// Messages by gRPC, and how the call has ended.
    Frames {
        frames: Frames,
        ended: Option<Status>,
        /// The answer to a call that has only one.
        held: Option<Reply>,
    },
}

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// The result, or an event of the stream.
    Reply(Reply),
    /// Why there is none. Nothing of interest comes behind it.
    Failure(Failure),
}

impl AnswerReader {
    /// A reader for the answer to a request that was made for this dialect. The body may have this many bytes, or each event of it.
    #[must_use]
    pub fn new(dialect: Dialect, method: Method, status: u16, content_type: Option<&str>, limit_bytes: usize) -> Self {
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        let is_stream = media_type.trim().eq_ignore_ascii_case("text/event-stream") && (200..300).contains(&status);
        let is_grpc = dialect.binding == Binding::Grpc && status == 200 && media_type.trim().starts_with(GRPC);
        let body = if is_grpc {
            Body::Frames { frames: Frames::new(limit_bytes), ended: None, held: None }
        } else if is_stream {
            Body::Events(Decoder::new(limit_bytes))
        } else {
            Body::Whole(BytesMut::new())
        };
        Self { dialect, method, status, limit_bytes, body, found: VecDeque::new() }
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    ///
    /// [`Code::UpstreamFailed`] for what is no answer; [`Code::TooLarge`] over the limit.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        match &mut self.body {
            Body::Whole(body) if body.len() + bytes.len() > self.limit_bytes => Err(Refusal::new(
                Code::TooLarge,
                format!("the agent's answer is larger than {} bytes", self.limit_bytes),
            )),
            Body::Whole(body) => {
                body.extend_from_slice(bytes);
                Ok(())
            }
            Body::Events(decoder) => {
                decoder.feed(bytes);
                self.take_events()
            }
            Body::Frames { frames, .. } => {
                frames.feed(bytes);
                self.take_messages()
            }
        }
    }

    /// The body has ended.
    ///
    /// # Errors
    ///
    /// [`Code::UpstreamFailed`] for what is no answer.
    pub fn feed_end(&mut self) -> Result<(), Refusal> {
        let body = match &mut self.body {
            Body::Whole(body) => body.split().freeze(),
            Body::Events(_) => return Ok(()),
            Body::Frames { .. } => return self.end_messages(),
        };
        let is_success = (200..300).contains(&self.status);
        let is_empty = body.trim_ascii().is_empty();
        let inbound = match (self.dialect.binding, is_success) {
            (Binding::HttpJson, false) | (Binding::Grpc, _) => Inbound::Failure(self.failure_over_http(&body)),
            (Binding::HttpJson, true) if is_empty && self.method == Method::DeletePushConfig => {
                self.reply("{}").map(Inbound::Reply)?
            }
            // An agent by JSON-RPC that says no with a status may still say why in the body.
            (Binding::JsonRpc, false) => match self.read_jsonrpc(&body) {
                Ok(inbound @ Inbound::Failure(_)) => inbound,
                Ok(Inbound::Reply(_)) | Err(_) => return Err(failed(format!("status {}", self.status))),
            },
            (Binding::JsonRpc | Binding::HttpJson, true) => self.read(&body)?,
        };
        self.found.push_back(inbound);
        Ok(())
    }

    /// The next reply; none until more is fed. When the body has ended and nothing was found, the agent has not answered.
    pub fn next_inbound(&mut self) -> Option<Inbound> {
        self.found.pop_front()
    }

    fn take_events(&mut self) -> Result<(), Refusal> {
        loop {
            let Body::Events(decoder) = &mut self.body else { return Ok(()) };
            let Some(Event { name, data, .. }) = decoder.next_event()? else { return Ok(()) };
            // Comments keep the connection alive and say nothing.
            let Some(data) = data.filter(|data| !data.trim_ascii().is_empty()) else { continue };
            let is_error = self.dialect.binding == Binding::HttpJson && name.as_ref() == b"error";
            let inbound = if is_error { Inbound::Failure(self.failure_over_http(&data)) } else { self.read(&data)? };
            self.found.push_back(inbound);
        }
    }

    fn read(&self, bytes: &Bytes) -> Result<Inbound, Refusal> {
        match self.dialect.binding {
            Binding::JsonRpc => self.read_jsonrpc(bytes),
            Binding::HttpJson | Binding::Grpc => {
                let text = std::str::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
                if member(text, &["error", "code"]).is_some() {
                    return Ok(Inbound::Failure(self.failure_over_http(bytes)));
                }
                self.reply(text).map(Inbound::Reply)
            }
        }
    }

    fn read_jsonrpc(&self, bytes: &[u8]) -> Result<Inbound, Refusal> {
        if self.method == Method::DeletePushConfig && is_nothing(bytes) {
            return self.reply("null").map(Inbound::Reply);
        }
        let unreadable = |problem: Malformed<'_>| failed(problem.message);
        // The id is not compared: whatever comes back on this request is the answer to it.
        match jsonrpc::read(bytes).map_err(unreadable)? {
            Message::Response(response) => match response.outcome {
                Outcome::Result(raw) => self.reply(raw.get()).map(Inbound::Reply),
                Outcome::Error(error) => Ok(Inbound::Failure(self.failure_by_jsonrpc(&error))),
            },
            Message::Request(_) | Message::Notification(_) => Err(failed("it is no response".to_owned())),
        }
    }

    fn reply(&self, raw: &str) -> Result<Reply, Refusal> {
        let read = || match self.dialect.is_older_form() {
            true => Reply::read(self.method, Version::V1_0, &from_legacy(self.method, raw)?),
            false => Reply::read(self.method, self.dialect.form(), raw),
        };
        read().map_err(failed)
    }

    fn failure_by_jsonrpc(&self, error: &ErrorObject<'_>) -> Failure {
        let message = error.message.as_ref();
        let failure = match Kind::of_code(error.code) {
            Some(kind) => Failure::new(kind, message),
            None => Failure::other(error.code, 502, "AGENT_ERROR".to_owned(), message),
        };
        let typed = self.dialect.version == Version::V1_0;
        failure.with_details(error.data.as_ref().map(|data| details(data, typed)))
    }

    /// 1.0 writes `{"error":{"code","status","message","details"}}`; libraries of 0.3 are not at one and write some of
    /// `code`, `type`, `message` and `data`.
    fn failure_over_http(&self, body: &[u8]) -> Failure {
        let text = std::str::from_utf8(body).unwrap_or_default();
        let error = member(text, &["error"]).filter(|raw| raw.starts_with('{')).unwrap_or(text);
        let typed = member(error, &["details"]).filter(|raw| raw.starts_with('['));
        let reason = typed.and_then(info).and_then(|info| text_of(&info, &["reason"]));
        let number = member(error, &["code"]).and_then(|raw| raw.parse::<i64>().ok());
        let kind = reason
            .and_then(|reason| Kind::of_reason(&reason))
            .or_else(|| number.and_then(Kind::of_code))
            .or_else(|| text_of(error, &["type"]).and_then(|name| Kind::of_name(&name)))
            .unwrap_or_else(|| self.kind_of_status());
        let message =
            text_of(error, &["message"]).unwrap_or_else(|| format!("the agent answered with status {}", self.status));
        let data =
            typed.map(|raw| details(raw, true)).or_else(|| member(error, &["data"]).map(|raw| details(raw, false)));
        Failure::new(kind, message).with_details(data)
    }

    /// What a status alone says. A key that the agent does not take is the gateway's, and so the gateway's failure.
    fn kind_of_status(&self) -> Kind {
        match self.status {
            400 | 422 => Kind::InvalidParams,
            404 => self.kind_of_missing(),
            405 => Kind::MethodNotFound,
            409 => Kind::TaskNotCancelable,
            415 => Kind::ContentTypeNotSupported,
            501 => Kind::UnsupportedOperation,
            _ => Kind::Internal,
        }
    }

    /// What is missing is the task, where one is named.
    fn kind_of_missing(&self) -> Kind {
        match self.method {
            Method::SendMessage | Method::SendStreamingMessage | Method::ListTasks | Method::GetExtendedCard => {
                Kind::MethodNotFound
            }
            Method::GetTask
            | Method::CancelTask
            | Method::SubscribeToTask
            | Method::CreatePushConfig
            | Method::GetPushConfig
            | Method::ListPushConfigs
            | Method::DeletePushConfig => Kind::TaskNotFound,
        }
    }
}

/// The details that name the reason.
fn info(typed: &str) -> Option<String> {
    let infos = json::items(typed).unwrap_or_default();
    let info = infos.iter().find(|info| text_of(info.get(), &["@type"]).as_deref() == Some(ERROR_INFO));
    info.map(|info| info.get().to_owned())
}

/// Whether it is a response without a result: a library of 0.3 leaves out what is null.
fn is_nothing(bytes: &[u8]) -> bool {
    let Some(members) = std::str::from_utf8(bytes).ok().and_then(|text| json::members(text).ok()) else { return false };
    let has = |name| json::member(&members, name).is_some();
    has("jsonrpc") && has("id") && !has("result") && !has("error") && !has("method")
}

fn details(raw: &str, is_typed: bool) -> Details {
    if is_typed && raw.starts_with('[') { Details::Typed(raw.to_owned()) } else { Details::Any(raw.to_owned()) }
}

fn from_legacy(method: Method, raw: &str) -> Result<String, String> {
    let shape = Shape::of_result(method, Version::V1_0, None);
    let raw = walk::normal(raw, shape)?;
    match method {
        Method::SendMessage | Method::SendStreamingMessage | Method::SubscribeToTask => legacy::payload_to_new(&raw),
        Method::GetTask | Method::CancelTask => legacy::task_to_new(&raw),
        Method::CreatePushConfig | Method::GetPushConfig => legacy::push_to_new(&raw),
        Method::ListPushConfigs => legacy::push_page_to_new(&raw),
        Method::ListTasks | Method::DeletePushConfig | Method::GetExtendedCard => Ok(raw.into_owned()),
    }
}

fn failed(problem: String) -> Refusal {
    Refusal::new(Code::UpstreamFailed, "the agent's answer can't be read").because(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Dialect = Dialect { version: Version::V0_3, binding: Binding::JsonRpc };
    const OLD_HTTP: Dialect = Dialect { version: Version::V0_3, binding: Binding::HttpJson };
    const NEW: Dialect = Dialect { version: Version::V1_0, binding: Binding::JsonRpc };
    const NEW_HTTP: Dialect = Dialect { version: Version::V1_0, binding: Binding::HttpJson };

    fn read(dialect: Dialect, method: Method, status: u16, media_type: &str, body: &str) -> Result<Vec<Inbound>, Code> {
        let mut reader = AnswerReader::new(dialect, method, status, Some(media_type), 1000);
        let mut found = Vec::new();
        // Piece by piece, as a slow network brings it.
        for piece in body.as_bytes().chunks(7) {
            reader.feed(piece).map_err(|refusal| refusal.code)?;
            found.extend(std::iter::from_fn(|| reader.next_inbound()));
        }
        reader.feed_end().map_err(|refusal| refusal.code)?;
        found.extend(std::iter::from_fn(|| reader.next_inbound()));
        Ok(found)
    }

    #[test]
    fn every_event_of_a_stream_is_a_reply() {
        let new = [
            r#"{"task":{"id":"t","status":{"state":"TASK_STATE_WORKING"}}}"#,
            r#"{"artifactUpdate":{"taskId":"t","artifact":{"parts":[{"text":"a"}]}}}"#,
            r#"{"statusUpdate":{"taskId":"t","status":{"state":"TASK_STATE_COMPLETED"}}}"#,
        ];
        let old = [
            r#"{"kind":"task","id":"t","status":{"state":"working"}}"#,
            r#"{"kind":"artifact-update","taskId":"t","artifact":{"parts":[{"kind":"text","text":"a"}]}}"#,
            r#"{"kind":"status-update","taskId":"t","final":true,"status":{"state":"completed"}}"#,
        ];
        for (dialect, events) in [(NEW, new), (NEW_HTTP, new), (OLD, old)] {
            let wrapped = |event: &str| match dialect.binding {
                Binding::JsonRpc => format!(r#"{{"jsonrpc":"2.0","id":1,"result":{event}}}"#),
                Binding::HttpJson | Binding::Grpc => event.to_owned(),
            };
            let body: String =
                events.iter().map(|event| format!(": ping\n\ndata: {}\r\n\r\n", wrapped(event))).collect();
            let found =
                read(dialect, Method::SendStreamingMessage, 200, "text/event-stream; charset=utf-8", &body).unwrap();
            let seen: Vec<(&str, bool)> = found
                .iter()
                .map(|inbound| match inbound {
                    Inbound::Reply(reply) => (reply.raw(), reply.is_last()),
                    Inbound::Failure(failure) => panic!("{failure:?}"),
                })
                .collect();
            assert_eq!(seen, [(events[0], false), (events[1], false), (events[2], true)]);
        }
    }

    #[test]
    fn a_failure_is_known_in_every_form_that_agents_write() {
        let typed = r#"[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"TASK_NOT_FOUND","domain":"a2a-protocol.org"}]"#;
        let rpc = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"gone","data":{"a":1}}}"#;
        let new_http = format!(r#"{{"error":{{"code":404,"status":"NOT_FOUND","message":"gone","details":{typed}}}}}"#);
        let sse = format!("event: error\ndata: {new_http}\n\n");
        for (dialect, status, media_type, body, kind, message) in [
            (NEW, 200, "application/json", rpc, Kind::TaskNotFound, "gone"),
            (OLD, 404, "application/json", rpc, Kind::TaskNotFound, "gone"),
            (NEW_HTTP, 404, "application/json", new_http.as_str(), Kind::TaskNotFound, "gone"),
            (NEW_HTTP, 200, "text/event-stream", sse.as_str(), Kind::TaskNotFound, "gone"),
            (
                OLD_HTTP,
                409,
                "application/json",
                r#"{"code":-32002,"message":"ended"}"#,
                Kind::TaskNotCancelable,
                "ended",
            ),
            (
                OLD_HTTP,
                400,
                "application/json",
                r#"{"type":"UnsupportedOperationError","message":"no"}"#,
                Kind::UnsupportedOperation,
                "no",
            ),
            (OLD_HTTP, 404, "application/json", r#"{"message":"gone"}"#, Kind::TaskNotFound, "gone"),
            (NEW_HTTP, 502, "text/html", "<h1>Bad Gateway</h1>", Kind::Internal, "the agent answered with status 502"),
            (NEW_HTTP, 401, "text/plain", "", Kind::Internal, "the agent answered with status 401"),
        ] {
            let found = read(dialect, Method::SubscribeToTask, status, media_type, body).unwrap();
            let [Inbound::Failure(failure)] = found.as_slice() else { panic!("{body}: {found:?}") };
            assert_eq!((failure.kind(), failure.message.as_str()), (Some(kind), message), "{body}");
        }
        let own = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-31000,"message":"odd"}}"#;
        let found = read(NEW, Method::GetTask, 200, "", own).unwrap();
        assert!(matches!(found.as_slice(), [Inbound::Failure(failure)] if failure.code(Version::V0_3) == -31000));
    }

    #[test]
    fn what_is_no_answer_is_the_agents_fault() {
        let long = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"id":"{}"}}}}"#, "x".repeat(1000));
        for (dialect, method, status, media_type, body, code) in [
            (NEW, Method::SendMessage, 200, "", "", Code::UpstreamFailed),
            (NEW, Method::SendMessage, 200, "", "<html>", Code::UpstreamFailed),
            (NEW, Method::SendMessage, 502, "", "<html>", Code::UpstreamFailed),
            (NEW, Method::SendMessage, 200, "", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Code::UpstreamFailed),
            (NEW, Method::SendMessage, 200, "", r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#, Code::UpstreamFailed),
            (NEW, Method::GetTask, 200, "", r#"{"jsonrpc":"2.0","id":1,"result":{"ID":"t"}}"#, Code::UpstreamFailed),
            (NEW, Method::GetTask, 200, "", long.as_str(), Code::TooLarge),
            (NEW_HTTP, Method::GetTask, 200, "", "", Code::UpstreamFailed),
        ] {
            assert_eq!(read(dialect, method, status, media_type, body), Err(code), "{body}");
        }
        let bare = read(OLD, Method::DeletePushConfig, 200, "", r#"{"jsonrpc":"2.0","id":1}"#).unwrap();
        assert!(matches!(bare.as_slice(), [Inbound::Reply(reply)] if reply.raw() == "null"));
        assert_eq!(read(OLD, Method::GetTask, 200, "", r#"{"jsonrpc":"2.0","id":1}"#), Err(Code::UpstreamFailed));
        for dialect in [NEW_HTTP, OLD_HTTP] {
            let found = read(dialect, Method::DeletePushConfig, 204, "", "").unwrap();
            assert!(matches!(found.as_slice(), [Inbound::Reply(reply)] if reply.raw() == "{}"));
        }
    }
}
