//! The oracle accepts what the rules write, and finds every fault that is planted behind their back.

mod approval;
mod grant;
mod told;

use bytes::Bytes;
use portcullis_domain::admission::{Activation, Admit, Command, Configure, CreateKey, PutState, Recover, Settle};
use portcullis_domain::authority::Authority;
use portcullis_domain::call::{Capability, Door, Kind};
use portcullis_domain::identity::event::{KeyCreated, KeyLimited, KeyRevoked, PrincipalSeen};
use portcullis_domain::ids::{Actor, KeyId, SessionId};
use portcullis_domain::journal::checkpoint::{Checkpoint, Signer};
use portcullis_domain::journal::merkle::{Tree, leaf};
use portcullis_domain::journal::{Body, Draft, Entry};
use portcullis_domain::ledger::Account;
use portcullis_domain::ledger::event::Granted;
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::event::{Activated, RolledBack, RolledForward};
use portcullis_domain::policy::{Asks, Decision, Deed, Effect, Guarded, Point};
use portcullis_domain::registry::event::ToolsObserved;
use portcullis_domain::session::event::{Closed, Opened, RecordDropped, StateDeleted, StatePut};
use portcullis_domain::session::requests::Requester;
use portcullis_domain::session::{Expected, Mark, Origin, Repetition, Turn};
use portcullis_domain::time::Timestamp;

use portcullis_domain::event::{CallAdmitted, CallRefused, CallSettled, Event, RequestAnswered, RequestTaken};

use super::*;

const CLAIM: &str = "ann:claim-99";

/// A journal in memory that also takes what no rule would write.
struct Journal {
    world: World,
    heads: HashMap<StreamId, Head>,
    entries: Vec<(u64, Vec<u8>)>,
    tree: Tree,
    notes: Vec<String>,
    signer: Signer,
    now: u64,
}

impl Journal {
    /// Ann may spend 1000 and Bob has no limit; Ann's call 1 is open in `claim-99` and holds 100.
    fn started() -> Self {
        let mut journal = Self {
            world: World::default(),
            heads: HashMap::new(),
            entries: Vec::new(),
            tree: Tree::default(),
            notes: Vec::new(),
            signer: Signer::new("portcullis/test", &[7; 32]).unwrap(),
            now: 1_000,
        };
        let budgets = [("ann".parse().unwrap(), Nanodollars::new(1_000))].into();
        journal.run(&Configure { policies: Activation::of(version(), body("permit")), written: None, budgets });
        for (key, principal) in [("key-ann", "ann"), ("key-bob", "bob")] {
            journal.run(&create_key(key, principal)).unwrap();
        }
        journal.run(&admit(1, CLAIM, 100)).unwrap();
        journal
    }

    fn run<C: Command>(&mut self, command: &C) -> C::Answer {
        let verdict = command.decide(&self.world, Timestamp(self.now));
        verdict.drafts.into_iter().for_each(|draft| self.place(draft));
        verdict.answer
    }

    /// Writes an event with its body, whatever the rules say of it.
    fn plant(&mut self, stream: &str, event: Event) {
        let stream: StreamId =
            if stream == "control" { StreamId::Control } else { StreamId::Session(stream.parse().unwrap()) };
        let actor = match &stream {
            StreamId::Control => Actor::Gateway,
            StreamId::Session(session) => Actor::Principal(session.owner.clone()),
        };
        self.place(Draft { stream, actor, event, bodies: vec![body("planted")] });
    }

    fn place(&mut self, draft: Draft<Event>) {
        self.now += 1;
        let head = self.heads.entry(draft.stream.clone()).or_insert(Head::START);
        let (entry, _) = Entry::place(draft, *head, &"default".parse().unwrap(), Timestamp(self.now));
        let bytes = entry.encode().unwrap();
        *head = Head { seq: entry.seq, digest: Digest::of(&bytes) };
        self.world.apply(&entry);
        self.tree.push(leaf(&bytes));
        self.entries.push((self.tree.size(), bytes));
    }

    fn seal(&mut self) {
        self.notes.push(self.signer.sign(&Checkpoint { size: self.tree.size(), root: self.tree.root() }));
    }

    fn judge(&self) -> Result<Derived, Vec<String>> {
        Oracle::check(self.entries.clone(), &self.notes, &self.signer.verifier())
    }
}

