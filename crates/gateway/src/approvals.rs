//! Time goes by over approvals: they expire, others are called in to answer, and whoever is to be told is told.
//!
//! What has happened is in the journal. Only what was told is kept here, so that after a start it is told again what is still waited for: at least once, under the same id. Of several
//! gateways the one that looks after the session tells and makes the call, and another when that one is gone; what time has done any of them writes down, which counts once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use portcullis_domain::admission::{EscalateApproval, ExpireApproval};
use portcullis_domain::ids::{CallId, PrincipalName, SessionId};
use portcullis_domain::policy::{Approval, Standing};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::time::Timestamp;
use serde_json::json;
use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::deliveries::look_after;
use crate::doors::admin::approval::shown;
use crate::doors::arrived::Doors;
use crate::doors::links::link;
use crate::doors::sealed::Sealer;
use crate::life::Gate;
use crate::stop::stopped;

mod run;

use run::Runs;

/// How often it is looked what is due, if nobody says that something is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The most approvals that are looked at at a time.
const LOOK_LIMIT: usize = 256;
/// The id of what is told (Standard Webhooks 1.0).
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");

/// What is told: an approval, and once more each time that others are called in.
type Notice = (CallId, usize);

/// Lets approvals expire, calls others in, and tells of them, until `stop` says so.
pub async fn run(doors: Arc<Doors>, mut stop: watch::Receiver<bool>) {
    let (gate, sealer, clock) = (&doors.gate, &doors.transport, &doors.clock);
    let mut runs = Runs::default();
    let mut notices = Notices { told: HashSet::new(), backoff: Backoff::new() };
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return runs.finish().await,
            () = runs.ended(clock.as_ref()) => {}
            () = gate.approvals.notified() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
        let now = clock.now();
        age(gate, now).await;
        look_after(gate, LOOK_LIMIT).await;
        runs.look(&doors).await;
        // Telling may take a while, and nobody waits for it to be told to stop.
        tokio::select! {
            () = stopped(&mut stop) => return runs.finish().await,
            () = notices.tell(gate, sealer, now) => {}
        }
    }
}

/// Writes down what time has done.
async fn age(gate: &Gate, now: Timestamp) {
    let overdue = gate.journal.read(move |world| world.approvals.overdue(now).take(LOOK_LIMIT).collect::<Vec<_>>());
    for call in overdue.await.unwrap_or_default() {
        report(gate.journal.execute(ExpireApproval { call }).await.err());
    }
    let escalations = gate.snapshot.load().config.policy.approvals.escalate.clone();
    for escalation in escalations {
        let after_us = escalation.after_s.saturating_mul(1_000_000);
        let role = escalation.role.clone();
        let due = gate.journal.read(move |world| {
            let is_due = |approval: &Approval| {
                approval.standing == Standing::Pending
                    && approval.requested_at.0.saturating_add(after_us) <= now.0
                    && !approval.escalated.contains(&role)
            };
            let due = world.approvals.open().filter(|(_, approval)| is_due(approval)).take(LOOK_LIMIT);
            due.map(|(call, _)| call).collect::<Vec<_>>()
        });
        for call in due.await.unwrap_or_default() {
            let escalate = EscalateApproval { call, role: escalation.role.clone(), after_us };
            report(gate.journal.execute(escalate).await.err());
        }
    }
}

fn report(fault: Option<crate::journal::StoreFault>) {
    if let Some(fault) = fault {
        tracing::warn!(%fault, "an approval could not be brought up to date");
    }
}

/// What was told, and what is to be tried again.
struct Notices {
    told: HashSet<Notice>,
    backoff: Backoff<Notice>,
}

impl Notices {
    async fn tell(&mut self, gate: &Gate, sealer: &Sealer, now: Timestamp) {
        let Some(url) = gate.snapshot.load().config.policy.approvals.notify.clone() else { return };
        let pending = gate.journal.read(|world| {
            let pending = world.approvals.open().filter(|(_, approval)| approval.standing == Standing::Pending);
            let notice =
                |(call, approval): (CallId, &Approval)| ((call, approval.escalated.len()), approval.session.clone());
            pending.map(notice).collect::<HashMap<Notice, SessionId>>()
        });
        let pending = pending.await.unwrap_or_default();
        let due: HashSet<Notice> = pending.keys().copied().collect();
        self.told.retain(|notice| due.contains(notice));
        self.backoff.keep(&due);
        let is_new = |notice: &Notice| !self.told.contains(notice) && !self.backoff.is_early(notice, now);
        let news = pending.into_iter().filter(|(notice, session)| is_new(notice) && gate.leases.has(session));
        for (notice, _) in news.take(LOOK_LIMIT).collect::<Vec<_>>() {
            let (call, _) = notice;
            let approval = gate.journal.read(move |world| world.approvals.find(call).cloned()).await;
            let Ok(Some(approval)) = approval else { continue };
            let outcome = tell(gate, sealer, &url, notice, &approval).await;
            if let Err(refusal) = &outcome {
                tracing::warn!(approval = %call, %refusal, "nobody could be told of an approval; it is tried again");
            } else {
                self.told.insert(notice);
            }
            self.backoff.note(notice, outcome.is_ok(), now);
        }
    }
}

/// One attempt to tell of an approval, with a link for everybody of the configuration who may answer.
async fn tell(
    gate: &Gate,
    sealer: &Sealer,
    url: &str,
    (call, times): Notice,
    approval: &Approval,
) -> Result<(), Refusal> {
    let snapshot = gate.snapshot.load_full();
    let server = &snapshot.config.server;
    let base = server.base(&server.listen.to_string());
    let names: BTreeSet<&PrincipalName> = snapshot.config.identity.principals.keys().collect();
    let mut links = Vec::new();
    for principal in names.into_iter().filter(|name| snapshot.may_answer(name, approval)) {
        links.push(json!({"principal": principal, "url": link(sealer, &base, call, principal)?}));
    }
    let kind = if times == 0 { "approval.requested" } else { "approval.escalated" };
    let body = json!({"type": kind, "approval": shown(gate, call, approval).await?, "links": links});
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let id = HeaderValue::from_str(&format!("{call}-{times}"));
    headers.insert(WEBHOOK_ID, id.map_err(|error| failed(&error.to_string()))?);
    let status = gate.pushes.post(url, headers, Bytes::from(body.to_string())).await;
    let status = status.map_err(|problem| failed(&problem))?;
    if status.is_success() || status == StatusCode::GONE {
        Ok(())
    } else {
        Err(failed(&format!("it answers {status}")))
    }
}

fn failed(problem: &str) -> Refusal {
    Refusal::new(Code::UpstreamFailed, problem)
}
