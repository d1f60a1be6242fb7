//! Waits of a session: opened, looked at and called off by its owner; ended by an event, at their own URL or here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, LOCATION};
use portcullis_domain::admission::{EndWait, Ended, OpenWait};
use portcullis_domain::call::Door;
use portcullis_domain::event::Event;
use portcullis_domain::ids::{AgentName, SessionId};
use portcullis_domain::journal::{Body, StreamId};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::wait::{End, Wait, WaitName};
use portcullis_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::doors::admin::form::{json, read};
use crate::doors::admin::session::{existing, resolve};
use crate::doors::answer::{self, Answer};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::{Caller, text_header};
use crate::doors::events::{self, Ticket};
use crate::doors::once;
use crate::entropy;
use crate::life::Gate;

/// The longest wait, in seconds.
const TIMEOUT_LIMIT_S: u64 = 400 * 86_400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// A name of the caller's choice; minted without one.
    name: Option<WaitName>,
    /// What is waited for, in words for people.
    #[serde(rename = "for")]
    what: String,
    /// How long, in seconds from now.
    timeout_s: u64,
    /// Whom the end is told to.
    deliver: Option<WantedDeliver>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedDeliver {
    agent: AgentName,
    path: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a WaitName,
    #[serde(rename = "for")]
    what: String,
    until: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver_to: Option<String>,
    /// Whether the agent has accepted it, where one is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_delivered: Option<bool>,
}

/// `POST /api/v1/sessions/{id}/waits`: the answer has the URL that the event is posted to.
pub(super) async fn open(doors: &Doors, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let gate = &doors.gate;
    let session = own(gate, &arrived.caller, id)?;
    let wanted: Wanted = read(&arrived.body)?;
    let invalid = |message: &str, parameter: &str| Refusal::new(Code::InvalidRequest, message).about(parameter);
    if wanted.timeout_s == 0 || wanted.timeout_s > TIMEOUT_LIMIT_S {
        return Err(invalid("a wait lasts from one second to 400 days", "timeout_s"));
    }
    if let Some(deliver) = &wanted.deliver {
        gate.snapshot.load().agent_for(arrived.caller.chain(), deliver.agent.as_str(), Door::Http)?;
        if !deliver.path.starts_with('/') || deliver.path.parse::<http::uri::PathAndQuery>().is_err() {
            return Err(invalid("the path of a delivery begins with `/`", "deliver.path"));
        }
    }
    let name = wanted.name.map_or_else(minted, Ok)?;
    let until = Timestamp(doors.clock.now().0.saturating_add(wanted.timeout_s * 1_000_000));
    let command = OpenWait {
        session: session.clone(),
        authority: arrived.caller.authority.clone(),
        session_budget: gate.snapshot.load().session_budget(),
        name: name.clone(),
        what: wanted.what,
        until,
        deliver: wanted.deliver.map(|deliver| (deliver.agent, deliver.path)),
    };
    let token = doors.transport.seal(events::PURPOSE, &Ticket { session: session.clone(), wait: name.clone() })?;
    let host = text_header(&arrived.headers, &HOST).unwrap_or_default();
    let base = gate.snapshot.load().config.server.base(host);
    let body = serde_json::json!({
        "name": name, "until": until.to_string(), "event_url": format!("{}{}{token}", base, events::PATH),
    })
    .to_string();
    let place = http::HeaderValue::from_str(&format!("/api/v1/sessions/{}/waits/{name}", session.name)).ok();
    once::answered(gate, arrived, Some(&session), command, move |()| {
        let mut response = answer::whole_json(201, body.clone());
        response.headers_mut().extend(place.iter().map(|place| (LOCATION, place.clone())));
        response
    })
    .await
}

/// `GET /api/v1/sessions/{id}/waits`.
pub(super) async fn list(gate: &Gate, caller: &Caller, id: &str) -> Result<Answer, Refusal> {
    let id = existing(gate, caller, id).await?;
    let waits = gate
        .journal
        .read(move |world| world.waits.of(&id).map(|(name, wait)| (name.clone(), wait.clone())).collect::<Vec<_>>());
    let waits = waits.await?;
    let shown: Vec<Shown<'_>> = waits.iter().map(|(name, wait)| shown(name, wait)).collect();
    json(200, &serde_json::json!({"waits": shown}))
}

