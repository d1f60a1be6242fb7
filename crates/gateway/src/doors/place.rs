//! Places among the calls under way, and until when a call may go on.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use portcullis_domain::authority::Authority;
use portcullis_domain::ids::{KeyId, PrincipalName, SessionId};
use portcullis_domain::refusal::Refusal;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::credential::OwnToken;
use crate::doorway::{self, Doorway};

/// A place among the calls under way. Whatever goes on when its caller has left keeps it too.
pub type CallPlace = Arc<UnderWay>;

/// A call under way.
#[derive(Debug)]
pub struct UnderWay {
    _permit: OwnedSemaphorePermit,
    /// What the caller came with is there for those who act for them until the last byte of the answer.
    _token: Option<Arc<OwnToken>>,
    owner: PrincipalName,
    authority: Authority,
    /// The key of its own that an agent has shown beside its task token.
    own: Option<KeyId>,
    session: OnceLock<SessionId>,
    doorway: watch::Receiver<Arc<Doorway>>,
}

impl UnderWay {
    /// A call for `owner` on this authority, by an agent that has shown `own` beside it if any, who came with that token if with any.
    #[must_use]
    pub fn new(
        permit: OwnedSemaphorePermit,
        (owner, authority, own): (PrincipalName, Authority, Option<KeyId>),
        token: Option<Arc<OwnToken>>,
        doorway: watch::Receiver<Arc<Doorway>>,
    ) -> Self {
        Self { _permit: permit, _token: token, owner, authority, own, session: OnceLock::new(), doorway }
    }

    /// The session that it is made in is known now.
    pub fn in_session(&self, session: &SessionId) {
        // It is made in one session only.
        let _ = self.session.set(session.clone());
    }

    /// Waits until it may not go on: its key was taken back, or that of the agent that calls, somebody on its chain is disabled, or its session is frozen.
    pub async fn halted(&self) -> Refusal {
        let goes_on = |doorway: &Doorway| {
            self.own.iter().try_for_each(|own| doorway.is_kept(own))?;
            doorway.goes_on(&self.owner, &self.authority, self.session.get())
        };
        doorway::halted(self.doorway.clone(), goes_on).await
    }
}

/// What an answer in pieces keeps until its last one.
pub struct Kept {
    halted: Pin<Box<dyn Future<Output = Refusal> + Send>>,
}

impl Kept {
    /// The place, for an answer that comes in pieces.
    #[must_use]
    pub fn new(place: CallPlace) -> Self {
        Self { halted: Box::pin(async move { place.halted().await }) }
    }

    /// Why nothing more may come, as soon as that is so.
    pub fn poll_halted(&mut self, context: &mut Context<'_>) -> Option<Refusal> {
        match self.halted.as_mut().poll(context) {
            Poll::Ready(refusal) => Some(refusal),
            Poll::Pending => None,
        }
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Kept")
    }
}
