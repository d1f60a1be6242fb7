//! The grants of sessions and of tasks within them, and what was used of them.
//!
//! A session has a stack of grants: each one that was put on it narrows those below. A task that was handed on for less has one more, on top of that of the task that it comes
//! from. A call must be within all of them. What is limited is counted when a call is admitted and given back only when it certainly had no effect.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::grant::{Grant, GrantVersion, Numeral};
use crate::ids::{CallId, SessionId, SessionName};
use crate::policy::event::{Counted, GrantChange, GrantSet, Use};
use crate::policy::within::Match;
use crate::refusal::{Code, Refusal};

/// How many grants may lie on one another in a session.
pub const STACK_LIMIT: usize = 16;
/// How many tasks of a session may have a grant of their own.
pub const TASKS_LIMIT: usize = 256;

/// Of how many calls of a session it is remembered what may be given back; what more of them used stays used.
pub const UNKNOWN_LIMIT: usize = 1_024;

/// What the shell has found out of a call: for each grant that applies, in their order, the entries that it is within.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    /// The number of the session's grants that it was judged by.
    pub number: u64,
    /// The entries.
    pub entries: Vec<Vec<Match>>,
    /// The versions that values of the session's state had which it rests on; none where there was no value.
    pub state: BTreeMap<SessionName, Option<u64>>,
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The calls, by the name that they are counted under.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calls: BTreeMap<String, u64>,
    /// What numbers came to, by that name and by the argument.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sums: BTreeMap<String, BTreeMap<String, Numeral>>,
}

/// A task that has a grant of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Task {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<CallId>,
    grant: Grant,
    #[serde(default)]
    counts: Counts,
}

/// The grants of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Granted {
    number: u64,
    stack: Vec<Grant>,
    counts: Counts,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tasks: BTreeMap<CallId, Task>,
    /// What may still be given back: of calls that are open, or of which nobody knows what became of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    open: BTreeMap<CallId, Vec<Use>>,
}

/// One grant that applies to a call.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// The task that it is the grant of; none for the session's.
    pub task: Option<CallId>,
    /// What it says.
    pub grant: &'a Grant,
    /// What was counted.
    pub counts: &'a Counts,
}

/// The grants of all sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grants {
    sessions: BTreeMap<SessionId, Granted>,
}

