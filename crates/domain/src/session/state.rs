//! Which sessions there are, and what may be done with them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::call::Capability;
use crate::ids::{CallId, LabelName, SessionId, SessionName};
use crate::refusal::{Code, Refusal};
use crate::session::event::{StateDeleted, StatePut};
use crate::session::once::Once;
use crate::session::scratchpad::Scratchpad;
use crate::time::Timestamp;

/// What the names begin with that the gateway mints. Nobody can open a session of such a name by naming it.
pub const MINTED_PREFIX: &str = "ses_";

/// How a call came to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The caller named it: it is opened when there is none yet, unless the name has the form of a minted one.
    Named,
    /// The gateway minted it for this call.
    Minted,
}

/// Whether a call is a turn of its session with an agent, which come one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Turn {
    /// It is none, and goes on beside others.
    #[default]
    Beside,
    /// It is one, and the caller asks again when it is not its turn: that is not written down.
    Waiting,
    /// It is one, and refused when it is not its turn.
    Now,
}

/// Whether a session takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does.
    Active,
    /// Not until a person lets it go on.
    Frozen,
    /// It does no more.
    Closed,
}

/// One session, without its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Whether it takes calls.
    pub status: Status,
    /// When it began.
    pub opened_at: Timestamp,
    /// When the last entry of its stream was written.
    pub last_at: Timestamp,
    /// How many calls were admitted.
    pub calls: u64,
    /// How many calls were refused, at the door or inside a model's answer.
    pub refused: u64,
    /// What it is marked with.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<LabelName>,
    /// Its versioned values.
    pub scratchpad: Scratchpad,
    /// The turn that is under way with each agent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub turns: BTreeMap<Capability, CallId>,
    /// Its calls that take effect at most once.
    #[serde(default)]
    pub once: Once,
}

/// All sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    sessions: BTreeMap<SessionId, Session>,
    /// Those that are frozen.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    frozen: BTreeSet<SessionId>,
}

