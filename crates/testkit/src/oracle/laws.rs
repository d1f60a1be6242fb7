//! What the entries say: that no law was broken at any moment. The world comes from the same code as in the gateway; the laws are reckoned
//! here once more, so that a fault in deciding does not hide itself.

mod keyed;

use std::collections::{BTreeMap, HashMap};

use portcullis_domain::authority::Credential;
use portcullis_domain::digest::Digest;
use portcullis_domain::event::{CallAdmitted, CallRefused, CallResolved, CallSettled, Event, Outcome};
use portcullis_domain::identity::event::{KeyCreated, KeyRevoked};
use portcullis_domain::ids::{Actor, CallId, SessionId};
use portcullis_domain::journal::{Entry, StreamId};
use portcullis_domain::ledger::{Account, Balance};
use portcullis_domain::money::Nanodollars;
use portcullis_domain::refusal::Code;
use portcullis_domain::session::event::{NewsCame, PushBound, StateDeleted, StatePut, WaitEnded, WaitOpened};
use portcullis_domain::session::once::Done;
use portcullis_domain::session::push::PushName;
use portcullis_domain::session::wait::End;
use portcullis_domain::session::{Earlier, StateKey, Status};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;

/// What became of a call, and where that stands.
#[derive(Debug)]
pub(super) enum Fate {
    Refused { at: u64, code: Code },
    Open { at: u64, session: SessionId, hold: u64 },
    Settled { at: u64, session: SessionId, outcome: Outcome },
}

/// What the calls of a session come to, reckoned by itself.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    held: u64,
    spent: u64,
    calls: u64,
}

/// The values of a session's scratchpad, as the entries tell them.
#[derive(Debug, Default)]
struct Values {
    /// What was last written under each key that ever was.
    kept: HashMap<StateKey, Kept>,
    /// The highest version that any of them was given.
    most: u64,
}

#[derive(Debug)]
struct Kept {
    version: u64,
    until: Option<Timestamp>,
    is_deleted: bool,
}

#[derive(Default)]
pub(super) struct Laws {
    pub(super) world: World,
    pub(super) calls: HashMap<CallId, Fate>,
    sessions: HashMap<SessionId, Used>,
    values: HashMap<SessionId, Values>,
    last_at: Timestamp,
    position: u64,
    /// What is wrong with the entry at hand.
    problems: Vec<String>,
}

impl Laws {
    /// Judges the entry by the world before it, takes it in, and judges the world after it.
    pub(super) fn take(&mut self, position: u64, entry: &Entry<Event>, faults: &mut Vec<String>) {
        self.position = position;
        let accounts = accounts(entry);
        let before = self.balances(&accounts);
        self.judge(entry);
        self.world.apply(entry);
        self.judge_balances(&accounts, &before);
        for problem in self.problems.drain(..) {
            faults.push(format!("position {position} ({}, entry {}): {problem}", entry.stream, entry.seq));
        }
    }

    fn judge(&mut self, entry: &Entry<Event>) {
        self.must(entry.at >= self.last_at, || format!("its time, {}, is before that of the entry before", entry.at));
        self.last_at = entry.at.max(self.last_at);
        match &entry.stream {
            StreamId::Control => self.judge_control(entry),
            StreamId::Session(session) => self.judge_session(session, entry),
        }
    }

    fn judge_control(&mut self, entry: &Entry<Event>) {
        match &entry.event {
            Event::KeyCreated(event) => self.key_created(event),
            Event::KeyRevoked(event) => self.key_revoked(event),
            Event::PolicyActivated(_) => self.has_body(entry, None),
            Event::ToolsObserved(event) => self.has_body(entry, Some(event.digest)),
            Event::Granted(event) => {
                let is_here = matches!(event.account, Account::Principal(_));
                self.must(is_here, || format!("`{}` is granted outside its session", event.account));
            }
            Event::RequestAnswered(event) => self.request_answered(None, event, entry),
            Event::CallRefused(event) => {
                self.must(event.session.is_some(), || "a refusal outside any session names none".to_owned());
                self.call_refused(event);
            }
            Event::PrincipalDisabled(_) | Event::PrincipalEnabled(_) => {}
            Event::SessionOpened(_)
            | Event::SessionClosed(_)
            | Event::SessionFrozen(_)
            | Event::SessionUnfrozen(_)
            | Event::StatePut(_)
            | Event::StateDeleted(_)
            | Event::RecordPut(_)
            | Event::RecordExtended(_)
            | Event::RecordDropped(_)
            | Event::RequestTaken(_)
            | Event::CallAdmitted(_)
            | Event::WaitOpened(_)
            | Event::WaitEnded(_)
            | Event::WaitDelivered(_)
            | Event::PushOpened(_)
            | Event::PushBound(_)
            | Event::PushClosed(_)
            | Event::NewsCame(_)
            | Event::NewsDelivered(_)
            | Event::CallSettled(_)
            | Event::CallResolved(_) => self.problems.push("it belongs to a session and stands outside".to_owned()),
        }
    }

