//! What comes back from an upstream, or why nothing does.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use portcullis_domain::event::Outcome;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::a2a::Failure;

use crate::doorway::Callee;

/// What a model answers.
#[derive(Debug)]
pub enum ModelAnswer {
    /// Everything.
    Whole(Bytes),
    /// A stream of server-sent events.
    Stream(AnswerStream),
    /// An error of the model's API, for the caller as it is.
    Error {
        /// The HTTP status.
        status: StatusCode,
        /// Headers that tell the caller when to try again.
        headers: HeaderMap,
        /// The body.
        body: Bytes,
    },
}

/// A streamed answer.
#[derive(Debug)]
pub struct AnswerStream {
    body: Incoming,
    timeout: Duration,
    trailers: Option<HeaderMap>,
    /// Who answers, where that is somebody who may be disabled meanwhile.
    callee: Option<Callee>,
}

impl AnswerStream {
    /// The stream of this body, of which a piece may take that long.
    #[must_use]
    pub fn new(body: Incoming, timeout: Duration) -> Self {
        Self { body, timeout, trailers: None, callee: None }
    }

    /// The same, which breaks off once this one may not be called any more.
    #[must_use]
    pub fn of_callee(self, callee: Callee) -> Self {
        Self { callee: Some(callee), ..self }
    }

    /// What stood behind the last piece, once the end has come.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The next piece; none at the end. Dropping the stream cancels the upstream call.
    ///
    /// # Errors
    ///
    /// When the stream breaks off, nothing comes for too long, or who answers may not be called any more.
    pub async fn next(&mut self) -> Result<Option<Bytes>, UpstreamFault> {
        let Self { body, timeout, trailers, callee } = self;
        loop {
            let halted = async {
                match callee {
                    Some(callee) => callee.halted().await,
                    None => std::future::pending().await,
                }
            };
            let frame = tokio::select! {
                biased;
                refusal = halted => return Err(UpstreamFault::Halted(Box::new(refusal))),
                frame = tokio::time::timeout(*timeout, body.frame()) => frame,
            };
            match frame.map_err(|_| UpstreamFault::TimedOut(timeout.as_secs()))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(UpstreamFault::Broken(error.to_string())),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => return Ok(Some(bytes)),
                    Err(frame) => *trailers = frame.into_trailers().ok(),
                },
            }
        }
    }
}

/// What a tool server answers.
#[derive(Debug, Clone)]
pub enum ToolAnswer {
    /// The raw result of `tools/call`.
    Result(String),
    /// A JSON-RPC error: the tool did not run.
    Error {
        /// The number of the error.
        code: i64,
        /// A sentence.
        message: String,
        /// More about it, as raw JSON.
        data: Option<String>,
    },
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamFault {
    /// The call did not leave: it certainly had no effect.
    #[error("could not be reached: {0}")]
    Unreachable(String),
    /// The call left and no whole answer came: nobody knows whether it had an effect.
    #[error("broke off: {0}")]
    Broken(String),
    /// The call left and took too long.
    #[error("took longer than {0} s")]
    TimedOut(u64),
    /// An answer came that is no answer.
    #[error("answered with something else: {0}")]
    Garbled(String),
    /// It has as many calls as it takes: the call did not leave.
    #[error("has too many calls: {0}")]
    Busy(String),
    /// What is asked can't be said in what the upstream speaks: the call did not leave.
    #[error("can't be asked that: {0:?}")]
    Unspoken(Box<Failure>),
    /// The upstream does not accept the gateway's own credential.
    #[error("does not accept the gateway's credential: {0}")]
    Credential(StatusCode),
    /// There is no credential to call it with: the call did not leave.
    #[error("can't be called without a credential: {0}")]
    NoCredential(String),
    /// It may not be called any more: the call was cut off.
    #[error("was cut off: {0}")]
    Halted(Box<Refusal>),
}

impl UpstreamFault {
    /// What the journal says of the call.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unreachable(_) | Self::Unspoken(_) | Self::Credential(_) | Self::NoCredential(_) | Self::Busy(_) => {
                Outcome::Failed
            }
            Self::Broken(_) | Self::TimedOut(_) | Self::Garbled(_) => Outcome::Unknown,
            Self::Halted(_) => Outcome::Aborted,
        }
    }

    /// What the caller is told. Details of the upstream are for the operator.
    #[must_use]
    pub fn refusal(&self, upstream: &str) -> Refusal {
        let (code, what) = match self {
            Self::Unreachable(_) => (Code::UpstreamFailed, "could not be reached; nothing was done"),
            Self::Unspoken(_) => (Code::InvalidArguments, "can't be asked that; nothing was done"),
            Self::Busy(_) => (Code::TooMany, "has as many calls as it takes; nothing was done"),
            Self::Broken(_) => (Code::UpstreamFailed, "broke off; whether it was done is not known"),
            Self::TimedOut(_) => (Code::UpstreamTimeout, "took too long; whether it was done is not known"),
            Self::Garbled(_) => (Code::UpstreamFailed, "gave no proper answer; whether it was done is not known"),
            Self::Credential(_) => (Code::UpstreamFailed, "does not accept the gateway's credential; nothing was done"),
            Self::NoCredential(_) => (
                Code::CredentialUnavailable,
                "takes a credential of its own for you, and none could be had; nothing was done",
            ),
            Self::Halted(refusal) => return (**refusal).clone(),
        };
        Refusal::new(code, format!("`{upstream}` {what}")).because(self.to_string())
    }
}
