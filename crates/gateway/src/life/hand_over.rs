//! What an agent is handed with a call: the token by which it does the rest of the task on behalf of everybody who asked for it.

use std::sync::Arc;

use http::HeaderValue;
use portcullis_domain::admission::Admitted;
use portcullis_domain::ids::PrincipalName;
use portcullis_domain::refusal::Refusal;

use crate::entropy::new_call;
use crate::identity::signing::SigningKey;
use crate::identity::task::TaskToken;
use crate::life::Gate;
use crate::reply::UpstreamFault;

impl Gate {
    /// The key that is signed with now.
    #[must_use]
    pub fn signing_key(&self) -> Arc<SigningKey> {
        self.signing.current(self.journal.keys().signing())
    }

    /// The token for who is handed an admitted call. It is made for this call and kept nowhere.
    pub(super) fn task_for(&self, admitted: &Admitted, next: &PrincipalName) -> Result<HeaderValue, UpstreamFault> {
        let (snapshot, now) = (self.snapshot.load(), self.clock.now());
        // The call itself is not sent: whatever is wrong, it had no effect.
        let unsent = |problem: String| UpstreamFault::Unreachable(problem);
        let refused = |refusal: Refusal| unsent(refusal.message);
        let number = new_call().map_err(|fault| unsent(fault.to_string()))?;
        let life_s = snapshot.config.identity.task_token_s;
        let token = TaskToken::for_call(admitted, next, number, now, life_s).map_err(refused)?;
        self.written(&token).ok_or_else(|| unsent("no task token can be made".to_owned()))
    }

    /// The text of a token, marked as sensitive, so that nothing prints it.
    #[must_use]
    pub fn written(&self, token: &TaskToken) -> Option<HeaderValue> {
        let issuer = self.snapshot.load().issuer(&self.signing);
        let text = token.write(&self.signing_key(), &issuer, self.clock.now())?;
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}