    fn judge_session(&mut self, session: &SessionId, entry: &Entry<Event>) {
        let status = self.world.session.find(session).map(|session| session.status);
        let is_opening = matches!(entry.event, Event::SessionOpened(_));
        let is_aftermath = matches!(
            entry.event,
            Event::CallSettled(_) | Event::CallRefused(_) | Event::CallResolved(_) | Event::RequestAnswered(_)
        );
        self.must(is_opening || status.is_some(), || "the session was never opened".to_owned());
        self.must(is_aftermath || status != Some(Status::Closed), || "the session was closed before".to_owned());
        let is_owner = entry.actor.subject() == Some(&session.owner);
        let may_be_another = matches!(
            entry.event,
            Event::SessionClosed(_)
                | Event::SessionFrozen(_)
                | Event::SessionUnfrozen(_)
                | Event::CallResolved(_)
                | Event::WaitEnded(_)
                | Event::WaitDelivered(_)
                | Event::RequestAnswered(_)
        ) || (is_of_news(&entry.event) && entry.actor == Actor::Gateway)
            || (matches!(entry.event, Event::CallSettled(_) | Event::Granted(_)) && entry.actor == Actor::Gateway);
        self.must(is_owner || may_be_another, || {
            let actor = match entry.actor.subject() {
                None => "the gateway".to_owned(),
                Some(name) => format!("`{name}`"),
            };
            format!("{actor} acts in a session of `{}`", session.owner)
        });
        match &entry.event {
            Event::SessionOpened(_) => self.must(status.is_none(), || "the session was opened before".to_owned()),
            Event::SessionClosed(_) | Event::SessionFrozen(_) | Event::SessionUnfrozen(_) => {}
            Event::StatePut(event) => self.state_put(session, event, entry),
            Event::WaitOpened(event) => self.wait_opened(session, event, entry),
            Event::WaitEnded(event) => self.wait_ended(session, event, entry),
            Event::WaitDelivered(event) => {
                let wait = self.world.waits.find(session, &event.name);
                let is_due = wait.is_some_and(|wait| wait.end.is_some() && !wait.is_done);
                self.must(is_due, || format!("wait `{}` was not to be delivered", event.name));
            }
            Event::PushOpened(event) => {
                let is_new = self.world.pushes.find(session, &event.push).is_none();
                self.must(is_new, || format!("the place for news `{}` was opened before", event.push));
                self.must(entry.bodies.len() == 1, || "it does not say where the place is".to_owned());
            }
            Event::PushBound(event) => self.push_bound(session, event),
            Event::PushClosed(event) => self.has_push(session, &event.push),
            Event::NewsCame(event) => self.news_came(session, event, entry),
            Event::NewsDelivered(event) => {
                let push = self.world.pushes.find(session, &event.push);
                // In the order in which they came.
                let is_next = push.is_some_and(|push| push.waiting.first() == Some(&event.seq));
                self.must(is_next, || format!("news {} of `{}` were not the next", event.seq, event.push));
            }
            Event::StateDeleted(event) => self.state_deleted(session, event, entry),
            Event::RecordPut(event) => {
                self.has_body(entry, None);
                let found = self.world.records.find(&session.owner, &event.id);
                let is_here = found.is_none_or(|record| record.session == session.name);
                self.must(is_here, || format!("record `{}` lies in another session", event.id));
            }
            Event::RecordExtended(event) => {
                self.has_body(entry, None);
                self.is_record(session, &event.id);
            }
            Event::RecordDropped(event) => self.is_record(session, &event.id),
            Event::RequestTaken(event) => self.request_taken(session, event, entry),
            Event::RequestAnswered(event) => self.request_answered(Some(session), event, entry),
            Event::CallAdmitted(event) => self.call_admitted(session, event, entry),
            Event::CallRefused(event) => {
                self.must(event.session.is_none(), || "a refusal in a session names another".to_owned());
                self.call_refused(event);
            }
            Event::CallSettled(event) => self.call_settled(session, event, entry),
            Event::CallResolved(event) => self.call_resolved(session, event, entry),
            Event::Granted(event) => {
                let is_here = event.account == Account::Session(session.clone());
                self.must(is_here, || format!("`{}` is granted in a session", event.account));
            }
            Event::KeyCreated(_)
            | Event::KeyRevoked(_)
            | Event::PrincipalDisabled(_)
            | Event::PrincipalEnabled(_)
            | Event::PolicyActivated(_)
            | Event::ToolsObserved(_) => {
                self.problems.push("it belongs to no session and stands in one".to_owned());
            }
        }
    }

