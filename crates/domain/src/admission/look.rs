//! What rules may read of the moment, as the journal has it now.

use crate::admission::command::{Command, Verdict};
use crate::ids::SessionId;
use crate::ledger::Account;
use crate::policy::Moment;
use crate::time::Timestamp;
use crate::world::World;

/// Asks for the moment of a session. It changes nothing.
#[derive(Debug, Clone)]
pub struct Look {
    /// The session.
    pub session: SessionId,
}

impl Command for Look {
    type Answer = Moment;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Moment> {
        Verdict::unchanged(moment(world, &self.session, at))
    }
}

/// The moment of a session; one that is not open yet has done nothing.
pub(crate) fn moment(world: &World, session: &SessionId, at: Timestamp) -> Moment {
    let spent = world.ledger.balance(&Account::Session(session.clone())).spent;
    let found = world.session.find(session);
    let age = found.map_or(0, |session| at.0.saturating_sub(session.opened_at.0));
    Moment {
        at: Some(at),
        age_s: Some(age / 1_000_000),
        spent: Some(spent),
        calls: Some(found.map_or(0, |session| session.calls)),
        refused: Some(found.map_or(0, |session| session.refused)),
        labels: Some(found.map(|session| session.labels.clone()).unwrap_or_default()),
    }
}
