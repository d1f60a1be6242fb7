//! Any "no". A refusal is a result, not a failure: it has a stable code, a sentence for the caller, and the reasons behind it.
//!
//! Faults (a full disk, a bug) are another type, in the shell. Each door turns refusals into its own protocol in one place.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::CallId;
use crate::money::Nanodollars;

/// Why something was refused. The written form is stable: programs may rely on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request could not be read: not JSON, a member missing, a wrong type, a member twice.
    InvalidRequest,
    /// The arguments of a tool do not fit its schema, so that no policy can judge them.
    InvalidArguments,
    /// No key, or one that is unknown, expired or revoked.
    Unauthenticated,
    /// Policy says no.
    Denied,
    /// A guardrail says no to what is in it.
    Blocked,
    /// Policy says that a person must be asked first.
    ApprovalRequired,
    /// The caller may not do this to the gateway itself.
    Forbidden,
    /// There is no such session for this caller.
    SessionNotFound,
    /// Too many agents act for somebody, one through the other.
    TooDeep,
    /// The session is closed.
    SessionClosed,
    /// The session is frozen until a person lets it go on.
    SessionFrozen,
    /// The registry has no such model or tool for this caller.
    CapabilityNotFound,
    /// Nothing of that name for this caller.
    NotFound,
    /// What is there already differs from what the caller expected.
    Conflict,
    /// The idempotency key was given to another call.
    IdempotencyKeyReused,
    /// The call was made before, and nobody knows whether it took effect.
    OutcomeUnknown,
    /// What was waited for came too late, or twice.
    WaitOver,
    /// Another turn of the session is under way with the same agent.
    TurnUnderWay,
    /// The estimated cost is more than what is left on an account.
    BudgetExhausted,
    /// What the call costs is not known, and an account on its path has a limit.
    PriceUnknown,
    /// A body, name or value is over its limit.
    TooLarge,
    /// A limit on how many at a time is reached.
    TooMany,
    /// The policies changed between the decision and the admission, again and again.
    StaleDecision,
    /// The protocol version is not spoken here.
    UnsupportedVersion,
    /// The upstream answered with something that is no answer, or not at all.
    UpstreamFailed,
    /// The upstream took longer than it may.
    UpstreamTimeout,
    /// No credential could be had that the upstream takes for whoever asks.
    CredentialUnavailable,
    /// The journal can't be written, so nothing may happen.
    StoreUnavailable,
}

/// Who can mend what was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller: another request may pass.
    Caller,
    /// The deployment's rules: somebody with more rights may change them.
    Rules,
    /// What stands behind the gateway.
    Upstream,
    /// The gateway itself.
    Gateway,
}

impl Code {
    /// The stable written form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status that fits (RFC 9110; 402 for money).
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().1
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(self) -> Fault {
        self.row().2
    }

    /// Whether the same request may pass later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        self.row().3
    }

    fn row(self) -> (&'static str, u16, Fault, bool) {
        match self {
            Self::InvalidRequest => ("invalid_request", 400, Fault::Caller, false),
            Self::InvalidArguments => ("invalid_arguments", 400, Fault::Caller, false),
            Self::Unauthenticated => ("unauthenticated", 401, Fault::Caller, false),
            Self::Denied => ("denied", 403, Fault::Rules, false),
            Self::Blocked => ("blocked", 403, Fault::Rules, false),
            Self::ApprovalRequired => ("approval_required", 403, Fault::Rules, false),
            Self::Forbidden => ("forbidden", 403, Fault::Rules, false),
            Self::TooDeep => ("too_deep", 403, Fault::Rules, false),
            Self::SessionNotFound => ("session_not_found", 404, Fault::Caller, false),
            Self::SessionClosed => ("session_closed", 410, Fault::Caller, false),
            Self::SessionFrozen => ("session_frozen", 423, Fault::Rules, false),
            Self::CapabilityNotFound => ("capability_not_found", 404, Fault::Caller, false),
            Self::NotFound => ("not_found", 404, Fault::Caller, false),
            Self::Conflict => ("conflict", 412, Fault::Caller, false),
            Self::IdempotencyKeyReused => ("idempotency_key_reused", 422, Fault::Caller, false),
            Self::OutcomeUnknown => ("outcome_unknown", 409, Fault::Upstream, false),
            Self::WaitOver => ("wait_over", 410, Fault::Caller, false),
            Self::TurnUnderWay => ("turn_under_way", 409, Fault::Caller, true),
            Self::BudgetExhausted => ("budget_exhausted", 402, Fault::Rules, false),
            Self::PriceUnknown => ("price_unknown", 402, Fault::Rules, false),
            Self::TooLarge => ("too_large", 413, Fault::Caller, false),
            Self::TooMany => ("too_many", 429, Fault::Caller, true),
            Self::StaleDecision => ("stale_decision", 503, Fault::Gateway, true),
            Self::UnsupportedVersion => ("unsupported_version", 400, Fault::Caller, false),
            Self::UpstreamFailed => ("upstream_failed", 502, Fault::Upstream, true),
            Self::UpstreamTimeout => ("upstream_timeout", 504, Fault::Upstream, true),
            Self::CredentialUnavailable => ("credential_unavailable", 502, Fault::Upstream, true),
            Self::StoreUnavailable => ("store_unavailable", 503, Fault::Gateway, true),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// What a machine needs to know about an account that could not bear a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortfall {
    /// The account, as in `principal/ann` or `session/ann:claim-99`.
    pub account: String,
    /// What the account may spend in all.
    pub granted: Nanodollars,
    /// What it has spent.
    pub spent: Nanodollars,
    /// What calls in flight hold.
    pub held: Nanodollars,
    /// What this call would have held.
    pub needed: Nanodollars,
}

/// A "no" with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// What the caller, or the model behind it, may read.
    pub message: String,
    /// What the operator needs and the caller does not get: policy ids, evaluation errors, upstream answers.
    pub reasons: Vec<String>,
    /// The member or argument at fault, where there is one.
    pub parameter: Option<String>,
    /// The account that is exhausted, for [`Code::BudgetExhausted`].
    pub shortfall: Option<Box<Shortfall>>,
    /// The approval that is waited for, by the call that was parked for it, for [`Code::ApprovalRequired`].
    pub approval: Option<CallId>,
}

impl Refusal {
    /// A refusal with a sentence for the caller and no further reasons.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), reasons: Vec::new(), parameter: None, shortfall: None, approval: None }
    }

    /// The same, with a reason that only the operator gets.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reasons.push(reason.into());
        self
    }

    /// The same, naming the member or argument at fault.
    #[must_use]
    pub fn about(mut self, parameter: impl Into<String>) -> Self {
        self.parameter = Some(parameter.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_form_of_a_code_is_its_serialised_form() {
        for code in [Code::InvalidRequest, Code::BudgetExhausted, Code::StoreUnavailable, Code::Denied] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
