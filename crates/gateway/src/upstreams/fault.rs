//! What can go wrong upstream, and what that means for the call.

use portcullis_domain::event::Outcome;
use portcullis_domain::refusal::{Code, Refusal};

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
    /// The upstream does not accept the gateway's own credential.
    #[error("does not accept the gateway's credential: {0}")]
    Credential(String),
}

impl UpstreamFault {
    /// What the journal says of the call.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unreachable(_) | Self::Credential(_) => Outcome::Failed,
            Self::Broken(_) | Self::TimedOut(_) | Self::Garbled(_) => Outcome::Unknown,
        }
    }

    /// What the caller is told. Details of the upstream are for the operator.
    #[must_use]
    pub fn refusal(&self, upstream: &str) -> Refusal {
        let (code, what) = match self {
            Self::Unreachable(_) => (Code::UpstreamFailed, "could not be reached; nothing was done"),
            Self::Broken(_) => (Code::UpstreamFailed, "broke off; whether it was done is not known"),
            Self::TimedOut(_) => (Code::UpstreamTimeout, "took too long; whether it was done is not known"),
            Self::Garbled(_) => (Code::UpstreamFailed, "gave no proper answer; whether it was done is not known"),
            Self::Credential(_) => (Code::UpstreamFailed, "does not accept the gateway's credential; nothing was done"),
        };
        Refusal::new(code, format!("`{upstream}` {what}")).because(self.to_string())
    }
}