    fn key_created(&mut self, event: &KeyCreated) {
        let is_new = self.world.identity.find(&event.key).is_none();
        self.must(is_new, || format!("key `{}` was issued before", event.key));
    }

    fn key_revoked(&mut self, event: &KeyRevoked) {
        let is_held = self.world.identity.find(&event.key).is_some_and(|key| key.revoked_at.is_none());
        self.must(is_held, || format!("key `{}` was not issued, or was taken back before", event.key));
    }

    fn wait_opened(&mut self, session: &SessionId, event: &WaitOpened, entry: &Entry<Event>) {
        let is_new = self.world.waits.find(session, &event.name).is_none();
        self.must(is_new && entry.at < event.until, || format!("wait `{}` is there, or was over at once", event.name));
    }

    fn wait_ended(&mut self, session: &SessionId, event: &WaitEnded, entry: &Entry<Event>) {
        let wait = self.world.waits.find(session, &event.name).cloned();
        let is_lawful = wait.is_some_and(|wait| {
            wait.end.is_none()
                && match event.end {
                    End::Event(_) => entry.at < wait.until && entry.bodies.len() == 1,
                    End::Expired => entry.at >= wait.until && entry.bodies.is_empty(),
                    End::Cancelled => entry.bodies.is_empty(),
                }
        });
        self.must(is_lawful, || {
            format!("wait `{}` had ended, was never opened, or ends at the wrong time", event.name)
        });
    }

    fn state_put(&mut self, session: &SessionId, event: &StatePut, entry: &Entry<Event>) {
        let StatePut { key, version: put, expires_at, .. } = event;
        let values = self.values.entry(session.clone()).or_default();
        let last = values.kept.get(key).map_or(0, |kept| kept.version);
        let most = values.most;
        values.most = most.max(*put);
        values.kept.insert(key.clone(), Kept { version: *put, until: *expires_at, is_deleted: false });
        self.must(*put > last && *put <= most + 1, || format!("`{key}` gets version {put} after version {last}"));
        let is_later = expires_at.is_none_or(|until| until > entry.at);
        self.must(is_later, || format!("`{key}` is over before it begins"));
        self.has_body(entry, None);
    }

    fn state_deleted(&mut self, session: &SessionId, event: &StateDeleted, entry: &Entry<Event>) {
        let StateDeleted { key, version } = event;
        let kept = self.values.entry(session.clone()).or_default().kept.get_mut(key);
        let is_there = kept.is_some_and(|kept| {
            let was_deleted = std::mem::replace(&mut kept.is_deleted, true);
            !was_deleted && kept.version == *version && kept.until.is_none_or(|until| entry.at < until)
        });
        self.must(is_there, || format!("version {version} of `{key}` was deleted, and it was not there"));
    }

