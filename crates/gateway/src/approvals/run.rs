//! Calls that the gateway makes itself once a person has said yes: each at most once, since using the approval and admitting the call is one entry. What came of it ends a wait of
//! the session, whoever has made the call.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use portcullis_domain::admission::EndWait;
use portcullis_domain::call::Kind;
use portcullis_domain::event::Outcome;
use portcullis_domain::ids::{Actor, CallId, SessionId};
use portcullis_domain::journal::{Body, StreamId};
use portcullis_domain::policy::approval::wait_of;
use portcullis_domain::policy::{Approval, Standing};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::Origin;
use portcullis_domain::session::wait::{EVENT_LIMIT_BYTES, End};
use portcullis_domain::time::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::{self, JoinSet};

use crate::asking::{Asking, Effect};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::doors::a2a::parked;
use crate::doors::arrived::Doors;
use crate::doorway::{Doorway, halted};
use crate::life::Gate;
use crate::repetition::Patience;

/// The most calls that are made at a time.
const RUNS_LIMIT: usize = 32;
/// The longest answer that the end of a wait says; of a longer one it says which call it is of. An event may be a little longer.
const RESULT_LIMIT_BYTES: usize = EVENT_LIMIT_BYTES - 1_024;

/// The calls that are under way, and what was refused.
#[derive(Default)]
pub(super) struct Runs {
    under_way: JoinSet<Option<Refusal>>,
    calls: HashMap<task::Id, CallId>,
    refused: HashMap<CallId, Refusal>,
    /// Those that were judged by what had changed meanwhile, until they are tried again.
    stale: Backoff<CallId>,
}

/// An approval that somebody waits for.
struct Awaited {
    call: CallId,
    approval: Approval,
    /// Whether the call that has used it is under way.
    is_open: bool,
}

impl Runs {
    /// Waits for the end of one; for ever where none is under way.
    pub(super) async fn ended(&mut self, clock: &dyn Clock) {
        match self.under_way.join_next_with_id().await {
            Some(Ok((id, refusal))) => {
                let Some(call) = self.calls.remove(&id) else { return };
                let is_stale = refusal.as_ref().is_some_and(|refusal| refusal.code == Code::StaleDecision);
                self.stale.note(call, !is_stale, clock.now());
                self.refused.extend(refusal.filter(|_| !is_stale).map(|refusal| (call, refusal)));
            }
            // A panic is a fault of ours; the journal says how far it came.
            Some(Err(error)) => {
                tracing::error!(%error, "an approved call ended by a fault");
                self.calls.remove(&error.id());
            }
            None => std::future::pending().await,
        }
    }

    /// What has begun is brought to its end.
    pub(super) async fn finish(mut self) {
        while self.under_way.join_next().await.is_some() {}
    }

    /// Makes the calls that may be made, and tells what came of those that are over.
    pub(super) async fn look(&mut self, doors: &Arc<Doors>) {
        let gate = &doors.gate;
        let awaited = gate.journal.read(|world| {
            let of = |(call, approval): (CallId, &Approval)| {
                let is_open = match approval.standing {
                    Standing::Used(by) => world.open_calls.contains_key(&by),
                    Standing::Pending
                    | Standing::Approved
                    | Standing::Denied
                    | Standing::Expired
                    | Standing::Withdrawn
                    | Standing::Void => false,
                };
                Awaited { call, approval: approval.clone(), is_open }
            };
            world.approvals.to_tell().map(of).collect::<Vec<_>>()
        });
        let awaited = awaited.await.unwrap_or_default();
        let known: HashSet<CallId> = awaited.iter().map(|awaited| awaited.call).collect();
        self.refused.retain(|call, _| known.contains(call));
        self.stale.keep(&known);
        let now = doors.clock.now();
        let busy: HashSet<CallId> = self.calls.values().copied().collect();
        // Another gateway that tried as well would be refused, and might say so.
        let is_mine = |awaited: &Awaited| gate.leases.has(&awaited.approval.session) && !busy.contains(&awaited.call);
        for awaited in awaited.into_iter().filter(is_mine) {
            if let Err(refusal) = self.take(doors, &awaited, now).await {
                tracing::warn!(approval = %awaited.call, %refusal, "what came of an approval could not be told; it is tried again");
            }
        }
    }

    async fn take(&mut self, doors: &Arc<Doors>, awaited: &Awaited, now: Timestamp) -> Result<(), Refusal> {
        let gate = &doors.gate;
        let Awaited { call, approval, is_open } = awaited;
        let ended = match approval.standing {
            Standing::Pending => return Ok(()),
            Standing::Approved => match self.refused.remove(call) {
                Some(refusal) => {
                    json!({"status": "refused", "code": refusal.code.as_str(), "message": refusal.message})
                }
                None if self.stale.is_early(call, now) => return Ok(()),
                None => {
                    self.begin(doors, *call, approval);
                    return Ok(());
                }
            },
            Standing::Used(_) if *is_open => return Ok(()),
            Standing::Used(by) => match gate.outcome_of(&approval.session, approval.seq, by).await? {
                Some((outcome, answer)) => told(by, outcome, answer),
                // It was made in another session.
                None => json!({"status": "used", "call": by.to_string()}),
            },
            Standing::Denied => {
                let said = approval.said.iter().find(|said| !said.is_yes);
                json!({"status": "denied", "comment": said.and_then(|said| said.comment.clone())})
            }
            Standing::Expired => json!({"status": "expired"}),
            Standing::Withdrawn => json!({"status": "withdrawn"}),
            Standing::Void => json!({"status": "void"}),
        };
        end(gate, *call, &approval.session, ended).await
    }

