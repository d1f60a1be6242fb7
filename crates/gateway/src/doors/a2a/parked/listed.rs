//! Parked messages in lists of tasks: those that the agent has not got, and the names of those that it has.

use std::sync::Arc;

use portcullis_domain::authority::Authority;
use portcullis_domain::call::Capability;
use portcullis_domain::ids::{CallId, PrincipalName, SessionId};
use portcullis_interop::a2a::{A2aCall, Failure, Kind, Method, Reply, refusal};

use super::answer::Parked;
use super::stand::Place;
use crate::doors::a2a::names::{Names, context_of};
use crate::doors::arrived::Doors;

/// A parked message as a list of tasks has it.
#[derive(Debug, Clone)]
pub enum Listed {
    /// The agent has made a task of it: what that is called by its own id, and what the client knows it by.
    Named {
        /// By the agent's id.
        behind: String,
        /// Where the message was parked.
        shown: String,
    },
    /// The task that it is as long as the agent has made none of it.
    Task(Box<Reply>),
}

/// The parked messages of a caller at an agent, in that session or in all of theirs, in the order in which they were sent. `is_alone` says whether the owner asks by
/// themself, and `check_size` whether so many bytes are not too many.
///
/// # Errors
///
/// When the store can't be read; or what `check_size` says.
pub async fn of_caller(
    doors: &Arc<Doors>,
    agent: &Capability,
    call: &A2aCall<'static>,
    (owner, authority, is_alone): (&PrincipalName, &Authority, bool),
    session: Option<&SessionId>,
    check_size: fn(usize) -> Result<(), Failure>,
) -> Result<Vec<Listed>, Failure> {
    let names = Names { sealer: &doors.transport, owner, agent };
    let call = A2aCall { method: Method::GetTask, ..call.clone() };
    let (mut listed, mut bytes) = (Vec::new(), 0);
    for (session, approval) in approvals(doors, agent, owner, session).await? {
        let Some(shown) = names.parked_shown(&session.name, approval) else { continue };
        let parked = Parked {
            doors: doors.clone(),
            agent: agent.clone(),
            call: call.clone(),
            context: context_of(&session.name),
            session,
            authority: authority.clone(),
            is_alone,
            approval,
            shown,
        };
        let stand = match parked.stand().await {
            Ok(stand) => stand,
            // The oldest are forgotten meanwhile.
            Err(failure) if failure.kind() == Some(Kind::TaskNotFound) => continue,
            Err(failure) => return Err(failure),
        };
        if let Place::Task(behind, _) = &stand.place {
            let behind = names.task_shown(&parked.session.name, behind).unwrap_or_default();
            listed.push(Listed::Named { behind, shown: parked.shown });
        } else {
            let task = parked.task(&stand).await?;
            bytes += task.raw().len();
            check_size(bytes)?;
            listed.push(Listed::Task(Box::new(task)));
        }
    }
    Ok(listed)
}

async fn approvals(
    doors: &Doors,
    agent: &Capability,
    owner: &PrincipalName,
    session: Option<&SessionId>,
) -> Result<Vec<(SessionId, CallId)>, Failure> {
    let (agent, owner, session) = (agent.clone(), owner.clone(), session.cloned());
    let found = doors.gate.journal.read(move |world| {
        let of_owner = world.approvals.of(&owner).filter(|(_, approval)| {
            let is_in = session.as_ref().is_none_or(|session| *session == approval.session);
            approval.is_run && approval.capability == agent && is_in
        });
        let mut found: Vec<_> = of_owner.map(|(call, it)| (it.requested_at, it.session.clone(), call)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, session, call)| (session, call)).collect()
    });
    found.await.map_err(|fault| refusal::failure(&fault.into()))
}
