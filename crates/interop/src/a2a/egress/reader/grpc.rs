//! The part of reading answers that is particular to gRPC.

use http::HeaderMap;
use portcullis_domain::refusal::{Code, Refusal};

use super::{AnswerReader, Body, Inbound, details, failed, from_legacy};
use crate::a2a::failure::{Details, Failure, Kind};
use crate::a2a::grpc;
use crate::a2a::method::Method;
use crate::a2a::reply::Reply;
use crate::a2a::status;
use crate::a2a::version::Version;
use crate::frame::grpc::{Status, Unreadable};

impl AnswerReader {
    /// Takes what stood behind the body, or the headers where nothing did. By other bindings there is nothing in them.
    pub fn feed_trailers(&mut self, trailers: &HeaderMap) {
        if let Body::Frames { ended, .. } = &mut self.body {
            *ended = Status::read(trailers);
        }
    }

    /// Takes the messages that are whole. The answer to a call that has only one counts when the call has ended well.
    pub(super) fn take_messages(&mut self) -> Result<(), Refusal> {
        loop {
            let Body::Frames { frames, .. } = &mut self.body else { return Ok(()) };
            let message = frames.next_message().map_err(|problem| match problem {
                Unreadable::TooLarge => Refusal::new(
                    Code::TooLarge,
                    format!("the agent's answer is larger than {} bytes", self.limit_bytes),
                ),
                Unreadable::Compressed => failed("a message is compressed".to_owned()),
                Unreadable::Malformed => failed("a message has no proper prefix".to_owned()),
            })?;
            let Some(message) = message else { return Ok(()) };
            let reply = self.read_message(&message)?;
            match &mut self.body {
                Body::Frames { held: Some(_), .. } => return Err(failed("there is more than one answer".to_owned())),
                Body::Frames { held, .. } if !self.method.is_streaming() => *held = Some(reply),
                Body::Frames { .. } | Body::Whole(_) | Body::Events(_) => self.found.push_back(Inbound::Reply(reply)),
            }
        }
    }

    /// What the end of the call says.
    pub(super) fn end_messages(&mut self) -> Result<(), Refusal> {
        let Body::Frames { frames, ended, held } = &mut self.body else { return Ok(()) };
        let (is_whole, ended, held) = (frames.is_empty(), ended.take(), held.take());
        let ended = ended.ok_or_else(|| failed("the call ended without a status".to_owned()))?;
        match (ended.code, held) {
            (0, _) if !is_whole => return Err(failed("the last message broke off".to_owned())),
            (0, Some(reply)) => self.found.push_back(Inbound::Reply(reply)),
            (0, None) => {}
            _ => self.found.push_back(Inbound::Failure(self.failure_by_grpc(&ended))),
        }
        Ok(())
    }

    fn read_message(&self, message: &[u8]) -> Result<Reply, Refusal> {
        let read = || {
            let json = grpc::answered_json(self.dialect.version, self.method, message)?;
            let json = if self.dialect.is_older_form() { from_legacy(self.method, &json)? } else { json };
            Reply::read(self.method, Version::V1_0, &json)
        };
        read().map_err(failed)
    }

    fn failure_by_grpc(&self, ended: &Status) -> Failure {
        let (message, name, raw) = status::read(ended);
        let details = raw.map(|raw| details(&raw, true));
        let kind = details.as_ref().and_then(reason).or_else(|| name.and_then(|name| Kind::of_name(&name)));
        let kind = kind.unwrap_or_else(|| self.kind_of_code(ended.name()));
        let message = if message.is_empty() { format!("the agent answered with {}", ended.name()) } else { message };
        Failure::new(kind, message).with_details(details)
    }

    /// What a code alone says. A key that the agent does not take is the gateway's, and so the gateway's failure.
    fn kind_of_code(&self, code: &str) -> Kind {
        match code {
            "INVALID_ARGUMENT" => Kind::InvalidParams,
            "NOT_FOUND" => self.kind_of_missing(),
            "FAILED_PRECONDITION" if self.method == Method::CancelTask => Kind::TaskNotCancelable,
            "FAILED_PRECONDITION" | "UNIMPLEMENTED" => Kind::UnsupportedOperation,
            _ => Kind::Internal,
        }
    }
}