/// The journal is without fault, then something is done to it, and exactly that is found first.
fn check(fault: impl FnOnce(&mut Journal), expected: &str) {
    let mut journal = Journal::started();
    journal.seal();
    assert_eq!(journal.judge().err(), None);
    fault(&mut journal);
    let faults = journal.judge().expect_err(expected);
    assert!(faults.first().is_some_and(|fault| fault.contains(expected)), "{expected}: {faults:#?}");
}

fn check_planted(stream: &str, event: Event, expected: &str) {
    check(|journal| journal.plant(stream, event), expected);
}

fn version() -> Digest {
    Digest::of(b"policies")
}

fn body(text: &str) -> Body {
    Body::new(Bytes::from(text.to_owned()))
}

fn call(number: u8) -> CallId {
    CallId([number; 16])
}

fn model() -> Capability {
    Capability::new(Kind::Model, "gpt")
}

fn principal_seen() -> PrincipalSeen {
    let (issuer, principal) = ("corp".parse().unwrap(), "corp.ann".parse().unwrap());
    PrincipalSeen { issuer, principal, profile: portcullis_domain::profile::Profile::default() }
}

fn create_key(key: &str, principal: &str) -> CreateKey {
    let created = KeyCreated {
        key: key.parse().unwrap(),
        principal: principal.parse().unwrap(),
        secret: Digest::of(key.as_bytes()),
        expires_at: None,
        scope: portcullis_domain::identity::Scope::default(),
    };
    CreateKey { by: Actor::Gateway, key: created }
}

fn admit(number: u8, session: &str, estimate: u64) -> Admit {
    let session: SessionId = session.parse().unwrap();
    let decision = Decision::of(Effect::Allow, version());
    Admit {
        call: call(number),
        parent: None,
        authority: authority(&format!("key-{}", session.owner)),
        session,
        origin: Origin::Named,
        session_budget: None,
        door: Door::Openai,
        capability: model(),
        callee: None,
        payload: Ok(body("{}")),
        decision,
        estimate: Some(Nanodollars::new(estimate)),
        repetition: Repetition::default(),
        candidates: None,
        turn: Turn::Beside,
        content: None,
        asks: Asks::Anew { lasts_us: 1_000, is_run: false },
        within: None,
        shown: None,
    }
}

fn settle(number: u8, cost: u64) -> Settle {
    let cost = Some(Nanodollars::new(cost));
    Settle {
        call: call(number),
        outcome: Outcome::Completed,
        tokens: None,
        cost,
        answer: None,
        judged: vec![],
        labels: vec![],
        guarded: Vec::new(),
    }
}

/// An admission that would be lawful in Ann's session.
fn admitted(number: u8) -> CallAdmitted {
    CallAdmitted {
        call: call(number),
        parent: None,
        capability: model(),
        callee: None,
        door: Door::Openai,
        authority: authority("key-ann"),
        policies: vec![],
        policy_version: version(),
        hold: Nanodollars::new(10),
        once: None,
        placement: None,
        approval: None,
        is_turn: false,
        delivered: Vec::new(),
        grant: None,
        audit: Vec::new(),
        guarded: Vec::new(),
        labels: Vec::new(),
        gateway: None,
        shown: None,
    }
}

fn settled(number: u8, charged: u64) -> CallSettled {
    CallSettled {
        call: call(number),
        outcome: Outcome::Completed,
        tokens: None,
        charged: Nanodollars::new(charged),
        overrun: Nanodollars::ZERO,
        judged: vec![],
        labels: vec![],
        guarded: Vec::new(),
    }
}

fn refused(number: u8, session: Option<&str>) -> Event {
    Event::CallRefused(CallRefused {
        call: call(number),
        capability: model(),
        door: Door::Openai,
        session: session.map(|session| session.parse().unwrap()),
        code: Code::Denied,
        message: "no".to_owned(),
        reasons: vec![],
        audit: Vec::new(),
        outside: None,
        guarded: Vec::new(),
        policies: vec![],
    })
}

fn authority(name: &str) -> Authority {
    Authority::of_key(key(name))
}

fn key(name: &str) -> KeyId {
    name.parse().unwrap()
}