/// `GET /api/v1/sessions/{id}/waits/{wait}`: with the event, where one has come.
pub(super) async fn show(gate: &Gate, caller: &Caller, id: &str, wait: &str) -> Result<Answer, Refusal> {
    let (id, name) = (existing(gate, caller, id).await?, read_name(wait)?);
    let (session, wanted) = (id.clone(), name.clone());
    let found = gate.journal.read(move |world| world.waits.find(&session, &wanted).cloned()).await?;
    let wait = found.ok_or_else(|| Refusal::new(Code::NotFound, format!("there is no wait `{name}`")))?;
    let event = match &wait.end {
        Some((End::Event(event), seq)) => read_event(gate, &id, event, *seq).await?,
        Some((End::Expired | End::Cancelled, _)) | None => None,
    };
    json(200, &Detailed { wait: shown(&name, &wait), event })
}

#[derive(Serialize)]
struct Detailed<'a> {
    #[serde(flatten)]
    wait: Shown<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Value>,
}

async fn read_event(gate: &Gate, session: &SessionId, id: &str, seq: u64) -> Result<Option<Value>, Refusal> {
    let stream = StreamId::Session(session.clone());
    let placed = gate.journal.entries(&stream, seq.saturating_sub(1), 1).await?.pop();
    let Some(placed) = placed else { return Ok(None) };
    let Event::WaitEnded(ended) = &placed.entry.event else { return Ok(None) };
    let body = gate.journal.body(&stream, placed.position, 0).await?.unwrap_or_default();
    Ok(Some(event_form(id, ended.content_type.as_deref(), &body)))
}

/// An event as those are told who wait for it: JSON as it is, anything else in Base64.
#[must_use]
pub fn event_form(id: &str, content_type: Option<&str>, body: &[u8]) -> Value {
    match serde_json::from_slice::<Value>(body) {
        Ok(data) => serde_json::json!({"id": id, "content_type": content_type, "data": data}),
        Err(_) => {
            serde_json::json!({"id": id, "content_type": content_type, "data_base64": STANDARD.encode(body)})
        }
    }
}

/// `DELETE /api/v1/sessions/{id}/waits/{wait}`: nothing is waited for any more, and nobody is told.
pub(super) async fn cancel(gate: &Gate, arrived: &Arrived, id: &str, wait: &str) -> Result<Answer, Refusal> {
    let caller = &arrived.caller;
    let (session, by) = (own(gate, caller, id)?, caller.authority.actor(&caller.principal));
    let end = EndWait { session: session.clone(), name: read_name(wait)?, by, end: End::Cancelled, event: None };
    once::answered(gate, arrived, Some(&session), end, |_| once::empty(204)).await
}

/// `POST /api/v1/sessions/{id}/waits/{wait}/events`: the event, from somebody who may enter the session.
pub(super) async fn event(gate: &Gate, arrived: &Arrived, id: &str, wait: &str) -> Result<Answer, Refusal> {
    let session = resolve(gate, &arrived.caller, id)?;
    let by = arrived.caller.authority.actor(&arrived.caller.principal);
    let media = text_header(&arrived.headers, &CONTENT_TYPE).map(str::to_owned);
    let id = events::event_id(&arrived.headers, &arrived.body)?;
    let event = Some((media, Body::new(Bytes::clone(&arrived.body))));
    let end = EndWait { session, name: read_name(wait)?, by, end: End::Event(id), event };
    let ended = gate.journal.execute(end).await??;
    gate.deliveries.notify_one();
    Ok(answer::empty(if ended == Ended::Now { 202 } else { 200 }))
}

fn shown<'a>(name: &'a WaitName, wait: &Wait) -> Shown<'a> {
    let (status, event_id) = match &wait.end {
        None => ("open", None),
        Some((End::Event(id), _)) => ("arrived", Some(id.clone())),
        Some((End::Expired, _)) => ("expired", None),
        Some((End::Cancelled, _)) => ("cancelled", None),
    };
    Shown {
        name,
        what: wait.what.clone(),
        until: wait.until.to_string(),
        status,
        event_id,
        deliver_to: wait.deliver.as_ref().map(|deliver| format!("agent/{}{}", deliver.agent, deliver.path)),
        is_delivered: wait.deliver.as_ref().filter(|_| wait.end.is_some()).map(|_| wait.is_done && !wait.is_given_up),
    }
}

/// Only the owner says what its session waits for.
fn own(gate: &Gate, caller: &Caller, id: &str) -> Result<SessionId, Refusal> {
    let session = resolve(gate, caller, id)?;
    let is_own = session.owner == caller.principal;
    is_own
        .then_some(session)
        .ok_or_else(|| Refusal::new(Code::Forbidden, "only the owner of a session says what it waits for"))
}

fn read_name(name: &str) -> Result<WaitName, Refusal> {
    name.parse().map_err(|problem: String| Refusal::new(Code::InvalidRequest, problem).about("wait"))
}

fn minted() -> Result<WaitName, Refusal> {
    let name = format!("wait_{}", entropy::new_call()?);
    name.parse().map_err(|problem: String| Refusal::new(Code::StoreUnavailable, problem))
}
