//! What is changed once for its idempotency key: the change and its answer are written together, and a repetition gets that answer.
//!
//! Refusals are not kept: who was refused may try again under the same key.

use bytes::Bytes;
use http::Response;
use portcullis_domain::admission::{Command, Keyed, Performed};
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::{Body, StreamId};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::Earlier;
use portcullis_domain::session::once::Done;
use portcullis_domain::session::requests::{Requester, mark};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;
use portcullis_interop::frame::http::{read_response, write_response};

use crate::doors::answer::{self, Answer, REPLAYED};
use crate::doors::arrived::Arrived;
use crate::doors::caller::header_idempotency_key;
use crate::entropy::new_call;
use crate::life::Gate;

/// What came of a command.
pub(crate) enum Outcome<T> {
    /// It was carried out now.
    Now(T),
    /// It was carried out before, and answered so.
    Before(Box<Answer>),
}

/// Carries out a command that is about `session`, once if it has a key. What `record` says is kept as its answer.
pub(crate) async fn perform<T: Send + 'static>(
    gate: &Gate,
    arrived: &Arrived,
    session: Option<&SessionId>,
    command: impl Command<Answer = Result<T, Refusal>>,
    record: impl Fn(&T) -> Response<Bytes> + Send + 'static,
) -> Result<Outcome<T>, Refusal> {
    let Some(key) = header_idempotency_key(&arrived.headers)? else {
        return Ok(Outcome::Now(gate.journal.execute(command).await??));
    };
    let by = arrived.caller.principal.clone();
    let keyed = Keyed {
        request: new_call()?,
        actor: arrived.caller.authority.actor(&by),
        mark: mark(&by, &key, arrived.content()),
        requester: Requester { by, session: session.cloned() },
        command,
        record: move |answer: &T| Body::new(write_response(&record(answer))),
    };
    match gate.journal.execute(keyed).await?? {
        Performed::Now(answer) => Ok(Outcome::Now(answer)),
        Performed::Before(done) => Ok(Outcome::Before(Box::new(before(gate, session, done).await?))),
    }
}

/// What the request was answered before, if it has a key and was: for what can't be found any more.
pub(crate) async fn again(
    gate: &Gate,
    arrived: &Arrived,
    session: Option<&SessionId>,
) -> Result<Option<Answer>, Refusal> {
    let Some(key) = header_idempotency_key(&arrived.headers)? else { return Ok(None) };
    let by = arrived.caller.principal.clone();
    let mark = mark(&by, &key, arrived.content());
    let requester = Requester { by, session: session.cloned() };
    // What time it is counts for requests without a key only.
    let known = move |world: &World| world.requests.find(&requester, mark, true, Timestamp(0));
    match gate.journal.read(known).await?? {
        Some(Earlier::Done(done)) => before(gate, session, done).await.map(Some),
        Some(Earlier::Open(_)) | None => Ok(None),
    }
}

async fn before(gate: &Gate, session: Option<&SessionId>, done: Done) -> Result<Answer, Refusal> {
    let stream = session.cloned().map_or(StreamId::Control, StreamId::Session);
    let response = read_response(&gate.recorded_in(&stream, done).await?).map_err(|problem| {
        Refusal::new(Code::NotFound, "the answer of this request is not kept any more").because(problem)
    })?;
    Ok(answer::with_header(answer::of(response), REPLAYED, "true"))
}

/// The same, where the answer follows from what the command came to.
pub(crate) async fn answered<T: Send + 'static>(
    gate: &Gate,
    arrived: &Arrived,
    session: Option<&SessionId>,
    command: impl Command<Answer = Result<T, Refusal>>,
    answer: impl Fn(&T) -> Response<Bytes> + Clone + Send + 'static,
) -> Result<Answer, Refusal> {
    match perform(gate, arrived, session, command, answer.clone()).await? {
        Outcome::Now(done) => Ok(answer::of(answer(&done))),
        Outcome::Before(before) => Ok(*before),
    }
}

/// An answer of that status without a body.
pub(crate) fn empty(status: u16) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response
}