#[test]
fn what_the_rules_write_is_accepted_and_counted() {
    let mut journal = Journal::started();
    journal.run(&settle(1, 2_000)).unwrap();
    assert!(journal.run(&admit(2, CLAIM, 1)).is_err());
    journal.run(&admit(3, "bob:claim-99", 5)).unwrap();
    journal.seal();
    journal.run(&Recover);
    let derived = journal.judge().unwrap();
    assert_eq!(derived.world, journal.world);
    assert_eq!((derived.entries, derived.root), (journal.tree.size(), journal.tree.root()));
    assert_eq!(derived.heads, journal.heads.into_iter().collect());
    assert_eq!(derived.counts.get("call.admitted"), Some(&2));
    assert_eq!(derived.admitted, [call(1), call(3)].into());
    assert_eq!(derived.settled, [(call(1), Outcome::Completed), (call(3), Outcome::Unknown)].into());
    assert_eq!(derived.refused, [(call(2), Code::BudgetExhausted)].into());
}

#[test]
fn a_call_that_is_settled_otherwise_than_once_is_found() {
    check_planted(CLAIM, Event::CallSettled(settled(9, 1)), "it was never admitted");
    check_planted("ann:other", Event::CallSettled(settled(1, 1)), "the session was never opened");
    let twice = |journal: &mut Journal| {
        journal.run(&settle(1, 1)).unwrap();
        journal.plant(CLAIM, Event::CallSettled(settled(1, 1)));
    };
    check(
        twice,
        "call 01010101010101010101010101010101 was settled, and it was settled before in `ann:claim-99`, at position 7",
    );
    let elsewhere = |journal: &mut Journal| {
        journal.run(&admit(2, "bob:claim-99", 5)).unwrap();
        journal.plant("bob:claim-99", Event::CallSettled(settled(1, 1)));
    };
    check(elsewhere, "was settled here, and it was admitted in `ann:claim-99`");
    let refused = |journal: &mut Journal| {
        journal.plant(CLAIM, refused(2, None));
        journal.plant(CLAIM, Event::CallSettled(settled(2, 0)));
    };
    check(refused, "was settled, and it was refused before (denied)");
}

#[test]
fn guardrails_that_are_not_kept_to_are_found() {
    let guarded = |at, deed| {
        let found = [("card".to_owned(), 1)].into();
        vec![Guarded { rule: "cards".parse().unwrap(), at, deed, found, fault: None }]
    };
    let out = |at, deed| Event::CallAdmitted(CallAdmitted { guarded: guarded(at, deed), ..admitted(2) });
    check_planted(CLAIM, out(Point::ModelIn, Deed::Blocked), "was admitted, and a guardrail had blocked it");
    check_planted(CLAIM, out(Point::ModelIn, Deed::Labelled), "has labels without a guardrail, or the other way");
    check_planted(CLAIM, out(Point::ModelOut, Deed::Reported), "looked at model_out");
    let back = CallSettled { guarded: guarded(Point::ToolOut, Deed::Labelled), ..settled(1, 1) };
    check_planted(CLAIM, Event::CallSettled(back), "lacks the label of a guardrail");
    let mut idle = guarded(Point::ModelOut, Deed::Changed);
    idle.iter_mut().for_each(|guarded| guarded.found.clear());
    let idle = CallSettled { guarded: idle, ..settled(1, 1) };
    check_planted(CLAIM, Event::CallSettled(idle), "has changed at model_out for no reason");
    let Event::CallRefused(refused) = refused(2, None) else { panic!("it is no refusal") };
    let off = CallRefused { code: Code::Blocked, ..refused };
    check_planted(CLAIM, Event::CallRefused(off), "was blocked by no guardrail, or is kept");
}

#[test]
fn money_that_is_not_there_is_found() {
    let much = Event::CallAdmitted(CallAdmitted { hold: Nanodollars::new(901), ..admitted(2) });
    check_planted(CLAIM, much, "holds $0.000000901, and `principal/ann` has $0.0000009 left");
    check_planted(CLAIM, Event::CallSettled(settled(1, 1_001)), "was charged $0.000001001 of");
    let overrun = CallSettled { overrun: Nanodollars::new(1), ..settled(1, 999) };
    check_planted(CLAIM, Event::CallSettled(overrun), "has an overrun");
    let recovered = |journal: &mut Journal| {
        let event = Event::CallSettled(CallSettled { outcome: Outcome::Unknown, ..settled(1, 99) });
        let stream = StreamId::Session(CLAIM.parse().unwrap());
        journal.place(Draft { stream, actor: Actor::Gateway, event, bodies: vec![] });
    };
    check(recovered, "the recovery charged call");
    let sessions_own = |journal: &mut Journal| {
        let opened = Opened { budget: Some(Nanodollars::new(5)) };
        journal.plant("bob:small", Event::SessionOpened(opened));
        let event = CallAdmitted { authority: authority("key-bob"), hold: Nanodollars::new(6), ..admitted(2) };
        journal.plant("bob:small", Event::CallAdmitted(event));
    };
    check(sessions_own, "`session/bob:small` has $0.000000005 left");
}