    fn call_admitted(&mut self, session: &SessionId, event: &CallAdmitted, entry: &Entry<Event>) {
        let call = event.call;
        let Credential::Key(name) = &event.authority.credential else {
            return self.problems.push(format!("call {call} was admitted on the word of an issuer that there is not"));
        };
        let key = self.world.identity.find(name).cloned();
        let holder = key.as_ref().map(|key| &key.principal);
        let owner = &session.owner;
        match &key {
            None => self.problems.push(format!("call {call} was admitted with key `{name}`, which was never issued")),
            Some(key) => self.must(key.is_live(entry.at), || {
                format!("call {call} was admitted with key `{name}`, which was taken back or had run out")
            }),
        }
        let chain = event.authority.chain(owner);
        self.must(self.world.disabled.check(chain).is_ok(), || {
            format!("call {call} was admitted for a chain with somebody on it who is disabled")
        });
        self.must(entry.actor == event.authority.actor(owner), || format!("call {call} is blamed on another one"));
        self.must(holder.is_none_or(|holder| holder == owner), || {
            format!("call {call} was admitted with a key of another principal than `{owner}`")
        });
        self.must(self.world.policy.version == Some(event.policy_version), || {
            format!("call {call} was decided by policies that were not in force")
        });
        if let Some(parent) = event.parent {
            let of_session = self.calls.get(&parent).and_then(Fate::session);
            let is_here = of_session == Some(session);
            self.must(is_here, || format!("call {call} has parent {parent}, which was not admitted in this session"));
        }
        self.call_is_first(session, event, entry.at);
        self.has_body(entry, None);
        let hold = event.hold.nanos();
        for account in Account::path(session) {
            let left = room(&self.world.ledger.balance(&account));
            self.must(hold <= left, || {
                format!("call {call} holds {}, and `{account}` has {} left", event.hold, shown(left))
            });
        }
        let fate = Fate::Open { at: self.position, session: session.clone(), hold };
        if let Some(before) = self.calls.insert(call, fate) {
            self.problems.push(format!("call {call} was admitted, and it was {before}"));
        }
        let used = self.sessions.entry(session.clone()).or_default();
        used.held += hold;
        used.calls += 1;
    }

    /// A call that takes effect at most once is not admitted while an earlier one of its mark may have taken effect. What its rules allow it to
    /// do again is told by its entry alone where it was delivered; the rest is the journal's word.
    fn call_is_first(&mut self, session: &SessionId, event: &CallAdmitted, at: Timestamp) {
        let Some(mark) = event.once else { return };
        let Some(session) = self.world.session.find(session) else { return };
        match session.once.find(mark, true, at) {
            Ok(None) => {}
            Ok(Some(Earlier::Done(done))) if !mark.has_key() && event.delivered.contains(&done.call) => {}
            Ok(Some(Earlier::Done(Done { call, .. }) | Earlier::Open(call))) => {
                self.problems.push(format!("call {} is {call} once more", event.call));
            }
            Err(refusal) => self.problems.push(format!("call {}: {}", event.call, refusal.message)),
        }
    }

    fn has_push(&mut self, session: &SessionId, push: &PushName) {
        let is_there = self.world.pushes.find(session, push).is_some();
        self.must(is_there, || format!("there is no place for news `{push}`"));
    }

    fn push_bound(&mut self, session: &SessionId, event: &PushBound) {
        self.has_push(session, &event.push);
        let Some(push) = self.world.pushes.find(session, &event.push) else { return };
        let is_of_task = push.task.as_ref().is_none_or(|task| *task == event.task);
        self.must(push.is_bound || !event.is_over, || format!("`{}` is over and was not taken", event.push));
        self.must(is_of_task, || format!("`{}` is for another task", event.push));
    }

    fn news_came(&mut self, session: &SessionId, event: &NewsCame, entry: &Entry<Event>) {
        self.has_push(session, &event.push);
        let Some(push) = self.world.pushes.find(session, &event.push) else { return };
        let is_of_task = push.task.as_ref().is_none_or(|task| *task == event.task);
        let is_first = event.id.as_ref().is_none_or(|id| !push.knows(id));
        self.must(is_of_task, || format!("news of `{}` are at the place of another task", event.task));
        self.must(is_first, || format!("news {:?} came before", event.id));
        self.must(entry.bodies.len() == 1, || "they say nothing".to_owned());
    }

