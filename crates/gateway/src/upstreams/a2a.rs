//! Agents by Agent2Agent, in the version and binding of their card.

use http::uri::Parts;
use http::{HeaderMap, Uri};
use portcullis_domain::admission::{Admitted, Cancellation};
use portcullis_interop::a2a::egress::Outgoing;
use portcullis_interop::a2a::{A2aCall, Binding, Dialect, Edits, Interface, Method, News, Version, egress, kept};
use portcullis_interop::frame::grpc;

use crate::reply::{AnswerStream, UpstreamFault};
use crate::upstreams::agent::{AgentAnswer, AgentEndpoint, tell, tell_session};
use crate::upstreams::egress::Egress;

/// What a replica is told besides the call.
#[derive(Debug)]
pub struct Aside<'a> {
    /// The trace that the call belongs to.
    pub trace: &'a HeaderMap,
    /// The extension about its session, with its URI, where the agent wants it and a message goes to it.
    pub session: Option<(&'a str, &'a str)>,
}

impl Egress {
    /// Forwards an admitted call of an agent by Agent2Agent: its payload is the call as [`kept`] writes it, with the agent's own ids.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn call_a2a(
        &self,
        admitted: &Admitted,
        endpoint: AgentEndpoint<'_>,
        interface: &Interface,
        aside: Aside<'_>,
    ) -> Result<AgentAnswer, UpstreamFault> {
        let unreachable = |problem: String| UpstreamFault::Unreachable(problem);
        let placement = admitted.placement().ok_or_else(|| unreachable("the session has no replica".to_owned()))?;
        let mut call = kept::read_call(admitted.payload()).map_err(unreachable)?;
        let unspoken = |failure| UpstreamFault::Unspoken(Box::new(failure));
        let metadata: Vec<(&str, &str)> = aside.session.into_iter().collect();
        let is_told = !metadata.is_empty() && call.method.is_sending();
        let params = match is_told {
            true => call
                .edited(&Edits { metadata: &metadata, news: News::AsSaid, ..Edits::default() })
                .map_err(unspoken)?
                .into_owned(),
            false => call.params.clone().into_owned(),
        };
        for (uri, _) in metadata {
            if !call.extensions.iter().any(|wanted| wanted == uri) {
                call.extensions.push(uri.to_owned());
            }
        }
        let outgoing = egress::ask(interface, &call, &params, 1).map_err(unspoken)?;
        let mut more = aside.trace.clone();
        tell(&mut more, admitted, placement);
        self.send_a2a(outgoing, more, endpoint, (interface, call.method)).await
    }

    /// Tells an agent to cancel a task that nobody may act for any more.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn cancel_a2a(
        &self,
        cancellation: &Cancellation,
        endpoint: AgentEndpoint<'_>,
        interface: &Interface,
    ) -> Result<AgentAnswer, UpstreamFault> {
        let params = serde_json::json!({"id": cancellation.task().id}).to_string();
        let call = A2aCall {
            dialect: Dialect::new(Version::V1_0, Binding::JsonRpc),
            method: Method::CancelTask,
            id: None,
            extensions: Vec::new(),
            params: params.as_str().into(),
        };
        let unspoken = |failure| UpstreamFault::Unspoken(Box::new(failure));
        let outgoing = egress::ask(interface, &call, &params, 1).map_err(unspoken)?;
        let mut more = HeaderMap::new();
        tell_session(&mut more, &cancellation.task().session, cancellation.placement());
        self.send_a2a(outgoing, more, endpoint, (interface, call.method)).await
    }

    async fn send_a2a(
        &self,
        outgoing: Outgoing,
        more: HeaderMap,
        endpoint: AgentEndpoint<'_>,
        (interface, method): (&Interface, Method),
    ) -> Result<AgentAnswer, UpstreamFault> {
        let unreachable = |problem: String| UpstreamFault::Unreachable(problem);
        let uri: Uri = outgoing.url.parse().map_err(|_| unreachable(format!("`{}` is no address", outgoing.url)))?;
        let is_grpc = interface.dialect.binding == Binding::Grpc;
        let uri = if is_grpc { at_port(uri, endpoint.grpc_port)? } else { uri };
        let mut headers = outgoing.headers;
        if is_grpc && !method.is_streaming() {
            headers.insert(grpc::TIMEOUT, grpc::timeout(endpoint.timeout));
        }
        headers.extend(more);
        endpoint.credentials(&mut headers);
        let body = outgoing.body.unwrap_or_default();
        let sent = async {
            match interface.dialect.binding {
                Binding::Grpc => self.http.post_http2(&uri, headers, body).await,
                Binding::JsonRpc | Binding::HttpJson => self.http.send(outgoing.verb, &uri, headers, body).await,
            }
        };
        let answer = tokio::time::timeout(endpoint.timeout, sent).await;
        let answer = answer.unwrap_or(Err(UpstreamFault::TimedOut(endpoint.timeout.as_secs())))?;
        let (head, body) = answer.into_parts();
        let body = AnswerStream::new(body, endpoint.timeout);
        Ok(AgentAnswer { status: head.status, headers: head.headers, body, dialect: Some(interface.dialect) })
    }
}

/// The same address at that port.
fn at_port(uri: Uri, port: Option<u16>) -> Result<Uri, UpstreamFault> {
    let unreachable = || UpstreamFault::Unreachable(format!("it can't be called at port {}", port.unwrap_or_default()));
    let mut parts: Parts = uri.into_parts();
    if let (Some(port), Some(authority)) = (port, &parts.authority) {
        parts.authority = Some(format!("{}:{port}", authority.host()).parse().map_err(|_| unreachable())?);
    }
    Uri::from_parts(parts).map_err(|_| unreachable())
}
