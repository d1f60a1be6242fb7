//! What the entries say: that no law was broken at any moment. The world comes from the same code as in the gateway; the laws are reckoned
//! here once more, so that a fault in deciding does not hide itself.

mod agent_task;
mod approval;
mod carved;
mod grant;
mod granted;
mod guarded;
mod identity;
mod keyed;
mod left;
mod policy;
mod push;
mod reckoned;
mod scratchpad;
mod task;
mod values;
mod wait;

use std::collections::{BTreeMap, HashMap};

use portcullis_domain::digest::Digest;
use portcullis_domain::event::{CallAdmitted, CallRefused, CallResolved, CallSettled, Event, Outcome};
use portcullis_domain::ids::{Actor, CallId, SessionId, TaskId};
use portcullis_domain::journal::{Entry, StreamId};
use portcullis_domain::ledger::{Account, Balance};
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::Version;
use portcullis_domain::refusal::Code;
use portcullis_domain::session::once::Done;
use portcullis_domain::session::{Earlier, Status};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;

/// What became of a call, and where that stands.
#[derive(Debug)]
pub(super) enum Fate {
    Refused { at: u64, code: Code },
    Open { at: u64, session: SessionId, task: Option<TaskId>, hold: u64 },
    Settled { at: u64, session: SessionId, outcome: Outcome },
}

/// What the calls of a session come to, reckoned by itself.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    held: u64,
    spent: u64,
    calls: u64,
}

#[derive(Default)]
pub(super) struct Laws {
    pub(super) world: World,
    pub(super) calls: HashMap<CallId, Fate>,
    sessions: HashMap<SessionId, Used>,
    values: HashMap<SessionId, values::Values>,
    tasks: carved::Tasks,
    grants: granted::Granted,
    approvals: HashMap<CallId, reckoned::Reckoned>,
    agent_tasks: left::Left,
    /// The digests of the rules that were in force, by the entries that put them there.
    activated: BTreeMap<u64, (Version, Option<Digest>)>,
    last_at: Timestamp,
    position: u64,
    /// What is wrong with the entry at hand.
    problems: Vec<String>,
}