    fn call_resolved(&mut self, session: &SessionId, event: &CallResolved, entry: &Entry<Event>) {
        let of_session = self.calls.get(&event.call).and_then(Fate::session);
        let is_unknown =
            self.world.session.find(session).and_then(|session| session.once.unknown(event.call)).is_some();
        let is_here = of_session == Some(session) && is_unknown;
        self.must(is_here, || format!("call {} was resolved, and its outcome was not unknown here", event.call));
        let bodies = match event.outcome {
            Outcome::Completed => 1,
            Outcome::Failed | Outcome::Aborted | Outcome::Unknown => 0,
        };
        self.must(entry.bodies.len() == bodies, || format!("it has {} bodies", entry.bodies.len()));
    }

    fn call_refused(&mut self, event: &CallRefused) {
        let fate = Fate::Refused { at: self.position, code: event.code };
        if let Some(before) = self.calls.insert(event.call, fate) {
            self.problems.push(format!("call {} was refused, and it was {before}", event.call));
            self.calls.insert(event.call, before);
        }
    }

    fn call_settled(&mut self, session: &SessionId, event: &CallSettled, entry: &Entry<Event>) {
        let call = event.call;
        let settled = Fate::Settled { at: self.position, session: session.clone(), outcome: event.outcome };
        let hold = match self.calls.insert(call, settled) {
            Some(Fate::Open { session: opened, hold, .. }) => {
                self.must(opened == *session, || {
                    format!("call {call} was settled here, and it was admitted in `{opened}`")
                });
                hold
            }
            Some(before @ (Fate::Refused { .. } | Fate::Settled { .. })) => {
                return self.problems.push(format!("call {call} was settled, and it was {before}"));
            }
            None => return self.problems.push(format!("call {call} was settled, and it was never admitted")),
        };
        let charged = event.charged.nanos();
        let spare = Account::path(session).map(|account| room(&self.world.ledger.balance(&account))).into_iter().min();
        let most = hold.saturating_add(spare.unwrap_or(0));
        let amounts =
            || format!("{} of {} that were held and {} that were left", event.charged, shown(hold), shown(most - hold));
        self.must(charged <= most, || format!("call {call} was charged {}", amounts()));
        let is_whole = event.overrun == Nanodollars::ZERO || charged == most;
        self.must(is_whole, || format!("call {call} has an overrun, and was charged only {}", amounts()));
        let is_recovery = entry.actor == Actor::Gateway;
        self.must(!is_recovery || charged == hold, || format!("the recovery charged call {call} {}", amounts()));
        let used = self.sessions.entry(session.clone()).or_default();
        used.held = used.held.saturating_sub(hold);
        used.spent += charged;
    }

    /// Held and spent may be more than a grant that was lowered, but then they do not grow.
    fn judge_balances(&mut self, accounts: &[Account], before: &[Balance]) {
        for ((account, before), after) in accounts.iter().zip(before).zip(self.balances(accounts)) {
            let granted = after.granted.unwrap_or(Nanodollars::MAX).nanos();
            let is_lawful = used(&after) <= granted || used(&after) <= used(before);
            self.must(is_lawful, || {
                let (held, spent, granted) = (after.held, after.spent, shown(granted));
                format!("`{account}` holds {held} and has spent {spent} of {granted}")
            });
        }
    }

    /// What can be compared only when everything is known.
    pub(super) fn end(&mut self, faults: &mut Vec<String>) {
        let mut expected: BTreeMap<Account, Used> = BTreeMap::new();
        for (session, used) in &self.sessions {
            for account in Account::path(session) {
                let sum = expected.entry(account).or_default();
                (sum.held, sum.spent) = (sum.held + used.held, sum.spent + used.spent);
            }
            let counted = self.world.session.find(session).map_or(0, |session| session.calls);
            if counted != used.calls {
                faults.push(format!("session `{session}` counts {counted} calls, and {} were admitted", used.calls));
            }
        }
        for (account, balance) in self.world.ledger.balances() {
            let Used { held, spent, .. } = expected.remove(account).unwrap_or_default();
            if (balance.held.nanos(), balance.spent.nanos()) != (held, spent) {
                let (is_held, is_spent) = (balance.held, balance.spent);
                let should = format!("open calls hold {} and charges come to {}", shown(held), shown(spent));
                faults.push(format!("`{account}` holds {is_held} and has spent {is_spent}, and {should}"));
            }
        }
        let is_open = |call: &CallId| matches!(self.calls.get(call), Some(Fate::Open { .. }));
        let open = self.calls.values().filter(|fate| matches!(fate, Fate::Open { .. })).count();
        if open != self.world.open_calls.len() || !self.world.open_calls.keys().all(is_open) {
            faults
                .push(format!("{open} calls were not settled, and the world has {} open", self.world.open_calls.len()));
        }
        let read_back =
            serde_json::to_vec(&self.world).ok().and_then(|bytes| serde_json::from_slice::<World>(&bytes).ok());
        if read_back.as_ref() != Some(&self.world) {
            faults.push("the world reads back as another than was written".to_owned());
        }
    }

