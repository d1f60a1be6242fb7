//! What is answered where nothing is handed out (RFC 6749, section 5.2).

use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use portcullis_domain::admission::delegate::SCOPE;
use portcullis_domain::refusal::{Code, Refusal};
use serde_json::json;

use crate::doors::answer::{self, Answer};

/// Why nothing is handed out.
#[derive(Debug)]
pub struct Denial {
    error: Error,
    message: String,
}

/// The words of OAuth for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A parameter is missing, given twice or no such thing.
    InvalidRequest,
    /// What the agent has shown of itself is not valid, or not its own.
    InvalidClient,
    /// The key that the agent has shown of itself is for other doors.
    UnauthorizedClient,
    /// The token that is to be exchanged is not valid any more.
    InvalidGrant,
    /// Something else than an exchange is asked for.
    UnsupportedGrantType,
    /// Nothing of the scope is within that of the task.
    InvalidScope,
    /// The task can't be handed on to that one (RFC 8693, section 2.2.2).
    InvalidTarget,
    /// The journal can't be written now.
    Unavailable,
}

impl Error {
    fn row(self) -> (&'static str, u16) {
        match self {
            Self::InvalidRequest => ("invalid_request", 400),
            Self::InvalidClient => ("invalid_client", 401),
            Self::UnauthorizedClient => ("unauthorized_client", 400),
            Self::InvalidGrant => ("invalid_grant", 400),
            Self::UnsupportedGrantType => ("unsupported_grant_type", 400),
            Self::InvalidScope => ("invalid_scope", 400),
            Self::InvalidTarget => ("invalid_target", 400),
            Self::Unavailable => ("temporarily_unavailable", 503),
        }
    }
}

impl Denial {
    /// A denial with its sentence.
    pub fn new(error: Error, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }

    /// A request that can't be read.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Error::InvalidRequest, message)
    }

    /// What a refusal to hand the task on is called here.
    #[must_use]
    pub fn of_refusal(refusal: &Refusal) -> Self {
        if !refusal.reasons.is_empty() {
            tracing::info!(code = %refusal.code, reasons = ?refusal.reasons, "refused");
        }
        let error = if refusal.parameter.as_deref() == Some(SCOPE) {
            Error::InvalidScope
        } else if refusal.code == Code::TooDeep {
            Error::InvalidTarget
        } else if matches!(refusal.code, Code::TooMany | Code::Conflict) {
            Error::InvalidRequest
        } else if refusal.code == Code::StoreUnavailable {
            Error::Unavailable
        } else {
            Error::InvalidGrant
        };
        Self::new(error, refusal.message.clone())
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let (code, status) = self.error.row();
        let body = json!({"error": code, "error_description": self.message}).to_string();
        let answer = answer::with_header(answer::json(status, body), CACHE_CONTROL, "no-store");
        if self.error == Error::InvalidClient {
            return answer::with_header(answer, WWW_AUTHENTICATE, "Bearer realm=\"portcullis\"");
        }
        answer
    }
}
