//! Approvals: what persons are asked, for those who may answer, and how it stands, for those who wait.

use http::header::HOST;
use portcullis_domain::admission::AnswerApproval;
use portcullis_domain::admission::answer_approval::not_found;
use portcullis_domain::event::Event;
use portcullis_domain::ids::{CallId, PrincipalName};
use portcullis_domain::journal::StreamId;
use portcullis_domain::policy::approval::{Said, WAIT_PREFIX};
use portcullis_domain::policy::{Approval, Ask, Standing};
use portcullis_domain::refusal::{Code, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::doors::admin::form::{json, read};
use crate::doors::answer::{Answer, whole_json};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::text_header;
use crate::doors::links::link;
use crate::doors::once;
use crate::life::Gate;

mod words;

pub use words::plain;

/// The most approvals in one answer.
const PAGE_LIMIT: usize = 200;

/// An approval as people and programs read it.
#[derive(Serialize)]
pub struct Shown {
    id: String,
    status: &'static str,
    session: String,
    /// Who asks.
    by: PrincipalName,
    /// The agents that act for them, one through the other.
    through: Vec<PrincipalName>,
    capability: String,
    door: &'static str,
    place: &'static str,
    /// The arguments, as they would be forwarded; as text where they are no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<Box<RawValue>>,
    /// Why it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    policies: Vec<String>,
    /// Who must say yes.
    asks: Vec<ShownAsk>,
    /// The roles that may answer too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    escalated: Vec<String>,
    said: Vec<ShownSaid>,
    /// What it may cost, in dollars; none when that is not known.
    cost: Option<String>,
    requested_at: String,
    expires_at: String,
    /// The wait of the session whose end says what came of it, where the gateway makes the call itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<String>,
    /// The call that has used it.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_by: Option<String>,
    /// Where who is asking may answer, without a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

#[derive(Serialize)]
struct ShownAsk {
    role: String,
    approvals: u8,
    missing: usize,
}

#[derive(Serialize)]
struct ShownSaid {
    by: PrincipalName,
    answer: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    at: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    comment: Option<String>,
}

/// The word for how an approval stands.
#[must_use]
pub fn status(standing: Standing) -> &'static str {
    match standing {
        Standing::Pending => "pending",
        Standing::Approved => "approved",
        Standing::Denied => "denied",
        Standing::Used(_) => "used",
        Standing::Expired => "expired",
        Standing::Withdrawn => "withdrawn",
        Standing::Void => "void",
    }
}

/// The approval in the form of the API, without a link.
///
/// # Errors
///
/// When the store can't be read.
pub async fn shown(gate: &Gate, call: CallId, approval: &Approval) -> Result<Shown, Refusal> {
    let stands =
        |ask: &Ask| ShownAsk { role: ask.role.to_string(), approvals: ask.approvals, missing: approval.missing(ask) };
    let said = |said: &Said| ShownSaid {
        by: said.by.clone(),
        answer: if said.is_yes { "approve" } else { "deny" },
        comment: said.comment.clone(),
        at: said.at.to_string(),
    };
    Ok(Shown {
        id: call.to_string(),
        status: status(approval.standing),
        session: approval.session.to_string(),
        by: approval.session.owner.clone(),
        through: approval.authority.through.clone(),
        capability: approval.capability.to_string(),
        door: approval.door.as_str(),
        place: approval.place.as_str(),
        arguments: arguments(gate, approval).await?,
        message: approval.message.clone(),
        policies: approval.policies.clone(),
        asks: approval.asks.iter().map(stands).collect(),
        escalated: approval.escalated.iter().map(ToString::to_string).collect(),
        said: approval.said.iter().map(said).collect(),
        cost: approval.estimate.map(|estimate| estimate.to_string()),
        requested_at: approval.requested_at.to_string(),
        expires_at: approval.expires_at.to_string(),
        wait: approval.is_run.then(|| format!("{WAIT_PREFIX}{call}")),
        used_by: match approval.standing {
            Standing::Used(call) => Some(call.to_string()),
            Standing::Pending
            | Standing::Approved
            | Standing::Denied
            | Standing::Expired
            | Standing::Withdrawn
            | Standing::Void => None,
        },
        link: None,
    })
}

/// The body of the entry that asked.
async fn arguments(gate: &Gate, approval: &Approval) -> Result<Option<Box<RawValue>>, Refusal> {
    let stream = StreamId::Session(approval.session.clone());
    let placed = gate.journal.entries(&stream, approval.seq.saturating_sub(1), 1).await?.pop();
    let Some(placed) = placed.filter(|placed| matches!(placed.entry.event, Event::ApprovalRequested(_))) else {
        return Ok(None);
    };
    let Some(body) = gate.journal.body(&stream, placed.position, 0).await? else { return Ok(None) };
    let text = String::from_utf8_lossy(&body).into_owned();
    let quoted = || serde_json::to_string(&text).ok().and_then(|quoted| RawValue::from_string(quoted).ok());
    Ok(RawValue::from_string(text.clone()).ok().or_else(quoted))
}

/// `GET /api/v1/approvals`: those that wait for an answer of the caller's; all of them for administrators.
pub(super) async fn list(doors: &Doors, arrived: &Arrived) -> Result<Answer, Refusal> {
    let gate = &doors.gate;
    let snapshot = gate.snapshot.load_full();
    let caller = arrived.caller.clone();
    let is_administrator = snapshot.is_administrator(caller.chain());
    let visible = gate.journal.read(move |world| {
        let pending = world.approvals.open().filter(|(_, approval)| approval.standing == Standing::Pending);
        let mine =
            |(_, approval): &(CallId, &Approval)| is_administrator || snapshot.may_answer_by(caller.chain(), approval);
        let mine = pending.filter(mine).take(PAGE_LIMIT);
        mine.map(|(call, approval)| (call, approval.clone())).collect::<Vec<_>>()
    });
    let mut approvals = Vec::new();
    for (call, approval) in visible.await? {
        approvals.push(with_link(doors, arrived, call, &approval).await?);
    }
    json(200, &serde_json::json!({"approvals": approvals}))
}

/// `GET /api/v1/approvals/{id}`: for those who may answer, and for whoever waits for it.
pub(super) async fn show(doors: &Doors, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let call = read_id(id)?;
    let found = doors.gate.journal.read(move |world| world.approvals.find(call).cloned()).await?;
    let approval = found.ok_or_else(|| not_found(call))?;
    let caller = &arrived.caller;
    let snapshot = doors.gate.snapshot.load_full();
    let is_own = approval.session.owner == caller.principal && caller.may_enter(&approval.session);
    let is_seen =
        is_own || snapshot.is_administrator(caller.chain()) || snapshot.may_answer_by(caller.chain(), &approval);
    if !is_seen {
        return Err(not_found(call));
    }
    json(200, &with_link(doors, arrived, call, &approval).await?)
}

/// `POST /api/v1/approvals/{id}/approve` and `…/deny`.
pub(super) async fn answer(gate: &Gate, arrived: &Arrived, id: &str, is_yes: bool) -> Result<Answer, Refusal> {
    let call = read_id(id)?;
    let Wanted { comment } = read(&arrived.body)?;
    let snapshot = gate.snapshot.load_full();
    let caller = &arrived.caller;
    if snapshot.catalogue.acting(&caller.principal).is_some() {
        return Err(no_agent());
    }
    let command = AnswerApproval {
        call,
        by: caller.principal.clone(),
        authority: Some(caller.authority.clone()),
        is_by_client: false,
        roles: snapshot.roles_by(caller.chain()),
        policy_version: snapshot.policy.version(),
        is_yes,
        comment,
    };
    let answered = once::answered(gate, arrived, None, command, move |standing| {
        whole_json(200, serde_json::json!({"id": call.to_string(), "status": status(*standing)}).to_string())
    });
    let answered = answered.await?;
    gate.approvals.notify_one();
    Ok(answered)
}

/// The refusal of an agent that answers.
#[must_use]
pub fn no_agent() -> Refusal {
    Refusal::new(Code::Forbidden, "an agent approves nothing")
}

/// With the caller's own link, where the caller may answer: it can be taken to another device.
async fn with_link(doors: &Doors, arrived: &Arrived, call: CallId, approval: &Approval) -> Result<Shown, Refusal> {
    let snapshot = doors.gate.snapshot.load_full();
    let caller = &arrived.caller;
    let mut shown = shown(&doors.gate, call, approval).await?;
    // A link stands for a name, and of who is not in the configuration a name says nothing.
    let may_answer =
        snapshot.may_answer_by(caller.chain(), approval) && snapshot.may_answer(&caller.principal, approval);
    if may_answer && approval.standing == Standing::Pending {
        let host = text_header(&arrived.headers, &HOST).unwrap_or_default();
        let base = snapshot.config.server.base(host);
        shown.link = Some(link(&doors.transport, &base, call, &caller.principal)?);
    }
    Ok(shown)
}

fn read_id(id: &str) -> Result<CallId, Refusal> {
    id.parse().map_err(|problem: String| Refusal::new(Code::InvalidRequest, problem).about("id"))
}
