//! How a parked message stands, by what the journal says of its approval.

use bytes::Bytes;
use portcullis_domain::event::Outcome;
use portcullis_domain::ids::{CallId, SessionId};
use portcullis_domain::policy::approval::wait_of;
use portcullis_domain::policy::{Approval, Standing};
use portcullis_domain::refusal::Refusal;
use portcullis_domain::time::Timestamp;
use portcullis_interop::a2a::{Payload, Reply, TaskState, kept};
use serde::Deserialize;

use crate::doors::a2a::names::Names;
use crate::life::Gate;

/// How far from the end of the wait that says what came of a call the call's own end is looked for at first, in entries.
const NEAR: u64 = 64;

/// How a parked message stands.
#[derive(Debug, Clone)]
pub(super) struct Stand {
    /// The approval.
    pub(super) approval: Approval,
    /// Where the message is.
    pub(super) place: Place,
}

/// Where a parked message is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// A person must still say yes.
    Waits,
    /// They have, and the agent is to get it.
    Approved,
    /// The agent has it, and has not answered.
    UnderWay,
    /// The agent has made a task of it, by that id of its own, and has said this of it.
    Task(String, Vec<Reply>),
    /// The agent has answered by a message.
    Answered(Box<Reply>),
    /// Nothing more comes of it.
    Over(TaskState, String),
}

/// What is read at once.
struct Known {
    approval: Approval,
    /// Whether what came of it is still to be told.
    is_to_tell: bool,
    /// Whether the call that has used it is under way.
    is_open: bool,
    /// The entry that says what came of it.
    told: Option<u64>,
}

impl Stand {
    /// How the message stands that the approval is for; none where there is no such approval in the session.
    ///
    /// # Errors
    ///
    /// When the store can't be read.
    pub(super) async fn read(
        gate: &Gate,
        names: Names<'_>,
        session: &SessionId,
        call: CallId,
        now: Timestamp,
    ) -> Result<Option<Self>, Refusal> {
        let (of_session, agent) = (session.clone(), names.agent.clone());
        let known = gate.journal.read(move |world| {
            let is_it = |found: &&Approval| found.session == of_session && found.capability == agent && found.is_run;
            let approval = world.approvals.find(call).filter(is_it)?.clone();
            let wait = wait_of(call).ok().and_then(|name| world.waits.find(&of_session, &name));
            Some(Known {
                is_to_tell: world.approvals.is_to_tell(call),
                is_open: matches!(approval.standing, Standing::Used(by) if world.open_calls.contains_key(&by)),
                told: wait.and_then(|wait| wait.end.as_ref().map(|(_, seq)| *seq)),
                approval,
            })
        });
        let Some(known) = known.await? else { return Ok(None) };
        let place = place(gate, names, &known, now).await?;
        Ok(Some(Self { approval: known.approval, place }))
    }

    /// The state of the task that it is.
    pub(super) fn state(&self) -> TaskState {
        match &self.place {
            Place::Waits => TaskState::InputRequired,
            Place::Approved => TaskState::Submitted,
            Place::UnderWay => TaskState::Working,
            Place::Task(_, replies) => replies.iter().rev().find_map(Reply::state).unwrap_or(TaskState::Unknown),
            Place::Answered(_) => TaskState::Completed,
            Place::Over(state, _) => *state,
        }
    }

    /// Whether the agent has it, or is to get it, and nobody knows more yet.
    pub(super) fn is_on_its_way(&self) -> bool {
        matches!(self.place, Place::Approved | Place::UnderWay)
    }

    /// Since when it stands so, as far as it was said by a person.
    pub(super) fn since(&self) -> Timestamp {
        self.approval.said.iter().map(|said| said.at).max().unwrap_or(self.approval.requested_at)
    }
}

async fn place(gate: &Gate, names: Names<'_>, known: &Known, now: Timestamp) -> Result<Place, Refusal> {
    let Known { approval, is_to_tell, is_open, told } = known;
    let late = || {
        let message = format!("Nobody has said yes in time: it expired at {}.", approval.expires_at);
        Place::Over(TaskState::Failed, message)
    };
    Ok(match approval.standing {
        Standing::Pending | Standing::Approved if approval.expires_at <= now => late(),
        Standing::Pending => Place::Waits,
        Standing::Approved if *is_to_tell => Place::Approved,
        // It was tried, and certainly had no effect.
        Standing::Approved => Place::Over(TaskState::Failed, refused(gate, approval, *told).await),
        Standing::Used(_) if *is_open => Place::UnderWay,
        Standing::Used(by) => answered(names, outcome(gate, approval, by, *told).await?),
        Standing::Denied => {
            let said = approval.said.iter().find(|said| !said.is_yes).and_then(|said| said.comment.as_deref());
            let comment = said.map_or_else(|| ".".to_owned(), |comment| format!(": {comment}"));
            Place::Over(TaskState::Rejected, format!("A person was asked about this message and has said no{comment}"))
        }
        Standing::Expired => late(),
        Standing::Withdrawn => {
            Place::Over(TaskState::Canceled, "It was taken back before the agent got it.".to_owned())
        }
        Standing::Void => {
            let message = "The rules have changed since somebody was asked, or the session was closed. Send the message again if it is still to be.";
            Place::Over(TaskState::Failed, message.to_owned())
        }
    })
}

/// How the call that has used the approval has ended. Its end stands shortly before that of the wait, which says that it is told.
async fn outcome(
    gate: &Gate,
    approval: &Approval,
    by: CallId,
    told: Option<u64>,
) -> Result<Option<(Outcome, Option<Bytes>)>, Refusal> {
    if let Some(told) = told {
        let near = approval.seq.max(told.saturating_sub(NEAR));
        if let Some(outcome) = gate.outcome_of(&approval.session, near, by).await? {
            return Ok(Some(outcome));
        }
    }
    Ok(gate.outcome_of(&approval.session, approval.seq, by).await?)
}

fn answered(names: Names<'_>, outcome: Option<(Outcome, Option<Bytes>)>) -> Place {
    let Some((Outcome::Completed, body)) = outcome else {
        let message =
            "It is not known what came of it: the agent may have got the message. Find out before you send it again.";
        return Place::Over(TaskState::Failed, message.to_owned());
    };
    let replies = body.and_then(|body| kept::read_replies(&body).ok()).unwrap_or_default();
    let of_task = replies.iter().filter(|reply| reply.payload() != Some(Payload::Message)).find_map(Reply::task_id);
    if let Some((_, behind)) = of_task.and_then(|shown| names.task_behind(&shown).ok()) {
        return Place::Task(behind, replies);
    }
    match replies.into_iter().next_back() {
        Some(message) => Place::Answered(Box::new(message)),
        None => {
            let message = "The agent has answered, and its answer was too long to be kept.";
            Place::Over(TaskState::Completed, message.to_owned())
        }
    }
}

#[derive(Deserialize)]
struct Told {
    message: String,
}

/// Why the agent did not get it, as the end of the wait tells it.
async fn refused(gate: &Gate, approval: &Approval, told: Option<u64>) -> String {
    let told = match told {
        Some(seq) => gate.body_of(&approval.session, seq).await.ok(),
        None => None,
    };
    let told = told.and_then(|body| serde_json::from_slice::<Told>(&body).ok());
    let why = told.map(|told| format!(": {}", told.message)).unwrap_or_default();
    format!("Somebody has said yes, and the agent did not get the message{why}")
}
