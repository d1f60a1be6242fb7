//! The laws, one test each. A law looks at every moment of every story: the world before a step, the step, and the world after it.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_domain::admission::Command;
use portcullis_domain::digest::Digest;
use portcullis_domain::event::{CallAdmitted, CallSettled, Event, Outcome};
use portcullis_domain::ids::{CallId, PrincipalName, SessionId, TaskId};
use portcullis_domain::journal::StreamId;
use portcullis_domain::ledger::{Account, Charge};
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::Effect;
use portcullis_domain::refusal::Code;
use portcullis_domain::session::state::MINTED_PREFIX;
use portcullis_domain::session::wait::{End, WaitName};
use portcullis_domain::session::{Earlier, Expected, Mark, Origin, StateKey, Status, Turn};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::{OpenCall, World};
use proptest::prelude::*;

use super::engine::{Engine, Written, replay};
use super::steps::{
    Ask, Done, Ending, Step, Value, aimed, call, capability, config, configure, key_id, payload, principal, replica,
    session, started, state_key, steps, take, task_id, wait_name,
};

struct Moment<'a> {
    before: &'a World,
    step: &'a Step,
    done: &'a Done,
    engine: &'a Engine,
    /// What the step wrote.
    written: &'a [Written],
    /// What callers were told, and so may rely on.
    promised: &'a [Promise],
}

enum Promise {
    Admitted(CallId, SessionId),
    Charged(SessionId, Nanodollars),
    Put(SessionId, StateKey, u64),
}