fn reason(details: &Details) -> Option<Kind> {
    let (Details::Typed(raw) | Details::Any(raw)) = details;
    super::info(raw)
        .and_then(|info| crate::a2a::call::text_of(&info, &["reason"]))
        .and_then(|reason| Kind::of_reason(&reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::a2a::version::{Binding, Dialect};
    use crate::frame::grpc::frame;

    const NEW: Dialect = Dialect { version: Version::V1_0, binding: Binding::Grpc };
    const OLD: Dialect = Dialect { version: Version::V0_3, binding: Binding::Grpc };

    fn read(dialect: Dialect, method: Method, body: &[u8], end: Option<&Status>) -> Result<Vec<Inbound>, Code> {
        let mut reader = AnswerReader::new(dialect, method, 200, Some("application/grpc+proto"), 1000);
        let mut found = Vec::new();
        for piece in body.chunks(7) {
            reader.feed(piece).map_err(|refusal| refusal.code)?;
            found.extend(std::iter::from_fn(|| reader.next_inbound()));
        }
        reader.feed_trailers(&end.map(Status::headers).unwrap_or_default());
        reader.feed_end().map_err(|refusal| refusal.code)?;
        found.extend(std::iter::from_fn(|| reader.next_inbound()));
        Ok(found)
    }

    fn message(dialect: Dialect, method: Method, json: &str) -> Vec<u8> {
        frame(&grpc::answered(dialect.version, method, json).unwrap()).to_vec()
    }

    #[test]
    fn every_message_of_a_stream_is_a_reply() {
        let new = [
            r#"{"task":{"id":"t","status":{"state":"TASK_STATE_WORKING"}}}"#,
            r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_CANCELED"}}}"#,
        ];
        let old = [
            r#"{"task":{"id":"t","status":{"state":"TASK_STATE_WORKING"}}}"#,
            r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_CANCELLED"},"final":true}}"#,
        ];
        for (dialect, events) in [(NEW, new), (OLD, old)] {
            let method = Method::SendStreamingMessage;
            let body: Vec<u8> = events.iter().flat_map(|event| message(dialect, method, event)).collect();
            let found = read(dialect, method, &body, Some(&Status::OK)).unwrap();
            let seen = found.iter().map(|inbound| match inbound {
                Inbound::Reply(reply) => (reply.raw(), reply.is_last()),
                Inbound::Failure(failure) => panic!("{failure:?}"),
            });
            assert_eq!(seen.collect::<Vec<_>>(), [(new[0], false), (new[1], true)]);
        }
    }

    #[test]
    fn an_answer_counts_when_the_call_has_ended_well() {
        let task = message(NEW, Method::GetTask, r#"{"id":"t"}"#);
        let found = read(NEW, Method::GetTask, &task, Some(&Status::OK)).unwrap();
        assert!(matches!(found.as_slice(), [Inbound::Reply(reply)] if reply.raw() == r#"{"id":"t"}"#), "{found:?}");
        let found = read(NEW, Method::GetTask, &task, Some(&Status::new("INTERNAL", "no"))).unwrap();
        assert!(matches!(found.as_slice(), [Inbound::Failure(_)]), "{found:?}");
        let found = read(NEW, Method::DeletePushConfig, &frame(b""), Some(&Status::OK)).unwrap();
        assert!(matches!(found.as_slice(), [Inbound::Reply(reply)] if reply.raw() == "{}"), "{found:?}");
        for (body, end, code) in [
            (task.clone(), None, Code::UpstreamFailed),
            ([task.clone(), task.clone()].concat(), Some(&Status::OK), Code::UpstreamFailed),
            (task[..task.len() - 1].to_vec(), Some(&Status::OK), Code::UpstreamFailed),
            (frame(b"\xff").to_vec(), Some(&Status::OK), Code::UpstreamFailed),
            (b"\x01\0\0\0\x01x".to_vec(), Some(&Status::OK), Code::UpstreamFailed),
            (frame(&[0; 1001]).to_vec(), Some(&Status::OK), Code::TooLarge),
        ] {
            assert_eq!(read(NEW, Method::GetTask, &body, end), Err(code), "{body:?}");
        }
    }

    #[test]
    fn a_failure_is_known_by_its_details_its_name_or_its_code() {
        let typed = Failure::new(Kind::TaskNotCancelable, "ended").grpc_status(Version::V1_0);
        for (dialect, status, kind, message) in [
            (NEW, typed, Kind::TaskNotCancelable, "ended"),
            (OLD, Status::new("UNIMPLEMENTED", "TaskNotCancelableError: ended"), Kind::TaskNotCancelable, "ended"),
            (NEW, Status::new("NOT_FOUND", "gone: it is"), Kind::TaskNotFound, "gone: it is"),
            (
                NEW,
                Status::new("FAILED_PRECONDITION", ""),
                Kind::TaskNotCancelable,
                "the agent answered with FAILED_PRECONDITION",
            ),
            (NEW, Status::new("UNIMPLEMENTED", "no"), Kind::UnsupportedOperation, "no"),
            (NEW, Status::new("UNAUTHENTICATED", "no"), Kind::Internal, "no"),
            (NEW, Status { code: 99, ..Status::new("OK", "odd") }, Kind::Internal, "odd"),
        ] {
            let found = read(dialect, Method::CancelTask, b"", Some(&status)).unwrap();
            let [Inbound::Failure(failure)] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((failure.kind(), failure.message.as_str()), (Some(kind), message), "{status:?}");
        }
        let mut reader = AnswerReader::new(NEW, Method::GetTask, 503, Some("text/html"), 1000);
        reader.feed(b"<h1>").unwrap();
        reader.feed_end().unwrap();
        assert!(
            matches!(reader.next_inbound(), Some(Inbound::Failure(failure)) if failure.kind() == Some(Kind::Internal))
        );
    }
}
