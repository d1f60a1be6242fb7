//! A request to an agent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};
use http::{Method, Request};
use portcullis_domain::call::Door;
use portcullis_domain::refusal::{Code, Refusal};
use tokio::sync::oneshot;

use crate::asking::Asking;
use crate::doors::agents::hop::is_own;
use crate::doors::agents::relay::relay;
use crate::doors::answer::{self, Answer, CALL, REPLAYED, SESSION};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::{header_idempotency_key, session_or_minted, text_header};
use crate::life::agent::{Replied, Wish};
use crate::repetition::Patience;

/// How long a turn waits for those before it, if the caller says nothing (`Prefer: wait=N`).
const TURN_WAIT: Duration = Duration::from_secs(60);
/// The longest that a caller may want to wait.
const TURN_WAIT_LIMIT: Duration = Duration::from_secs(600);
/// What a client prefers (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Answers a request to `/agents/<agent>/…`.
///
/// # Errors
///
/// Why it can't be answered.
pub async fn enter(doors: &Arc<Doors>, arrived: Arrived) -> Result<Answer, Refusal> {
    let gate = doors.gate.clone();
    let (name, target) = split(&arrived.path);
    let agent = gate.snapshot.load().agent_for(&arrived.caller.principal, name)?;
    let key = header_idempotency_key(&arrived.headers)?;
    let turn = turn_wait(&arrived.method, &arrived.headers)?;
    let (session, origin) = session_or_minted(&arrived.caller, arrived.session.clone())?;
    let shown = session.name.clone();
    let request = forwarded(&arrived, target)?;
    let asking = Asking { key: arrived.caller.key, session, origin, door: Door::Http };
    let (stays, gone) = oneshot::channel::<()>();
    let (stays, listens) = (Arc::new(stays), Arc::new(()));
    let patience = Patience { key, stays: Arc::downgrade(&stays), listens: Arc::downgrade(&listens), gone };
    // In a task of its own, so that it is settled even when the caller leaves; leaving cancels it.
    let work = tokio::spawn(async move {
        match gate.call_agent(&asking, &agent, Wish { request, patience, turn }).await? {
            Replied::Fresh(reply) => {
                let call = reply.call;
                let answer = relay(gate, *reply).await?;
                Ok(answer::with_header(answer, CALL, &call.to_string()))
            }
            Replied::Recorded(call, response) => {
                let (head, body) = response.into_parts();
                let mut answer = answer::whole(head.status.as_u16(), "application/octet-stream", body);
                *answer.headers_mut() = head.headers;
                let answer = answer::with_header(answer, REPLAYED, "true");
                Ok(answer::with_header(answer, CALL, &call.to_string()))
            }
        }
    });
    let answered = work.await;
    drop((stays, listens));
    let answer = answered.unwrap_or_else(|error| {
        Err(Refusal::new(Code::UpstreamFailed, "the call ended by a fault of the gateway").because(error.to_string()))
    })?;
    Ok(answer::with_header(answer, SESSION, shown.as_str()))
}

/// The agent's name, and the path behind it.
fn split(path: &str) -> (&str, &str) {
    let rest = path.strip_prefix("/agents/").unwrap_or_default();
    rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash))
}

/// How long to wait for one's turn. What only reads (RFC 9110, section 9.2.1) is none.
fn turn_wait(method: &Method, headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    if method.is_safe() {
        return Ok(None);
    }
    let preferences = text_header(headers, &PREFER).unwrap_or_default().split(',');
    let wait = preferences.filter_map(|preference| preference.trim().strip_prefix("wait=")).next();
    let Some(seconds) = wait else { return Ok(Some(TURN_WAIT)) };
    let seconds: u64 = seconds.trim_matches('"').parse().map_err(|_| {
        Refusal::new(Code::InvalidRequest, "`Prefer: wait=` is followed by a number of seconds").about("Prefer")
    })?;
    Ok(Some(Duration::from_secs(seconds).min(TURN_WAIT_LIMIT)))
}

/// What the replica gets of the request: all but what is between the caller and the gateway.
fn forwarded(arrived: &Arrived, target: &str) -> Result<Request<Bytes>, Refusal> {
    let target = arrived.query.as_ref().map_or_else(|| target.to_owned(), |query| format!("{target}?{query}"));
    let mut request = Request::builder()
        .method(arrived.method.clone())
        .uri(target)
        .body(arrived.body.clone())
        .map_err(|error| Refusal::new(Code::InvalidRequest, format!("the path can't be forwarded: {error}")))?;
    let kept = arrived.headers.iter().filter(|(name, _)| !is_own(name, &arrived.headers));
    for (name, value) in kept {
        request.headers_mut().append(name.clone(), value.clone());
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_behind_the_agents_name_is_forwarded() {
        for (path, expected) in [
            ("/agents/a", ("a", "/")),
            ("/agents/a/", ("a", "/")),
            ("/agents/a/run/x", ("a", "/run/x")),
            ("/agents/", ("", "/")),
        ] {
            assert_eq!(split(path), expected, "{path}");
        }
    }

    #[test]
    fn a_caller_says_how_long_it_waits_for_its_turn() {
        let check = |method: Method, prefer: &str, expected: Option<Option<u64>>| {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, prefer.parse().unwrap());
            let wait = turn_wait(&method, &headers).ok().map(|wait| wait.map(|wait| wait.as_secs()));
            assert_eq!(wait, expected, "{method} {prefer}");
        };
        check(Method::POST, "", Some(Some(60)));
        check(Method::POST, "wait=0", Some(Some(0)));
        check(Method::POST, "respond-async, wait=10", Some(Some(10)));
        check(Method::POST, "wait=100000", Some(Some(600)));
        check(Method::POST, "wait=x", None);
        check(Method::GET, "wait=10", Some(None));
    }
}
