//! Opening a session, by itself or on the way to a call.

use crate::admission::command::{Command, Verdict};
use crate::authority::{Authority, Credential};
use crate::event::Event;
use crate::grant::Grant;
use crate::ids::{PrincipalName, SessionId};
use crate::journal::{Draft, StreamId};
use crate::money::Nanodollars;
use crate::policy::event::{GrantChange, GrantSet};
use crate::refusal::{Code, Refusal};
use crate::session::Origin;
use crate::session::event::Opened;
use crate::time::Timestamp;
use crate::world::World;

/// Opens the session, if it is not open yet.
#[derive(Debug, Clone)]
pub struct OpenSession {
    /// On whose authority it is asked.
    pub authority: Authority,
    /// The session; its owner is who asks.
    pub session: SessionId,
    /// Whether the owner named it.
    pub origin: Origin,
    /// What may be spent in it in all.
    pub budget: Option<Nanodollars>,
    /// What may be done in it.
    pub grant: Option<Grant>,
}

impl Command for OpenSession {
    /// Whether it was opened by this.
    type Answer = Result<bool, Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        let entered = is_held(world, &self.authority, &self.session, at)
            .and_then(|()| world.session.enter(&self.session, self.origin));
        let is_new = match entered.and_then(|found| self.has_this_grant(world, found.is_none())) {
            Ok(is_new) => is_new,
            Err(refusal) => return Verdict::unchanged(Err(refusal)),
        };
        let mut drafts = opening(world, &self.authority, &self.session, self.budget);
        if let Some(grant) = self.grant.as_ref().filter(|_| is_new) {
            drafts.push(Draft {
                stream: StreamId::Session(self.session.clone()),
                actor: self.authority.actor(&self.session.owner),
                event: Event::GrantSet(GrantSet { number: 1, change: GrantChange::Given, grant: grant.clone() }),
                bodies: Vec::new(),
            });
        }
        Verdict { answer: Ok(is_new), drafts }
    }
}

impl OpenSession {
    /// A session that is there keeps what it was granted: opening it once more gives nothing and takes nothing.
    fn has_this_grant(&self, world: &World, is_new: bool) -> Result<bool, Refusal> {
        let Some(grant) = self.grant.as_ref().filter(|_| !is_new) else { return Ok(is_new) };
        if world.grants.stack(&self.session) == std::slice::from_ref(grant) {
            return Ok(is_new);
        }
        let message = format!(
            "session `{}` is there already, with another grant or without one: it can be narrowed",
            self.session.name
        );
        Err(Refusal::new(Code::Conflict, message).about("grant"))
    }
}

/// The door has recognised the credential already, from a copy that may be older than its revocation; here is the truth.
pub fn is_held(world: &World, authority: &Authority, session: &SessionId, at: Timestamp) -> Result<(), Refusal> {
    is_held_by(world, authority, &session.owner, at)
}

/// The same outside of sessions.
pub(super) fn is_held_by(
    world: &World,
    authority: &Authority,
    owner: &PrincipalName,
    at: Timestamp,
) -> Result<(), Refusal> {
    let is_live = match &authority.credential {
        Credential::Key(key) => world.identity.find(key).is_some_and(|key| key.is_live(at) && key.principal == *owner),
        // That its issuer has said so, the door has found out, and has noted it before it asked for anything.
        vouched @ Credential::Vouched { .. } => {
            world.identity.vouched(vouched).is_some_and(|seen| seen.principal == *owner)
        }
    };
    if !is_live || authority.is_over(at) {
        return Err(Refusal::new(Code::Unauthenticated, "the key is not valid any more"));
    }
    world.disabled.check(authority.chain(owner))
}

/// The entry that opens the session; none when it was opened before.
pub(super) fn opening(
    world: &World,
    authority: &Authority,
    session: &SessionId,
    budget: Option<Nanodollars>,
) -> Vec<Draft<Event>> {
    if world.session.find(session).is_some() {
        return Vec::new();
    }
    vec![Draft {
        stream: StreamId::Session(session.clone()),
        actor: authority.actor(&session.owner),
        event: Event::SessionOpened(Opened { budget }),
        bodies: Vec::new(),
    }]
}
