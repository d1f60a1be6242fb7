//! A request whose caller is known, and what all doors have in common.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, Method};
use portcullis_domain::admission::SeePrincipal;
use portcullis_domain::authority::{Authority, Credential};
use portcullis_domain::call::Door;
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::SessionId;
use portcullis_domain::json;
use portcullis_domain::refusal::Refusal;
use portcullis_domain::session::Origin;
use portcullis_domain::time::Timestamp;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use crate::asking::{Asking, Effect};
use crate::clock::Clock;
use crate::credential::OwnToken;
use crate::doors::caller::{Caller, Known, invalid_key_because};
use crate::doors::place::CallPlace;
use crate::doors::recognise::{Shown, authenticate};
use crate::doors::sealed::Sealer;
use crate::identity::certificates::Peer;
use crate::identity::issuers::Recognised;
use crate::life::Gate;
use crate::snapshot::Snapshot;

/// What all doors have in common.
pub struct Doors {
    /// Where calls go.
    pub gate: Arc<Gate>,
    /// What seals the transport sessions of MCP, the names of A2A's tasks, and the links of events and approvals.
    pub transport: Arc<Sealer>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Whether the gateway was asked to stop.
    pub stop: watch::Receiver<bool>,
    /// One permit for each call under way.
    pub calls: Arc<Semaphore>,
    /// One permit for each exchange of tokens under way.
    pub exchanges: Arc<Semaphore>,
}

impl Doors {
    /// Recognises the caller.
    ///
    /// # Errors
    ///
    /// As [`authenticate`]; [`Code::UpstreamFailed`](portcullis_domain::refusal::Code::UpstreamFailed) when the keys of a token's issuer are not to be had.
    pub async fn listen_to(
        &self,
        headers: &HeaderMap,
        peer: Option<&Peer>,
        snapshot: &Snapshot,
    ) -> Result<Caller, Refusal> {
        let (keys, signing, now) = (self.gate.journal.keys(), &self.gate.signing, self.clock.now());
        let certified = self.certified(peer, snapshot, now)?;
        let certified_caller = certified.as_ref().map(caller_of);
        let known = Known { keys: &keys, snapshot, signing, certified: certified_caller.as_ref(), now };
        let shown = authenticate(headers, &known)?;
        let own = if let Shown::Token(text) = &shown { Some(*text) } else { None };
        let recognised = match (shown, certified) {
            (Shown::Known(caller), _) => {
                if let Credential::Key(key) = &caller.authority.credential
                    && caller.bound.is_none()
                {
                    self.gate.uses.note(key, now);
                }
                return Ok(*caller);
            }
            (Shown::Token(text), _) => self.by_token(text, peer).await?,
            (Shown::Certified, Some(certified)) => certified,
            (Shown::Certified, None) => return Err(invalid_key_because("the certificate is nobody's")),
        };
        let token = own.map(|text| Arc::new(OwnToken::new(text, recognised.seen.issuer.clone())));
        let caller = Caller { token, ..caller_of(&recognised) };
        // What is said of somebody is noted before anything is done on its word.
        if keys.vouched(&recognised.credential).is_none() {
            self.gate.journal.execute(SeePrincipal { seen: recognised.seen }).await?;
        }
        Ok(caller)
    }

    /// Who the connection's certificate is for. One that is not good any more spoils whatever is asked beside it, as it would at a handshake.
    fn certified(
        &self,
        peer: Option<&Peer>,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Option<Recognised>, Refusal> {
        match peer {
            Some(peer) => {
                let refused = |reason| invalid_key_because(format!("the certificate of the connection: {reason}"));
                self.gate.certificates.recognise(peer, now).map_err(refused)
            }
            None if snapshot.config.server.requires_certificates() => {
                Err(invalid_key_because("the connection was made without a certificate, and one is required by now"))
            }
            None => Ok(None),
        }
    }

    /// Whom an issuer's token stands for. One that is bound to a certificate counts on connections with that alone (RFC 8705, section 3).
    async fn by_token(&self, text: &str, peer: Option<&Peer>) -> Result<Recognised, Refusal> {
        let recognised = self.gate.issuers.recognise(text).await?;
        let is_here = |bound_to: &String| peer.is_some_and(|peer| peer.thumbprint() == bound_to);
        if recognised.bound_to.as_ref().is_none_or(is_here) {
            return Ok(recognised);
        }
        Err(invalid_key_because("the token is bound to a certificate that this connection does not have"))
    }

    /// The public keys that the gateway signs with.
    #[must_use]
    pub fn key_set(&self) -> Value {
        self.gate.signing.key_set(self.gate.journal.keys().signing(), self.clock.now())
    }

    /// Whether the gateway was asked to stop: it takes calls, and would rather have them go elsewhere.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        *self.stop.borrow()
    }
}

fn caller_of(recognised: &Recognised) -> Caller {
    let authority = Authority { expires_at: Some(recognised.ends_at), ..Authority::of(recognised.credential.clone()) };
    Caller { principal: recognised.seen.principal.clone(), authority, bound: None, own: None, token: None }
}

/// A request whose caller is known.
pub struct Arrived {
    /// Who sent it.
    pub caller: Caller,
    /// The session that was named, if any.
    pub session: Option<SessionId>,
    /// The method.
    pub method: Method,
    /// The path, without a leading `/s/<session>`.
    pub path: String,
    /// The path's query.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Its place among the calls under way, which it keeps until the last byte of the answer is sent.
    pub place: CallPlace,
}

impl Arrived {
    /// Who asks by it, in the session that it turned out to be made in.
    #[must_use]
    pub fn asking(&self, session: SessionId, origin: Origin, door: Door) -> Asking {
        self.place.in_session(&session);
        let authority = self.caller.authority.clone();
        let token = self.caller.token.clone();
        Asking { authority, session, origin, door, effect: Effect::default(), token }
    }

    /// What must be the same for it to be the same request: what is done, on which condition, and the body, of which neither the order of members nor spaces count.
    #[must_use]
    pub fn content(&self) -> Digest {
        let plain = std::str::from_utf8(&self.body).ok().and_then(|body| json::canonical(body).ok());
        let condition = |name| self.headers.get(name).map_or(&[][..], |value| value.as_bytes());
        Digest::of_parts(&[
            self.method.as_str().as_bytes(),
            b"\n",
            self.path.as_bytes(),
            b"?",
            self.query.as_deref().unwrap_or_default().as_bytes(),
            b"\n",
            condition(IF_MATCH),
            b"\n",
            condition(IF_NONE_MATCH),
            b"\n",
            plain.as_ref().map_or(&self.body[..], String::as_bytes),
        ])
    }
}
