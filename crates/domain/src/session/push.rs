//! Places for news of tasks: where the clients of agents want to be told, what is still to be told there, and what came twice.
//!
//! A place is *opened* before the agent hears of it, so that no news come too early, and *bound* once the agent has taken it and the task is known. News are told to the
//! client in the order in which they came, again and again until it accepts them, unless the place or the session is closed before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::call::Capability;
use crate::digest::Digest;
use crate::ids::SessionId;
use crate::refusal::{Code, Refusal};
pub use crate::session::event::PushName;
use crate::session::event::{NewsCame, NewsDelivered, PushBound, PushOpened};
use crate::time::Timestamp;

/// The most places of one session of which the task is not over or not all is told.
pub const PUSHES_LIMIT: usize = 64;
/// How many places are remembered of which everything is told.
pub const DONE_LIMIT: usize = 64;
/// The most news that wait at one place.
pub const NEWS_LIMIT: usize = 256;
/// The largest piece of news, in bytes.
pub const NEWS_LIMIT_BYTES: usize = 1 << 20;
/// The longest name that a client may give a place, and the longest id of news, in bytes.
pub const ID_LIMIT_BYTES: usize = 200;
/// The longest id of a task that an agent may give, in bytes.
pub const TASK_LIMIT_BYTES: usize = 1024;
/// How long a place may be open that no agent has taken: the call that asked for it has ended without a word of it, as by a crash. In microseconds.
pub const UNTAKEN_LIMIT_US: u64 = 86_400 * 1_000_000;
/// How many ids of news are remembered at each place, so that repetitions are known as such.
const KNOWN_LIMIT: usize = 64;

/// One place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The agent.
    pub agent: Capability,
    /// The task, as the agent calls it, as far as it is known.
    pub task: Option<String>,
    /// What the client calls the place, if it does.
    pub id: Option<String>,
    /// The version of the client's language.
    pub form: String,
    /// Of the secret that the agent must show.
    pub secret: Digest,
    /// On whose authority the client asked.
    pub authority: Authority,
    /// The entry that opened it, whose body says where it is.
    pub seq: u64,
    /// When it was opened.
    #[serde(default)]
    pub opened_at: Timestamp,
    /// Whether the agent has taken it.
    pub is_bound: bool,
    /// Whether the task is over.
    pub is_over: bool,
    /// The news that are to be told, by the entries with which they came.
    pub waiting: BTreeSet<u64>,
    /// The ids of the latest news.
    known: VecDeque<String>,
}

impl Push {
    /// Whether nothing more will be told.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_over && self.waiting.is_empty()
    }

    /// Whether no agent has taken it for so long that none will.
    #[must_use]
    pub fn is_abandoned(&self, at: Timestamp) -> bool {
        !self.is_bound && at.0.saturating_sub(self.opened_at.0) >= UNTAKEN_LIMIT_US
    }

    /// Whether news of this id have come before.
    #[must_use]
    pub fn knows(&self, id: &str) -> bool {
        self.known.iter().any(|known| known == id)
    }
}

/// The places of all sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushes {
    sessions: BTreeMap<SessionId, BTreeMap<PushName, Push>>,
    /// Those where something is to be told.
    to_tell: BTreeSet<(SessionId, PushName)>,
}

impl Pushes {
    /// The places of a session, by name.
    pub fn of(&self, session: &SessionId) -> impl Iterator<Item = (&PushName, &Push)> {
        self.sessions.get(session).into_iter().flatten()
    }

    /// The places that a session's client has for a task of an agent, in the order in which they were opened.
    #[must_use]
    pub fn of_task(&self, session: &SessionId, agent: &Capability, task: &str) -> Vec<(&PushName, &Push)> {
        let is_of_task = |push: &Push| push.is_bound && push.agent == *agent && push.task.as_deref() == Some(task);
        let mut found: Vec<_> = self.of(session).filter(|(_, push)| is_of_task(push)).collect();
        found.sort_by_key(|(_, push)| push.seq);
        found
    }

    /// A place.
    #[must_use]
    pub fn find(&self, session: &SessionId, name: &PushName) -> Option<&Push> {
        self.sessions.get(session)?.get(name)
    }

    /// What is to be told next at each place.
    pub fn to_tell(&self) -> impl Iterator<Item = (&SessionId, &PushName, &Push, u64)> {
        self.to_tell.iter().filter_map(|(session, name)| {
            let push = self.find(session, name)?;
            Some((session, name, push, *push.waiting.first()?))
        })
    }

    /// The places that a place replaces once the agent has taken it for that task: those with the client's same id for it, but for what was opened later and is not taken.
    #[must_use]
    pub fn replaced_by(&self, session: &SessionId, name: &PushName, task: &str) -> Vec<PushName> {
        let Some(push) = self.find(session, name) else { return Vec::new() };
        let is_same =
            |other: &Push| other.agent == push.agent && other.task.as_deref() == Some(task) && other.id == push.id;
        let others = self.of(session).filter(|(other, _)| *other != name);
        let replaced = others.filter(|(_, other)| is_same(other) && (other.is_bound || other.seq < push.seq));
        replaced.map(|(other, _)| other.clone()).collect()
    }