#[test]
fn a_grant_that_is_lowered_is_no_fault_and_what_grows_above_it_is() {
    let lower = |journal: &mut Journal| {
        let account = Account::Principal("ann".parse().unwrap());
        journal.plant("control", Event::Granted(Granted { account, amount: Some(Nanodollars::new(50)) }));
    };
    let mut journal = Journal::started();
    lower(&mut journal);
    journal.run(&settle(1, 100)).unwrap();
    assert_eq!(journal.judge().err(), None);
    let grown = |journal: &mut Journal| {
        lower(journal);
        journal.plant(CLAIM, Event::CallSettled(settled(1, 101)));
    };
    check(grown, "was charged");
}

#[test]
fn an_admission_that_no_rule_would_make_is_found() {
    let revoked = |journal: &mut Journal| {
        journal.plant("control", Event::KeyRevoked(KeyRevoked { key: key("key-ann") }));
        journal.plant(CLAIM, Event::CallAdmitted(admitted(2)));
    };
    check(revoked, "with key `key-ann`, which was taken back or had run out");
    let run_out = |journal: &mut Journal| {
        let created = create_key("key-2", "ann").key;
        let expires_at = Some(Timestamp(journal.now + 2));
        journal.plant("control", Event::KeyCreated(KeyCreated { expires_at, ..created }));
        journal.plant(CLAIM, Event::CallAdmitted(CallAdmitted { authority: authority("key-2"), ..admitted(2) }));
    };
    check(run_out, "with key `key-2`, which was taken back or had run out");
    let not_for_it = |journal: &mut Journal| {
        let mut created = create_key("key-2", "ann").key;
        created.scope.capabilities.insert("tool/*".parse().unwrap());
        journal.plant("control", Event::KeyCreated(created));
        journal.plant(CLAIM, Event::CallAdmitted(CallAdmitted { authority: authority("key-2"), ..admitted(2) }));
    };
    check(not_for_it, "with key `key-2`, which is not for it");
    let unknown = |journal: &mut Journal| {
        let authority = serde_json::from_str("\"corp/0123\"").unwrap();
        journal.plant(CLAIM, Event::CallAdmitted(CallAdmitted { authority, ..admitted(2) }));
    };
    check(unknown, "with `corp/0123`, which nobody has vouched for");
    for (event, expected) in [
        (CallAdmitted { authority: authority("key-3"), ..admitted(2) }, "with key `key-3`, which was never issued"),
        (CallAdmitted { authority: authority("key-bob"), ..admitted(2) }, "with a key of another principal than `ann`"),
        (CallAdmitted { policy_version: Digest::ZERO, ..admitted(2) }, "policies that were not in force"),
        (CallAdmitted { parent: Some(call(9)), ..admitted(2) }, "which was not admitted in this session"),
        (admitted(1), "was admitted, and it was admitted before in `ann:claim-99`, at position 6"),
    ] {
        check_planted(CLAIM, Event::CallAdmitted(event), expected);
    }
    let after_all = |journal: &mut Journal| {
        journal.run(&settle(1, 1)).unwrap();
        journal.plant(CLAIM, Event::CallAdmitted(admitted(1)));
    };
    check(after_all, "was admitted, and it was settled before");
    let despite = |journal: &mut Journal| {
        journal.plant("control", refused(2, Some(CLAIM)));
        journal.plant(CLAIM, Event::CallAdmitted(admitted(2)));
    };
    check(despite, "was admitted, and it was refused before");
    let other_policies = |journal: &mut Journal| {
        journal.plant(
            "control",
            Event::PolicyActivated(Activated { version: Digest::ZERO, policies: 0, is_audit: false, rules: None }),
        );
        journal.plant(CLAIM, Event::CallAdmitted(admitted(2)));
    };
    check(other_policies, "policies that were not in force");
}

