//! The scratchpad of a session: versioned values, written by compare-and-set with entity tags (RFC 9110, section 13).

use http::HeaderMap;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use portcullis_domain::admission::{DeleteState, PutState};
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::scratchpad::TTL_LIMIT_S;
use portcullis_domain::session::state::not_found;
use portcullis_domain::session::{Expected, StateKey};

use crate::doors::admin::form::{json, parameter};
use crate::doors::admin::session::resolve;
use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Arrived;
use crate::doors::caller::{Caller, text_header};
use crate::doors::once;
use crate::life::Gate;
use crate::scratchpad::{self, PAGE_LIMIT, Wanted};

/// `GET /api/v1/sessions/{id}/state?prefix=…&after=KEY&limit=N`: the keys in order, with their versions.
pub(super) async fn list(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let id = resolve(gate, &arrived.caller, id)?;
    let prefix = parameter(arrived, "prefix")?.unwrap_or_default().into_owned();
    if !prefix.is_empty() {
        // What begins no key is a mistake: an empty answer would hide it.
        prefix.parse::<StateKey>().map_err(|problem| Refusal::new(Code::InvalidRequest, problem).about("prefix"))?;
    }
    let after = parameter(arrived, "after")?.map(|key| read_key(&key)).transpose()?;
    let limit = number(arrived, "limit", u64::try_from(PAGE_LIMIT).unwrap_or(u64::MAX))?;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_LIMIT);
    let page = scratchpad::page(&gate.journal, &id, Wanted { prefix, after, limit }).await?;
    json(200, &page.ok_or_else(|| not_found(&id.name))?)
}

/// `GET /api/v1/sessions/{id}/state/{key}`: the value as it was written, with its version as entity tag.
pub(super) async fn get(gate: &Gate, caller: &Caller, id: &str, key: &str) -> Result<Answer, Refusal> {
    let id = resolve(gate, caller, id)?;
    let key = read_key(key)?;
    let found = scratchpad::value(&gate.journal, &id, &key).await?.ok_or_else(|| not_found(&id.name))?;
    let missing = || Refusal::new(Code::NotFound, format!("there is no value `{key}`"));
    let (shown, value) = found.ok_or_else(missing)?;
    Ok(tagged(answer::json(200, value), shown.version))
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
        authority: arrived.caller.authority.clone(),
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
        authority: arrived.caller.authority.clone(),
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
