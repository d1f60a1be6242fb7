//! Model APIs: OpenAI Chat Completions over HTTP.

use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use portcullis_domain::admission::Admitted;

use crate::reply::{AnswerStream, ModelAnswer, UpstreamFault};
use crate::upstreams::client::read_whole;
use crate::upstreams::egress::Egress;

/// Where a model is and what it is sent besides the call.
#[derive(Debug, Clone, Copy)]
pub struct ModelEndpoint<'a> {
    /// The URI of chat completions.
    pub uri: &'a http::Uri,
    /// What is sent as `Authorization`.
    pub authorization: Option<&'a HeaderValue>,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether the answer is asked for in pieces.
    pub is_stream: bool,
}

impl Egress {
    /// Forwards an admitted call of a model: its payload is the body of the request.
    ///
    /// # Errors
    ///
    /// When there is no answer, or the upstream does not accept the gateway's key.
    pub async fn call_model(
        &self,
        admitted: &Admitted,
        endpoint: ModelEndpoint<'_>,
    ) -> Result<ModelAnswer, UpstreamFault> {
        let timeout = endpoint.timeout;
        let answer = tokio::time::timeout(timeout, self.ask_model(admitted, endpoint)).await;
        answer.unwrap_or(Err(UpstreamFault::TimedOut(timeout.as_secs())))
    }

    async fn ask_model(&self, admitted: &Admitted, endpoint: ModelEndpoint<'_>) -> Result<ModelAnswer, UpstreamFault> {
        let answer = self.http.post(endpoint.uri, headers(&endpoint), admitted.payload().clone()).await?;
        let (head, body) = answer.into_parts();
        match head.status {
            StatusCode::OK if endpoint.is_stream && is_event_stream(&head.headers) => {
                Ok(ModelAnswer::Stream(AnswerStream::new(body, endpoint.timeout)))
            }
            StatusCode::OK => Ok(ModelAnswer::Whole(read_whole(body).await?)),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(UpstreamFault::Credential(status)),
            status if status.is_client_error() || status.is_server_error() => {
                let kept = |name: &HeaderName| {
                    *name == RETRY_AFTER || *name == CONTENT_TYPE || name.as_str() == "retry-after-ms"
                };
                let headers = head
                    .headers
                    .iter()
                    .filter(|(name, _)| kept(name))
                    .map(|(name, value)| (name.clone(), value.clone()));
                Ok(ModelAnswer::Error { status, headers: headers.collect(), body: read_whole(body).await? })
            }
            status => Err(UpstreamFault::Garbled(format!("HTTP status {status}"))),
        }
    }
}

fn headers(endpoint: &ModelEndpoint<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let accepted = if endpoint.is_stream { "text/event-stream" } else { "application/json" };
    headers.insert(ACCEPT, HeaderValue::from_static(accepted));
    if let Some(authorization) = endpoint.authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    headers
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media.trim_start().to_ascii_lowercase().starts_with("text/event-stream")
}
