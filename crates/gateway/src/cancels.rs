//! The kill switch reaches tasks that have outlasted their calls: an agent is told to cancel what nobody may act for any more.
//!
//! Which tasks these are, and how often it was tried, is in the journal; only when to try again is kept here. Of several gateways the one that looks after the session tells the agent. It
//! is the best that can be done and no more: an agent may be away, or cancel nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::admission::{CancelTask, EndCancel};
use portcullis_domain::refusal::Code;
use portcullis_domain::session::agent_tasks::AgentTask;
use portcullis_domain::session::event::CancelEnd;
use tokio::sync::watch;
use tokio::task::{self, JoinSet};

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::deliveries::look_after;
use crate::life::Gate;
use crate::stop::stopped;

/// How often it is looked what is to be cancelled.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The most tasks that are cancelled at a time.
const CANCELS_LIMIT: usize = 32;

/// Cancels tasks until `stop` says so.
pub async fn run(gate: Arc<Gate>, clock: Arc<dyn Clock>, mut stop: watch::Receiver<bool>) {
    let mut backoff: Backoff<AgentTask> = Backoff::new();
    let mut under_way: JoinSet<bool> = JoinSet::new();
    let mut busy: HashMap<task::Id, AgentTask> = HashMap::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            Some(ended) = under_way.join_next_with_id() => {
                let (id, is_over) = match ended {
                    Ok(ended) => ended,
                    // A panic is a fault of ours, and no reason to forget the task.
                    Err(error) => {
                        tracing::error!(%error, "cancelling a task ended by a fault");
                        (error.id(), false)
                    }
                };
                if let Some(task) = busy.remove(&id) {
                    backoff.note(task, is_over, clock.now());
                }
            }
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
        let halted = halted(&gate).await;
        if halted.is_empty() {
            continue;
        }
        look_after(&gate, CANCELS_LIMIT.saturating_sub(under_way.len())).await;
        backoff.keep(&halted.iter().cloned().collect());
        let taken: HashSet<AgentTask> = busy.values().cloned().collect();
        let now = clock.now();
        let is_due =
            |task: &AgentTask| gate.leases.has(&task.session) && !taken.contains(task) && !backoff.is_early(task, now);
        let due: Vec<AgentTask> = halted.into_iter().filter(is_due).collect();
        for task in due.into_iter().take(CANCELS_LIMIT.saturating_sub(under_way.len())) {
            let (gate, cancelled) = (gate.clone(), task.clone());
            let begun = under_way.spawn(async move { cancel(&gate, cancelled).await });
            busy.insert(begun.id(), task);
        }
    }
}

async fn halted(gate: &Gate) -> Vec<AgentTask> {
    gate.journal.read(|world| world.agent_tasks.halted().cloned().collect::<Vec<_>>()).await.unwrap_or_default()
}

/// One attempt; whether nothing more is to be done.
async fn cancel(gate: &Gate, task: AgentTask) -> bool {
    let end = match gate.journal.execute(CancelTask { task: task.clone() }).await {
        Ok(Ok(cancellation)) => gate.cancel_a2a(&cancellation).await,
        Ok(Err(refusal)) if refusal.code == Code::NotFound => return true,
        // It was tried as often as it is tried, or there is nobody to tell.
        Ok(Err(_)) => Ok(CancelEnd::GivenUp),
        Err(fault) => Err(fault.to_string()),
    };
    match end {
        Ok(end) => {
            let noted = gate.journal.execute(EndCancel { task, end }).await;
            noted.inspect_err(|fault| tracing::warn!(%fault, "that a task is cancelled was not noted")).is_ok()
        }
        Err(problem) => {
            tracing::info!(session = %task.session, agent = %task.agent, problem, "a task could not be cancelled; it is tried again");
            false
        }
    }
}
