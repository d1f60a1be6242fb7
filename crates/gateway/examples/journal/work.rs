//! The commands, by number, so that who checks can tell what the writer did.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use portcullis::clock::SystemClock;
use portcullis::journal::bookmark::Pace;
use portcullis::journal::fault::StoreFault;
use portcullis::journal::sqlite::SqliteEngine;
use portcullis_domain::admission::{Activation, Admit, Configure, CreateKey, PutState, Settle};
use portcullis_domain::authority::Authority;
use portcullis_domain::call::{Capability, Door, Kind};
use portcullis_domain::digest::Digest;
use portcullis_domain::event::Outcome;
use portcullis_domain::identity::event::KeyCreated;
use portcullis_domain::ids::{Actor, CallId, KeyId, SessionId};
use portcullis_domain::journal::Body;
use portcullis_domain::money::{Nanodollars, Tokens};
use portcullis_domain::policy::{Asks, Decision, Effect};
use portcullis_domain::session::{Expected, Origin, Repetition, Turn};

pub(crate) fn open(data: &Path) -> Result<Arc<SqliteEngine>, StoreFault> {
    let told = Box::new(|fault: &StoreFault| println!("the engine has ended: {fault}"));
    SqliteEngine::open(data, Arc::new(SystemClock), told).map(Arc::new)
}

pub(crate) fn open_paced(data: &Path, pace: Pace) -> Result<Arc<SqliteEngine>, StoreFault> {
    let told = Box::new(|fault: &StoreFault| println!("the engine has ended: {fault}"));
    SqliteEngine::open_wrapped(data, Arc::new(SystemClock), told, Box::new(|disk| disk), pace).map(Arc::new)
}

pub(crate) fn call(number: u64) -> CallId {
    CallId(u128::from(number).to_be_bytes())
}

pub(crate) fn key(number: u64) -> KeyId {
    format!("key{number}").parse().unwrap()
}

pub(crate) fn session(number: u64) -> SessionId {
    format!("ann:session-{number}").parse().unwrap()
}

pub(crate) fn body(number: u64, length: usize) -> Body {
    let text = format!("{{\"number\":{number},\"text\":\"");
    let rest = length.saturating_sub(text.len() + 2);
    Body::new(Bytes::from(format!("{text}{}\"}}", "abcdefgh".repeat(rest / 8))))
}

fn policies() -> Digest {
    Digest::of(b"policies")
}

/// Before anything else: policies are in force, and `ann` may spend enough.
pub(crate) fn configure() -> Configure {
    let budgets = BTreeMap::from([("ann".parse().unwrap(), Nanodollars::MAX)]);
    Configure { policies: Activation::of(policies(), body(0, 100)), written: None, budgets }
}

pub(crate) fn issue(number: u64) -> CreateKey {
    let secret = Digest::of(&number.to_be_bytes());
    let key = KeyCreated {
        key: key(number),
        principal: "ann".parse().unwrap(),
        secret,
        expires_at: None,
        scope: portcullis_domain::identity::Scope::default(),
    };
    CreateKey { by: Actor::Gateway, key }
}

pub(crate) fn put(number: u64, within: u64, length: usize) -> PutState {
    let (expected, value) = (Expected::Anything, body(number, length));
    PutState {
        authority: Authority::of_key(key(0)),
        session: session(within),
        session_budget: None,
        key: "step".parse().unwrap(),
        expected,
        ttl_us: None,
        value,
    }
}

pub(crate) fn admit(number: u64, within: u64, length: usize) -> Admit {
    let policies_that_permit = vec!["agents-may-ask-models".to_owned()];
    Admit {
        call: call(number),
        callee: None,
        parent: None,
        authority: Authority::of_key(key(0)),
        session: session(within),
        origin: Origin::Named,
        session_budget: None,
        door: Door::Openai,
        capability: Capability::new(Kind::Model, "gpt-4o-mini"),
        payload: Ok(body(number, length)),
        decision: Decision { policies: policies_that_permit, ..Decision::of(Effect::Allow, policies()) },
        estimate: Some(Nanodollars::new(1_000)),
        repetition: Repetition::default(),
        candidates: None,
        turn: Turn::Beside,
        content: None,
        asks: Asks::Anew { lasts_us: 1_000, is_run: false },
        within: None,
        shown: None,
    }
}

pub(crate) fn settle(number: u64, length: usize) -> Settle {
    Settle {
        call: call(number),
        outcome: Outcome::Completed,
        tokens: Some(Tokens { input: 300, output: 100 }),
        cost: Some(Nanodollars::new(800)),
        answer: Some(body(number, length)),
        judged: Vec::new(),
        labels: Vec::new(),
        guarded: Vec::new(),
    }
}