impl Sessions {
    /// The session of that id.
    #[must_use]
    pub fn find(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// All sessions, in order of owner and name.
    pub fn all(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.sessions.iter()
    }

    /// Those that are frozen.
    #[must_use]
    pub fn frozen_ones(&self) -> &BTreeSet<SessionId> {
        &self.frozen
    }

    /// Whether a call may enter: the session as it is, or none when it is to be opened first.
    ///
    /// # Errors
    ///
    /// [`Code::SessionNotFound`] for a minted name that was not minted for this owner; [`Code::SessionFrozen`]; [`Code::SessionClosed`].
    pub fn enter(&self, id: &SessionId, origin: Origin) -> Result<Option<&Session>, Refusal> {
        let Some(session) = self.sessions.get(id) else {
            return match origin {
                Origin::Named if is_minted(&id.name) => Err(not_found(&id.name)),
                Origin::Named | Origin::Minted => Ok(None),
            };
        };
        match session.status {
            Status::Active => Ok(Some(session)),
            Status::Frozen => Err(Refusal::new(Code::SessionFrozen, format!("session `{}` is frozen", id.name))),
            Status::Closed => Err(Refusal::new(Code::SessionClosed, format!("session `{}` is closed", id.name))),
        }
    }

    /// Takes in that a session was opened.
    pub fn opened(&mut self, id: &SessionId, at: Timestamp) {
        let session = Session {
            status: Status::Active,
            opened_at: at,
            last_at: at,
            calls: 0,
            refused: 0,
            labels: BTreeSet::new(),
            scratchpad: Scratchpad::default(),
            turns: BTreeMap::new(),
            once: Once::default(),
        };
        self.sessions.insert(id.clone(), session);
    }

    /// Takes in that a session was closed.
    pub fn closed(&mut self, id: &SessionId) {
        self.frozen.remove(id);
        if let Some(session) = self.sessions.get_mut(id) {
            session.status = Status::Closed;
        }
    }

    /// Takes in that a session was frozen.
    pub fn frozen(&mut self, id: &SessionId) {
        self.frozen.insert(id.clone());
        self.changes(id, Status::Active, Status::Frozen);
    }

    /// Takes in that a session goes on.
    pub fn unfrozen(&mut self, id: &SessionId) {
        self.frozen.remove(id);
        self.changes(id, Status::Frozen, Status::Active);
    }

    fn changes(&mut self, id: &SessionId, from: Status, to: Status) {
        if let Some(session) = self.sessions.get_mut(id).filter(|session| session.status == from) {
            session.status = to;
        }
    }

    /// Takes in that a session was marked.
    pub fn labelled(&mut self, id: &SessionId, labels: &[LabelName]) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.labels.extend(labels.iter().cloned());
        }
    }

    /// Takes in that a session is not marked so any more.
    pub fn label_lifted(&mut self, id: &SessionId, label: &LabelName) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.labels.remove(label);
        }
    }

    /// Takes in that a value of a session's scratchpad was written at that time by the entry of that number.
    pub fn state_was_put(&mut self, id: &SessionId, event: &StatePut, seq: u64, at: Timestamp) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.scratchpad.was_put(event, seq, at);
        }
    }

    /// Takes in that a value of a session's scratchpad was deleted.
    pub fn state_was_deleted(&mut self, id: &SessionId, event: &StateDeleted) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.scratchpad.was_deleted(event);
        }
    }

    /// The calls of a session that take effect at most once, for taking in what became of them.
    pub fn once(&mut self, id: &SessionId) -> Option<&mut Once> {
        self.sessions.get_mut(id).map(|session| &mut session.once)
    }

    /// Takes in that a turn of the session with an agent begins.
    pub fn turn_began(&mut self, id: &SessionId, agent: &Capability, call: CallId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.turns.insert(agent.clone(), call);
        }
    }

    /// Takes in that this turn is over.
    pub fn turn_ended(&mut self, id: &SessionId, agent: &Capability, call: CallId) {
        if let Some(session) = self.sessions.get_mut(id)
            && session.turns.get(agent) == Some(&call)
        {
            session.turns.remove(agent);
        }
    }

    /// Takes in that so many calls were admitted to or refused within the session.
    pub fn counted(&mut self, id: &SessionId, admitted: u64, refused: u64) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.calls += admitted;
            session.refused += refused;
        }
    }

    /// Takes in that something happened in the session.
    pub fn touched(&mut self, id: &SessionId, at: Timestamp) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.last_at = at;
        }
    }
}

/// The answer to everybody who asks for a session that is not theirs, whether there is one or not.
#[must_use]
pub fn not_found(name: &SessionName) -> Refusal {
    Refusal::new(Code::SessionNotFound, format!("there is no session `{name}`"))
}

/// Whether the gateway has made the name, because the caller named no session.
#[must_use]
pub fn is_minted(name: &SessionName) -> bool {
    name.as_str().starts_with(MINTED_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, origin: Origin, expected: Result<bool, Code>) {
        let mut sessions = Sessions::default();
        sessions.opened(&"ann:open".parse().unwrap(), Timestamp(1));
        sessions.opened(&"ann:ses_1".parse().unwrap(), Timestamp(1));
        sessions.opened(&"ann:shut".parse().unwrap(), Timestamp(1));
        sessions.closed(&"ann:shut".parse().unwrap());
        let entered = sessions.enter(&id.parse().unwrap(), origin);
        assert_eq!(entered.map(|found| found.is_some()).map_err(|refusal| refusal.code), expected, "{id}");
    }

    #[test]
    fn a_session_is_entered_by_its_owner_only() {
        check("ann:open", Origin::Named, Ok(true));
        check("ann:new", Origin::Named, Ok(false));
        check("bob:open", Origin::Named, Ok(false));
        check("ann:ses_1", Origin::Named, Ok(true));
        check("bob:ses_1", Origin::Named, Err(Code::SessionNotFound));
        check("ann:ses_2", Origin::Named, Err(Code::SessionNotFound));
        check("ann:ses_2", Origin::Minted, Ok(false));
        check("ann:shut", Origin::Named, Err(Code::SessionClosed));
    }
}
