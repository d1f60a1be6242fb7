//! Balances: all of them for administrators, one's own for everybody else.

use portcullis_domain::ids::PrincipalName;
use portcullis_domain::ledger::{Account, Balance};
use portcullis_domain::refusal::Refusal;
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
    let own = caller.principal.clone();
    let accounts = gate.journal.read(move |world| {
        let visible = world.ledger.balances().filter(|(account, _)| all || *owner(account) == own);
        visible.map(|(account, balance)| Shown::of(account, balance)).collect::<Vec<_>>()
    });
    json(200, &serde_json::json!({"accounts": accounts.await?}))
}

fn owner(account: &Account) -> &PrincipalName {
    match account {
        Account::Principal(name) => name,
        Account::Session(session) => &session.owner,
    }
}
