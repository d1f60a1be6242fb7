//! The body of an upstream server's answer: one message, or a stream of them with the answer among them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use portcullis_domain::refusal::{Code, Refusal};

use crate::frame::jsonrpc::{self, ErrorObject, Id, Malformed, Message, Notification, Request, Response};
use crate::frame::sse::Decoder;

/// Takes the body of the answer to one request in pieces, and gives what is in it.
#[derive(Debug)]
pub struct AnswerReader {
    id: Id<'static>,
    limit_bytes: usize,
    form: Form,
    found: VecDeque<Inbound>,
}

#[derive(Debug)]
enum Form {
    Whole(BytesMut),
    Events(Decoder),
}

/// A message of a server.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    /// The answer to a request; nothing of interest comes behind it.
    Answer {
        /// Which request; none for an error about one that the server could not read.
        id: Option<Id<'static>>,
        /// What came of it.
        outcome: Outcome,
    },
    /// News on the way, such as `notifications/progress`.
    Notification {
        /// The method.
        method: String,
        /// The raw parameters.
        params: Option<String>,
    },
    /// A legacy server asks something in turn: answer it with [`Peer::reply`](crate::mcp::egress::Peer::reply) by a request of its own.
    Request {
        /// Its id.
        id: Id<'static>,
        /// The method.
        method: String,
        /// The raw parameters.
        params: Option<String>,
    },
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The raw result.
    Result(String),
    /// Why there is none.
    Error {
        /// The number of the error.
        code: i64,
        /// A sentence.
        message: String,
        /// Raw JSON of any type.
        data: Option<String>,
    },
}

impl Outcome {
    pub(super) fn of_error(error: &ErrorObject<'_>) -> Self {
        Self::Error {
            code: error.code,
            message: error.message.to_string(),
            data: error.data.as_ref().map(|data| data.to_string()),
        }
    }
}

impl AnswerReader {
    /// A reader for the answer to the request `id`, whose body has this media type and may have this many bytes (for a
    /// stream: in each event).
    #[must_use]
    pub fn new(id: u64, content_type: Option<&str>, limit_bytes: usize) -> Self {
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        let is_stream = media_type.trim().eq_ignore_ascii_case("text/event-stream");
        let form = if is_stream { Form::Events(Decoder::new(limit_bytes)) } else { Form::Whole(BytesMut::new()) };
        Self { id: Id::number(id), limit_bytes, form, found: VecDeque::new() }
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    ///
    /// [`Code::UpstreamFailed`] for what is no message; [`Code::TooLarge`] over the limit.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        match &mut self.form {
            Form::Whole(body) if body.len() + bytes.len() > self.limit_bytes => Err(Refusal::new(
                Code::TooLarge,
                format!("the server's answer is larger than {} bytes", self.limit_bytes),
            )),
            Form::Whole(body) => {
                body.extend_from_slice(bytes);
                Ok(())
            }
            Form::Events(decoder) => {
                decoder.feed(bytes);
                while let Some(event) = decoder.next_event()? {
                    // An event without data has no message: some servers begin with one, so that a stream can be resumed.
                    let Some(data) = event.data.filter(|data| !data.trim_ascii().is_empty()) else { continue };
                    find(&mut self.found, &self.id, &data)?;
                }
                Ok(())
            }
        }
    }

    /// The body has ended.
    ///
    /// # Errors
    ///
    /// [`Code::UpstreamFailed`] for what is no message.
    pub fn feed_end(&mut self) -> Result<(), Refusal> {
        let body = match &mut self.form {
            Form::Whole(body) => body.split().freeze(),
            Form::Events(_) => Bytes::new(),
        };
        if !body.is_empty() {
            find(&mut self.found, &self.id, &body)?;
        }
        Ok(())
    }

    /// The next message; none until more is fed. When the body has ended and no [`Inbound::Answer`] was among the messages,
    /// the server has not answered.
    pub fn next_inbound(&mut self) -> Option<Inbound> {
        self.found.pop_front()
    }
}

