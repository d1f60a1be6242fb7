//! Waits: what a session waits for, until when, and whom it is told to.
//!
//! A wait ends once: by an event, by its time, or because it is called off. What ended it is delivered to the agent that asked for it, again and again until the agent
//! accepts, in the order in which waits ended.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::SessionId;
use crate::refusal::{Code, Refusal};
pub use crate::session::event::{Deliver, End, WaitName};
use crate::session::event::{WaitDelivered, WaitEnded, WaitOpened};
use crate::time::Timestamp;

/// The most waits of one session that are open or not yet delivered.
pub const WAITS_LIMIT: usize = 64;
/// How many waits that are over are remembered, so that late events are known as such.
pub const ENDED_LIMIT: usize = 64;
/// The longest description of what is waited for, in bytes.
pub const WHAT_LIMIT_BYTES: usize = 500;
/// The longest event id, in bytes.
pub const EVENT_ID_LIMIT_BYTES: usize = 200;
/// The largest event, in bytes.
pub const EVENT_LIMIT_BYTES: usize = 256 * 1024;

/// One wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// What is waited for, in words for people.
    pub what: String,
    /// When it expires.
    pub until: Timestamp,
    /// Whom its end is told to.
    pub deliver: Option<Deliver>,
    /// How it ended, by which entry of the session's stream; none while it is open.
    pub end: Option<(End, u64)>,
    /// Whether its end was accepted, or needs not be told.
    pub is_done: bool,
    /// Whether it was to be told, and what it was to be told on has ended before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_given_up: bool,
}

impl Wait {
    /// Whether it can't be told any more, since the task that waited was handed on with an end that has come by then.
    #[must_use]
    pub fn is_too_late(&self, at: Timestamp) -> bool {
        self.deliver.as_ref().is_some_and(|deliver| deliver.authority.is_over(at))
    }
}

/// The waits of all sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    sessions: BTreeMap<SessionId, BTreeMap<WaitName, Wait>>,
    /// The open ones by the time when they expire.
    by_time: BTreeSet<(Timestamp, SessionId, WaitName)>,
    /// Those that ended and are to be told, by session in the order in which they ended.
    to_tell: BTreeMap<SessionId, BTreeMap<u64, WaitName>>,
}

impl Waits {
    /// The waits of a session.
    pub fn of(&self, session: &SessionId) -> impl Iterator<Item = (&WaitName, &Wait)> {
        self.sessions.get(session).into_iter().flatten()
    }

    /// A wait.
    #[must_use]
    pub fn find(&self, session: &SessionId, name: &WaitName) -> Option<&Wait> {
        self.sessions.get(session)?.get(name)
    }

    /// The open waits whose time has come.
    pub fn overdue(&self, at: Timestamp) -> impl Iterator<Item = (&SessionId, &WaitName)> {
        self.by_time.iter().take_while(move |(until, _, _)| *until <= at).map(|(_, session, name)| (session, name))
    }

    /// What is to be told next, of each session: the wait that ended first.
    pub fn to_tell(&self) -> impl Iterator<Item = (&SessionId, &WaitName, &Wait)> {
        self.to_tell.iter().filter_map(|(session, ended)| {
            let name = ended.values().next()?;
            Some((session, name, self.find(session, name)?))
        })
    }

    /// Whether another wait may be opened.
    ///
    /// # Errors
    ///
    /// [`Code::Conflict`] when there is one of that name; [`Code::TooMany`].
    pub fn check(&self, session: &SessionId, name: &WaitName) -> Result<(), Refusal> {
        if self.find(session, name).is_some() {
            return Err(Refusal::new(Code::Conflict, format!("there is a wait `{name}` already")).about("name"));
        }
        let pending = self.of(session).filter(|(_, wait)| !wait.is_done).count();
        if pending >= WAITS_LIMIT {
            return Err(Refusal::new(Code::TooMany, format!("a session has at most {WAITS_LIMIT} waits at a time")));
        }
        Ok(())
    }

    /// Takes in that a wait was opened.
    pub fn opened(&mut self, session: &SessionId, event: &WaitOpened) {
        let wait = Wait {
            what: event.what.clone(),
            until: event.until,
            deliver: event.deliver.clone(),
            end: None,
            is_done: false,
            is_given_up: false,
        };
        self.by_time.insert((event.until, session.clone(), event.name.clone()));
        self.sessions.entry(session.clone()).or_default().insert(event.name.clone(), wait);
    }

    /// Takes in that a wait has ended, by the entry of that number.
    pub fn ended(&mut self, session: &SessionId, event: &WaitEnded, seq: u64) {
        let waits = self.sessions.entry(session.clone()).or_default();
        let Some(wait) = waits.get_mut(&event.name) else { return };
        self.by_time.remove(&(wait.until, session.clone(), event.name.clone()));
        wait.is_done = wait.deliver.is_none() || event.end == End::Cancelled;
        wait.end = Some((event.end.clone(), seq));
        if wait.is_done {
            self.forget_oldest(session);
        } else {
            self.to_tell.entry(session.clone()).or_default().insert(seq, event.name.clone());
        }
    }

    /// Takes in that the end of a wait was accepted, or is told no more.
    pub fn delivered(&mut self, session: &SessionId, event: &WaitDelivered) {
        let Some(wait) = self.sessions.get_mut(session).and_then(|waits| waits.get_mut(&event.name)) else { return };
        (wait.is_done, wait.is_given_up) = (true, event.is_given_up);
        let seq = wait.end.as_ref().map_or(0, |(_, seq)| *seq);
        if let Some(ended) = self.to_tell.get_mut(session) {
            ended.remove(&seq);
            if ended.is_empty() {
                self.to_tell.remove(session);
            }
        }
        self.forget_oldest(session);
    }

    /// Takes in that the session is closed: nothing is waited for, and nobody told, any more.
    pub fn closed(&mut self, session: &SessionId) {
        self.to_tell.remove(session);
        for (name, wait) in self.sessions.get_mut(session).into_iter().flatten() {
            if wait.end.is_none() {
                self.by_time.remove(&(wait.until, session.clone(), name.clone()));
            }
            wait.is_done = true;
        }
    }

    fn forget_oldest(&mut self, session: &SessionId) {
        let Some(waits) = self.sessions.get_mut(session) else { return };
        let done = |(name, wait): (&WaitName, &Wait)| {
            let (_, seq) = wait.end.as_ref().filter(|_| wait.is_done)?;
            Some((*seq, name.clone()))
        };
        let done: BTreeSet<(u64, WaitName)> = waits.iter().filter_map(done).collect();
        if done.len() > ENDED_LIMIT
            && let Some((_, oldest)) = done.first()
        {
            waits.remove(oldest);
        }
    }
}
