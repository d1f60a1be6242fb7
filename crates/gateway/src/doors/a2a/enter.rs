//! A request to an agent that speaks Agent2Agent.

use std::sync::Arc;

use http::Method as Verb;
use http::header::HeaderMap;
use portcullis_domain::call::{Capability, Door};
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::SessionName;
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::Refusal;
use portcullis_domain::session::push::PushName;
use portcullis_interop::a2a::card::{FORMER_WELL_KNOWN, WELL_KNOWN};
use portcullis_interop::a2a::{
    A2aCall, Failure, Kind, Method, Version, Webhook, answer as written, ingress, kept, refusal,
};

use crate::doors::a2a::apart::{apart, trace};
use crate::doors::a2a::claims::Claims;
use crate::doors::a2a::names::Names;
use crate::doors::a2a::parked::{Meant, Parked};
use crate::doors::a2a::push::{Concern, Wanted};
use crate::doors::a2a::refuse::{failed, refused, said, shown};
use crate::doors::a2a::relay::{Asked, Relay, replayed};
use crate::doors::a2a::{card, list, push};
use crate::doors::answer::{self, Answer, CALL, REPLAYED, SESSION};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::{header_idempotency_key, turn_wait};
use crate::entropy::new_call;
use crate::life::agent::{Parks, Replied, Wish};
use crate::life::guarding::Guarding;
use crate::life::task::Task;

/// Answers a request to `/a2a/<agent>…`.
///
/// # Errors
///
/// Why it can't be answered, where it is no call yet.
pub async fn enter(doors: &Arc<Doors>, arrived: Arrived) -> Result<Answer, Refusal> {
    let (name, rest) = split(&arrived.path);
    let agent = doors.gate.snapshot.load().agent_for(arrived.caller.chain(), name, Door::A2a)?;
    if matches!(rest, WELL_KNOWN | FORMER_WELL_KNOWN) && arrived.method.is_safe() {
        let shown = doors.gate.card(&agent).await?;
        return card::show(doors, &arrived, name, &shown.card, shown.changed_at);
    }
    let query = arrived.query.as_deref();
    let read = match rest {
        "" | "/" if arrived.method == Verb::POST => ingress::read_jsonrpc(&arrived.headers, query, &arrived.body),
        path => ingress::read_http(&arrived.method, path, query, &arrived.headers, &arrived.body),
    };
    match read {
        Ok(asked) => {
            let (asked, name) = (asked.into_owned(), name.to_owned());
            call(doors, arrived, &name, asked).await
        }
        Err(written) => Ok(shown(written)),
    }
}

/// Makes a call of the agent of that name, whichever binding it came by.
///
/// # Errors
///
/// When there is no such agent for the caller.
pub async fn call(doors: &Arc<Doors>, arrived: Arrived, name: &str, call: A2aCall<'static>) -> Result<Answer, Refusal> {
    let agent = doors.gate.snapshot.load().agent_for(arrived.caller.chain(), name, Door::A2a)?;
    if call.method == Method::ListTasks {
        return Ok(list::answer(doors, &arrived, &agent.capability, agent.calls_limit, &call).await);
    }
    let parked = match Meant::of(doors, &arrived, &agent.capability, &call).await {
        Ok(Meant::OfAgent(parked)) => parked,
        Ok(Meant::Answered(answer)) => return Ok(*answer),
        Err(failure) => return Ok(failed(&call, &failure)),
    };
    let prepared = match Prepared::of(doors, &arrived, &agent.capability, &call, parked).await {
        Ok(prepared) => prepared,
        Err(failure) => return Ok(failed(&call, &failure)),
    };
    let Prepared { call, claims, concern, terms, guarding } = prepared;
    if let Concern::Answered(reply) = &concern {
        return Ok(written::whole(&call, reply).map_or_else(|failure| failed(&call, &failure), said));
    }
    let Terms { key, turn, payload, content, trace } = terms;
    let (session, origin) = (claims.session.clone(), claims.origin);
    let push =
        concern.wanted().map(|wanted| wanted.opening(&call, &claims, &agent.capability, &arrived.caller.authority));
    let authority = arrived.caller.authority.clone();
    let asking = arrived.asking(session.clone(), origin, Door::A2a);
    let task = claims.task.as_ref().filter(|_| call.method.is_sending());
    let answers = task.map(|(_, id)| Task { session: &session, agent: &agent.capability, id }.prefix());
    let face = card::Face::of(doors, &arrived, &agent.capability.name);
    let asked = Asked {
        doors: doors.clone(),
        agent: agent.capability.clone(),
        call: call.clone(),
        claims,
        concern,
        authority,
        is_alone: arrived.caller.is_by_themself(),
        face,
    };
    let answered = apart(key, |patience| async move {
        let parks = if asked.call.method.is_sending() { Parks::AsTask } else { Parks::Unasked };
        let wish = Wish { payload, content, trace, patience, turn, push, answers, guarding, parks };
        let replied = asked.doors.gate.call_agent(&asking, &agent, wish).await;
        asked.answer(replied).await
    });
    let answer = answered.await.unwrap_or_else(|failure| failed(&call, &failure));
    Ok(answer::with_header(answer, SESSION, session.name.as_str()))
}

