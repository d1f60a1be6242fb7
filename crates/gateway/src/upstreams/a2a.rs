//! Agents by Agent2Agent, in the version and binding of their card.

use bytes::Bytes;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use portcullis_domain::admission::Admitted;
use portcullis_interop::a2a::{Edits, Interface, News, egress, kept};

use crate::reply::{AnswerStream, UpstreamFault};
use crate::upstreams::agent::{AgentAnswer, AgentEndpoint, tell};
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
        let uri = outgoing.url.parse().map_err(|_| unreachable(format!("`{}` is no address", outgoing.url)))?;
        let mut headers = outgoing.headers;
        headers.extend(aside.trace.clone());
        tell(&mut headers, admitted, placement);
        if let Some(authorization) = endpoint.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let body = outgoing.body.map(Bytes::from).unwrap_or_default();
        let sent = self.http.send(outgoing.verb, &uri, headers, body);
        let answer = tokio::time::timeout(endpoint.timeout, sent).await;
        let answer = answer.unwrap_or(Err(UpstreamFault::TimedOut(endpoint.timeout.as_secs())))?;
        let (head, body) = answer.into_parts();
        let body = AnswerStream::new(body, endpoint.timeout);
        Ok(AgentAnswer { status: head.status, headers: head.headers, body, dialect: Some(interface.dialect) })
    }
}
