//! The one place where a "no" of this door becomes an answer.

use bytes::Bytes;
use portcullis_domain::refusal::Refusal;
use portcullis_interop::a2a::answer::{self as written, Whole};
use portcullis_interop::a2a::{A2aCall, Binding, Dialect, Failure, Version, refusal};
use portcullis_interop::frame::grpc;
use portcullis_interop::refuse;

use tokio::sync::mpsc;

use crate::doors::answer::{self, Answer};
use crate::doors::framed::Framed;

/// An answer that is written already.
#[must_use]
pub fn shown(written: refuse::Answer) -> Answer {
    if written.content_type == grpc::MEDIA_TYPE {
        return answer::ended(grpc::read_lines(&written.body));
    }
    answer::whole(written.status, written.content_type, written.body)
}

/// A whole answer that is written already.
#[must_use]
pub fn said(whole: Whole) -> Answer {
    if whole.content_type == grpc::MEDIA_TYPE {
        return answer::framed(Framed::whole(whole.body));
    }
    answer::whole(200, whole.content_type, whole.body)
}

/// Events as they come.
#[must_use]
pub fn stream(call: &A2aCall<'_>, events: mpsc::Receiver<Bytes>) -> Answer {
    match call.dialect.binding {
        Binding::Grpc => answer::framed(Framed::stream(events)),
        Binding::JsonRpc | Binding::HttpJson => answer::events(events),
    }
}

/// What says behind the events of [`stream`] that they have ended well, where anything does.
#[must_use]
pub fn good_end(call: &A2aCall<'_>) -> Option<Bytes> {
    (call.dialect.binding == Binding::Grpc).then(|| grpc::Status::OK.frame())
}

/// Events that are all there.
#[must_use]
pub fn events(call: &A2aCall<'_>, events: Bytes) -> Answer {
    if call.dialect.binding == Binding::Grpc {
        return answer::framed(Framed::whole(events));
    }
    let answer = answer::whole(200, "text/event-stream", events);
    answer::with_header(answer, http::header::CACHE_CONTROL, "no-cache")
}

/// A failure of a call. Whoever awaits a stream by JSON-RPC gets it as one: libraries look for the error in an event.
#[must_use]
pub fn failed(call: &A2aCall<'_>, failure: &Failure) -> Answer {
    if call.method.is_streaming() && call.dialect.binding == Binding::JsonRpc {
        return events(call, failure.event(call.dialect, call.id.as_ref()));
    }
    shown(failure.answer(call.dialect, call.id.as_ref()))
}

/// A refusal of a call. What the rules say no to is told to the model behind the caller, where a message can be.
#[must_use]
pub fn refused(call: &A2aCall<'_>, refusal: &Refusal, message_id: &str, context: &str, task: Option<&str>) -> Answer {
    if !refusal.reasons.is_empty() {
        tracing::info!(code = %refusal.code, reasons = ?refusal.reasons, "refused");
    }
    let Some(reply) = refusal::message(refusal, call, message_id, Some(context), task) else {
        return failed(call, &refusal::failure(refusal));
    };
    let told = if call.method.is_streaming() {
        written::event(call, &reply).map(|event| events(call, event))
    } else {
        written::whole(call, &reply).map(said)
    };
    told.unwrap_or_else(|failure| failed(call, &failure))
}

/// A refusal of a request that is no call yet, with the status that says so to any client of HTTP.
#[must_use]
pub fn refused_at_the_door(path: &str, refusal: &Refusal) -> refuse::Answer {
    let binding = if is_jsonrpc(path) { Binding::JsonRpc } else { Binding::HttpJson };
    let written = refusal::failure(refusal).answer(Dialect::new(Version::V1_0, binding), None);
    refuse::Answer { status: refusal.code.status(), ..written }
}

/// Whether the path is the one of JSON-RPC.
#[must_use]
pub fn is_jsonrpc(path: &str) -> bool {
    let rest = path.strip_prefix("/a2a/").unwrap_or_default();
    rest.trim_end_matches('/').split('/').count() == 1
}
