//! Asking the person in front of the client whether their own call may be made, where the rule that asks says that they may answer so (`@approver("client")`).
//!
//! Nothing is kept for it: what the client answers by is a sealed token that names the approval, so that the answer counts at whichever gateway it arrives. The stream that waits looks at
//! what the journal says. Whatever else comes of it, the call is parked as it would be without.

use std::time::Duration;

use portcullis_domain::admission::AnswerApproval;
use portcullis_domain::ids::{CallId, PrincipalName};
use portcullis_domain::policy::Standing;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::frame::jsonrpc::{Outcome, Response};
use portcullis_interop::mcp::Era;
use portcullis_interop::mcp::elicit::{self, Answered};
use portcullis_interop::mcp::ingress::{CallTool, Received};
use serde::{Deserialize, Serialize};

use crate::asking::Asking;
use crate::doors::admin::approval::shown;
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::{Caller, text_header};
use crate::doors::mcp::transport::Transport;
use crate::life::Gate;
use crate::spoken::{Listener, Word};
use crate::stop::stopped;

/// What these tokens are for.
const PURPOSE: &str = "answer of a client";
/// How often a stream looks whether there is an answer, if nobody at this gateway says that there is one.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How whoever is in front of the client can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Not at all.
    Nobody,
    /// By a request on the stream of the call.
    OnStream,
    /// By an answer that wants the call once more. What was asked before is not asked again.
    Rounds {
        /// The approval that was asked about.
        asked: Option<CallId>,
    },
}

/// What a token holds.
#[derive(Debug, Serialize, Deserialize)]
struct Ticket {
    call: CallId,
    by: PrincipalName,
}

/// What is asked.
pub(super) struct Question {
    /// The approval.
    pub(super) call: CallId,
    /// In words.
    pub(super) message: String,
    /// What the answer comes with.
    pub(super) token: String,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Somebody has said something: the call is to be tried again.
    Said,
    /// It was put away, or the gateway stops.
    PutAway,
    /// Nobody has answered in time.
    Late,
    /// The client has gone.
    Gone,
}

/// How the client of a call can be asked. What a modern one brings back with it is taken first.
///
/// # Errors
///
/// [`Code::InvalidRequest`] for a state that was not made for this caller.
pub async fn way(
    doors: &Doors,
    arrived: &Arrived,
    transport: Option<&Transport>,
    (received, call): (&Received<'_>, &CallTool<'_>),
) -> Result<Way, Refusal> {
    let caller = &arrived.caller;
    let mut asked = None;
    if let Some(state) = &call.state {
        let ticket = open(doors, caller, state);
        let ticket = ticket.ok_or_else(|| Refusal::new(Code::InvalidRequest, "`requestState` is not valid"))?;
        take(doors, caller, ticket.call, elicit::read_responses(call.responses)).await;
        asked = Some(ticket.call);
    }
    if !caller.is_by_themself() {
        return Ok(Way::Nobody);
    }
    let accepts = text_header(&arrived.headers, &http::header::ACCEPT).unwrap_or_default();
    Ok(match received.version.era() {
        Era::Modern if received.capabilities().is_some_and(|all| elicit::is_possible(received.version, all)) => {
            Way::Rounds { asked }
        }
        Era::Legacy if transport.is_some_and(Transport::elicits) && accepts.contains("text/event-stream") => {
            Way::OnStream
        }
        Era::Modern | Era::Legacy => Way::Nobody,
    })
}

/// Takes the answer of a legacy client to a request on a stream, which may be one of another gateway.
pub async fn hear(doors: &Doors, caller: &Caller, response: &Response<'_>) {
    let token = response.id.as_ref().and_then(|id| id.as_text());
    let Some(ticket) = token.and_then(|token| open(doors, caller, &token)) else { return };
    let answered = match &response.outcome {
        Outcome::Result(raw) => elicit::read(raw.get()),
        Outcome::Error(_) => Answered::Nothing,
    };
    take(doors, caller, ticket.call, answered).await;
}

