//! A request to an agent.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HeaderMap};
use portcullis_domain::call::Door;
use portcullis_domain::digest::Digest;
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::frame::http::{read_response, write_request};
use tokio::sync::oneshot;

use crate::doors::agents::hop::is_own;
use crate::doors::agents::relay::relay;
use crate::doors::answer::{self, Answer, CALL, REPLAYED, SESSION};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::{header_idempotency_key, session_of_key, turn_wait};
use crate::life::agent::{Parks, Replied, Wish};
use crate::life::guarding::Guarding;
use crate::repetition::Patience;
use crate::reply::UpstreamFault;

/// Answers a request to `/agents/<agent>/…`.
///
/// # Errors
///
/// Why it can't be answered.
pub async fn enter(doors: &Arc<Doors>, arrived: Arrived) -> Result<Answer, Refusal> {
    let gate = doors.gate.clone();
    let (name, target) = split(&arrived.path);
    let agent = gate.snapshot.load().agent_for(arrived.caller.chain(), name, Door::Http)?;
    let key = header_idempotency_key(&arrived.headers)?;
    // What only reads (RFC 9110, section 9.2.1) is no turn.
    let turn = if arrived.method.is_safe() { None } else { Some(turn_wait(&arrived.headers)?) };
    let (session, origin) = session_of_key(&arrived.caller, arrived.session.clone(), key.as_deref())?;
    let shown = session.name.clone();
    let request = forwarded(&arrived, target)?;
    let (content, payload) = (content(&request), Body::new(write_request(&request)));
    let asking = arrived.asking(session, origin, Door::Http);
    let (stays, gone) = oneshot::channel::<()>();
    let (stays, listens) = (Arc::new(stays), Arc::new(()));
    let patience = Patience { key, stays: Arc::downgrade(&stays), listens: Arc::downgrade(&listens), gone };
    // In a task of its own, so that it is settled even when the caller leaves; leaving cancels it.
    let work = tokio::spawn(async move {
        let wish = Wish {
            payload,
            content,
            trace: HeaderMap::new(),
            patience,
            turn,
            push: None,
            answers: None,
            guarding: Guarding::default(),
            parks: Parks::default(),
        };
        match gate.call_agent(&asking, &agent, wish).await? {
            Replied::Fresh(reply) => {
                let call = reply.call;
                let answer = relay(gate, *reply).await?;
                Ok(answer::with_header(answer, CALL, &call.to_string()))
            }
            Replied::Unspoken(_, failure) => Err(UpstreamFault::Unspoken(failure).refusal(&agent.capability.name)),
            Replied::Recorded(call, body) => {
                let response = read_response(&body).map_err(|problem| {
                    Refusal::new(Code::NotFound, "the answer of this call is not kept any more").because(problem)
                })?;
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

/// What makes it the same call with the same key: an attempt may have other headers, but for the type of its body.
fn content(request: &Request<Bytes>) -> Digest {
    let media = request.headers().get(CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    let (method, target) = (request.method().as_str(), request.uri().to_string());
    Digest::of_parts(&[method.as_bytes(), b"\n", target.as_bytes(), b"\n", media, b"\n", request.body()])
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
}
