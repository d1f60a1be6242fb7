//! Balances: all of them for administrators, one's own for everybody else.

use portcullis_domain::ledger::{Account, Balance, Payer};
use portcullis_domain::refusal::Refusal;
use portcullis_domain::world::World;
use serde::Serialize;

use crate::doors::admin::form::json;
use crate::doors::answer::Answer;
use crate::doors::caller::Caller;
use crate::life::Gate;

/// A balance with its amounts in nano-dollars, and what is spent as people read it.
#[derive(Serialize)]
pub(super) struct Shown {
    account: String,
    granted_nanodollars: Option<u64>,
    held_nanodollars: u64,
    spent_nanodollars: u64,
    spent: String,
}

impl Shown {
    pub(super) fn of(account: &Account, balance: &Balance) -> Self {
        Self {
            account: account.to_string(),
            granted_nanodollars: balance.granted.map(portcullis_domain::money::Nanodollars::nanos),
            held_nanodollars: balance.held.nanos(),
            spent_nanodollars: balance.spent.nanos(),
            spent: balance.spent.to_string(),
        }
    }
}

/// `GET /api/v1/ledger/accounts`.
pub(super) async fn accounts(gate: &Gate, caller: &Caller) -> Result<Answer, Refusal> {
    let all = gate.snapshot.load().is_administrator(caller.chain());
    let caller = caller.clone();
    let accounts = gate.journal.read(move |world| {
        let visible = world.ledger.balances().filter(|(account, _)| all || is_own(world, &caller, account));
        visible.map(|(account, balance)| Shown::of(account, balance)).collect::<Vec<_>>()
    });
    json(200, &serde_json::json!({"accounts": accounts.await?}))
}

/// Whether it is the caller's own; for who came with a task token, whether it bears the calls of the task.
fn is_own(world: &World, caller: &Caller, account: &Account) -> bool {
    if let Some(session) = &caller.bound {
        return world.ledger.path(Payer { session, task: caller.authority.task.as_ref() }).contains(account);
    }
    match account {
        Account::Principal(name) => *name == caller.principal,
        Account::Session(session) => session.owner == caller.principal,
        Account::Task(task) => world.ledger.session_of(task).is_some_and(|session| session.owner == caller.principal),
    }
}
