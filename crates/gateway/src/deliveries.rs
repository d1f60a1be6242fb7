//! Telling agents how waits ended: at least once, in the order in which they ended, until the agent accepts.
//!
//! Everything that must not be forgotten is in the journal; only how often was tried, and when to try again, is kept here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response};
use portcullis_domain::admission::{EndWait, NoteDelivery};
use portcullis_domain::call::Door;
use portcullis_domain::digest::Digest;
use portcullis_domain::event::{Event, Outcome};
use portcullis_domain::ids::{Actor, SessionId};
use portcullis_domain::journal::{Body, StreamId};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::Origin;
use portcullis_domain::session::wait::{Deliver, End, Wait, WaitName};
use portcullis_domain::time::Timestamp;
use portcullis_interop::frame::http::{DELIVERY, write_request, write_response};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::{self, JoinSet};

use crate::asking::{Asking, Effect};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::doors::admin::wait::event_form;
use crate::doorway::{Doorway, halted};
use crate::life::Gate;
use crate::life::agent::{Parks, Replied, Reply, Wish, settle};
use crate::life::guarding::Guarding;
use crate::repetition::Patience;
use crate::stop::stopped;

/// How often it is looked what is due, if nobody says that something is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The most deliveries at a time.
const DELIVERIES_LIMIT: usize = 64;
/// How long a delivery waits for the session's turn.
const TURN_WAIT: Duration = Duration::from_secs(60);
/// How much of an agent's answer to a delivery is kept, in bytes.
const KEPT_LIMIT_BYTES: usize = 64 << 10;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

type Name = (SessionId, WaitName);

/// What is to be delivered.
struct Due {
    session: SessionId,
    name: WaitName,
    wait: Wait,
}

/// Expires waits and delivers their ends, until `stop` says so.
pub async fn run(gate: Arc<Gate>, clock: Arc<dyn Clock>, mut stop: watch::Receiver<bool>) {
    let mut backoff: Backoff<Name> = Backoff::new();
    let mut under_way: JoinSet<(Name, bool)> = JoinSet::new();
    let mut busy: HashMap<task::Id, SessionId> = HashMap::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return finish(under_way).await,
            Some(ended) = under_way.join_next_with_id() => match ended {
                Ok((id, (name, is_accepted))) => {
                    busy.remove(&id);
                    backoff.note(name, is_accepted, clock.now());
                }
                // A panic is a fault of ours, and no reason to forget the session.
                Err(error) => {
                    tracing::error!(%error, "a delivery ended by a fault");
                    busy.remove(&error.id());
                }
            },
            () = gate.deliveries.notified() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
        let now = clock.now();
        expire(&gate, now).await;
        let found = mine(&gate, &under_way).await;
        backoff.keep(&found.iter().map(|due| (due.session.clone(), due.name.clone())).collect());
        for due in found {
            let name = (due.session.clone(), due.name.clone());
            if backoff.is_early(&name, now)
                || busy.values().any(|session| *session == due.session)
                || under_way.len() >= DELIVERIES_LIMIT
            {
                continue;
            }
            let (gate, session) = (gate.clone(), due.session.clone());
            let begun = under_way.spawn(async move { (name, deliver(&gate, due).await) });
            busy.insert(begun.id(), session);
        }
    }
}

/// What has begun is brought to its end: an agent that has accepted would be told again otherwise.
async fn finish(mut under_way: JoinSet<(Name, bool)>) {
    while under_way.join_next().await.is_some() {}
}

async fn expire(gate: &Gate, now: Timestamp) {
    let overdue = gate.journal.read(move |world| {
        let overdue = world.waits.overdue(now).take(DELIVERIES_LIMIT);
        overdue.map(|(session, name)| (session.clone(), name.clone())).collect::<Vec<_>>()
    });
    for (session, name) in overdue.await.unwrap_or_default() {
        let end = EndWait { session, name, by: Actor::Gateway, end: End::Expired, event: None };
        // One that has ended meanwhile says so, and is no fault.
        if let Ok(Err(refusal)) = gate.journal.execute(end).await {
            tracing::debug!(%refusal, "a wait did not expire");
        }
    }
}

