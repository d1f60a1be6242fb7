//! A request to an agent that speaks Agent2Agent.

use std::sync::Arc;

use http::Method as Verb;
use http::header::{HeaderMap, HeaderName};
use portcullis_domain::call::{Capability, Door};
use portcullis_domain::digest::Digest;
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::a2a::card::{FORMER_WELL_KNOWN, WELL_KNOWN};
use portcullis_interop::a2a::{A2aCall, Failure, Kind, Method, ingress, kept, refusal};
use tokio::sync::oneshot;

use crate::asking::Asking;
use crate::doors::a2a::card;
use crate::doors::a2a::claims::Claims;
use crate::doors::a2a::names::Names;
use crate::doors::a2a::refuse::{failed, refused, shown};
use crate::doors::a2a::relay::{Relay, replayed};
use crate::doors::answer::{self, Answer, CALL, REPLAYED, SESSION};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::{header_idempotency_key, turn_wait};
use crate::entropy::new_call;
use crate::life::agent::{Replied, Wish};
use crate::repetition::Patience;

/// The headers by which a call belongs to a trace (W3C Trace Context).
const TRACE: [HeaderName; 2] = [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];

/// Answers a request to `/a2a/<agent>…`.
///
/// # Errors
///
/// Why it can't be answered, where it is no call yet.
pub async fn enter(doors: &Arc<Doors>, arrived: Arrived) -> Result<Answer, Refusal> {
    let (name, rest) = split(&arrived.path);
    let agent = doors.gate.snapshot.load().agent_for(&arrived.caller.principal, name, Door::A2a)?;
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
            let asked = asked.into_owned();
            let name = name.to_owned();
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
    let agent = doors.gate.snapshot.load().agent_for(&arrived.caller.principal, name, Door::A2a)?;
    if let Some(failure) = unserved(&call) {
        return Ok(failed(&call, &failure));
    }
    let names = Names { sealer: &doors.transport, owner: &arrived.caller.principal, agent: &agent.capability };
    let read = Claims::read(&call, &arrived.caller, arrived.session.clone(), names).and_then(|claims| {
        let terms = Terms::read(&arrived.headers, &call, &claims).map_err(|refused| refusal::failure(&refused))?;
        Ok((claims, terms))
    });
    let (claims, Terms { key, turn, payload, trace }) = match read {
        Ok(read) => read,
        Err(failure) => return Ok(failed(&call, &failure)),
    };
    let (session, origin) = (claims.session.clone(), claims.origin);
    let asking = Asking { key: arrived.caller.key, session: session.clone(), origin, door: Door::A2a };
    let (stays, gone) = oneshot::channel::<()>();
    let (stays, listens) = (Arc::new(stays), Arc::new(()));
    let patience = Patience { key, stays: Arc::downgrade(&stays), listens: Arc::downgrade(&listens), gone };
    let content = Digest::of(payload.bytes());
    let wish = Wish { payload, content, trace, patience, turn };
    let asked = Asked { doors: doors.clone(), agent: agent.capability.clone(), call: call.clone(), claims };
    // In a task of its own, so that it is settled even when the caller leaves. Whether the agent goes on with its task is the agent's affair.
    let work = tokio::spawn(async move {
        let replied = asked.doors.gate.call_agent(&asking, &agent, wish).await;
        asked.answer(replied).await
    });
    let answered = work.await;
    drop((stays, listens));
    let answer = answered.unwrap_or_else(|error| {
        let refusal = Refusal::new(Code::UpstreamFailed, "the call ended by a fault of the gateway");
        failed(&call, &refusal::failure(&refusal.because(error.to_string())))
    });
    Ok(answer::with_header(answer, SESSION, session.name.as_str()))
}

/// The agent's name, and the path behind it.
fn split(path: &str) -> (&str, &str) {
    let rest = path.strip_prefix("/a2a/").unwrap_or_default();
    rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash))
}

/// What the gateway does not serve, whatever the agent does. The cards say the same.
fn unserved(call: &A2aCall<'_>) -> Option<Failure> {
    let is_push = matches!(
        call.method,
        Method::CreatePushConfig | Method::GetPushConfig | Method::ListPushConfigs | Method::DeletePushConfig
    );
    if is_push || call.push_config().is_some() {
        return Some(Failure::new(Kind::PushNotSupported, "news are not pushed here: subscribe to the task"));
    }
    let is_extended = call.method == Method::GetExtendedCard;
    is_extended.then(|| Failure::new(Kind::ExtendedCardNotConfigured, "there is no other card for known callers"))
}

/// What the request says besides the call.
struct Terms {
    key: Option<String>,
    turn: Option<std::time::Duration>,
    payload: Body,
    trace: HeaderMap,
}

impl Terms {
    fn read(headers: &HeaderMap, call: &A2aCall<'_>, claims: &Claims) -> Result<Self, Refusal> {
        let unwritten = |problem: String| Refusal::new(Code::InvalidRequest, problem);
        let payload = kept::write_call(call, &claims.params).map_err(unwritten)?;
        let trace = TRACE.into_iter().filter_map(|name| Some((name.clone(), headers.get(&name)?.clone())));
        Ok(Self {
            key: header_idempotency_key(headers)?,
            turn: if call.method.is_sending() { Some(turn_wait(headers)?) } else { None },
            payload: Body::new(payload.into()),
            trace: trace.collect(),
        })
    }
}

/// A call whose answer is awaited.
struct Asked {
    doors: Arc<Doors>,
    agent: Capability,
    call: A2aCall<'static>,
    claims: Claims,
}

impl Asked {
    async fn answer(self, replied: Result<Replied, Refusal>) -> Answer {
        let Self { doors, agent, call, claims } = self;
        match replied {
            Ok(Replied::Fresh(reply)) => {
                let id = reply.call;
                let answer = Relay::new(doors, *reply, agent, call, claims).answer().await;
                answer::with_header(answer, CALL, &id.to_string())
            }
            Ok(Replied::Recorded(id, body)) => {
                let answer = answer::with_header(replayed(&call, &body), REPLAYED, "true");
                answer::with_header(answer, CALL, &id.to_string())
            }
            Ok(Replied::Unspoken(id, failure)) => answer::with_header(failed(&call, &failure), CALL, &id.to_string()),
            Err(refusal) => {
                let task = claims.task.as_ref().map(|(shown, _)| shown.as_str());
                let id = new_call().map(|id| id.to_string()).unwrap_or_default();
                refused(&call, &refusal, &id, &claims.context, task)
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