impl Inbound {
    /// Reads one message of a server, as on a line of `stdio`.
    ///
    /// # Errors
    ///
    /// [`Code::UpstreamFailed`] for what is no message.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let unreadable = |problem: Malformed<'_>| {
            Refusal::new(Code::UpstreamFailed, "the server's answer can't be read").because(problem.message)
        };
        Ok(match jsonrpc::read(bytes).map_err(unreadable)? {
            Message::Notification(Notification { method, params }) => {
                Self::Notification { method: method.into_owned(), params: params.map(|params| params.get().to_owned()) }
            }
            Message::Request(Request { id, method, params }) => Self::Request {
                id: id.into_owned(),
                method: method.into_owned(),
                params: params.map(|params| params.get().to_owned()),
            },
            Message::Response(Response { id, outcome }) => Self::Answer {
                id: id.map(Id::into_owned),
                outcome: match outcome {
                    jsonrpc::Outcome::Result(raw) => Outcome::Result(raw.get().to_owned()),
                    jsonrpc::Outcome::Error(error) => Outcome::of_error(&error),
                },
            },
        })
    }

    /// Whether it is the answer to another request than this one.
    fn is_of_another(&self, request: &Id<'_>) -> bool {
        match self {
            // An error without an id can only be about the one request that was sent.
            Self::Answer { id, .. } => id.as_ref().is_some_and(|id| id != request),
            Self::Notification { .. } | Self::Request { .. } => false,
        }
    }
}

fn find(found: &mut VecDeque<Inbound>, request: &Id<'_>, bytes: &[u8]) -> Result<(), Refusal> {
    let inbound = Inbound::read(bytes)?;
    if !inbound.is_of_another(request) {
        found.push_back(inbound);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, body: &str, piece: usize) -> Result<Vec<String>, Refusal> {
        let mut reader = AnswerReader::new(3, Some(content_type), 200);
        let mut shown = Vec::new();
        for bytes in body.as_bytes().chunks(piece) {
            reader.feed(bytes)?;
        }
        reader.feed_end()?;
        while let Some(inbound) = reader.next_inbound() {
            let params = |params: Option<String>| params.unwrap_or("-".to_owned());
            shown.push(match inbound {
                Inbound::Answer { outcome: Outcome::Result(raw), .. } => format!("result {raw}"),
                Inbound::Answer { outcome: Outcome::Error { code, message, data }, .. } => {
                    format!("error {code} {message} {}", params(data))
                }
                Inbound::Notification { method, params: raw } => format!("notification {method} {}", params(raw)),
                Inbound::Request { id, method, params: raw } => format!("request {id} {method} {}", params(raw)),
            });
        }
        Ok(shown)
    }

    #[test]
    fn an_answer_is_found_in_either_form() {
        let result = r#"{"jsonrpc":"2.0","id":3,"result":{ "x":1.0 }}"#;
        let other = r#"{"jsonrpc":"2.0","id":4,"result":{}}"#;
        let news = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#;
        let ping = r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#;
        let error = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no"}}"#;
        let event = |data: &str| format!("event: message\r\nid: 1\r\ndata: {data}\r\n\r\n");
        for (content_type, body, expected) in [
            ("application/json", result.to_owned(), &[r#"result { "x":1.0 }"#][..]),
            ("application/json; charset=utf-8", error.to_owned(), &["error -32000 no -"]),
            ("application/json", other.to_owned(), &[]),
            ("application/json", String::new(), &[]),
            (
                "text/event-stream; charset=utf-8",
                [&event(""), ": hello\n\n", &event(news), &event(other), &event(ping), &event(result)].concat(),
                &[
                    r#"notification notifications/progress {"progress":1}"#,
                    "request \"p\" ping -",
                    r#"result { "x":1.0 }"#,
                ],
            ),
            ("text/event-stream", event(result).trim_end().to_owned(), &[]),
        ] {
            for piece in [1, 7, 1000] {
                assert_eq!(read(content_type, &body, piece).unwrap(), expected, "{body}");
            }
        }
    }

    #[test]
    fn what_is_no_message_or_too_large_is_refused() {
        let large = "x".repeat(201);
        for (content_type, body, code) in [
            ("text/html", "<html>", Code::UpstreamFailed),
            ("application/json", "[]", Code::UpstreamFailed),
            ("text/event-stream", "data: x\n\n", Code::UpstreamFailed),
            ("application/json", &large, Code::TooLarge),
            ("text/event-stream", &large, Code::TooLarge),
        ] {
            assert_eq!(read(content_type, body, 1000).unwrap_err().code, code, "{body}");
        }
    }
}