    /// Whether another place may be opened.
    ///
    /// # Errors
    ///
    /// [`Code::Conflict`] when there is one of that name; [`Code::TooMany`].
    pub fn check(&self, session: &SessionId, name: &PushName, at: Timestamp) -> Result<(), Refusal> {
        if self.find(session, name).is_some() {
            return Err(Refusal::new(Code::Conflict, format!("there is a place for news `{name}` already")));
        }
        let pending = self.of(session).filter(|(_, push)| !push.is_done() && !push.is_abandoned(at)).count();
        if pending >= PUSHES_LIMIT {
            let message = format!("a session has at most {PUSHES_LIMIT} places for news at a time");
            return Err(Refusal::new(Code::TooMany, message));
        }
        Ok(())
    }

    /// Takes in that a place was opened by the entry of that number.
    pub fn opened(&mut self, session: &SessionId, event: &PushOpened, seq: u64, at: Timestamp) {
        let push = Push {
            agent: event.agent.clone(),
            task: event.task.clone(),
            id: event.id.clone(),
            form: event.form.clone(),
            secret: event.secret,
            authority: event.authority.clone(),
            seq,
            opened_at: at,
            is_bound: false,
            is_over: false,
            waiting: BTreeSet::new(),
            known: VecDeque::new(),
        };
        self.sessions.entry(session.clone()).or_default().insert(event.push.clone(), push);
    }

    /// Takes in that the agent has taken a place, or that its task is over. What waits at the places that it replaces waits here then.
    pub fn bound(&mut self, session: &SessionId, event: &PushBound) {
        let replaced = if event.is_over { Vec::new() } else { self.replaced_by(session, &event.push, &event.task) };
        let mut inherited = BTreeSet::new();
        for name in replaced {
            inherited.extend(self.find(session, &name).into_iter().flat_map(|push| push.waiting.iter().copied()));
            self.closed(session, &name);
        }
        let Some(push) = self.find_mut(session, &event.push) else { return };
        push.task = Some(event.task.clone());
        push.is_bound = true;
        push.is_over |= event.is_over;
        push.waiting.append(&mut inherited);
        if push.waiting.is_empty() {
            self.forget_oldest(session);
        } else {
            self.to_tell.insert((session.clone(), event.push.clone()));
        }
    }

    /// Takes in that a place is no more.
    pub fn closed(&mut self, session: &SessionId, name: &PushName) {
        if let Some(pushes) = self.sessions.get_mut(session) {
            pushes.remove(name);
            if pushes.is_empty() {
                self.sessions.remove(session);
            }
        }
        self.to_tell.remove(&(session.clone(), name.clone()));
    }

    /// Takes in that news came with the entry of that number. Who sends news has taken the place.
    pub fn came(&mut self, session: &SessionId, event: &NewsCame, seq: u64) {
        let Some(push) = self.find_mut(session, &event.push) else { return };
        push.task.get_or_insert_with(|| event.task.clone());
        push.is_bound = true;
        push.is_over |= event.is_last;
        push.waiting.insert(seq);
        if let Some(id) = &event.id {
            push.known.push_back(id.clone());
            if push.known.len() > KNOWN_LIMIT {
                push.known.pop_front();
            }
        }
        self.to_tell.insert((session.clone(), event.push.clone()));
    }

    /// Takes in that the client has accepted news.
    pub fn delivered(&mut self, session: &SessionId, event: &NewsDelivered) {
        let Some(push) = self.find_mut(session, &event.push) else { return };
        push.waiting.remove(&event.seq);
        if push.waiting.is_empty() {
            self.to_tell.remove(&(session.clone(), event.push.clone()));
            self.forget_oldest(session);
        }
    }

    /// Takes in that the session is closed: nobody is told any more.
    pub fn session_closed(&mut self, session: &SessionId) {
        for (name, _) in self.sessions.remove(session).into_iter().flatten() {
            self.to_tell.remove(&(session.clone(), name));
        }
    }

    fn find_mut(&mut self, session: &SessionId, name: &PushName) -> Option<&mut Push> {
        self.sessions.get_mut(session)?.get_mut(name)
    }

    fn forget_oldest(&mut self, session: &SessionId) {
        let Some(pushes) = self.sessions.get_mut(session) else { return };
        let done = pushes.iter().filter(|(_, push)| push.is_done()).map(|(name, push)| (push.seq, name.clone()));
        let done: BTreeSet<(u64, PushName)> = done.collect();
        if done.len() > DONE_LIMIT
            && let Some((_, oldest)) = done.first()
        {
            pushes.remove(oldest);
        }
    }
}