#[test]
fn policies_that_nobody_may_have_put_in_force_are_found() {
    let (other, unknown) = (Digest::of(b"other"), Digest::of(b"unknown"));
    let activated = |rules: Digest| {
        let version = Digest::of(&rules.0);
        Event::PolicyActivated(Activated { version, policies: 1, is_audit: false, rules: Some(rules) })
    };
    let back = || RolledBack {
        entry: 1,
        version: version(),
        rules: other,
        instead_of: unknown,
        replaced: version(),
        reason: String::new(),
    };
    check_planted("control", Event::PolicyRolledBack(back()), "the gateway has done so by itself");
    for (event, expected) in [
        (RolledBack { entry: 9, ..back() }, "entry 9 has not put"),
        (RolledBack { version: other, ..back() }, "entry 1 has not put"),
        (RolledBack { replaced: other, ..back() }, "is rolled back, which was not in force"),
    ] {
        check_planted("control", Event::PolicyRolledBack(event), expected);
    }
    check_planted(CLAIM, Event::PolicyRolledBack(back()), "it belongs to no session and stands in one");
    let forward = |rules| Event::PolicyRolledForward(RolledForward { rules, replaced: None, reason: String::new() });
    check_planted("control", forward(other), "nothing was rolled back");
    let by_somebody = |journal: &mut Journal| {
        let (actor, event) = (Actor::Principal("boss".parse().unwrap()), Event::PolicyRolledBack(back()));
        journal.place(Draft { stream: StreamId::Control, actor, event, bodies: Vec::new() });
    };
    let despite = |journal: &mut Journal| {
        by_somebody(journal);
        journal.plant("control", activated(unknown));
    };
    check(despite, "has other rules than those that were put back");
    let by_itself = |journal: &mut Journal| {
        by_somebody(journal);
        journal.plant("control", activated(other));
        journal.plant("control", forward(unknown));
    };
    check(by_itself, "the gateway has done so by itself");
}

#[test]
fn a_session_that_is_entered_unlawfully_is_found() {
    let opened = || Event::SessionOpened(Opened { budget: None });
    let put = |version| Event::StatePut(put("step", version, None));
    check_planted("ann:other", Event::CallAdmitted(admitted(2)), "the session was never opened");
    check_planted(CLAIM, opened(), "the session was opened before");
    check_planted(CLAIM, put(2), "`step` gets version 2 after version 0");
    for event in [put(1), Event::CallAdmitted(admitted(2)), opened(), Event::SessionClosed(Closed {})] {
        let closed = |journal: &mut Journal| {
            journal.plant(CLAIM, Event::SessionClosed(Closed {}));
            journal.plant(CLAIM, event);
        };
        check(closed, "the session was closed before");
    }
    let stranger = |journal: &mut Journal| {
        let stream = StreamId::Session(CLAIM.parse().unwrap());
        let actor = Actor::Principal("bob".parse().unwrap());
        journal.place(Draft { stream, actor, event: put(1), bodies: vec![body("value")] });
    };
    check(stranger, "`bob` acts in a session of `ann`");
}

fn put(key: &str, version: u64, expires_at: Option<Timestamp>) -> StatePut {
    StatePut { key: key.parse().unwrap(), version, bytes: 1, expires_at }
}

#[test]
fn a_value_that_comes_back_with_an_old_version_is_found() {
    let check = |events: &[(&str, Option<u64>)], expected: &str| {
        let story = |journal: &mut Journal| {
            for (event, version) in events {
                let (key, is_put) = event.strip_prefix('-').map_or((*event, true), |key| (key, false));
                let version = version.unwrap();
                let deleted = StateDeleted { key: key.parse().unwrap(), version };
                let event =
                    if is_put { Event::StatePut(put(key, version, None)) } else { Event::StateDeleted(deleted) };
                journal.plant(CLAIM, event);
            }
        };
        check(story, expected);
    };
    check(&[("a", Some(1)), ("-a", Some(1)), ("a", Some(1))], "`a` gets version 1 after version 1");
    check(&[("a", Some(1)), ("b", Some(3))], "`b` gets version 3 after version 0");
    check(&[("a", Some(1)), ("-a", Some(2))], "version 2 of `a` was deleted, and it was not there");
    check(&[("a", Some(1)), ("-a", Some(1)), ("-a", Some(1))], "version 1 of `a` was deleted, and it was not there");
    check_planted(CLAIM, Event::StatePut(put("a", 1, Some(Timestamp(0)))), "`a` is over before it begins");
}