impl Laws {
    /// Judges the entry by the world before it, takes it in, and judges the world after it.
    pub(super) fn take(&mut self, position: u64, entry: &Entry<Event>, faults: &mut Vec<String>) {
        self.position = position;
        let accounts = self.accounts(entry);
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

    /// What is not named here has no place outside a session.
    fn judge_control(&mut self, entry: &Entry<Event>) {
        if let Event::KeyCreated(event) = &entry.event {
            self.key_created(event);
        } else if let Event::KeyLimited(event) = &entry.event {
            self.key_limited(event);
        } else if let Event::KeyRevoked(event) = &entry.event {
            self.key_revoked(event);
            self.agent_tasks.key_ended(&event.key);
        } else if let Event::KeyWithdrawn(event) = &entry.event {
            self.key_withdrawn(event);
            self.agent_tasks.key_ended(&event.key);
        } else if let Event::KeyRestored(event) = &entry.event {
            self.key_restored(event);
        } else if let Event::PrincipalSeen(event) = &entry.event {
            self.principal_seen(event, &entry.actor);
        } else if let Event::PrincipalDisabled(event) = &entry.event {
            let is_new = self.world.disabled.since(&event.principal).is_none();
            self.must(is_new, || format!("`{}` was disabled before", event.principal));
            self.agent_tasks.disabled(&event.principal);
        } else if let Event::PrincipalEnabled(event) = &entry.event {
            let is_there = self.world.disabled.since(&event.principal).is_some();
            self.must(is_there, || format!("`{}` was not disabled", event.principal));
        } else if let Event::SigningRotated(event) = &entry.event {
            let before = self.world.identity.signing().generation;
            self.must(event.generation == before + 1, || format!("signing key {} after {before}", event.generation));
        } else if let Event::PolicyActivated(event) = &entry.event {
            self.policy_activated(event, entry);
        } else if let Event::PolicyRolledBack(event) = &entry.event {
            self.policy_rolled_back(event, entry);
        } else if let Event::PolicyRolledForward(event) = &entry.event {
            self.policy_rolled_forward(event, entry);
        } else if let Event::ToolsObserved(event) = &entry.event {
            self.has_body(entry, Some(event.digest));
        } else if let Event::Granted(event) = &entry.event {
            let is_here = matches!(event.account, Account::Principal(_));
            self.must(is_here, || format!("`{}` is granted outside its session", event.account));
        } else if let Event::RequestAnswered(event) = &entry.event {
            self.request_answered(None, event, entry);
        } else if let Event::CallRefused(event) = &entry.event {
            self.must(event.session.is_some(), || "a refusal outside any session names none".to_owned());
            self.call_refused(event);
            self.guarded_off(event, entry.bodies.len());
        } else {
            self.problems.push("it belongs to a session and stands outside".to_owned());
        }
    }

    fn judge_session(&mut self, session: &SessionId, entry: &Entry<Event>) {
        self.is_while_open(session, entry);
        self.is_by_whom_it_may(session, entry);
        self.keeps_its_law(session, entry);
    }

    /// A session is opened once, before anything else, and takes only what was still to come once it is closed.
    fn is_while_open(&mut self, session: &SessionId, entry: &Entry<Event>) {
        let status = self.world.session.find(session).map(|session| session.status);
        let is_opening = matches!(entry.event, Event::SessionOpened(_));
        let is_aftermath = matches!(
            entry.event,
            Event::CallSettled(_) | Event::CallRefused(_) | Event::CallResolved(_) | Event::RequestAnswered(_)
        );
        self.must(is_opening || status.is_some(), || "the session was never opened".to_owned());
        self.must(is_aftermath || status != Some(Status::Closed), || "the session was closed before".to_owned());
        self.must(!is_opening || status.is_none(), || "the session was opened before".to_owned());
    }

    /// It is the owner who acts, but for what the gateway itself sees to and what is anybody's.
    fn is_by_whom_it_may(&mut self, session: &SessionId, entry: &Entry<Event>) {
        let is_lawful = match &entry.actor {
            Actor::Principal(subject) | Actor::Through { subject, .. } if *subject == session.owner => true,
            Actor::Principal(_) | Actor::Through { .. } => is_anybodys(&entry.event),
            Actor::Gateway => is_anybodys(&entry.event) || is_the_gateways(&entry.event),
        };
        self.must(is_lawful, || {
            let actor = entry.actor.subject().map_or("the gateway".to_owned(), |name| format!("`{name}`"));
            format!("{actor} acts in a session of `{}`", session.owner)
        });
    }

    /// In full, so that nothing new goes without a law.
    fn keeps_its_law(&mut self, session: &SessionId, entry: &Entry<Event>) {
        match &entry.event {
            Event::SessionOpened(_) | Event::SessionClosed(_) => {}
            Event::SessionFrozen(_) => self.is_now(session, Status::Active),
            Event::SessionUnfrozen(_) => self.is_now(session, Status::Frozen),
            Event::UserSaid(_) => self.has_body(entry, None),
            Event::LabelLifted(event) => {
                let is_there = self.world.session.find(session).is_some_and(|one| one.labels.contains(&event.label));
                self.must(is_there, || format!("label `{}` was not there", event.label));
            }
            Event::GrantSet(event) => self.grant_set(session, event, entry),
            Event::StatePut(event) => self.state_put(session, event, entry),
            Event::StateDeleted(event) => self.state_deleted(session, event, entry),
            Event::WaitOpened(event) => self.wait_opened(session, event, entry),
            Event::WaitEnded(event) => self.wait_ended(session, event, entry),
            Event::WaitDelivered(event) => self.wait_delivered(session, event, entry),
            Event::ApprovalRequested(event) => self.approval_requested(session, event, entry),
            Event::ApprovalAnswered(event) => self.approval_answered(session, event, entry),
            Event::ApprovalEscalated(event) => self.approval_escalated(event),
            Event::ApprovalUsed(event) => self.approval_used(session, event, entry),
            Event::ApprovalExpired(event) => self.approval_expired(event, entry),
            Event::ApprovalWithdrawn(event) => self.approval_withdrawn(session, event),
            Event::PushOpened(event) => self.push_opened(session, event, entry),
            Event::PushBound(event) => self.push_bound(session, event),
            Event::PushClosed(event) => self.has_push(session, &event.push),
            Event::NewsCame(event) => self.news_came(session, event, entry),
            Event::NewsDelivered(event) => self.news_delivered(session, event),
            Event::TaskLeft(event) => self.task_left(session, event),
            Event::TaskOver(event) => self.task_ended(session, &event.agent, &event.task),
            Event::TaskCancelling(event) => self.task_cancelling(session, event),
            Event::TaskCancelled(event) => self.task_ended(session, &event.agent, &event.task),
            Event::RecordPut(event) => self.record_put(session, event, entry),
            Event::RecordExtended(event) => {
                self.has_body(entry, None);
                self.is_record(session, &event.id);
            }
            Event::RecordDropped(event) => self.is_record(session, &event.id),
            Event::RequestTaken(event) => self.request_taken(session, event, entry),
            Event::RequestAnswered(event) => self.request_answered(Some(session), event, entry),
            Event::Delegated(event) => self.delegated(session, event, entry),
            Event::CallAdmitted(event) => self.call_admitted(session, event, entry),
            Event::CallRefused(event) => {
                self.must(event.session.is_none(), || "a refusal in a session names another".to_owned());
                self.call_refused(event);
                self.guarded_off(event, entry.bodies.len());
            }
            Event::CallSettled(event) => self.call_settled(session, event, entry),
            Event::CallResolved(event) => self.call_resolved(session, event, entry),
            Event::Granted(event) => {
                let is_here = event.account == Account::Session(session.clone());
                self.must(is_here, || format!("`{}` is granted in a session", event.account));
            }
            Event::KeyCreated(_)
            | Event::KeyLimited(_)
            | Event::KeyRevoked(_)
            | Event::KeyWithdrawn(_)
            | Event::KeyRestored(_)
            | Event::PrincipalSeen(_)
            | Event::PrincipalDisabled(_)
            | Event::PrincipalEnabled(_)
            | Event::SigningRotated(_)
            | Event::PolicyActivated(_)
            | Event::PolicyRolledBack(_)
            | Event::PolicyRolledForward(_)
            | Event::ToolsObserved(_) => {
                self.problems.push("it belongs to no session and stands in one".to_owned());
            }
        }
    }

    fn is_now(&mut self, session: &SessionId, expected: Status) {
        let status = self.world.session.find(session).map(|session| session.status);
        self.must(status == Some(expected), || format!("the session was {status:?} before"));
    }

    fn call_admitted(&mut self, session: &SessionId, event: &CallAdmitted, entry: &Entry<Event>) {
        let call = event.call;
        self.is_now(session, Status::Active);
        let owner = &session.owner;
        let holder = self.holder(event, entry.at);
        let chain = event.authority.chain(owner);
        self.must(self.world.disabled.check(chain).is_ok(), || {
            format!("call {call} was admitted for a chain with somebody on it who is disabled")
        });
        let is_callable = event.callee.as_ref().is_none_or(|callee| self.world.disabled.since(callee).is_none());
        self.must(is_callable, || format!("call {call} was admitted of somebody who is disabled"));
        self.must(entry.actor == event.authority.actor(owner), || format!("call {call} is blamed on another one"));
        self.must(holder.is_none_or(|holder| holder == *owner), || {
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
        self.guarded_out(event);
        self.call_is_approved(session, event, entry.at);
        self.call_is_granted(session, event);
        self.has_body(entry, None);
        let hold = event.hold.nanos();
        let task = event.authority.task.as_ref();
        for account in self.tasks.path(session, task) {
            let left = room(&self.world.ledger.balance(&account));
            self.must(hold <= left, || {
                format!("call {call} holds {}, and `{account}` has {} left", event.hold, shown(left))
            });
        }
        let fate = Fate::Open { at: self.position, session: session.clone(), task: task.cloned(), hold };
        if let Some(before) = self.calls.insert(call, fate) {
            self.problems.push(format!("call {call} was admitted, and it was {before}"));
        }
        self.tasks.held(session, task, hold);
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

    fn call_resolved(&mut self, session: &SessionId, event: &CallResolved, entry: &Entry<Event>) {
        let of_session = self.calls.get(&event.call).and_then(Fate::session);
        let is_unknown =
            self.world.session.find(session).and_then(|session| session.once.unknown(event.call)).is_some();
        let is_here = of_session == Some(session) && is_unknown;
        self.must(is_here, || format!("call {} was resolved, and its outcome was not unknown here", event.call));
        self.grants.ended(event.call, event.outcome);
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
        self.guarded_back(event);
        let call = event.call;
        let settled = Fate::Settled { at: self.position, session: session.clone(), outcome: event.outcome };
        let (hold, task) = match self.calls.insert(call, settled) {
            Some(Fate::Open { session: opened, task, hold, .. }) => {
                self.must(opened == *session, || {
                    format!("call {call} was settled here, and it was admitted in `{opened}`")
                });
                (hold, task)
            }
            Some(before @ (Fate::Refused { .. } | Fate::Settled { .. })) => {
                return self.problems.push(format!("call {call} was settled, and it was {before}"));
            }
            None => return self.problems.push(format!("call {call} was settled, and it was never admitted")),
        };
        self.grants.ended(call, event.outcome);
        let charged = event.charged.nanos();
        let path = self.tasks.path(session, task.as_ref());
        let spare = path.iter().map(|account| room(&self.world.ledger.balance(account))).min();
        let most = hold.saturating_add(spare.unwrap_or(0));
        let amounts =
            || format!("{} of {} that were held and {} that were left", event.charged, shown(hold), shown(most - hold));
        self.must(charged <= most, || format!("call {call} was charged {}", amounts()));
        let is_whole = event.overrun == Nanodollars::ZERO || charged == most;
        self.must(is_whole, || format!("call {call} has an overrun, and was charged only {}", amounts()));
        let is_recovery = entry.actor == Actor::Gateway;
        self.must(!is_recovery || charged == hold, || format!("the recovery charged call {call} {}", amounts()));
        self.tasks.settled(session, task.as_ref(), hold, charged);
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
        expected.extend(self.tasks.used().map(|(account, held, spent)| (account, Used { held, spent, calls: 0 })));
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

/// Whether others than the owner may act: administrators, and the gateway.
fn is_anybodys(event: &Event) -> bool {
    matches!(
        event,
        Event::SessionClosed(_)
            | Event::SessionFrozen(_)
            | Event::SessionUnfrozen(_)
            | Event::LabelLifted(_)
            | Event::CallResolved(_)
            | Event::WaitEnded(_)
            | Event::WaitDelivered(_)
            | Event::RequestAnswered(_)
            | Event::ApprovalAnswered(_)
            | Event::GrantSet(_)
    )
}

/// Whether the gateway itself sees to it: news of a task, what a lost call has cost, and what a session is granted.
fn is_the_gateways(event: &Event) -> bool {
    matches!(
        event,
        Event::PushBound(_)
            | Event::PushClosed(_)
            | Event::NewsCame(_)
            | Event::NewsDelivered(_)
            | Event::CallSettled(_)
            | Event::Granted(_)
            | Event::ApprovalEscalated(_)
            | Event::ApprovalExpired(_)
            | Event::TaskLeft(_)
            | Event::TaskOver(_)
            | Event::TaskCancelling(_)
            | Event::TaskCancelled(_)
    )
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