    /// It refers to one body; to this one, where it also names its digest.
    fn has_body(&mut self, entry: &Entry<Event>, expected: Option<Digest>) {
        let is_there = entry.bodies.len() == 1 && expected.is_none_or(|expected| entry.bodies.contains(&expected));
        self.must(is_there, || format!("it has {} bodies, or another than the one it speaks of", entry.bodies.len()));
    }

    fn balances(&self, accounts: &[Account]) -> Vec<Balance> {
        accounts.iter().map(|account| self.world.ledger.balance(account)).collect()
    }

    fn must(&mut self, is_so: bool, otherwise: impl FnOnce() -> String) {
        if !is_so {
            self.problems.push(otherwise());
        }
    }
}

impl Fate {
    /// The session that the call was admitted in.
    fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Refused { .. } => None,
            Self::Open { session, .. } | Self::Settled { session, .. } => Some(session),
        }
    }
}

impl std::fmt::Display for Fate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { at, code } => write!(out, "refused before ({code}), at position {at}"),
            Self::Open { at, session, .. } => write!(out, "admitted before in `{session}`, at position {at}"),
            Self::Settled { at, session, .. } => write!(out, "settled before in `{session}`, at position {at}"),
        }
    }
}

/// Whether the entry is about news of a task, which the gateway itself sees to.
fn is_of_news(event: &Event) -> bool {
    matches!(event, Event::PushBound(_) | Event::PushClosed(_) | Event::NewsCame(_) | Event::NewsDelivered(_))
}

/// The accounts whose balances the entry changes.
fn accounts(entry: &Entry<Event>) -> Vec<Account> {
    match (&entry.event, &entry.stream) {
        (Event::Granted(event), _) => vec![event.account.clone()],
        (Event::CallAdmitted(_) | Event::CallSettled(_), StreamId::Session(session)) => Account::path(session).into(),
        (
            Event::CallAdmitted(_)
            | Event::CallSettled(_)
            | Event::CallRefused(_)
            | Event::CallResolved(_)
            | Event::WaitOpened(_)
            | Event::WaitEnded(_)
            | Event::WaitDelivered(_)
            | Event::PushOpened(_)
            | Event::PushBound(_)
            | Event::PushClosed(_)
            | Event::NewsCame(_)
            | Event::NewsDelivered(_)
            | Event::KeyCreated(_)
            | Event::KeyRevoked(_)
            | Event::PolicyActivated(_)
            | Event::ToolsObserved(_)
            | Event::PrincipalDisabled(_)
            | Event::PrincipalEnabled(_)
            | Event::SessionFrozen(_)
            | Event::SessionUnfrozen(_)
            | Event::SessionOpened(_)
            | Event::SessionClosed(_)
            | Event::StatePut(_)
            | Event::StateDeleted(_)
            | Event::RecordPut(_)
            | Event::RecordExtended(_)
            | Event::RecordDropped(_)
            | Event::RequestTaken(_)
            | Event::RequestAnswered(_),
            _,
        ) => Vec::new(),
    }
}

/// What an account may still hold, reckoned without what [`Balance::available`] does.
fn room(balance: &Balance) -> u64 {
    balance.granted.unwrap_or(Nanodollars::MAX).nanos().saturating_sub(used(balance))
}

fn used(balance: &Balance) -> u64 {
    balance.held.nanos().saturating_add(balance.spent.nanos())
}

fn shown(nanos: u64) -> Nanodollars {
    Nanodollars::new(nanos)
}
