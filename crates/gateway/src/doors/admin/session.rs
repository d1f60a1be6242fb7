//! Sessions: opened, looked at and closed by their owners, and by administrators.

use portcullis_domain::admission::{CloseSession, Freeze, LiftLabel, NoteWords, OpenSession};
use portcullis_domain::event::Event;
use portcullis_domain::grant::Grant;
use portcullis_domain::ids::{SessionId, SessionName};
use portcullis_domain::journal::{Body, Entry, StreamId};
use portcullis_domain::ledger::Account;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::state::{Session, Status, not_found};
use portcullis_domain::world::World;
use serde::{Deserialize, Serialize};

use crate::conversation;
use crate::doors::admin::form::{json, parameter, read};
use crate::doors::admin::health::administrator;
use crate::doors::admin::ledger::Shown as ShownBalance;
use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Arrived;
use crate::doors::caller::{Caller, session_or_minted};
use crate::doors::once;
use crate::life::Gate;

/// The most sessions or entries in one answer.
const PAGE_LIMIT: usize = 1_000;

#[derive(Serialize)]
struct Shown {
    id: String,
    name: String,
    owner: String,
    status: Status,
    opened_at: String,
    last_at: String,
    calls: u64,
    refused: u64,
    account: ShownBalance,
    /// What it is marked with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    /// What it waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting_for: Vec<String>,
    /// Calls of which nobody knows whether they took effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown_calls: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: Option<SessionName>,
    grant: Option<Grant>,
}

/// The session that `id` means to this caller: a name of their own, or `owner:name` for the owner and for administrators. For everybody else there is none.
pub(super) fn resolve(gate: &Gate, caller: &Caller, id: &str) -> Result<SessionId, Refusal> {
    let invalid = |problem: String| Refusal::new(Code::InvalidRequest, problem).about("id");
    let Some((_, name)) = id.split_once(':') else {
        let session = SessionId { owner: caller.principal.clone(), name: id.parse().map_err(invalid)? };
        caller.check_session(&session)?;
        return Ok(session);
    };
    let session: SessionId = id.parse().map_err(invalid)?;
    caller.check_session(&session)?;
    if session.owner == caller.principal || gate.snapshot.load().is_administrator(caller.chain()) {
        return Ok(session);
    }
    Err(not_found(&name.parse().map_err(invalid)?))
}

fn shown(world: &World, id: &SessionId, session: &Session) -> Shown {
    let account = Account::Session(id.clone());
    Shown {
        id: id.to_string(),
        name: id.name.to_string(),
        owner: id.owner.to_string(),
        status: session.status,
        opened_at: session.opened_at.to_string(),
        last_at: session.last_at.to_string(),
        calls: session.calls,
        refused: session.refused,
        account: ShownBalance::of(&account, &world.ledger.balance(&account)),
        labels: session.labels.iter().map(ToString::to_string).collect(),
        waiting_for: world
            .waits
            .of(id)
            .filter(|(_, wait)| wait.end.is_none())
            .map(|(_, wait)| wait.what.clone())
            .collect(),
        unknown_calls: session.once.all_unknown().map(|call| call.to_string()).collect(),
    }
}

/// `GET /api/v1/sessions?after=owner:name`.
pub(super) async fn list(gate: &Gate, arrived: &Arrived) -> Result<Answer, Refusal> {
    let all = gate.snapshot.load().is_administrator(arrived.caller.chain());
    let caller = arrived.caller.clone();
    let after: Option<SessionId> = parameter(arrived, "after")?.and_then(|id| id.parse().ok());
    let page = gate.journal.read(move |world| {
        let visible = world.session.all().filter(|(id, _)| {
            (all || id.owner == caller.principal)
                && caller.may_enter(id)
                && after.as_ref().is_none_or(|after| *id > after)
        });
        visible.take(PAGE_LIMIT).map(|(id, session)| shown(world, id, session)).collect::<Vec<_>>()
    });
    json(200, &serde_json::json!({"sessions": page.await?}))
}

/// `POST /api/v1/sessions`: opens a session, minted if no name is given.
pub(super) async fn open(gate: &Gate, arrived: &Arrived) -> Result<Answer, Refusal> {
    let Wanted { name, grant } = read(&arrived.body)?;
    let named = name.map(|name| SessionId { owner: arrived.caller.principal.clone(), name });
    let named = named.or_else(|| arrived.caller.bound.clone());
    if let Some(session) = &named {
        arrived.caller.check_session(session)?;
    }
    let (session, origin) = session_or_minted(&arrived.caller, named)?;
    let budget = gate.snapshot.load().session_budget();
    let authority = arrived.caller.authority.clone();
    let command = OpenSession { authority, session: session.clone(), origin, budget, grant };
    let body = serde_json::json!({"id": session, "name": session.name, "owner": session.owner}).to_string();
    let location = http::HeaderValue::from_str(&format!("/api/v1/sessions/{}", session.name)).ok();
    once::answered(gate, arrived, None, command, move |is_new| {
        let mut response = answer::whole_json(if *is_new { 201 } else { 200 }, body.clone());
        response.headers_mut().extend(location.iter().map(|place| (http::header::LOCATION, place.clone())));
        response
    })
    .await
}

