//! Accounts, and how they are written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{PrincipalName, SessionId, TaskId};

/// Who pays. Written `principal/ann`, `session/ann:claim-99`, `task/4f…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// Everything that a principal does.
    Principal(PrincipalName),
    /// What is done within one session.
    Session(SessionId),
    /// What is done with one task of a session, or with what was carved out of it.
    Task(TaskId),
}

impl Account {
    /// The accounts that every call within `session` is held on, from the top down. Those of a task come below: [`crate::ledger::Book::path`].
    #[must_use]
    pub fn path(session: &SessionId) -> [Self; 2] {
        [Self::Principal(session.owner.clone()), Self::Session(session.clone())]
    }
}

impl fmt::Display for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(name) => write!(out, "principal/{name}"),
            Self::Session(id) => write!(out, "session/{id}"),
            Self::Task(id) => write!(out, "task/{id}"),
        }
    }
}

impl FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some(("principal", name)) => name.parse().map(Self::Principal),
            Some(("session", id)) => id.parse().map(Self::Session),
            Some(("task", id)) => id.parse().map(Self::Task),
            Some(_) | None => Err(format!("`{text}` is no account")),
        }
    }
}

impl Serialize for Account {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
