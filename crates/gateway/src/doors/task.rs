//! Who comes with a task token.

use portcullis_domain::admission::open_session::is_held;
use portcullis_domain::authority::Credential;
use portcullis_domain::refusal::Refusal;
use portcullis_domain::session::Origin;
use portcullis_domain::session::state::not_found;
use portcullis_domain::time::Timestamp;

use crate::doors::caller::{Caller, Known, invalid_key_because};
use crate::identity::task::TaskToken;
use crate::life::Gate;

/// The caller of this token, together with what the agent has shown of itself, if anything.
///
/// # Errors
///
/// When the token is not one that counts now, or not for this agent.
pub fn caller(text: &str, own: Option<&Caller>, known: &Known<'_>) -> Result<Caller, Refusal> {
    let (signing, now) = (known.keys.signing(), known.now);
    let key = |id: &str| known.signing.find(signing, id, now);
    let token = TaskToken::read(text, &known.snapshot.issuer(known.signing), key, now);
    let token = token.map_err(|problem| invalid_key_because(format!("the task token: {problem}")))?;
    let TaskToken { session, authority, .. } = token;
    let credential = &authority.credential;
    let is_live = match credential {
        Credential::Key(id) => {
            known.keys.find(id).is_some_and(|key| key.is_live(now) && key.principal == session.owner)
        }
        vouched @ Credential::Vouched { .. } => {
            known.keys.vouched(vouched).is_some_and(|seen| seen.principal == session.owner)
        }
    };
    if !is_live {
        let reason = format!("the task token comes from `{credential}`, which is not valid any more");
        return Err(invalid_key_because(reason));
    }
    if let Some(gone) = authority.through.iter().find(|agent| known.snapshot.catalogue.acting(agent).is_none()) {
        return Err(invalid_key_because(format!("`{gone}` on the task token's chain is no agent of the registry")));
    }
    let mut caller = Caller { principal: session.owner.clone(), authority, bound: Some(session), token: None };
    is_by_its_agent(&caller, own, known)?;
    if let Some(limit) = own.and_then(|own| own.authority.scope.as_ref()) {
        let nothing =
            || invalid_key_because("what the agent's key is for and what the task token is for exclude one another");
        let scope = caller.authority.scope.as_ref().map_or_else(|| Some(limit.clone()), |scope| scope.within(limit));
        caller.authority.scope = Some(scope.ok_or_else(nothing)?);
    }
    Ok(caller)
}

/// Whether the session of a task token still takes calls, for requests that are no call and are not asked so otherwise.
///
/// # Errors
///
/// When it does not, or what the token comes from has ended; `session_not_found` when there is none.
pub async fn check_open(gate: &Gate, caller: &Caller, now: Timestamp) -> Result<(), Refusal> {
    let Some(session) = caller.bound.clone() else { return Ok(()) };
    let authority = caller.authority.clone();
    let checked = gate.journal.read(move |world| {
        is_held(world, &authority, &session, now)?;
        let found = world.session.enter(&session, Origin::Named)?;
        found.map(|_| ()).ok_or_else(|| not_found(&session.name))
    });
    checked.await?
}

/// A key that is shown beside a token must be that of the agent that the token was handed to.
fn is_by_its_agent(caller: &Caller, own: Option<&Caller>, known: &Known<'_>) -> Result<(), Refusal> {
    let actor = caller.chain().actor();
    match own {
        Some(own) if own.bound.is_none() && own.chain().depth() == 0 && own.principal == *actor => Ok(()),
        Some(own) => {
            Err(invalid_key_because(format!("`{}` shows a task token that `{actor}` was handed", own.principal)))
        }
        None if known.snapshot.catalogue.acting(actor).is_some_and(|agent| agent.is_bound) => {
            Err(invalid_key_because(format!("`{actor}` shows a task token without a key of its own")))
        }
        None => Ok(()),
    }
}