/// `GET /api/v1/sessions/{id}`.
pub(super) async fn show(gate: &Gate, caller: &Caller, id: &str) -> Result<Answer, Refusal> {
    let id = resolve(gate, caller, id)?;
    let name = id.name.clone();
    let found =
        gate.journal.read(move |world| world.session.find(&id).map(|session| shown(world, &id, session))).await?;
    json(200, &found.ok_or_else(|| not_found(&name))?)
}

/// `DELETE /api/v1/sessions/{id}`: the session takes no more calls; its record stays.
pub(super) async fn close(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let session = resolve(gate, &arrived.caller, id)?;
    if arrived.caller.bound.is_some() {
        // Whoever was handed a task does not end what it is part of.
        return Err(Refusal::new(Code::Forbidden, "a session is closed by its owner, and not with a task token"));
    }
    let command = CloseSession { session: session.clone(), by: arrived.caller.principal.clone() };
    let closed = once::answered(gate, arrived, Some(&session), command, |()| once::empty(204)).await?;
    gate.egress.session_ended(&session);
    Ok(closed)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    words: String,
}

/// `POST /api/v1/sessions/{id}/words`: what the user has said, in whose words rules may look for where arguments come from. The session is opened if there is none yet.
pub(super) async fn say(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let session = resolve(gate, &arrived.caller, id)?;
    if session.owner != arrived.caller.principal {
        return Err(Refusal::new(Code::Forbidden, "only whose session it is can say what they have said"));
    }
    let Words { words } = read(&arrived.body)?;
    let command = NoteWords {
        authority: arrived.caller.authority.clone(),
        session: session.clone(),
        session_budget: gate.snapshot.load().session_budget(),
        words: Body::new(words.into()),
    };
    once::answered(gate, arrived, Some(&session), command, |()| once::empty(204)).await
}

/// `POST /api/v1/sessions/{id}/labels/{label}/lift`, for administrators: somebody has looked at what came into the session.
pub(super) async fn lift(gate: &Gate, arrived: &Arrived, id: &str, label: &str) -> Result<Answer, Refusal> {
    administrator(gate, &arrived.caller)?;
    let session = resolve(gate, &arrived.caller, id)?;
    let label = label.parse().map_err(|problem: String| Refusal::new(Code::InvalidRequest, problem).about("label"))?;
    let Reason { reason } = read(&arrived.body)?;
    let by = arrived.caller.authority.actor(&arrived.caller.principal);
    once::answered(gate, arrived, None, LiftLabel { session, by, label, reason }, |()| once::empty(204)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    #[serde(default)]
    reason: String,
}

/// `POST /api/v1/sessions/{id}/freeze`: the session takes no calls, and those under way are cancelled.
pub(super) async fn freeze(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let session = resolve(gate, &arrived.caller, id)?;
    let Reason { reason } = read(&arrived.body)?;
    change(gate, arrived, session, Some(reason)).await
}

/// `POST /api/v1/sessions/{id}/unfreeze`, for administrators: whoever runs away may be its owner.
pub(super) async fn unfreeze(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    administrator(gate, &arrived.caller)?;
    let session = resolve(gate, &arrived.caller, id)?;
    change(gate, arrived, session, None).await
}

async fn change(gate: &Gate, arrived: &Arrived, session: SessionId, reason: Option<String>) -> Result<Answer, Refusal> {
    let by = arrived.caller.authority.actor(&arrived.caller.principal);
    let command = Freeze { session: session.clone(), by, reason };
    // Outside of the session, where a request can be answered however the session is.
    once::answered(gate, arrived, None, command, |()| once::empty(204)).await
}

/// `GET /api/v1/sessions/{id}/history`.
pub(super) async fn history(gate: &Gate, caller: &Caller, id: &str) -> Result<Answer, Refusal> {
    let id = existing(gate, caller, id).await?;
    json(200, &serde_json::json!({"messages": conversation::messages(&gate.journal, id).await?}))
}

/// `GET /api/v1/sessions/{id}/entries?after=N`: what the journal says of the session, without bodies.
pub(super) async fn entries(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let id = existing(gate, &arrived.caller, id).await?;
    let after = parameter(arrived, "after")?.and_then(|number| number.parse().ok()).unwrap_or(0);
    let entries = gate.journal.entries(&StreamId::Session(id), after, PAGE_LIMIT).await?;
    let is_operator = gate.snapshot.load().is_administrator(arrived.caller.chain());
    let shown = |mut entry: Entry<Event>| {
        if let Event::CallRefused(refused) = &mut entry.event
            && refused.code == Code::CapabilityNotFound
            && !is_operator
        {
            // They would tell whether there is such a thing after all.
            refused.reasons.clear();
        }
        entry
    };
    let entries: Vec<_> = entries.into_iter().map(|placed| shown(placed.entry)).collect();
    json(200, &serde_json::json!({"entries": entries}))
}

/// The session that `id` means to this caller, which there is.
pub(super) async fn existing(gate: &Gate, caller: &Caller, id: &str) -> Result<SessionId, Refusal> {
    let id = resolve(gate, caller, id)?;
    let looked_up = id.clone();
    let is_there = gate.journal.read(move |world| world.session.find(&looked_up).is_some()).await?;
    if is_there { Ok(id) } else { Err(not_found(&id.name)) }
}