#[test]
fn an_entry_in_the_wrong_place_is_found() {
    let grant = |account: &str| Event::Granted(Granted { account: account.parse().unwrap(), amount: None });
    let observed = ToolsObserved { server: "claims".parse().unwrap(), digest: Digest::ZERO, tools: 0 };
    for (stream, event, expected) in [
        ("control", Event::CallSettled(settled(1, 0)), "stands outside"),
        ("control", Event::SessionClosed(Closed {}), "stands outside"),
        ("control", grant("session/ann:claim-99"), "is granted outside its session"),
        ("control", refused(2, None), "names none"),
        ("control", Event::KeyCreated(create_key("key-ann", "bob").key), "key `key-ann` was issued before"),
        ("control", Event::KeyRevoked(KeyRevoked { key: key("key-3") }), "was not issued"),
        ("control", Event::KeyLimited(KeyLimited { key: key("key-3"), expires_at: Timestamp(9) }), "was not issued"),
        ("control", Event::PrincipalSeen(principal_seen()), "is blamed on another one"),
        ("control", Event::ToolsObserved(observed), "another than the one it speaks of"),
        (CLAIM, Event::PrincipalSeen(principal_seen()), "stands in one"),
        (CLAIM, Event::KeyRevoked(KeyRevoked { key: key("key-ann") }), "stands in one"),
        (CLAIM, grant("principal/ann"), "is granted in a session"),
        (CLAIM, refused(2, Some("bob:claim-99")), "names another"),
        (CLAIM, refused(1, None), "was refused, and it was admitted before"),
    ] {
        check_planted(stream, event, expected);
    }
    let bare = |journal: &mut Journal| {
        let stream = StreamId::Session(CLAIM.parse().unwrap());
        let (actor, event) = (Actor::Principal("ann".parse().unwrap()), Event::CallAdmitted(admitted(2)));
        journal.place(Draft { stream, actor, event, bodies: vec![] });
    };
    check(bare, "it has 0 bodies");
    let earlier = |journal: &mut Journal| {
        journal.now -= 2;
        journal.plant("control", refused(2, Some(CLAIM)));
    };
    check(earlier, "is before that of the entry before");
}

#[test]
fn bytes_that_were_changed_or_lost_are_found() {
    let last = |journal: &Journal| journal.entries.len() - 1;
    check(|journal| drop(journal.entries.remove(2)), "position 4 stands where 3 should be");
    check(|journal| journal.entries.swap(1, 2), "position 3 stands where 2 should be");
    check(|journal| journal.entries[3].0 = 9, "position 9 stands where 4 should be");
    check(|journal| drop(journal.entries.pop()), "a checkpoint was signed for 6 entries, and there are 5");
    check(|journal| journal.entries.push(journal.entries[0].clone()), "position 1 stands where 7 should be");
    let renumbered = |journal: &mut Journal| {
        journal.entries.remove(2);
        for (entry, position) in journal.entries.iter_mut().zip(1..) {
            entry.0 = position;
        }
    };
    check(renumbered, "position 3: stream `control`, entry 3: it says that its number is 4");
    let spaced = |journal: &mut Journal| journal.entries[1].1.push(b' ');
    check(spaced, "position 2: stream `control`, entry 2: its bytes are not canonical");
    check(|journal| journal.entries[1].1 = b"{}".to_vec(), "position 2: its bytes name no stream");
    let rewritten = |journal: &mut Journal| {
        let last = last(journal);
        let mut entry = Entry::<Event>::decode(&journal.entries[last].1).unwrap();
        entry.at = Timestamp(entry.at.0 + 1);
        journal.entries[last].1 = entry.encode().unwrap();
    };
    check(rewritten, "the first 6 entries are not those that the checkpoint of 6 entries was signed for");
    let unsigned = |journal: &mut Journal| journal.notes[0] = journal.notes[0].replace("\n6\n", "\n5\n");
    check(unsigned, "checkpoint 0: the note has no valid signature");
    let backwards = |journal: &mut Journal| {
        journal.plant(CLAIM, Event::CallAdmitted(admitted(2)));
        journal.seal();
        journal.notes.reverse();
    };
    check(backwards, "covers 6 entries, fewer than the 7 of one before it");
}