    fn begin(&mut self, doors: &Arc<Doors>, call: CallId, approval: &Approval) {
        if self.under_way.len() < RUNS_LIMIT {
            let (doors, approval) = (doors.clone(), approval.clone());
            let begun = self.under_way.spawn(async move { make(&doors, call, &approval).await.err() });
            self.calls.insert(begun.id(), call);
        }
    }
}

/// Makes the call that was parked, as the one who asked for it. Whatever halts their calls halts this one.
async fn make(doors: &Arc<Doors>, call: CallId, approval: &Approval) -> Result<(), Refusal> {
    let (stays, gone) = oneshot::channel::<()>();
    let (stays, listens) = (Arc::new(stays), Arc::new(()));
    // Without a key, so that whoever makes the same call again before its answer was delivered gets that.
    let patience = Patience { key: None, stays: Arc::downgrade(&stays), listens: Arc::downgrade(&listens), gone };
    let (session, authority) = (&approval.session, &approval.authority);
    let goes_on = |doorway: &Doorway| doorway.goes_on(&session.owner, authority, Some(session));
    let making = async {
        match approval.capability.kind {
            Kind::Agent => parked::run(doors, call, approval, patience).await,
            Kind::Tool | Kind::Model | Kind::Function => run(&doors.gate, call, approval, patience).await,
        }
    };
    tokio::pin!(making);
    let made = tokio::select! {
        made = &mut making => made,
        _ = halted(doors.gate.journal.doorway(), goes_on) => {
            drop(stays);
            making.await
        }
    };
    match made {
        // Another message is under way. It is tried again.
        Err(refusal) if refusal.code == Code::TurnUnderWay => Ok(()),
        made => made,
    }
}

async fn run(gate: &Gate, call: CallId, approval: &Approval, patience: Patience) -> Result<(), Refusal> {
    let asking = Asking {
        authority: approval.authority.clone(),
        session: approval.session.clone(),
        origin: Origin::Named,
        door: approval.door,
        effect: Effect::default(),
        token: None,
    };
    let gone = || Refusal::new(Code::CapabilityNotFound, format!("there is no `{}` any more", approval.capability));
    let tool = gate.snapshot.load().catalogue.all_tools().get(&*approval.capability.name).cloned().ok_or_else(gone)?;
    let stream = StreamId::Session(approval.session.clone());
    let placed = gate.journal.entries(&stream, approval.seq.saturating_sub(1), 1).await?.pop().ok_or_else(gone)?;
    let arguments = gate.journal.body(&stream, placed.position, 0).await?.ok_or_else(gone)?;
    let called = gate.run_parked(&asking, &tool, arguments, patience, call).await?;
    // Then it has used no approval, and would be made for ever.
    let before = || Refusal::new(Code::Conflict, format!("this call was made before as {}", called.call));
    if called.is_replay { Err(before()) } else { Ok(()) }
}

fn told(by: CallId, outcome: Outcome, answer: Option<Bytes>) -> Value {
    let status = match outcome {
        Outcome::Completed => "completed",
        Outcome::Failed => "failed",
        Outcome::Aborted | Outcome::Unknown => "unknown",
    };
    let answer = answer.filter(|answer| answer.len() <= RESULT_LIMIT_BYTES);
    let text = answer.map(|answer| String::from_utf8_lossy(&answer).into_owned());
    let result = text.map(|text| serde_json::from_str::<&RawValue>(&text).map_or(json!(text), |raw| json!(raw)));
    json!({"status": status, "call": by.to_string(), "result": result})
}

/// Ends the wait. One that has ended meanwhile says so, and is no fault.
async fn end(gate: &Gate, call: CallId, session: &SessionId, mut ended: Value) -> Result<(), Refusal> {
    if let Some(members) = ended.as_object_mut() {
        members.insert("approval".to_owned(), json!(call.to_string()));
    }
    let name = wait_of(call).map_err(|problem| Refusal::new(Code::Conflict, problem))?;
    let event = Some((Some("application/json".to_owned()), Body::new(ended.to_string().into())));
    let end = EndWait { session: session.clone(), name, by: Actor::Gateway, end: End::Event(call.to_string()), event };
    match gate.journal.execute(end).await? {
        Ok(_) => gate.deliveries.notify_one(),
        Err(refusal) => tracing::debug!(%refusal, "the wait for an approval had ended"),
    }
    Ok(())
}
