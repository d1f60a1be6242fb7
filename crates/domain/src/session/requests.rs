//! Requests with an idempotency key (draft-ietf-httpapi-idempotency-key-header): what each was answered, so that it can be answered so again.
//!
//! A tool call with a key is known by its own mark ([`crate::session::once`]), since a tool takes effect by the call. What is here is for everything else: a chat
//! completion that may take several calls, and what the gateway's own API changes. A key belongs to the principal that gave it, and to the session that the request
//! is made in; outside of sessions, to the principal alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{Actor, CallId, GatewayId, PrincipalName, SessionId};
use crate::refusal::Refusal;
use crate::session::once::{Earlier, Mark, Once};
use crate::time::Timestamp;

/// Whose request it is, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// Who asks.
    pub by: PrincipalName,
    /// The session that it is about; none for what is outside of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
}

/// A request that was taken and not yet answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// Whose it is.
    pub requester: Requester,
    /// What tells it apart.
    pub mark: Mark,
    /// Who asked, with the agents through whom.
    pub actor: Actor,
    /// The gateway that answers it, where several share the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayId>,
}

/// All requests that have a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    of_sessions: BTreeMap<SessionId, Once>,
    of_principals: BTreeMap<PrincipalName, Once>,
    open: BTreeMap<CallId, OpenRequest>,
}

/// The mark of a request of that content with that key. Keys of two principals are never the same.
#[must_use]
pub fn mark(by: &PrincipalName, key: &str, content: Digest) -> Mark {
    Mark { id: Digest::of_parts(&[b"request\n", by.as_str().as_bytes(), b"\n", key.as_bytes()]), content }
}

impl Requests {
    /// The earlier request that this one is; none when it is new or may be made again.
    ///
    /// # Errors
    ///
    /// As [`Once::find`].
    pub fn find(
        &self,
        requester: &Requester,
        mark: Mark,
        is_harmless: bool,
        at: Timestamp,
    ) -> Result<Option<Earlier>, Refusal> {
        let known = match &requester.session {
            Some(session) => self.of_sessions.get(session),
            None => self.of_principals.get(&requester.by),
        };
        known.map_or(Ok(None), |known| known.find(mark, is_harmless, at))
    }

    /// The request of that number, if it is under way.
    #[must_use]
    pub fn find_open(&self, request: CallId) -> Option<&OpenRequest> {
        self.open.get(&request)
    }

    /// The requests that are under way.
    pub fn all_open(&self) -> impl Iterator<Item = (CallId, &OpenRequest)> {
        self.open.iter().map(|(request, open)| (*request, open))
    }

    /// Takes in that a request was taken.
    pub fn taken(&mut self, request: CallId, open: OpenRequest, at: Timestamp) {
        self.once(&open.requester).admitted(open.mark, request, at);
        self.open.insert(request, open);
    }

    /// Takes in that a request was answered, by the entry of that number.
    pub fn answered(&mut self, request: CallId, requester: &Requester, mark: Mark, seq: u64, at: Timestamp) {
        if self.open.remove(&request).is_none() {
            self.once(requester).admitted(mark, request, at);
        }
        if let Some(once) = self.known(requester) {
            once.done(mark.id, seq, at);
        }
    }

    /// Takes in that a request had no effect: it may be made again.
    pub fn undone(&mut self, request: CallId) {
        let Some(open) = self.open.remove(&request) else { return };
        if let Some(once) = self.known(&open.requester) {
            once.undone(open.mark.id);
        }
    }

    /// Takes in that nobody knows what became of a request.
    pub fn lost(&mut self, request: CallId, at: Timestamp) {
        let Some(open) = self.open.remove(&request) else { return };
        if let Some(once) = self.known(&open.requester) {
            once.lost(open.mark.id, at);
        }
    }

    /// Takes in that a session was closed: nothing is asked in it any more. What is under way ends, and is forgotten too.
    pub fn session_closed(&mut self, session: &SessionId) {
        self.of_sessions.remove(session);
    }

    /// The requests of the same caller in the same place, unless they were forgotten.
    fn known(&mut self, requester: &Requester) -> Option<&mut Once> {
        match &requester.session {
            Some(session) => self.of_sessions.get_mut(session),
            None => self.of_principals.get_mut(&requester.by),
        }
    }

