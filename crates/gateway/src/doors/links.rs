//! The links by which one person answers one approval, without a key. What they lead to is in [`super::approvals`].

use portcullis_domain::ids::{CallId, PrincipalName};
use portcullis_domain::refusal::{Code, Refusal};
use serde::{Deserialize, Serialize};

use crate::doors::sealed::Sealer;
use crate::entropy::NoEntropy;

/// What stands before the token.
pub const PATH: &str = "/approvals/";
/// What these tokens are for.
const PURPOSE: &str = "answer of an approval";

/// What a token holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ticket {
    /// The approval.
    pub call: CallId,
    /// In whose name it is answered.
    pub by: PrincipalName,
}

/// The link, at a gateway that is reached there.
///
/// # Errors
///
/// When the system has no randomness to give.
pub fn link(sealer: &Sealer, base: &str, call: CallId, by: &PrincipalName) -> Result<String, NoEntropy> {
    let token = sealer.seal(PURPOSE, &Ticket { call, by: by.clone() })?;
    Ok(format!("{}{PATH}{token}", base.trim_end_matches('/')))
}

/// Who is meant by a token.
///
/// # Errors
///
/// [`Code::NotFound`] for a link that the gateway has not made.
pub fn open(sealer: &Sealer, token: &str) -> Result<Ticket, Refusal> {
    sealer.open(PURPOSE, token).ok_or_else(none)
}

/// The refusal of a link by which nothing can be answered.
#[must_use]
pub fn none() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such link, or nothing to answer by it any more")
}