impl Grants {
    /// The grants that apply to what is done for this task, or in the session where there is none: the session's first.
    ///
    /// # Errors
    ///
    /// When there is no such task: what it may do is not known.
    pub fn layers(&self, session: &SessionId, task: Option<CallId>) -> Result<Vec<Layer<'_>>, Refusal> {
        let granted = self.sessions.get(session);
        let own = granted.into_iter().flat_map(|granted| granted.stack.iter().map(|grant| (grant, &granted.counts)));
        let mut layers: Vec<Layer<'_>> = own.map(|(grant, counts)| Layer { task: None, grant, counts }).collect();
        let (mut tasks, mut next) = (Vec::new(), task);
        while let Some(id) = next {
            let found = granted.and_then(|granted| granted.tasks.get(&id));
            let none = || Refusal::new(Code::OutsideGrant, "what this task may do is not known any more");
            let task = found.ok_or_else(none)?;
            tasks.push(Layer { task: Some(id), grant: &task.grant, counts: &task.counts });
            next = task.parent;
        }
        layers.extend(tasks.into_iter().rev());
        Ok(layers)
    }

    /// The number of the session's grants: none, 0, before it has any.
    #[must_use]
    pub fn number(&self, session: &SessionId) -> u64 {
        self.sessions.get(session).map_or(0, |granted| granted.number)
    }

    /// The grants that lie on one another in the session.
    #[must_use]
    pub fn stack(&self, session: &SessionId) -> &[Grant] {
        self.sessions.get(session).map_or(&[], |granted| &granted.stack)
    }

    /// What a call of this task uses of the grants that apply to it; none where there are none.
    ///
    /// # Errors
    ///
    /// [`Code::StaleDecision`] when it was judged by others; [`Code::OutsideGrant`] when not enough is left.
    pub fn count(
        &self,
        session: &SessionId,
        task: Option<CallId>,
        within: Option<&Within>,
    ) -> Result<Option<Counted>, Refusal> {
        let layers = self.layers(session, task)?;
        if layers.is_empty() {
            return Ok(None);
        }
        let number = self.number(session);
        let stale = || Refusal::new(Code::StaleDecision, "the grant of the task has changed meanwhile");
        let within = within.filter(|within| within.number == number && within.entries.len() == layers.len());
        let within = within.ok_or_else(stale)?;
        let version = version(number, &layers);
        let mut uses: BTreeMap<(Option<CallId>, &str), Use> = BTreeMap::new();
        for (layer, entries) in layers.iter().zip(&within.entries) {
            let found = first_with_room(layer, entries).map_err(|refusal| refusal.because(version.to_string()))?;
            let of = uses.entry((layer.task, &found.name)).or_insert_with(|| Use {
                task: layer.task,
                entry: found.name.clone(),
                sums: BTreeMap::new(),
            });
            of.sums.extend(found.sums.iter().map(|(name, (number, _))| (name.clone(), *number)));
        }
        Ok(Some(Counted { version, uses: uses.into_values().collect() }))
    }

    /// Those of one session alone, to see what a change would come to.
    #[must_use]
    pub fn clone_of(&self, session: &SessionId) -> Self {
        let own = self.sessions.get(session).map(|granted| (session.clone(), granted.clone()));
        Self { sessions: own.into_iter().collect() }
    }

    /// Whether so many may lie on one another.
    ///
    /// # Errors
    ///
    /// [`Code::TooMany`].
    pub fn check_stack(&self, session: &SessionId) -> Result<(), Refusal> {
        if self.stack(session).len() < STACK_LIMIT {
            return Ok(());
        }
        Err(Refusal::new(Code::TooMany, format!("a session has at most {STACK_LIMIT} grants on one another")))
    }

    /// Whether one more task of the session may have a grant of its own.
    ///
    /// # Errors
    ///
    /// [`Code::TooMany`].
    pub fn check_tasks(&self, session: &SessionId) -> Result<(), Refusal> {
        if self.sessions.get(session).is_none_or(|granted| granted.tasks.len() < TASKS_LIMIT) {
            return Ok(());
        }
        Err(Refusal::new(Code::TooMany, format!("at most {TASKS_LIMIT} tasks of a session have a grant of their own")))
    }

    /// Takes in that a grant was given, narrowed or widened.
    pub fn set(&mut self, session: &SessionId, event: &GrantSet) {
        let granted = self.sessions.entry(session.clone()).or_default();
        granted.number = event.number;
        if event.change != GrantChange::Narrowed {
            granted.stack.clear();
        }
        granted.stack.push(event.grant.clone());
    }

    /// Takes in that a task was handed on with a grant of its own.
    pub fn handed_on(&mut self, session: &SessionId, task: CallId, parent: Option<CallId>, grant: &Grant) {
        let task_of = Task { parent, grant: grant.clone(), counts: Counts::default() };
        self.sessions.entry(session.clone()).or_default().tasks.insert(task, task_of);
    }

    /// Takes in what a call uses.
    pub fn counted(&mut self, session: &SessionId, call: CallId, counted: &Counted) {
        let Some(granted) = self.sessions.get_mut(session) else { return };
        for one in &counted.uses {
            if let Some(counts) = granted.counts(one.task) {
                counts.add(one);
            }
        }
        granted.open.insert(call, counted.uses.clone());
    }

    /// Takes in that a call has ended: what it used is given back where it had no effect, and may be given back later where nobody knows.
    pub fn ended(&mut self, session: &SessionId, call: CallId, had_effect: Option<bool>) {
        let Some(granted) = self.sessions.get_mut(session) else { return };
        let is_remembered = granted.open.len() <= UNKNOWN_LIMIT;
        let Some(had_effect) = had_effect.or((!is_remembered).then_some(true)) else { return };
        let uses = granted.open.remove(&call).unwrap_or_default();
        for one in uses.iter().filter(|_| !had_effect) {
            if let Some(counts) = granted.counts(one.task) {
                counts.give_back(one);
            }
        }
    }

    /// Takes in that a session was closed.
    pub fn session_closed(&mut self, session: &SessionId) {
        self.sessions.remove(session);
    }

    /// The tasks of a session that have a grant of their own.
    #[must_use]
    pub fn tasks(&self, session: &SessionId) -> BTreeSet<CallId> {
        self.sessions.get(session).map(|granted| granted.tasks.keys().copied().collect()).unwrap_or_default()
    }
}

