//! What doors must know without asking the writer: who may come in, and who may not go on.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_domain::authority::{Authority, Credential};
use portcullis_domain::call::Capability;
use portcullis_domain::event::Event;
use portcullis_domain::identity::{Disabled, Keys};
use portcullis_domain::ids::{KeyId, PrincipalName, SessionId};
use portcullis_domain::policy::Version;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::world::World;
use tokio::sync::watch;

/// A copy of a part of the world, as of the last durable entry.
#[derive(Debug, Clone, Default)]
pub struct Doorway {
    /// The keys that callers are recognised by.
    pub keys: Arc<Keys>,
    /// Who may not act.
    pub disabled: Disabled,
    /// The sessions that take no calls until a person lets them go on.
    pub frozen: BTreeSet<SessionId>,
    /// The version of the policies in force.
    pub policies: Option<Version>,
}

impl Doorway {
    /// What the world says.
    #[must_use]
    pub fn of(world: &World) -> Self {
        Self {
            keys: Arc::new(world.identity.clone()),
            disabled: world.disabled.clone(),
            frozen: world.session.frozen_ones().clone(),
            policies: world.policy.version,
        }
    }

    /// Whether an entry may change it.
    #[must_use]
    pub fn changes_by(event: &Event) -> bool {
        matches!(
            event,
            Event::KeyCreated(_)
                | Event::KeyLimited(_)
                | Event::KeyRevoked(_)
                | Event::KeyWithdrawn(_)
                | Event::KeyRestored(_)
                | Event::PrincipalSeen(_)
                | Event::SigningRotated(_)
                | Event::PrincipalDisabled(_)
                | Event::PrincipalEnabled(_)
                | Event::SessionFrozen(_)
                | Event::SessionUnfrozen(_)
                | Event::PolicyActivated(_)
        )
    }

    /// Whether what is under way for `owner` on this authority may go on.
    ///
    /// # Errors
    ///
    /// [`Code::Unauthenticated`] when the key was taken back by which its owner came, or somebody on the chain is disabled; [`Code::SessionFrozen`]. The own key of an agent is asked about by
    /// [`Doorway::is_kept`].
    pub fn goes_on(
        &self,
        owner: &PrincipalName,
        authority: &Authority,
        session: Option<&SessionId>,
    ) -> Result<(), Refusal> {
        if let Credential::Key(key) = &authority.credential {
            self.is_kept(key)?;
        }
        self.disabled.check(authority.chain(owner))?;
        match session.filter(|session| self.frozen.contains(*session)) {
            None => Ok(()),
            Some(session) => Err(Refusal::new(Code::SessionFrozen, format!("session `{}` is frozen", session.name))),
        }
    }

    /// Whether a key was not taken back.
    ///
    /// # Errors
    ///
    /// [`Code::Unauthenticated`].
    pub fn is_kept(&self, key: &KeyId) -> Result<(), Refusal> {
        match self.keys.find(key).filter(|key| key.revoked_at.is_none()) {
            Some(_) => Ok(()),
            None => Err(Refusal::new(Code::Unauthenticated, "the key was taken back")),
        }
    }
}

/// A call under way of somebody who may be disabled.
#[derive(Debug, Clone)]
pub struct Callee {
    doorway: watch::Receiver<Arc<Doorway>>,
    /// The principal that is called; none where nobody is.
    principal: Option<PrincipalName>,
    called: Capability,
}

impl Callee {
    /// Whoever is called as that.
    #[must_use]
    pub fn new(doorway: watch::Receiver<Arc<Doorway>>, principal: Option<PrincipalName>, called: &Capability) -> Self {
        Self { doorway, principal, called: called.clone() }
    }

    /// Whether it may be called now.
    ///
    /// # Errors
    ///
    /// As [`Disabled::check_callee`].
    pub fn check(&self) -> Result<(), Refusal> {
        let doorway = self.doorway.borrow().clone();
        self.principal.iter().try_for_each(|callee| doorway.disabled.check_callee(callee, &self.called))
    }

    /// Waits until it may not be called any more, which is never where nobody is.
    pub async fn halted(&self) -> Refusal {
        let Some(callee) = &self.principal else { return std::future::pending().await };
        halted(self.doorway.clone(), |doorway| doorway.disabled.check_callee(callee, &self.called)).await
    }
}

/// Waits until what is under way may not go on, as `goes_on` says.
pub async fn halted(
    mut doorway: watch::Receiver<Arc<Doorway>>,
    goes_on: impl Fn(&Doorway) -> Result<(), Refusal>,
) -> Refusal {
    loop {
        let verdict = goes_on(&doorway.borrow_and_update());
        if let Err(refusal) = verdict {
            return refusal;
        }
        if doorway.changed().await.is_err() {
            // The journal is closed, and so are its calls.
            std::future::pending::<()>().await;
        }
    }
}