    fn once(&mut self, requester: &Requester) -> &mut Once {
        match &requester.session {
            Some(session) => self.of_sessions.entry(session.clone()).or_default(),
            None => self.of_principals.entry(requester.by.clone()).or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Code;
    use crate::session::once::Done;

    const REQUEST: CallId = CallId([1; 16]);

    fn requester(by: &str, session: Option<&str>) -> Requester {
        Requester { by: by.parse().unwrap(), session: session.map(|session| session.parse().unwrap()) }
    }

    fn of(requester: &Requester, key: &str, content: &str) -> Mark {
        mark(&requester.by, key, Digest::of(content.as_bytes()))
    }

    /// What is said of a request after ann's with the key `k` of content `a` in her session was answered by entry 7.
    fn check(requester: &Requester, key: &str, content: &str, expected: Result<bool, Code>) {
        let first = self::requester("ann", Some("ann:s"));
        let mut requests = Requests::default();
        requests.answered(REQUEST, &first, of(&first, "k", "a"), 7, Timestamp(1));
        let found = requests.find(requester, of(requester, key, content), false, Timestamp(2));
        let done = Earlier::Done(Done { call: REQUEST, seq: 7 });
        let found = found.map(|earlier| earlier.inspect(|earlier| assert_eq!(*earlier, done)).is_some());
        assert_eq!(found.map_err(|refusal| refusal.code), expected, "{requester:?} {key} {content}");
    }

    #[test]
    fn a_key_is_that_of_its_principal_in_its_session() {
        check(&requester("ann", Some("ann:s")), "k", "a", Ok(true));
        check(&requester("ann", Some("ann:s")), "k", "b", Err(Code::IdempotencyKeyReused));
        check(&requester("ann", Some("ann:s")), "l", "b", Ok(false));
        check(&requester("boss", Some("ann:s")), "k", "a", Ok(false));
        check(&requester("ann", Some("ann:t")), "k", "a", Ok(false));
        check(&requester("ann", None), "k", "a", Ok(false));
    }

    #[test]
    fn a_session_that_is_closed_has_no_requests_but_the_one_that_closed_it() {
        let ann = requester("ann", Some("ann:s"));
        let open =
            OpenRequest { requester: ann.clone(), mark: of(&ann, "open", "a"), actor: Actor::Gateway, gateway: None };
        let mut requests = Requests::default();
        requests.answered(CallId([2; 16]), &ann, of(&ann, "done", "a"), 7, Timestamp(1));
        requests.taken(REQUEST, open.clone(), Timestamp(1));
        requests.session_closed(&"ann:s".parse().unwrap());
        requests.answered(REQUEST, &ann, open.mark, 8, Timestamp(2));
        assert_eq!(requests, Requests::default());
        let close = of(&ann, "close", "a");
        requests.answered(CallId([3; 16]), &ann, close, 9, Timestamp(2));
        let done = Earlier::Done(Done { call: CallId([3; 16]), seq: 9 });
        assert_eq!(requests.find(&ann, close, false, Timestamp(3)), Ok(Some(done)));
    }

    #[test]
    fn what_had_no_effect_may_be_made_again_and_what_is_unknown_only_where_it_is_harmless() {
        let ann = requester("ann", None);
        let mark = of(&ann, "k", "a");
        let open = || OpenRequest { requester: ann.clone(), mark, actor: Actor::Gateway, gateway: None };
        let mut requests = Requests::default();
        requests.taken(REQUEST, open(), Timestamp(1));
        assert_eq!(requests.find(&ann, mark, true, Timestamp(2)), Ok(Some(Earlier::Open(REQUEST))));
        requests.undone(REQUEST);
        assert_eq!((requests.find(&ann, mark, false, Timestamp(2)), requests.all_open().count()), (Ok(None), 0));
        requests.taken(REQUEST, open(), Timestamp(3));
        requests.lost(REQUEST, Timestamp(4));
        assert_eq!((requests.find(&ann, mark, true, Timestamp(5)), requests.all_open().count()), (Ok(None), 0));
        let refused = requests.find(&ann, mark, false, Timestamp(5)).unwrap_err();
        assert_eq!(refused.code, Code::OutcomeUnknown);
    }
}