/// The agent's name, and the path behind it.
fn split(path: &str) -> (&str, &str) {
    let rest = path.strip_prefix("/a2a/").unwrap_or_default();
    rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash))
}

/// What is known of a call before it is made.
struct Prepared {
    /// As guardrails have made it.
    call: A2aCall<'static>,
    claims: Claims,
    concern: Concern,
    terms: Terms,
    guarding: Guarding,
}

impl Prepared {
    async fn of(
        doors: &Doors,
        arrived: &Arrived,
        agent: &Capability,
        call: &A2aCall<'static>,
        parked: Option<(SessionName, String)>,
    ) -> Result<Self, Failure> {
        check_offer(doors, agent, call).await?;
        let names = Names { sealer: &doors.transport, owner: &arrived.caller.principal, agent };
        let base = push::public_url(doors, agent, call).await?;
        let claims = Claims::read(call, &arrived.caller, arrived.session.clone(), names, parked)?;
        let concern = Concern::of(doors, agent, call, &claims, base.as_deref()).await?;
        let asking = arrived.asking(claims.session.clone(), claims.origin, Door::A2a);
        let (call, guarding) = doors.gate.guard_message(&asking, agent, call.clone()).await;
        let terms = Terms::read(&arrived.headers, &call, &claims, names, &concern)?;
        Ok(Self { call, claims, concern, terms, guarding })
    }
}

/// What the agent's card does not offer is not asked of it (A2A 1.0, section 3.3.4). Whether it streams is not asked of a card that can't be looked at: then the call fails by itself.
async fn check_offer(doors: &Doors, agent: &Capability, call: &A2aCall<'_>) -> Result<(), Failure> {
    let unsupported = |message: &str| Err(Failure::new(Kind::UnsupportedOperation, message));
    if call.method == Method::GetExtendedCard {
        let has = doors.gate.has_extended_card(agent).await.map_err(|refused| refusal::failure(&refused))?;
        return match call.dialect.version {
            _ if has => Ok(()),
            Version::V1_0 => unsupported("there is no other card for known callers"),
            Version::V0_3 => {
                Err(Failure::new(Kind::ExtendedCardNotConfigured, "there is no other card for known callers"))
            }
        };
    }
    if call.method.is_streaming() && !doors.gate.streams(agent).await.unwrap_or(true) {
        return unsupported("the agent does not stream: send the message, and ask for the task");
    }
    Ok(())
}

/// What the request says besides the call.
struct Terms {
    key: Option<String>,
    turn: Option<std::time::Duration>,
    payload: Body,
    content: Digest,
    trace: HeaderMap,
}

impl Terms {
    fn read(
        headers: &HeaderMap,
        call: &A2aCall<'_>,
        claims: &Claims,
        names: Names<'_>,
        concern: &Concern,
    ) -> Result<Self, Failure> {
        let unwritten = |problem: String| Failure::new(Kind::InvalidParams, problem);
        let failure = |refused: Refusal| refusal::failure(&refused);
        let (wanted, deleted) = (concern.wanted(), concern.deleted().map(PushName::as_str));
        let params = claims.params(call, names, wanted.map(Wanted::webhook), deleted)?;
        let payload = Body::new(kept::write_call(call, &params).map_err(unwritten)?.into());
        let content = match wanted {
            None => Digest::of(payload.bytes()),
            // The gateway's own place is another one each time.
            Some(wanted) => {
                let nowhere = Webhook { url: "", token: None, id: None };
                let params = claims.params(call, names, Some(nowhere), deleted)?;
                let same = kept::write_call(call, &params).map_err(unwritten)?;
                Digest::of_parts(&[&same, b"\n", wanted.place.raw().as_bytes()])
            }
        };
        Ok(Self {
            key: header_idempotency_key(headers).map_err(failure)?,
            turn: if call.method.is_sending() { Some(turn_wait(headers).map_err(failure)?) } else { None },
            payload,
            content,
            trace: trace(headers),
        })
    }
}

impl Asked {
    async fn answer(self, replied: Result<Replied, Refusal>) -> Answer {
        let call = self.call.clone();
        match replied {
            Ok(Replied::Fresh(reply)) => {
                let id = reply.call;
                let answer = Relay::new(self, *reply).answer().await;
                answer::with_header(answer, CALL, &id.to_string())
            }
            Ok(Replied::Recorded(id, body)) => {
                let answer = answer::with_header(replayed(&call, &body), REPLAYED, "true");
                answer::with_header(answer, CALL, &id.to_string())
            }
            Ok(Replied::Unspoken(id, failure)) => answer::with_header(failed(&call, &failure), CALL, &id.to_string()),
            Err(refusal) => {
                if let Some(parked) = Parked::by(&self, &refusal).await {
                    return parked.begun().await;
                }
                let task = self.claims.task.as_ref().map(|(shown, _)| shown.as_str());
                let id = new_call().map(|id| id.to_string()).unwrap_or_default();
                refused(&call, &refusal, &id, &self.claims.context, task)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_behind_the_agents_name_is_the_calls() {
        for (path, expected) in [
            ("/a2a/a", ("a", "")),
            ("/a2a/a/", ("a", "/")),
            ("/a2a/a/v1/message:send", ("a", "/v1/message:send")),
            ("/a2a/", ("", "")),
        ] {
            assert_eq!(split(path), expected, "{path}");
        }
    }
}
