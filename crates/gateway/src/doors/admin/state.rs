//! The scratchpad of a session: versioned values, written by compare-and-set with entity tags (RFC 9110, section 13).

use http::HeaderMap;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use portcullis_domain::admission::{Command, DeleteState, PutState, Verdict};
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::{Body, StreamId};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::scratchpad::{Located, Scratchpad, TTL_LIMIT_S};
use portcullis_domain::session::state::not_found;
use portcullis_domain::session::{Expected, StateKey};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;
use serde::Serialize;

use crate::doors::admin::form::{json, parameter};
use crate::doors::admin::session::resolve;
use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Arrived;
use crate::doors::caller::{Caller, text_header};
use crate::doors::once;
use crate::life::Gate;

/// The most keys in one answer.
const PAGE_LIMIT: u64 = 1_000;

#[derive(Serialize)]
struct Shown {
    key: StateKey,
    version: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

#[derive(Serialize)]
struct Page {
    values: Vec<Shown>,
    /// Where the next page begins; none when this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<StateKey>,
}

/// A question to the scratchpad of a session that there is. It comes with the time of the writer, so that what is over for a writer is
/// over for a reader too.
struct Look<F> {
    session: SessionId,
    question: F,
}

impl<T: Send + 'static, F: Fn(&Scratchpad, Timestamp) -> T + Send + 'static> Command for Look<F> {
    type Answer = Option<T>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        let session = world.session.find(&self.session);
        Verdict::unchanged(session.map(|session| (self.question)(&session.scratchpad, at)))
    }
}

async fn look<T: Send + 'static>(
    gate: &Gate,
    session: &SessionId,
    question: impl Fn(&Scratchpad, Timestamp) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let look = Look { session: session.clone(), question };
    gate.journal.execute(look).await?.ok_or_else(|| not_found(&session.name))
}

/// `GET /api/v1/sessions/{id}/state?prefix=…&after=KEY&limit=N`: the keys in order, with their versions.
pub(super) async fn list(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let id = resolve(gate, &arrived.caller, id)?;
    let prefix = parameter(arrived, "prefix")?.unwrap_or_default().into_owned();
    if !prefix.is_empty() {
        // What begins no key is a mistake: an empty answer would hide it.
        prefix.parse::<StateKey>().map_err(|problem| Refusal::new(Code::InvalidRequest, problem).about("prefix"))?;
    }
    let after = parameter(arrived, "after")?.map(|key| read_key(&key)).transpose()?;
    let limit = number(arrived, "limit", PAGE_LIMIT)?.unwrap_or(PAGE_LIMIT);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = look(gate, &id, move |scratchpad, at| {
        let wanted =
            |key: &StateKey| key.as_str().starts_with(&prefix) && after.as_ref().is_none_or(|after| key > after);
        let found = scratchpad.all(at).filter(|(key, _)| wanted(key)).take(limit.saturating_add(1));
        let mut values: Vec<Shown> = found.map(|(key, located)| shown(key, located)).collect();
        let is_last = values.len() <= limit;
        values.truncate(limit);
        let next = values.last().filter(|_| !is_last).map(|value| value.key.clone());
        Page { values, next }
    });
    json(200, &page.await?)
}

fn shown(key: &StateKey, located: &Located) -> Shown {
    let expires_at = located.expires_at.map(|expiry| expiry.to_string());
    Shown { key: key.clone(), version: located.version, bytes: located.bytes, expires_at }
}

/// `GET /api/v1/sessions/{id}/state/{key}`: the value as it was written, with its version as entity tag.
pub(super) async fn get(gate: &Gate, caller: &Caller, id: &str, key: &str) -> Result<Answer, Refusal> {
    let id = resolve(gate, caller, id)?;
    let key = read_key(key)?;
    let wanted = key.clone();
    let located = look(gate, &id, move |scratchpad, at| scratchpad.find(&wanted, at)).await?;
    let missing = || Refusal::new(Code::NotFound, format!("there is no value `{key}`"));
    let located = located.ok_or_else(missing)?;
    let stream = StreamId::Session(id);
    let entry = gate.journal.entries(&stream, located.seq - 1, 1).await?.into_iter().next().ok_or_else(missing)?;
    let value = gate.journal.body(&stream, entry.position, 0).await?.ok_or_else(missing)?;
    Ok(tagged(answer::json(200, value), located.version))
}