/// What the client is asked about a call that was refused; none where nobody in front of it may answer.
pub(super) async fn question(doors: &Doors, asking: &Asking, refusal: &Refusal, way: Way) -> Option<Question> {
    let call = refusal.approval.filter(|_| refusal.code == Code::ApprovalRequired)?;
    if way == Way::Nobody || way == (Way::Rounds { asked: Some(call) }) {
        return None;
    }
    let gate = &doors.gate;
    let approval = gate.journal.read(move |world| world.approvals.find(call).cloned()).await.ok()??;
    let owner = &approval.session.owner;
    let is_open = approval.standing == Standing::Pending && !approval.said.iter().any(|said| said.by == *owner);
    // Where the gateway makes the call itself, two would make it.
    if !is_open || approval.is_run || !gate.snapshot.load().may_confirm(asking.chain(), &approval) {
        return None;
    }
    let message = shown(gate, call, &approval).await.ok()?.in_words()?;
    let token = doors.transport.seal(PURPOSE, &Ticket { call, by: owner.clone() }).ok()?;
    Some(Question { call, message, token })
}

/// Waits for what comes of a question on a stream.
pub(super) async fn answered(
    doors: &Doors,
    asking: &Asking,
    call: CallId,
    mut spoken: Listener,
    is_gone: impl Future<Output = ()>,
) -> End {
    let gate = &doors.gate;
    let limit = Duration::from_secs(gate.snapshot.load().config.policy.approvals.client_s);
    let mut stop = doors.stop.clone();
    let late = tokio::time::sleep(limit);
    tokio::pin!(is_gone, late);
    loop {
        if is_said(gate, asking, call).await {
            return End::Said;
        }
        tokio::select! {
            () = &mut is_gone => return End::Gone,
            () = stopped(&mut stop) => return End::PutAway,
            () = &mut late => return End::Late,
            heard = spoken.next() => {
                if heard == Some(Word::PutAway(call)) {
                    return End::PutAway;
                }
            }
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// Whether the one whose call it is has answered, or nothing is waited for any more.
async fn is_said(gate: &Gate, asking: &Asking, call: CallId) -> bool {
    let owner = asking.session.owner.clone();
    let found = gate.journal.read(move |world| {
        let approval = world.approvals.find(call)?;
        let is_pending = approval.standing == Standing::Pending;
        Some(is_pending && !approval.said.iter().any(|said| said.by == owner))
    });
    // What can't be read now is looked at again.
    !found.await.map_or(true, |is_waited_for| is_waited_for.unwrap_or(false))
}

/// Writes down what was said. What does not count is as good as nothing.
async fn take(doors: &Doors, caller: &Caller, call: CallId, answered: Answered) {
    let gate = &doors.gate;
    let word = match answered {
        Answered::Nothing => Word::PutAway(call),
        Answered::Said { is_yes, comment } => {
            let snapshot = gate.snapshot.load_full();
            let command = AnswerApproval {
                call,
                by: caller.principal.clone(),
                authority: Some(caller.authority.clone()),
                is_by_client: true,
                roles: snapshot.roles_by(caller.chain()),
                policy_version: snapshot.policy.version(),
                is_yes,
                comment,
            };
            match gate.journal.execute(command).await {
                Ok(Ok(_)) => Word::Answered(call),
                Ok(Err(refusal)) => {
                    tracing::info!(approval = %call, %refusal, "the answer of a client does not count");
                    Word::PutAway(call)
                }
                Err(fault) => {
                    tracing::warn!(approval = %call, %fault, "the answer of a client could not be written down");
                    Word::PutAway(call)
                }
            }
        }
    };
    gate.approvals.notify_one();
    gate.spoken.say(word);
}

fn open(doors: &Doors, caller: &Caller, token: &str) -> Option<Ticket> {
    let ticket: Ticket = doors.transport.open(PURPOSE, token)?;
    (ticket.by == caller.principal && caller.is_by_themself()).then_some(ticket)
}
