//! A request whose caller is known, and what all doors have in common.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, Method};
use portcullis_domain::admission::SeePrincipal;
use portcullis_domain::authority::Authority;
use portcullis_domain::call::Door;
use portcullis_domain::digest::Digest;
use portcullis_domain::identity::Keys;
use portcullis_domain::ids::SessionId;
use portcullis_domain::json;
use portcullis_domain::refusal::Refusal;
use portcullis_domain::session::Origin;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use crate::asking::{Asking, Effect};
use crate::clock::Clock;
use crate::credential::OwnToken;
use crate::doors::caller::{Caller, Known};
use crate::doors::place::CallPlace;
use crate::doors::recognise::{Shown, authenticate};
use crate::doors::sealed::Sealer;
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
}

impl Doors {
    /// Recognises the caller.
    ///
    /// # Errors
    ///
    /// As [`authenticate`]; [`Code::UpstreamFailed`](portcullis_domain::refusal::Code::UpstreamFailed) when the keys of a token's issuer are not to be had.
    pub async fn listen_to(&self, headers: &HeaderMap, snapshot: &Snapshot) -> Result<Caller, Refusal> {
        let (keys, signing, now) = (self.gate.journal.keys(), &self.gate.signing, self.clock.now());
        match authenticate(headers, &Known { keys: &keys, snapshot, signing, now })? {
            Shown::Known(caller) => Ok(*caller),
            Shown::Token(text) => self.vouched(text, &keys).await,
        }
    }

    /// What the issuer of a token says is noted before anything is done on its word.
    async fn vouched(&self, text: &str, keys: &Keys) -> Result<Caller, Refusal> {
        let Recognised { seen, credential, ends_at } = self.gate.issuers.recognise(text).await?;
        let principal = seen.principal.clone();
        let token = Some(Arc::new(OwnToken::new(text, seen.issuer.clone())));
        if keys.vouched(&credential).is_none() {
            self.gate.journal.execute(SeePrincipal { seen }).await?;
        }
        let authority = Authority { expires_at: Some(ends_at), ..Authority::of(credential) };
        Ok(Caller { principal, authority, bound: None, token })
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
