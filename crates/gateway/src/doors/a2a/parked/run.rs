//! The gateway hands a message on that somebody has said yes to.

use std::sync::Arc;

use http::HeaderMap;
use portcullis_domain::call::Door;
use portcullis_domain::ids::CallId;
use portcullis_domain::journal::Body;
use portcullis_domain::policy::Approval;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::Origin;
use portcullis_interop::a2a::{A2aCall, Edits, Failure, News, kept};

use crate::asking::{Asking, Effect};
use crate::doors::a2a::card::Face;
use crate::doors::a2a::claims::Claims;
use crate::doors::a2a::names::{Names, context_of};
use crate::doors::a2a::push::Concern;
use crate::doors::a2a::relay::{Asked, Relay};
use crate::doors::arrived::Doors;
use crate::doors::caller::TURN_WAIT;
use crate::life::agent::{Parks, Replied, Wish};
use crate::life::task::Task;
use crate::repetition::Patience;

/// Makes the call that was parked, as the one who asked for it.
///
/// # Errors
///
/// Why the agent did not get the message, or did not take it. That nobody knows, the journal says.
pub async fn run(doors: &Arc<Doors>, call: CallId, approval: &Approval, patience: Patience) -> Result<(), Refusal> {
    let (gate, session) = (&doors.gate, approval.session.clone());
    let chain = approval.authority.chain(&session.owner);
    let agent = gate.snapshot.load().agent_for(chain, &approval.capability.name, Door::A2a)?;
    let kept = gate.body_of(&session, approval.seq).await?;
    let (asked, payload) = read(&kept).map_err(|problem| Refusal::new(Code::Conflict, problem))?;
    let names = Names { sealer: &doors.transport, owner: &session.owner, agent: &approval.capability };
    let task = asked.task_id();
    let answers = task.as_deref().map(|id| Task { session: &session, agent: &approval.capability, id }.prefix());
    let task = task.and_then(|behind| Some((names.task_shown(&session.name, &behind)?, behind)));
    let claims = Claims {
        context: context_of(&session.name),
        context_behind: names.context_behind(&session.name),
        session: session.clone(),
        origin: Origin::Named,
        task,
    };
    let asking = Asking {
        authority: approval.authority.clone(),
        session,
        origin: Origin::Named,
        door: Door::A2a,
        effect: Effect::default(),
        token: None,
    };
    // What was approved is what goes out, or nothing is.
    let before = asked.params.clone();
    let (asked, guarding) = gate.guard_message(&asking, &approval.capability, asked).await;
    if asked.params != before {
        return Err(Refusal::new(Code::Conflict, "guardrails would change the message that was approved"));
    }
    let wish = Wish {
        payload,
        content: approval.content,
        trace: HeaderMap::new(),
        patience,
        turn: Some(TURN_WAIT),
        push: None,
        answers,
        guarding,
        parks: Parks::Before(call, approval.content),
    };
    let asked = Asked {
        doors: doors.clone(),
        agent: approval.capability.clone(),
        call: asked,
        claims,
        concern: Concern::None,
        authority: approval.authority.clone(),
        is_alone: false,
        face: Face::of_nobody(&approval.capability.name),
    };
    let failed = |failure: &Failure| Refusal::new(Code::UpstreamFailed, failure.message());
    match gate.call_agent(&asking, &agent, wish).await? {
        Replied::Fresh(reply) => Relay::new(asked, *reply).taken().await.map_err(|failure| failed(&failure)),
        Replied::Unspoken(_, failure) => Err(failed(&failure)),
        // Without a key no call is another one.
        Replied::Recorded(..) => Err(Refusal::new(Code::Conflict, "the message was handed on before")),
    }
}

/// The message, without the place for news that was made for the request: that one is gone.
fn read(kept: &[u8]) -> Result<(A2aCall<'static>, Body), String> {
    let asked = kept::read_call(kept)?.into_owned();
    let edits = Edits { news: News::Nowhere, ..Edits::default() };
    let params = asked.edited(&edits).map_err(|failure| failure.message().to_owned())?.into_owned();
    let payload = Body::new(kept::write_call(&asked, &params)?.into());
    Ok((A2aCall { params: params.into(), ..asked }, payload))
}