/// Plays random stories and holds the law against every moment of them.
fn check(law: impl Fn(&Moment<'_>)) {
    check_times(1, law);
}

fn check_times(times: u32, law: impl Fn(&Moment<'_>)) {
    proptest!(config(times), |(steps in steps())| play(&steps, &law));
}

fn play(steps: &[Step], law: &impl Fn(&Moment<'_>)) {
    let mut engine = started();
    let (mut promised, mut pending) = (Vec::new(), Vec::new());
    for step in steps {
        let before = engine.world.clone();
        let length = engine.written.len();
        let done = take(&mut engine, step);
        pending.extend(promise(&before, step, &done));
        if let Step::Sync = step {
            promised.append(&mut pending);
        } else if let Step::Crash { .. } = step {
            pending.clear();
        }
        let written = engine.written.get(length..).unwrap_or_default();
        law(&Moment { before: &before, step, done: &done, engine: &engine, written, promised: &promised });
    }
}

fn promise(before: &World, step: &Step, done: &Done) -> Option<Promise> {
    match (step, done) {
        (Step::Admit(ask), Done::Admitted(_)) => Some(Promise::Admitted(call(ask.call), session(ask.owner, ask.name))),
        (Step::Settle { call: number, .. }, Done::Settled(receipt)) => {
            let open = before.open_calls.get(&aimed(before, *number)).unwrap();
            Some(Promise::Charged(open.session.clone(), receipt.charged))
        }
        (Step::Put { at, .. }, Done::Put(put)) => Some(Promise::Put(at.session(), at.key(), put.version)),
        _ => None,
    }
}

#[test]
fn no_account_ever_holds_and_spends_more_than_its_grant() {
    check(|moment| {
        for (account, balance) in moment.engine.world.ledger.balances() {
            let granted = balance.granted.unwrap_or(Nanodollars::MAX).nanos();
            assert!(balance.held.nanos() + balance.spent.nanos() <= granted, "{account}: {balance:?}");
        }
    });
}

#[test]
fn what_is_held_and_spent_is_what_the_journal_says() {
    check(|moment| {
        let (mut held, mut spent) = (BTreeMap::new(), BTreeMap::new());
        let mut open: BTreeMap<CallId, u64> = BTreeMap::new();
        let mut paths = BTreeMap::new();
        for Written { entry, .. } in &moment.engine.written {
            let StreamId::Session(session) = &entry.stream else { continue };
            let paying = if let Event::CallAdmitted(event) = &entry.event {
                paths.insert(event.call, path(moment, session, event.authority.task.as_ref()));
                &paths[&event.call]
            } else if let Event::CallSettled(event) = &entry.event {
                &paths[&event.call]
            } else {
                continue;
            };
            for account in paying.iter().cloned() {
                let (held, spent) = (held.entry(account.clone()).or_insert(0), spent.entry(account).or_insert(0));
                if let Event::CallAdmitted(CallAdmitted { call, hold, .. }) = &entry.event {
                    open.insert(*call, hold.nanos());
                    *held += hold.nanos();
                } else if let Event::CallSettled(CallSettled { call, charged, .. }) = &entry.event {
                    *held -= open[call];
                    *spent += charged.nanos();
                }
            }
        }
        for (account, balance) in moment.engine.world.ledger.balances() {
            let expected = (held.get(account).copied().unwrap_or(0), spent.get(account).copied().unwrap_or(0));
            assert_eq!((balance.held.nanos(), balance.spent.nanos()), expected, "{account}");
        }
    });
}

/// The accounts that bear a call, by what the entries say of tasks.
fn path(moment: &Moment<'_>, session: &SessionId, task: Option<&TaskId>) -> Vec<Account> {
    let mut path = Account::path(session).to_vec();
    let mut next = task.cloned();
    while let Some(task) = next {
        let carved = moment.engine.written.iter().find_map(|written| {
            let Event::Delegated(event) = &written.entry.event else { return None };
            let grant = event.grant.as_ref().filter(|grant| grant.task == task);
            grant.filter(|_| written.entry.stream == StreamId::Session(session.clone()))
        });
        assert!(path.len() < 8, "a task pays for itself: {path:?}");
        path.insert(2, Account::Task(task));
        next = carved.and_then(|grant| grant.parent.clone());
    }
    path
}

#[test]
fn what_is_carved_out_is_no_more_than_there_is_and_bears_calls_of_its_own_session_alone() {
    check(|moment| {
        if let (Step::Delegate(hand_on), Done::Delegated(delegation)) = (moment.step, moment.done) {
            let session = session(hand_on.owner, hand_on.name);
            let left = path(moment, &session, hand_on.parent.map(task_id).as_ref());
            let left = left.iter().map(|account| moment.before.ledger.balance(account));
            if let Some(budget) = delegation.budget {
                assert!(left.map(|balance| balance.available()).all(|available| budget <= available), "{delegation:?}");
                assert_eq!(delegation.authority.task, hand_on.task.map(task_id));
            }
            assert!(is_held(moment, hand_on.key, &session.owner));
        } else if let (Step::Admit(ask), Done::Admitted(answer)) = (moment.step, moment.done)
            && let Some(task) = ask.task.map(task_id)
        {
            let is_own = moment.before.ledger.session_of(&task) == Some(answer.session());
            assert!(is_own || ask.estimate == Some(0), "{task} bears a call of {}", answer.session());
        }
    });
}

#[test]
fn an_admitted_call_is_settled_at_most_once_and_held_only_while_it_is_open() {
    check(|moment| {
        let mut open = BTreeMap::new();
        for Written { entry, .. } in &moment.engine.written {
            if let Event::CallAdmitted(event) = &entry.event {
                assert!(open.insert(event.call, entry.stream.clone()).is_none(), "{} was open", event.call);
            } else if let Event::CallSettled(event) = &entry.event {
                assert_eq!(open.remove(&event.call).as_ref(), Some(&entry.stream), "{} was not open", event.call);
            }
        }
        let world = &moment.engine.world;
        assert_eq!(world.open_calls.keys().collect::<Vec<_>>(), open.keys().collect::<Vec<_>>());
        for call in (0..12).map(call).filter(|call| !open.contains_key(call)) {
            assert_eq!(world.ledger.charge(call, None), Charge::default(), "{call} is not open and still held");
        }
        if matches!(moment.step, Step::Crash { .. }) {
            assert!(open.is_empty(), "a call is open after the recovery");
        }
    });
}

#[test]
fn a_receipt_shows_the_account_as_it_is_afterwards() {
    check(|moment| {
        if let (Step::Settle { call: number, .. }, Done::Settled(receipt)) = (moment.step, moment.done) {
            let session = moment.before.open_calls[&aimed(moment.before, *number)].session.clone();
            assert_eq!(receipt.session, moment.engine.world.ledger.balance(&Account::Session(session)));
        }
    });
}

#[test]
fn nothing_is_admitted_but_what_policy_allows_to_the_holder_of_a_live_key() {
    check(|moment| {
        let admitted = moment.written.iter().any(|written| matches!(written.entry.event, Event::CallAdmitted(_)));
        let (Step::Admit(ask), Done::Admitted(answer)) = (moment.step, moment.done) else {
            assert!(!admitted, "{:?} admitted a call", moment.step);
            return;
        };
        assert!(admitted, "the answer is yes and the journal does not say so");
        assert!(ask.effect == Effect::Allow && !ask.is_stale && ask.has_payload);
        assert_eq!(answer.payload(), payload(ask.call).bytes());
        assert_eq!((answer.call(), answer.session()), (call(ask.call), &session(ask.owner, ask.name)));
        assert!(is_held(moment, ask.key, &principal(ask.owner)), "key {}", ask.key);
        let session = moment.before.session.find(answer.session());
        assert!(session.is_none_or(|session| session.status == Status::Active));
    });
}

/// Whether the journal says that the key is the principal's and is valid now.
fn is_held(moment: &Moment<'_>, number: u8, holder: &PrincipalName) -> bool {
    let mut is_held = false;
    for Written { entry, .. } in &moment.engine.written {
        if let Event::KeyCreated(event) = &entry.event
            && event.key == key_id(number)
        {
            let is_over = event.expires_at.is_some_and(|expiry| expiry <= Timestamp(moment.engine.now));
            is_held = event.principal == *holder && !is_over;
        }
        is_held &= !matches!(&entry.event, Event::KeyRevoked(event) if event.key == key_id(number));
    }
    is_held
}

#[test]
fn a_call_holds_what_it_may_cost_on_every_account_of_its_path() {
    check(|moment| {
        let (Step::Admit(ask), Done::Admitted(answer)) = (moment.step, moment.done) else { return };
        let hold = ask.estimate.map(Nanodollars::new).unwrap_or_default();
        for account in path(moment, answer.session(), ask.task.map(task_id).as_ref()) {
            let (before, after) =
                (moment.before.ledger.balance(&account), moment.engine.world.ledger.balance(&account));
            assert_eq!(after.held.nanos(), before.held.nanos() + hold.nanos(), "{account}");
            let is_limited = after.granted.is_some();
            assert!(ask.estimate.is_some() || !is_limited, "{account} is limited and the call has no price");
        }
    });
}

#[test]
fn a_name_that_the_gateway_gives_is_opened_by_the_gateway_only() {
    check(|moment| {
        for (id, _) in moment.engine.world.session.all() {
            let is_new = moment.before.session.find(id).is_none();
            if is_new && id.name.as_str().starts_with(MINTED_PREFIX) {
                let asked = Origin::Minted;
                let is_minted = matches!(moment.step, Step::Admit(Ask { origin, .. }) | Step::Open { origin, .. } if *origin == asked);
                assert!(is_minted, "{:?} opened {id}", moment.step);
            }
        }
    });
}

#[test]
fn what_is_configured_is_in_force_and_journaled_once() {
    check(|moment| {
        let Step::Configure { raised, policies } = moment.step else { return };
        let world = &moment.engine.world;
        assert_eq!(world.policy.version, Some(Digest::of(&[*policies])));
        for (number, raised) in (0..).zip(raised) {
            let account = Account::Principal(principal(number));
            let granted = |world: &World| world.ledger.balance(&account).granted.unwrap().nanos();
            assert_eq!(granted(world), granted(moment.before) + raised, "{account}");
        }
        let again = configure(moment.engine, [0; 2], *policies).decide(world, Timestamp(moment.engine.now));
        assert_eq!(again.drafts, []);
    });
}

#[test]
fn what_was_acknowledged_survives_every_crash() {
    check(|moment| {
        let world = &moment.engine.world;
        let mut charged: BTreeMap<&SessionId, u64> = BTreeMap::new();
        for promise in moment.promised {
            match promise {
                Promise::Admitted(call, session) => assert!(
                    moment
                        .engine
                        .written
                        .iter()
                        .any(|written| written.entry.stream == StreamId::Session(session.clone())
                            && matches!(&written.entry.event, Event::CallAdmitted(event) if event.call == *call)),
                    "call {call} was admitted and is gone"
                ),
                Promise::Charged(session, amount) => *charged.entry(session).or_default() += amount.nanos(),
                Promise::Put(session, key, version) => {
                    let scratchpad = &world.session.find(session).unwrap().scratchpad;
                    assert!(scratchpad.next_version(key) > *version, "a version that was told comes again");
                }
            }
        }
        for (session, amount) in charged {
            assert!(world.ledger.balance(&Account::Session(session.clone())).spent.nanos() >= amount, "{session}");
        }
    });
}

#[test]
fn a_replay_gives_the_same_world_byte_for_byte() {
    check(|moment| {
        // A replay at every step would take a hundred times as long and show the same.
        if !matches!(moment.step, Step::Sync | Step::Crash { .. }) {
            return;
        }
        let world = &moment.engine.world;
        let (replayed, _) = replay(&moment.engine.written);
        assert_eq!(replayed, *world);
        let bytes = serde_json::to_vec(world).unwrap();
        assert_eq!(serde_json::to_vec(&replayed).unwrap(), bytes);
        assert_eq!(serde_json::from_slice::<World>(&bytes).unwrap(), *world, "a stored world reads back as another");
    });
}

#[test]
fn a_world_that_was_stored_goes_on_as_the_one_that_was_not() {
    check(|moment| {
        // After a crash another world is there, which the law above looks at.
        if moment.written.is_empty() || matches!(moment.step, Step::Crash { .. }) {
            return;
        }
        let mut stored: World = serde_json::from_slice(&serde_json::to_vec(moment.before).unwrap()).unwrap();
        moment.written.iter().for_each(|written| stored.apply(&written.entry));
        let bytes = |world| serde_json::to_vec(world).unwrap();
        assert_eq!(bytes(&stored), bytes(&moment.engine.world), "{:?}", moment.step);
    });
}

#[test]
fn nobody_touches_what_belongs_to_another() {
    check(|moment| {
        if matches!(moment.step, Step::Crash { .. }) {
            return;
        }
        let acting = acting(moment);
        let is_foreign = |owner: &PrincipalName| Some(owner) != acting.as_ref();
        for Written { entry, .. } in moment.written {
            if let StreamId::Session(session) = &entry.stream {
                assert!(!is_foreign(&session.owner), "{acting:?} wrote to {session}");
            }
        }
        let foreign = |world: &World| {
            let sessions = world.session.all().filter(|(id, _)| is_foreign(&id.owner));
            let sessions: Vec<_> = sessions.map(|(id, session)| (id.clone(), session.clone())).collect();
            let is_used = |account: &Account| match account {
                Account::Principal(name) => is_foreign(name),
                Account::Session(id) => is_foreign(&id.owner),
                Account::Task(task) => world.ledger.session_of(task).is_some_and(|session| is_foreign(&session.owner)),
            };
            let balances = world
                .ledger
                .balances()
                .filter(|(account, balance)| is_used(account) && (balance.held, balance.spent) != Default::default());
            let balances: Vec<_> = balances.map(|(account, used)| (account.clone(), used.held, used.spent)).collect();
            (sessions, balances)
        };
        assert_eq!(foreign(moment.before), foreign(&moment.engine.world), "{acting:?}");
    });
}

/// In whose name the step is taken: by the key that was presented, not by the session that was named.
fn acting(moment: &Moment<'_>) -> Option<PrincipalName> {
    match moment.step {
        Step::Admit(ask) => moment.before.identity.find(&key_id(ask.key)).map(|key| key.principal.clone()),
        Step::Settle { call: number, .. } => {
            moment.before.open_calls.get(&aimed(moment.before, *number)).map(|open| open.session.owner.clone())
        }
        Step::OpenWait { owner, .. } | Step::EndWait { owner, .. } | Step::NoteDelivery { owner, .. } => {
            Some(principal(*owner))
        }
        Step::Delegate(hand_on) => moment.before.identity.find(&key_id(hand_on.key)).map(|key| key.principal.clone()),
        // An administrator resolves in the name of nobody else than the owner.
        Step::Close { owner, .. } | Step::Resolve { owner, .. } => Some(principal(*owner)),
        Step::Open { key, .. }
        | Step::Put { at: Value { key, .. }, .. }
        | Step::Delete { at: Value { key, .. }, .. } => {
            moment.before.identity.find(&key_id(*key)).map(|key| key.principal.clone())
        }
        Step::CreateKey { .. }
        | Step::RevokeKey { .. }
        | Step::Configure { .. }
        | Step::ObserveTools { .. }
        | Step::Wait { .. }
        | Step::Sync
        | Step::Crash { .. } => None,
    }
}

#[test]
fn a_closed_session_takes_nothing_but_settlements() {
    check(|moment| {
        for Written { entry, .. } in moment.written {
            let StreamId::Session(session) = &entry.stream else { continue };
            let was_closed =
                moment.before.session.find(session).is_some_and(|session| session.status == Status::Closed);
            let is_aftermath = matches!(entry.event, Event::CallSettled(_) | Event::CallResolved(_));
            assert!(!was_closed || is_aftermath, "{session}: {:?}", entry.event);
        }
    });
}

/// What the journal says of the last call of that mark, told without the state that the rules keep.
#[derive(Debug, Clone, Copy, PartialEq)]
enum LastOfMark {
    Open,
    Done { seq: u64, is_delivered: bool },
    Failed,
    Unknown,
}

fn last_of_mark(moment: &Moment<'_>, session: &SessionId, mark: Mark) -> Option<(CallId, LastOfMark)> {
    let mut last = None;
    // What this step wrote is not yet known to it.
    let known = moment.engine.written.len() - moment.written.len();
    for Written { entry, .. } in moment.engine.written.iter().take(known) {
        if entry.stream != StreamId::Session(session.clone()) {
            continue;
        }
        let ended = |outcome| match outcome {
            Outcome::Completed => LastOfMark::Done { seq: entry.seq, is_delivered: false },
            Outcome::Failed => LastOfMark::Failed,
            Outcome::Aborted | Outcome::Unknown => LastOfMark::Unknown,
        };
        match (&entry.event, &mut last) {
            (Event::CallAdmitted(event), last) => {
                if let Some((call, LastOfMark::Done { is_delivered, .. })) = last {
                    *is_delivered |= event.delivered.contains(call);
                }
                if event.once.is_some_and(|once| once.id == mark.id) {
                    *last = Some((event.call, LastOfMark::Open));
                }
            }
            (Event::CallSettled(event), Some((call, state))) if event.call == *call && *state == LastOfMark::Open => {
                *state = ended(event.outcome);
            }
            (Event::CallResolved(event), Some((call, state))) if event.call == *call => *state = ended(event.outcome),
            _ => {}
        }
    }
    last
}

#[test]
fn a_marked_call_is_not_made_again_while_the_first_one_may_have_taken_effect() {
    check(|moment| {
        let Step::Admit(Ask { marked: Some(marked), owner, name, delivered, .. }) = moment.step else { return };
        let last = last_of_mark(moment, &session(*owner, *name), marked.mark());
        match moment.done {
            Done::Admitted(_) => {
                let may_be_made = match last {
                    None | Some((_, LastOfMark::Failed)) => true,
                    Some((_, LastOfMark::Open)) => false,
                    Some((_, LastOfMark::Unknown)) => marked.is_harmless,
                    Some((earlier, LastOfMark::Done { is_delivered, .. })) => {
                        !marked.has_key && (is_delivered || delivered.iter().any(|number| call(*number) == earlier))
                    }
                };
                assert!(may_be_made, "{marked:?} was made again after {last:?}");
            }
            Done::Again(Earlier::Open(earlier)) => assert_eq!(last, Some((*earlier, LastOfMark::Open))),
            Done::Again(Earlier::Done(done)) => assert!(
                matches!(last, Some((earlier, LastOfMark::Done { seq, .. })) if (earlier, seq) == (done.call, done.seq)),
                "{done:?} for {last:?}"
            ),
            Done::Refused(Code::OutcomeUnknown) => {
                assert!(matches!(last, Some((_, LastOfMark::Unknown))) && !marked.is_harmless, "{last:?}");
            }
            Done::Refused(_) | Done::Settled(_) | Done::Delegated(_) | Done::Put(_) | Done::Deleted | Done::Else => {}
        }
    });
}

/// What the journal alone says of the waits of a session: when they expire, whether they are told, by which entry they ended and whether that was accepted.
#[derive(Debug, Default)]
struct Told {
    until: u64,
    is_told: bool,
    ended: Option<u64>,
    is_accepted: bool,
}

#[test]
fn a_wait_ends_once_in_time_and_is_told_in_order_until_it_was_accepted() {
    check(|moment| {
        let mut waits: BTreeMap<(&StreamId, &WaitName), Told> = BTreeMap::new();
        let mut closed = Vec::new();
        for Written { entry, .. } in &moment.engine.written {
            if let Event::WaitOpened(event) = &entry.event {
                assert!(entry.at < event.until, "it was over before it began");
                let told = Told { until: event.until.0, is_told: event.deliver.is_some(), ..Told::default() };
                assert!(waits.insert((&entry.stream, &event.name), told).is_none(), "{} twice", event.name);
            } else if let Event::WaitEnded(event) = &entry.event {
                let wait = waits.get_mut(&(&entry.stream, &event.name)).unwrap();
                assert_eq!(wait.ended, None, "{} ended twice", event.name);
                assert_eq!(event.end != End::Expired, entry.at.0 < wait.until || event.end == End::Cancelled);
                wait.ended = Some(entry.seq);
                wait.is_told &= event.end != End::Cancelled;
            } else if let Event::WaitDelivered(event) = &entry.event {
                let wait = waits.get_mut(&(&entry.stream, &event.name)).unwrap();
                assert!(wait.ended.is_some() && wait.is_told && !wait.is_accepted, "{:?}", event.name);
                wait.is_accepted = true;
            } else if let Event::SessionClosed(_) = &entry.event {
                closed.push(&entry.stream);
            }
        }
        let mut expected: BTreeMap<&StreamId, (u64, &WaitName)> = BTreeMap::new();
        for ((stream, name), wait) in &waits {
            if let Some(seq) = wait.ended.filter(|_| wait.is_told && !wait.is_accepted && !closed.contains(stream)) {
                let first = expected.entry(stream).or_insert((seq, name));
                *first = (*first).min((seq, name));
            }
        }
        let expected: Vec<_> = expected.into_iter().map(|(stream, (_, name))| (stream.clone(), name.clone())).collect();
        let told = moment.engine.world.waits.to_tell();
        let told: Vec<_> = told.map(|(session, name, _)| (StreamId::Session(session.clone()), name.clone())).collect();
        assert_eq!(told, expected);
    });
}

#[test]
fn a_wait_of_days_is_over_when_its_time_has_come_and_not_before() {
    const DAY_US: u64 = 86_400_000_000;
    let mut engine = started();
    let open = Step::OpenWait { owner: 0, name: 0, wait: 0, until: 2 * DAY_US, is_told: true };
    assert!(matches!(take(&mut engine, &open), Done::Else));
    let id = session(0, 0);
    let overdue = |engine: &Engine| engine.world.waits.overdue(Timestamp(engine.now)).count();
    take(&mut engine, &Step::Wait { micros: DAY_US });
    assert_eq!(overdue(&engine), 0);
    let expire = Step::EndWait { owner: 0, name: 0, wait: 0, end: Ending::Expired };
    assert!(matches!(take(&mut engine, &expire), Done::Refused(Code::Conflict)));
    take(&mut engine, &Step::Wait { micros: DAY_US });
    assert_eq!(overdue(&engine), 1);
    // Nobody has noticed yet, and the letter is late all the same.
    let event = Step::EndWait { owner: 0, name: 0, wait: 0, end: Ending::Event(1) };
    assert!(matches!(take(&mut engine, &event), Done::Refused(Code::WaitOver)));
    assert!(matches!(take(&mut engine, &expire), Done::Else));
    assert_eq!((overdue(&engine), engine.world.waits.to_tell().count()), (0, 1));
    take(&mut engine, &Step::NoteDelivery { owner: 0, name: 0, wait: 0 });
    assert_eq!(engine.world.waits.to_tell().count(), 0);
    assert!(engine.world.waits.find(&id, &wait_name(0)).unwrap().is_done);
}

#[test]
fn the_turns_of_a_session_with_an_agent_come_one_after_the_other() {
    check(|moment| {
        // A call's number may be given again once it is settled: its last admission counts.
        let mut admitted = BTreeMap::new();
        for Written { entry, .. } in &moment.engine.written {
            if let Event::CallAdmitted(event) = &entry.event {
                admitted.insert(event.call, (event.is_turn, &entry.stream, &event.capability));
            }
        }
        let mut under_way = BTreeSet::new();
        for call in moment.engine.world.open_calls.keys() {
            let (is_turn, stream, capability) = admitted[call];
            assert!(!is_turn || under_way.insert((stream, capability)), "{stream} with {capability}");
        }
        if let (Step::Admit(ask), Done::Refused(Code::TurnUnderWay)) = (moment.step, moment.done) {
            let is_open =
                |open: &OpenCall| open.session == session(ask.owner, ask.name) && open.capability == capability(ask);
            assert!(moment.before.open_calls.values().any(is_open), "it is nobody's turn");
        }
    });
}

/// The version of a value before this step, told by the entries alone; and the highest one that it or any other ever had.
fn last_of_value(moment: &Moment<'_>, session: &SessionId, key: &StateKey) -> (Option<u64>, u64, u64) {
    let (mut there, mut last, mut most) = (None, 0, 0);
    let known = moment.engine.written.len() - moment.written.len();
    for Written { entry, .. } in moment.engine.written.iter().take(known) {
        if entry.stream != StreamId::Session(session.clone()) {
            continue;
        }
        if let Event::StatePut(event) = &entry.event {
            most = most.max(event.version);
            if event.key == *key {
                (there, last) = (Some((event.version, event.expires_at)), event.version);
            }
        } else if let Event::StateDeleted(event) = &entry.event
            && event.key == *key
        {
            there = None;
        }
    }
    let now = Timestamp(moment.engine.now);
    let there = there.filter(|(_, expires_at)| expires_at.is_none_or(|expiry| now < expiry));
    (there.map(|(version, _)| version), last, most)
}

#[test]
fn a_value_changes_only_over_what_its_writer_expects_and_never_has_a_version_twice() {
    check(|moment| {
        let (Step::Put { at, expected, .. } | Step::Delete { at, expected }) = moment.step else { return };
        let (there, last, most) = last_of_value(moment, &at.session(), &at.key());
        let is_met = match expected {
            Expected::Anything => true,
            Expected::Absent => there.is_none(),
            Expected::Present => there.is_some(),
            Expected::Version(version) => there == Some(*version),
        };
        if let Done::Put(put) = moment.done {
            assert!(is_met, "{expected:?} was met by {there:?}");
            assert!(put.version > last && put.version <= most + 1, "{put:?} after {last} of {most}");
            assert_eq!(put.is_new, there.is_none());
        } else if let Done::Deleted = moment.done {
            assert!(is_met && there.is_some(), "{there:?} was deleted");
        } else if let Done::Refused(Code::Conflict) = moment.done {
            assert!(!is_met, "{expected:?} was not met by {there:?}");
        } else if let Done::Refused(Code::NotFound) = moment.done {
            assert!(there.is_none() && matches!(moment.step, Step::Delete { .. }));
        }
    });
}

#[test]
fn a_session_stays_with_its_replica_as_long_as_that_can_serve_it() {
    check(|moment| {
        let (Step::Admit(ask), Done::Admitted(answer)) = (moment.step, moment.done) else { return };
        let before = moment.before.placements.find(answer.session(), answer.capability());
        let Some(candidates) = &ask.candidates else { return assert_eq!(answer.placement(), None) };
        let placement = answer.placement().unwrap();
        let candidates: Vec<_> = candidates.iter().map(|number| replica(*number)).collect();
        assert!(candidates.contains(&placement.replica));
        match before.filter(|before| candidates.contains(&before.replica)) {
            Some(before) => assert_eq!(placement, before),
            None => {
                assert_eq!(placement.fence, before.map_or(0, |before| before.fence) + 1);
            }
        }
        let id = StreamId::Session(answer.session().clone());
        let known = moment.engine.written.len() - moment.written.len();
        let (mut sent, mut knows_session) = (BTreeSet::new(), false);
        for Written { entry, .. } in
            moment.engine.written.iter().take(known).filter(|written| written.entry.stream == id)
        {
            if let Event::CallAdmitted(event) = &entry.event {
                // A call's number may be given again once it is settled: its last admission counts.
                sent.remove(&event.call);
                sent.extend((event.placement.as_ref() == Some(placement)).then_some(event.call));
            } else if let Event::CallSettled(event) = &entry.event {
                knows_session |= sent.remove(&event.call) && event.outcome == Outcome::Completed;
            }
        }
        assert_eq!(answer.knows_session(), knows_session, "{placement:?}");
        let after = moment.engine.world.placements.find(answer.session(), answer.capability());
        assert_eq!(after, Some(placement));
    });
}

#[test]
fn a_value_is_there_from_its_entry_on_until_it_is_deleted_or_over() {
    check(|moment| {
        for (owner, name, number) in
            (0..3).flat_map(|owner| (0..2).flat_map(move |name| [(owner, name, 0), (owner, name, 1)]))
        {
            let (id, key, now) = (session(owner, name), state_key(number), Timestamp(moment.engine.now));
            let (there, ..) = last_of_value(&Moment { written: &[], ..*moment }, &id, &key);
            let found = moment.engine.world.session.find(&id).and_then(|session| session.scratchpad.find(&key, now));
            assert_eq!(found.map(|located| located.version), there, "{id} {key}");
        }
    });
}

#[test]
fn a_scratchpad_is_written_by_the_holder_of_a_live_key_only() {
    check(|moment| {
        let (key, owner) = if let Step::Put { at, .. } | Step::Delete { at, .. } = moment.step {
            (at.key, at.owner)
        } else if let Step::Open { key, owner, .. } = moment.step {
            (*key, *owner)
        } else {
            return;
        };
        let is_held = is_held(moment, key, &principal(owner));
        let is_refused = matches!(moment.done, Done::Refused(Code::Unauthenticated));
        assert_eq!(is_refused, !is_held, "key {key} of {owner}");
        assert!(is_held || moment.written.is_empty());
    });
}

#[test]
fn every_refusal_of_a_call_is_written_where_its_reader_may_look() {
    check(|moment| {
        let (Step::Admit(ask), Done::Refused(code)) = (moment.step, moment.done) else { return };
        let is_waiting = *code == Code::TurnUnderWay && ask.turn == Turn::Waiting;
        let is_silent = matches!(code, Code::StaleDecision | Code::Conflict) || is_waiting;
        let Some(last) = moment.written.last() else {
            assert!(is_silent, "{code} is not in the journal");
            return;
        };
        assert!(!is_silent, "{code} is in the journal");
        let Event::CallRefused(event) = &last.entry.event else { panic!("{:?}", last.entry.event) };
        let named = session(ask.owner, ask.name);
        let is_control = matches!(code, Code::Unauthenticated | Code::SessionNotFound | Code::SessionClosed);
        assert_eq!(last.entry.stream == StreamId::Control, is_control, "{code}");
        assert_eq!(event.session.as_ref(), is_control.then_some(&named));
        assert_eq!(last.entry.actor.subject(), acting(moment).as_ref(), "{code}");
    });
}

#[test]
fn the_stories_reach_every_corner() {
    let seen = std::cell::RefCell::new(BTreeMap::new());
    // Some corners are rare, and all must be met in every run.
    check_times(32, |moment| {
        let mut seen = seen.borrow_mut();
        let mut count = |what: String| *seen.entry(what).or_insert(0_u32) += 1;
        match (moment.step, moment.done) {
            (Step::Admit(_), Done::Refused(code)) => count(code.to_string()),
            (Step::Admit(_), Done::Admitted(_)) => count("admitted".to_owned()),
            (Step::EndWait { .. }, Done::Refused(Code::WaitOver)) => count("wait_over".to_owned()),
            (Step::Delegate(_), Done::Delegated(delegation)) if delegation.budget.is_some() => {
                count("carved".to_owned())
            }
            (_, Done::Again(Earlier::Open(_))) => count("again while open".to_owned()),
            (_, Done::Again(Earlier::Done(_))) => count("again when done".to_owned()),
            (Step::Settle { .. }, Done::Settled(_)) => count("settled".to_owned()),
            (Step::Crash { is_batch_lost: true }, _) => count("lost a batch".to_owned()),
            (Step::Put { .. } | Step::Delete { .. }, Done::Refused(code)) => count(format!("value: {code}")),
            (Step::Put { .. }, Done::Put(put)) if put.is_new && put.version > 1 => count("came again".to_owned()),
            (Step::Delete { .. }, Done::Deleted) => count("deleted".to_owned()),
            _ => {}
        }
        for Written { entry, .. } in moment.written {
            if matches!(entry.event, Event::WaitDelivered(_)) {
                count("a wait was delivered".to_owned());
            }
            let Event::CallSettled(event) = &entry.event else { continue };
            if event.overrun != Nanodollars::ZERO {
                count("overrun".to_owned());
            }
            if matches!(moment.step, Step::Crash { .. }) {
                count("recovered".to_owned());
            }
        }
    });
    for what in [
        "admitted",
        "settled",
        "lost a batch",
        "overrun",
        "recovered",
        "denied",
        "again while open",
        "carved",
        "wait_over",
        "a wait was delivered",
        "turn_under_way",
        "upstream_failed",
        "again when done",
        "outcome_unknown",
        "stale_decision",
        "unauthenticated",
        "session_not_found",
        "session_closed",
        "invalid_arguments",
        "budget_exhausted",
        "price_unknown",
        "conflict",
        "came again",
        "deleted",
        "value: conflict",
        "value: not_found",
        "value: unauthenticated",
    ] {
        assert!(seen.borrow().get(what).is_some_and(|count| *count > 0), "{what}: {:?}", seen.borrow());
    }
}