/// What is due in the sessions that this gateway looks after. Of several gateways one does, so that an agent is told once; when it is gone, another.
async fn mine(gate: &Gate, under_way: &JoinSet<(Name, bool)>) -> Vec<Due> {
    let mut found = due(gate).await;
    // Whoever looked after it before may have delivered by now.
    if look_after(gate, DELIVERIES_LIMIT.saturating_sub(under_way.len())).await {
        found = due(gate).await;
    }
    found.retain(|due| gate.leases.has(&due.session));
    found
}

/// Takes the leases of the sessions in which something is to be told, to agents, to clients or to whoever hears of approvals, or in which an approved call is to be made, and gives
/// back those of all others. Whether one was taken.
pub async fn look_after(gate: &Gate, limit: usize) -> bool {
    let tells_of_approvals = gate.snapshot.load().config.policy.approvals.notify.is_some();
    let wanted = gate.journal.read(move |world| {
        let waits = world.waits.to_tell().map(|(session, ..)| session);
        let pushes = world.pushes.to_tell().map(|(session, ..)| session);
        let runs = world.approvals.to_tell().map(|(_, approval)| &approval.session);
        let halted = world.agent_tasks.halted().map(|task| &task.session);
        let asked = world.approvals.open().filter(|_| tells_of_approvals).map(|(_, approval)| &approval.session);
        waits.chain(pushes).chain(runs).chain(halted).chain(asked).cloned().collect()
    });
    gate.leases.keep(async { wanted.await.unwrap_or_default() }, limit).await.unwrap_or_else(|fault| {
        tracing::debug!(%fault, "it can't be asked whose the sessions are");
        false
    })
}

async fn due(gate: &Gate) -> Vec<Due> {
    let due = gate.journal.read(|world| {
        let of = |(session, name, wait): (&SessionId, &WaitName, &Wait)| Due {
            session: session.clone(),
            name: name.clone(),
            wait: wait.clone(),
        };
        world.waits.to_tell().map(of).collect::<Vec<_>>()
    });
    due.await.unwrap_or_default()
}

/// One attempt; whether the agent has accepted.
async fn deliver(gate: &Gate, due: Due) -> bool {
    let (Some(deliver), Some((end, seq))) = (&due.wait.deliver, &due.wait.end) else { return false };
    // What comes too late for the task that waited would be refused for ever, and what is behind it never told.
    if due.wait.is_too_late(gate.clock.now()) {
        let (session, name) = (due.session.clone(), due.name.clone());
        tracing::info!(%session, wait = %name, "a wait has ended behind the end of the task that waited: nobody is told");
        return gate.journal.execute(NoteDelivery { session, name, is_given_up: true }).await.is_ok();
    }
    let attempt = async {
        let body = message(gate, &due, end, *seq).await?;
        let (session, authority) = (&due.session, &deliver.authority);
        let goes_on = |doorway: &Doorway| doorway.goes_on(&session.owner, authority, Some(session));
        let reply = tokio::select! {
            reply = post(gate, &due, deliver, body) => reply?,
            refusal = halted(gate.journal.doorway(), goes_on) => return Err(refusal),
        };
        let status = take(gate, reply).await?;
        if !status.is_success() {
            return Err(Refusal::new(Code::UpstreamFailed, format!("the agent answered {status}")));
        }
        let (session, name) = (due.session.clone(), due.name.clone());
        gate.journal.execute(NoteDelivery { session, name, is_given_up: false }).await?;
        Ok(())
    };
    let outcome = attempt.await;
    if let Err(refusal) = &outcome {
        tracing::info!(session = %due.session, wait = %due.name, %refusal, "a delivery was not accepted and is tried again");
    }
    outcome.is_ok()
}

