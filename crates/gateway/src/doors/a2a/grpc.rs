//! Requests by gRPC. Its paths name a service and a method; which agent is meant is said in the metadata `portcullis-agent`, or in the `tenant` of the request, as the
//! card says; where a caller has only one agent, nothing need be said.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName};
use portcullis_domain::call::Door;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::a2a::{A2aCall, Binding, Dialect, Version, grpc, ingress, refusal};
use portcullis_interop::frame::grpc::{ACCEPT_ENCODING, MEDIA_TYPE, Status, TIMEOUT, Unreadable, only, read_timeout};
use tokio::time::sleep;

use crate::doors::a2a::enter::call;
use crate::doors::a2a::refuse::shown;
use crate::doors::answer::{self, Answer, AnswerBody};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::text_header;
use crate::doors::framed::late;

/// The metadata that names the agent.
const AGENT: HeaderName = HeaderName::from_static("portcullis-agent");
/// The longest time that a client may set: what is longer is none.
const DEADLINE_LIMIT: Duration = Duration::from_secs(30 * 86_400);

/// Whether the path is of the service, in either version.
#[must_use]
pub fn is_called(path: &str) -> bool {
    grpc::service(path).is_some()
}

/// Answers a request. One that the client does not wait for any more is left as by a client that goes.
pub async fn enter(doors: &Arc<Doors>, arrived: Arrived) -> Answer {
    let wait = text_header(&arrived.headers, &TIMEOUT).and_then(read_timeout).filter(|wait| *wait < DEADLINE_LIMIT);
    let Some(wait) = wait else { return answered(doors, arrived).await };
    let mut deadline = Box::pin(sleep(wait));
    let mut answer = tokio::select! {
        answer = answered(doors, arrived) => answer,
        () = &mut deadline => return answer::ended(late().headers()),
    };
    if let AnswerBody::Framed(framed) = answer.body_mut() {
        framed.end_with(deadline);
    }
    answer
}

async fn answered(doors: &Arc<Doors>, arrived: Arrived) -> Answer {
    let is_grpc = text_header(&arrived.headers, &CONTENT_TYPE).is_some_and(|media| media.starts_with(MEDIA_TYPE));
    if !is_grpc {
        return answer::whole(415, "text/plain", "this is called by gRPC\n");
    }
    let message = match only(&arrived.body) {
        Ok(message) => message,
        Err(Unreadable::Compressed) => {
            let answer = answer::ended(Status::new("UNIMPLEMENTED", "messages must not be compressed").headers());
            return answer::with_header(answer, ACCEPT_ENCODING, "identity");
        }
        Err(Unreadable::TooLarge | Unreadable::Malformed) => {
            return answer::ended(Status::new("INVALID_ARGUMENT", "the request is not one message").headers());
        }
    };
    let asked = match ingress::read_grpc(&arrived.headers, &arrived.path, message) {
        Ok(asked) => asked,
        Err(written) => return shown(written),
    };
    let path = arrived.path.clone();
    let answer = match agent(doors, &arrived, &asked) {
        Ok(name) => call(doors, arrived, &name, asked).await,
        Err(refusal) => Err(refusal),
    };
    answer.unwrap_or_else(|refusal| refused(&path, &refusal))
}

/// The name of the agent that is meant.
fn agent(doors: &Doors, arrived: &Arrived, call: &A2aCall<'_>) -> Result<String, Refusal> {
    let snapshot = doors.gate.snapshot.load();
    let unclear = |message: &str| Refusal::new(Code::InvalidRequest, message).about("portcullis-agent");
    match (text_header(&arrived.headers, &AGENT), call.tenant()) {
        (Some(name), Some(tenant)) if name != tenant => {
            Err(unclear("the metadata `portcullis-agent` and `tenant` name different agents"))
        }
        (Some(name), _) => Ok(name.to_owned()),
        (None, Some(tenant)) => Ok(tenant),
        (None, None) => {
            let caller = arrived.caller.chain();
            let all = snapshot.catalogue.agents().map(|(name, _)| name);
            let mut own = all.filter(|name| snapshot.agent_for(caller, name, Door::A2a).is_ok());
            match (own.next(), own.next()) {
                (Some(only), None) => Ok(only.clone()),
                _ => Err(unclear("name the agent in the metadata `portcullis-agent` or in `tenant`")),
            }
        }
    }
}

/// A refusal of a request that is no call yet.
#[must_use]
pub fn refused(path: &str, refused: &Refusal) -> Answer {
    let version = grpc::service(path).map_or(Version::V1_0, |(version, _)| version);
    shown(refusal::failure(refused).answer(Dialect::new(version, Binding::Grpc), None))
}
