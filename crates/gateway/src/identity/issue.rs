//! New keys.

use portcullis_domain::admission::CreateKey;
use portcullis_domain::identity::{Presented, Scope, event::KeyCreated};
use portcullis_domain::ids::{Actor, PrincipalName};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::time::Timestamp;

use crate::entropy;

/// A key that was just made: the only time that its text exists.
pub struct Issued {
    /// The text for its owner.
    pub text: String,
    /// The command that makes it valid.
    pub command: CreateKey,
}

/// Makes a key for `principal`.
///
/// # Errors
///
/// When the system has no randomness to give.
pub fn issue(
    by: Actor,
    principal: PrincipalName,
    expires_at: Option<Timestamp>,
    scope: Scope,
) -> Result<Issued, Refusal> {
    let (text, presented) = new_key()?;
    let key = KeyCreated { key: presented.id, principal, secret: presented.secret, expires_at, scope };
    Ok(Issued { text, command: CreateKey { by, key } })
}

/// The text of a new key that nobody has yet, and what is kept of it.
///
/// # Errors
///
/// When the system has no randomness to give.
pub fn new_key() -> Result<(String, Presented), Refusal> {
    let text = Presented::issue(entropy::bytes()?, entropy::bytes()?);
    let presented =
        Presented::read(&text).ok_or_else(|| Refusal::new(Code::StoreUnavailable, "no key could be made"))?;
    Ok((text, presented))
}