/// What the agent is told.
async fn message(gate: &Gate, due: &Due, end: &End, seq: u64) -> Result<Bytes, Refusal> {
    let stream = StreamId::Session(due.session.clone());
    let gone = || Refusal::new(Code::NotFound, "the entry of the wait's end is missing");
    let placed = gate.journal.entries(&stream, seq.saturating_sub(1), 1).await?.pop().ok_or_else(gone)?;
    let Event::WaitEnded(ended) = &placed.entry.event else { return Err(gone()) };
    let mut message = json!({
        "session": due.session.name, "wait": due.name, "for": due.wait.what, "at": placed.entry.at.to_string(),
    });
    let (kind, more) = match end {
        End::Expired => ("expired", Value::Null),
        End::Cancelled => ("cancelled", Value::Null),
        End::Event(id) => {
            let body = gate.journal.body(&stream, placed.position, 0).await?.unwrap_or_default();
            ("event", event_form(id, ended.content_type.as_deref(), &body))
        }
    };
    if let Some(members) = message.as_object_mut() {
        members.insert("type".to_owned(), json!(kind));
        if !more.is_null() {
            members.insert("event".to_owned(), more);
        }
    }
    Ok(message.to_string().into())
}

async fn post(gate: &Gate, due: &Due, deliver: &Deliver, body: Bytes) -> Result<Reply, Refusal> {
    let agent = gate.snapshot.load().agent_for(
        deliver.authority.chain(&due.session.owner),
        deliver.agent.as_str(),
        Door::Http,
    )?;
    // It waits until the agent may be called again; there is nothing to write down each time that it is looked.
    gate.journal.doorway().borrow().disabled.check_callee(&agent.principal, &agent.capability)?;
    let delivery = format!("{}/{}", due.session, due.name);
    let mut request = Request::post(deliver.path.as_str())
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .body(body)
        .map_err(|error| Refusal::new(Code::InvalidRequest, error.to_string()))?;
    for name in [DELIVERY, IDEMPOTENCY_KEY] {
        let value = HeaderValue::from_str(&delivery);
        request
            .headers_mut()
            .insert(name, value.map_err(|error| Refusal::new(Code::InvalidRequest, error.to_string()))?);
    }
    let asking = Asking {
        authority: deliver.authority.clone(),
        session: due.session.clone(),
        origin: Origin::Named,
        door: Door::Http,
        effect: Effect::default(),
        token: None,
    };
    let (stays, gone) = oneshot::channel::<()>();
    let (stays, listens) = (Arc::new(stays), Arc::new(()));
    // Without a key of its own: that an attempt's outcome is unknown is the reason to try again, not one to stop.
    let patience = Patience { key: None, stays: Arc::downgrade(&stays), listens: Arc::downgrade(&listens), gone };
    let payload = Body::new(write_request(&request));
    let content = Digest::of(payload.bytes());
    let wish = Wish {
        payload,
        content,
        trace: HeaderMap::new(),
        patience,
        turn: Some(TURN_WAIT),
        push: None,
        answers: None,
        guarding: Guarding::default(),
        parks: Parks::default(),
    };
    let replied = gate.call_agent(&asking, &agent, wish).await?;
    drop((stays, listens));
    match replied {
        Replied::Fresh(reply) => Ok(*reply),
        Replied::Recorded(..) | Replied::Unspoken(..) => {
            Err(Refusal::new(Code::Conflict, "a delivery is new each time, and plain HTTP"))
        }
    }
}

/// Reads the agent's answer to its end and settles the call.
async fn take(gate: &Gate, mut reply: Reply) -> Result<http::StatusCode, Refusal> {
    let mut kept = BytesMut::new();
    let end = loop {
        match reply.answer.body.next().await {
            Ok(Some(piece)) if kept.len() + piece.len() <= KEPT_LIMIT_BYTES => kept.extend_from_slice(&piece),
            Ok(Some(_)) => {}
            Ok(None) => break Ok(()),
            Err(fault) => break Err(fault),
        }
    };
    if let Err(fault) = end {
        gate.settle(settle(reply.call, fault.outcome(), None)).await?;
        return Err(fault.refusal("the agent"));
    }
    let mut response = Response::new(kept.freeze());
    *response.status_mut() = reply.answer.status;
    gate.settle(settle(reply.call, Outcome::Completed, Some(write_response(&response)))).await?;
    Ok(reply.answer.status)
}
