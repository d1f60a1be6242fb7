//! What doors must know without asking the writer: who may come in, and who may not go on.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_domain::authority::{Authority, Credential};
use portcullis_domain::event::Event;
use portcullis_domain::identity::{Disabled, Keys};
use portcullis_domain::ids::{PrincipalName, SessionId};
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
    /// [`Code::Unauthenticated`] when the key was taken back or somebody on the chain is disabled; [`Code::SessionFrozen`].
    pub fn goes_on(
        &self,
        owner: &PrincipalName,
        authority: &Authority,
        session: Option<&SessionId>,
    ) -> Result<(), Refusal> {
        if let Credential::Key(key) = &authority.credential
            && self.keys.find(key).is_none_or(|key| key.revoked_at.is_some())
        {
            return Err(Refusal::new(Code::Unauthenticated, "the key was taken back"));
        }
        self.disabled.check(authority.chain(owner))?;
        match session.filter(|session| self.frozen.contains(*session)) {
            None => Ok(()),
            Some(session) => Err(Refusal::new(Code::SessionFrozen, format!("session `{}` is frozen", session.name))),
        }
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
