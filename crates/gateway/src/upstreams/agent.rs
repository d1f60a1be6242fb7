//! Agents: plain HTTP to the replica that the session was given.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use portcullis_domain::admission::Admitted;
use portcullis_domain::ids::SessionId;
use portcullis_domain::refusal::Refusal;
use portcullis_domain::registry::Placement;
use portcullis_interop::a2a::Dialect;
use portcullis_interop::frame::grpc;
use portcullis_interop::frame::http::read_request;
use portcullis_interop::llm::chat::ChatRequest;
use serde_json::Value;

use crate::doorway::Callee;
use crate::reply::{AnswerStream, UpstreamFault};
use crate::upstreams::client::read_whole;
use crate::upstreams::egress::Egress;

/// Which session a call belongs to.
const SESSION: HeaderName = HeaderName::from_static("portcullis-session");
/// Who asks.
const PRINCIPAL: HeaderName = HeaderName::from_static("portcullis-principal");
/// The call's id in the journal.
const CALL: HeaderName = HeaderName::from_static("portcullis-call");
/// The task token.
const TASK: HeaderName = HeaderName::from_static("portcullis-task");
/// The number of the placement.
const FENCE: HeaderName = HeaderName::from_static("portcullis-fence");

/// What an agent's replicas are sent besides the call.
#[derive(Debug, Clone, Copy)]
pub struct AgentEndpoint<'a> {
    /// What is sent as `Authorization`.
    pub authorization: Option<&'a HeaderValue>,
    /// The task token that goes with the call; marked as sensitive, so that nothing prints it.
    pub task: Option<&'a HeaderValue>,
    /// How long the head of the answer may take, and then each piece.
    pub timeout: Duration,
    /// The port that is called by gRPC, if it is another one.
    pub grpc_port: Option<u16>,
}

impl AgentEndpoint<'_> {
    /// Says who the gateway is, and on whose behalf it calls.
    pub(super) fn credentials(&self, headers: &mut HeaderMap) {
        for (name, value) in [(AUTHORIZATION, self.authorization), (TASK, self.task)] {
            headers.extend(value.map(|value| (name, value.clone())));
        }
    }
}

/// The beginning of an agent's answer.
#[derive(Debug)]
pub struct AgentAnswer {
    /// The status.
    pub status: StatusCode,
    /// The headers, as the replica sent them.
    pub headers: HeaderMap,
    /// The body. Dropping it cancels the call.
    pub body: AnswerStream,
    /// What is spoken in it, where it is Agent2Agent.
    pub dialect: Option<Dialect>,
}

impl AgentAnswer {
    /// The same, which breaks off once this one may not be called any more.
    #[must_use]
    pub fn of_callee(self, callee: Callee) -> Self {
        Self { body: self.body.of_callee(callee), ..self }
    }

    /// The same, unless the agent does not let in who comes with a token that was given for the call: that is nothing for the caller, whose own credential it is not.
    ///
    /// # Errors
    ///
    /// That it does not.
    pub fn let_in(self, is_given: bool) -> Result<Self, UpstreamFault> {
        let is_refused = self.status == StatusCode::UNAUTHORIZED
            || grpc::Status::read(&self.headers).is_some_and(|status| status.name() == "UNAUTHENTICATED");
        if is_given && is_refused { Err(UpstreamFault::Credential(StatusCode::UNAUTHORIZED)) } else { Ok(self) }
    }
}

impl Egress {
    /// Forwards an admitted call of an agent: its payload is the request as `message/http`. For a replica that does not know the session, `before` is put in front of the
    /// messages of a chat request.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn call_agent(
        &self,
        admitted: &Admitted,
        endpoint: AgentEndpoint<'_>,
        before: &[Value],
    ) -> Result<AgentAnswer, UpstreamFault> {
        let unreachable = |problem: &str| UpstreamFault::Unreachable(problem.to_owned());
        let placement = admitted.placement().ok_or_else(|| unreachable("the session has no replica"))?;
        let request = read_request(admitted.payload()).map_err(|problem| unreachable(&problem))?;
        let uri = address(placement, &request.uri().to_string())?;
        let mut headers = request.headers().clone();
        tell(&mut headers, admitted, placement);
        endpoint.credentials(&mut headers);
        let body = preceded(request.body(), before).map_err(|refusal| unreachable(&refusal.message))?;
        let sent = self.http.send(request.method().clone(), &uri, headers, body);
        let answer = tokio::time::timeout(endpoint.timeout, sent).await;
        let answer = answer.unwrap_or(Err(UpstreamFault::TimedOut(endpoint.timeout.as_secs())))?;
        let (head, body) = answer.into_parts();
        let body = AnswerStream::new(body, endpoint.timeout);
        Ok(AgentAnswer { status: head.status, headers: head.headers, body, dialect: None })
    }

    /// Tells the replica that an admitted call is for what its session remembers.
    ///
    /// # Errors
    ///
    /// When the replica does not take it.
    pub async fn hydrate(
        &self,
        admitted: &Admitted,
        endpoint: AgentEndpoint<'_>,
        path: &str,
        memory: Bytes,
    ) -> Result<(), UpstreamFault> {
        let unreachable = |problem: &str| UpstreamFault::Unreachable(problem.to_owned());
        let placement = admitted.placement().ok_or_else(|| unreachable("the session has no replica"))?;
        let uri = address(placement, path)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        tell(&mut headers, admitted, placement);
        endpoint.credentials(&mut headers);
        let taken = async {
            let answer = self.http.send(Method::POST, &uri, headers, memory).await?;
            let status = answer.status();
            // Read to its end, so that the connection can be used again.
            read_whole(answer.into_body()).await?;
            Ok::<_, UpstreamFault>(status)
        };
        let status = tokio::time::timeout(endpoint.timeout, taken).await;
        // The turn itself has not been sent: whatever went wrong, it had no effect.
        match status {
            Ok(Ok(status)) if status.is_success() => Ok(()),
            Ok(Ok(StatusCode::UNAUTHORIZED)) => Err(UpstreamFault::Credential(StatusCode::UNAUTHORIZED)),
            Ok(Ok(status)) => Err(unreachable(&format!("it does not take the session's memory: {status}"))),
            Ok(Err(fault)) => Err(unreachable(&format!("it does not take the session's memory: {fault}"))),
            Err(_) => Err(unreachable("it takes too long to take the session's memory")),
        }
    }
}

fn preceded(body: &Bytes, before: &[Value]) -> Result<Bytes, Refusal> {
    if before.is_empty() { Ok(body.clone()) } else { Ok(ChatRequest::read(body.clone())?.preceded_by(before)) }
}

fn address(placement: &Placement, target: &str) -> Result<Uri, UpstreamFault> {
    let address = format!("{}{target}", placement.replica.address());
    address.parse().map_err(|_| UpstreamFault::Unreachable(format!("`{address}` is no address")))
}

/// Whose call it is, and by which placement. Callers can't say these things themselves: such headers of theirs are left out at the door.
pub(super) fn tell(headers: &mut HeaderMap, admitted: &Admitted, placement: &Placement) {
    tell_session(headers, admitted.session(), placement);
    if let Ok(call) = HeaderValue::from_str(&admitted.call().to_string()) {
        headers.insert(CALL, call);
    }
}

/// The same where it is no call of anybody's.
pub(super) fn tell_session(headers: &mut HeaderMap, session: &SessionId, placement: &Placement) {
    for (name, value) in [
        (SESSION, session.name.to_string()),
        (PRINCIPAL, session.owner.to_string()),
        (FENCE, placement.fence.to_string()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}