#[test]
fn one_fault_early_in_a_long_journal_does_not_bury_the_rest() {
    let mut journal = busy(300, 1);
    journal.entries[20].1.push(b' ');
    journal.notes.clear();
    let faults = journal.judge().unwrap_err();
    assert!((1..5).contains(&faults.len()), "{faults:#?}");
    let mut journal = busy(300, 1);
    journal.entries.iter_mut().for_each(|entry| entry.0 *= 2);
    assert_eq!(journal.judge().unwrap_err().len(), FAULTS_LIMIT + 1);
}

#[test]
fn long_journals_of_lawful_calls_are_accepted() {
    for seed in 1..9 {
        let journal = busy(400, seed);
        let derived = journal.judge().unwrap_or_else(|faults| panic!("seed {seed}: {faults:#?}"));
        assert_eq!(derived.world, journal.world);
        for code in [Code::BudgetExhausted, Code::Denied] {
            assert!(derived.refused.values().any(|refused| *refused == code), "seed {seed}: {code}");
        }
    }
}

#[test]
#[cfg(not(debug_assertions))]
#[ignore = "a measurement, for a release build"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn a_hundred_thousand_entries_are_judged_in_about_a_second() {
    let journal = busy(50_000, 1);
    let (entries, verifier) = (journal.entries.clone(), journal.signer.verifier());
    let (count, start) = (entries.len(), std::time::Instant::now());
    Oracle::check(entries, &journal.notes, &verifier).unwrap();
    println!("{count} entries in {:?}", start.elapsed());
}

/// Calls of both principals in several sessions, some too dear, some denied, some left open and recovered; from a seed (xorshift).
fn busy(calls: u32, seed: u64) -> Journal {
    let mut journal = Journal::started();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut open = vec![call(1)];
    for number in 0..calls {
        let owner = if random(4) == 0 { "ann" } else { "bob" };
        let mut admit = admit(0, &format!("{owner}:claim-{}", random(40)), random(200));
        admit.call = CallId((u128::from(number) + (1 << 64)).to_be_bytes());
        admit.parent = open.last().copied().filter(|parent| journal.world.open_calls[parent].session == admit.session);
        if random(20) == 0 {
            admit.decision.effect = Effect::Deny;
        }
        if journal.run(&admit).is_ok() {
            open.push(admit.call);
        }
        while !open.is_empty() && random(3) > 0 {
            let call = open.swap_remove(usize::try_from(random(open.len() as u64)).unwrap());
            let cost = Some(Nanodollars::new(random(250))).filter(|cost| cost.nanos() > 5);
            journal.run(&Settle { call, cost, ..settle(0, 0) }).unwrap();
        }
        match random(200) {
            0 => {
                journal.run(&Recover);
                open.clear();
            }
            1..10 => {
                let (key, value) = ("step".parse().unwrap(), body("value"));
                let session = admit.session.clone();
                let put = PutState {
                    authority: admit.authority.clone(),
                    session,
                    session_budget: None,
                    key,
                    expected: Expected::Anything,
                    ttl_us: None,
                    value,
                };
                journal.run(&put).unwrap();
            }
            10..20 => journal.seal(),
            _ => {}
        }
    }
    journal.seal();
    journal
}

#[test]
fn a_request_that_is_answered_twice_and_a_record_that_is_nowhere_are_found() {
    let request = CallId([9; 16]);
    let requester = Requester { by: "ann".parse().unwrap(), session: Some(CLAIM.parse().unwrap()) };
    let mark = Mark { id: Digest::of(b"id"), content: Digest::of(b"content") };
    let taken = || Event::RequestTaken(RequestTaken { request, requester: requester.clone(), mark, gateway: None });
    let ended = |outcome: Outcome| {
        let requester = requester.clone();
        Event::RequestAnswered(RequestAnswered { request, requester, mark, outcome })
    };
    let answered = || ended(Outcome::Completed);
    let check = |events: &[Event], expected: &str| {
        let story = |journal: &mut Journal| events.iter().cloned().for_each(|event| journal.plant(CLAIM, event));
        check(story, expected);
    };
    check(&[taken(), taken()], "was taken before");
    check(&[taken(), answered(), answered()], "was answered before");
    check(&[taken(), ended(Outcome::Failed)], "has 1 answers");
    check_planted("control", answered(), "or elsewhere");
    check_planted("control", taken(), "stands outside");
    let dropped = RecordDropped { id: "conv_1".parse().unwrap(), item: None };
    check_planted(CLAIM, Event::RecordDropped(dropped), "record `conv_1` is not in this session");
}
