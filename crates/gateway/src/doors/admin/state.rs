//! The scratchpad of a session: versioned values, written by compare-and-set with entity tags (RFC 9110, section 13).

use http::HeaderMap;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use portcullis_domain::admission::PutState;
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::{Body, StreamId};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::{Expected, StateKey};

use crate::doors::admin::form::json;
use crate::doors::admin::session::{existing, resolve};
use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Arrived;
use crate::doors::caller::{Caller, text_header};
use crate::life::Gate;

/// `GET /api/v1/sessions/{id}/state`: the keys with their versions.
pub(super) async fn list(gate: &Gate, caller: &Caller, id: &str) -> Result<Answer, Refusal> {
    let id = existing(gate, caller, id).await?;
    let values = gate.journal.read(move |world| {
        let scratchpad = world.session.find(&id).map(|session| session.scratchpad.clone()).unwrap_or_default();
        scratchpad.all().map(|(key, located)| (key.to_string(), located.version)).collect::<Vec<_>>()
    });
    let values: Vec<_> =
        values.await?.into_iter().map(|(key, version)| serde_json::json!({"key": key, "version": version})).collect();
    json(200, &serde_json::json!({"values": values}))
}

/// `GET /api/v1/sessions/{id}/state/{key}`: the value as it was written, with its version as entity tag.
pub(super) async fn get(gate: &Gate, caller: &Caller, id: &str, key: &str) -> Result<Answer, Refusal> {
    let id = existing(gate, caller, id).await?;
    let key = read_key(key)?;
    let (session, wanted) = (id.clone(), key.clone());
    let located = gate
        .journal
        .read(move |world| world.session.find(&session).and_then(|session| session.scratchpad.find(&wanted)));
    let missing = || Refusal::new(Code::NotFound, format!("there is no value `{key}`"));
    let located = located.await?.ok_or_else(missing)?;
    let stream = StreamId::Session(id);
    let entry = gate.journal.entries(&stream, located.seq - 1, 1).await?.into_iter().next().ok_or_else(missing)?;
    let value = gate.journal.body(&stream, entry.position, 0).await?.ok_or_else(missing)?;
    Ok(tagged(answer::json(200, value), located.version))
}

/// `PUT /api/v1/sessions/{id}/state/{key}` with a JSON value, and `If-Match` or `If-None-Match`.
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
        session,
        session_budget: gate.snapshot.load().session_budget(),
        key: read_key(key)?,
        expected: read_condition(&arrived.headers)?,
        value: Body::new(arrived.body.clone()),
    };
    let version = gate.journal.execute(command).await??;
    Ok(tagged(answer::empty(if version == 1 { 201 } else { 204 }), version))
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