/// `PUT /api/v1/sessions/{id}/state/{key}?ttl_s=N` with a JSON value, and `If-Match` or `If-None-Match`.
pub(super) async fn put(gate: &Gate, arrived: &Arrived, id: &str, key: &str) -> Result<Answer, Refusal> {
    let session = own(gate, &arrived.caller, id)?;
    let media = text_header(&arrived.headers, &CONTENT_TYPE).unwrap_or("application/json");
    if !media.starts_with("application/json") {
        return Err(Refusal::new(Code::InvalidRequest, "a value is JSON (`Content-Type: application/json`)")
            .about("Content-Type"));
    }
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&arrived.body);
    is_json.map_err(|error| Refusal::new(Code::InvalidRequest, format!("the value is no JSON: {error}")))?;
    let command = PutState {
        presented: arrived.caller.key.clone(),
        session: session.clone(),
        session_budget: gate.snapshot.load().session_budget(),
        key: read_key(key)?,
        expected: read_condition(&arrived.headers)?,
        ttl_us: number(arrived, "ttl_s", TTL_LIMIT_S)?.map(|seconds| seconds.saturating_mul(1_000_000)),
        value: Body::new(arrived.body.clone()),
    };
    once::answered(gate, arrived, Some(&session), command, |put| {
        let mut response = once::empty(if put.is_new { 201 } else { 204 });
        let tag = http::HeaderValue::from_str(&format!("\"{}\"", put.version));
        response.headers_mut().extend(tag.map(|tag| (ETAG, tag)));
        response
    })
    .await
}

/// `DELETE /api/v1/sessions/{id}/state/{key}`, with `If-Match` perhaps.
pub(super) async fn delete(gate: &Gate, arrived: &Arrived, id: &str, key: &str) -> Result<Answer, Refusal> {
    let session = own(gate, &arrived.caller, id)?;
    let command = DeleteState {
        presented: arrived.caller.key.clone(),
        session: session.clone(),
        key: read_key(key)?,
        expected: read_condition(&arrived.headers)?,
    };
    once::answered(gate, arrived, Some(&session), command, |()| once::empty(204)).await
}

/// A parameter of the query that is a number from 1 to `most`.
fn number(arrived: &Arrived, name: &str, most: u64) -> Result<Option<u64>, Refusal> {
    let Some(text) = parameter(arrived, name)? else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    let invalid = || Refusal::new(Code::InvalidRequest, format!("`{name}` is a number from 1 to {most}")).about(name);
    number.map(Some).ok_or_else(invalid)
}

/// Only the owner writes: an administrator may look, and nothing more.
fn own(gate: &Gate, caller: &Caller, id: &str) -> Result<SessionId, Refusal> {
    let session = resolve(gate, caller, id)?;
    if session.owner == caller.principal {
        Ok(session)
    } else {
        Err(Refusal::new(Code::Forbidden, "only the owner of a session writes to it"))
    }
}

fn read_key(key: &str) -> Result<StateKey, Refusal> {
    key.parse().map_err(|problem: String| Refusal::new(Code::InvalidRequest, problem).about("key"))
}

fn read_condition(headers: &HeaderMap) -> Result<Expected, Refusal> {
    let invalid = |name: &str| {
        Refusal::new(Code::InvalidRequest, format!("`{name}` is neither `*` nor one version in quotes")).about(name)
    };
    match (text_header(headers, &IF_MATCH), text_header(headers, &IF_NONE_MATCH)) {
        (None, None) => Ok(Expected::Anything),
        (Some("*"), None) => Ok(Expected::Present),
        (None, Some("*")) => Ok(Expected::Absent),
        (Some(tag), None) => {
            let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
            version.map(Expected::Version).ok_or_else(|| invalid("If-Match"))
        }
        (_, Some(_)) => Err(invalid("If-None-Match")),
    }
}

fn tagged(answer: Answer, version: u64) -> Answer {
    answer::with_header(answer, ETAG, &format!("\"{version}\""))
}