impl Granted {
    fn counts(&mut self, task: Option<CallId>) -> Option<&mut Counts> {
        match task {
            None => Some(&mut self.counts),
            Some(task) => self.tasks.get_mut(&task).map(|task| &mut task.counts),
        }
    }
}

impl Counts {
    fn add(&mut self, one: &Use) {
        let calls = self.calls.entry(one.entry.clone()).or_default();
        *calls = calls.saturating_add(1);
        for (name, number) in &one.sums {
            let sum = self.sums.entry(one.entry.clone()).or_default().entry(name.clone()).or_default();
            *sum = sum.plus(*number).unwrap_or(Numeral(i64::MAX));
        }
    }

    fn give_back(&mut self, one: &Use) {
        if let Some(calls) = self.calls.get_mut(&one.entry) {
            *calls = calls.saturating_sub(1);
        }
        for (name, number) in &one.sums {
            if let Some(sum) = self.sums.get_mut(&one.entry).and_then(|sums| sums.get_mut(name)) {
                *sum = sum.minus(*number);
            }
        }
    }

    /// What the argument came to so far.
    #[must_use]
    pub fn sum(&self, entry: &str, argument: &str) -> Numeral {
        self.sums.get(entry).and_then(|sums| sums.get(argument)).copied().unwrap_or_default()
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls_of(&self, entry: &str) -> u64 {
        self.calls.get(entry).copied().unwrap_or_default()
    }
}

/// Which grants these are.
#[must_use]
pub fn version(number: u64, layers: &[Layer<'_>]) -> GrantVersion {
    let written: Vec<Vec<u8>> = layers.iter().map(|layer| layer.grant.digest().0.to_vec()).collect();
    let parts: Vec<&[u8]> = written.iter().map(Vec::as_slice).collect();
    GrantVersion { number, digest: Digest::of_parts(&parts) }
}

/// The first entry of which enough is left for the call.
///
/// # Errors
///
/// [`Code::OutsideGrant`], with what is left.
pub fn first_with_room<'a>(layer: &Layer<'_>, entries: &'a [Match]) -> Result<&'a Match, Refusal> {
    let mut problem = None;
    for entry in entries {
        match room(layer.counts, entry) {
            Ok(()) => return Ok(entry),
            Err(message) => problem = problem.or(Some(message)),
        }
    }
    let message = problem.unwrap_or_else(|| "this call is not within the grant of this task".to_owned());
    Err(Refusal::new(Code::OutsideGrant, message))
}

fn room(counts: &Counts, entry: &Match) -> Result<(), String> {
    let calls = counts.calls_of(&entry.name);
    if let Some(limit) = entry.calls.filter(|limit| calls >= *limit) {
        return Err(format!(
            "The grant of this task allows {limit} calls of `{}` in all, and {calls} were made.",
            entry.name
        ));
    }
    for (name, (number, limit)) in &entry.sums {
        let sum = counts.sum(&entry.name, name);
        if sum.plus(*number).is_none_or(|after| after > *limit) {
            let left = limit.minus(sum);
            return Err(format!(
                "The grant of this task allows `{name}` to come to {limit} in all. It came to {sum} so far, so that at most {left} is left, and this call has {number}."
            ));
        }
    }
    Ok(())
}
