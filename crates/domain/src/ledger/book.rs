//! The balances, as the journal has made them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{CallId, SessionId};
use crate::ledger::account::Account;
use crate::ledger::event::Granted;
use crate::money::Nanodollars;
use crate::refusal::Shortfall;

/// One account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// What may be spent in all; none is no limit.
    pub granted: Option<Nanodollars>,
    /// What calls in flight may still cost.
    pub held: Nanodollars,
    /// What calls have cost.
    pub spent: Nanodollars,
}

impl Balance {
    /// What a further call may hold.
    #[must_use]
    pub fn available(&self) -> Nanodollars {
        self.granted.unwrap_or(Nanodollars::MAX).minus(self.held.plus(self.spent))
    }
}

/// What a settled call is charged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charge {
    /// Taken from every account of the path.
    pub charged: Nanodollars,
    /// What the call cost beyond that, because an account had no more.
    pub overrun: Nanodollars,
    /// The hold that is gone with it.
    pub released: Nanodollars,
}

/// A hold of a call in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hold {
    session: SessionId,
    amount: Nanodollars,
}

/// All accounts and all holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    accounts: BTreeMap<Account, Balance>,
    holds: BTreeMap<CallId, Hold>,
}

impl Book {
    /// The balance of an account; one that nothing was said of is empty and without limit.
    #[must_use]
    pub fn balance(&self, account: &Account) -> Balance {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    /// All accounts with their balances, in order of their names.
    pub fn balances(&self) -> impl Iterator<Item = (&Account, &Balance)> {
        self.accounts.iter()
    }

    /// Whether a call of the session can be held for `amount`. `session_grant` stands in for the session's grant while it is not yet open.
    ///
    /// # Errors
    ///
    /// The first account of the path, from the top down, that can't bear it.
    pub fn check(
        &self,
        session: &SessionId,
        session_grant: Option<Nanodollars>,
        amount: Nanodollars,
    ) -> Result<(), Shortfall> {
        for (account, balance) in self.path(session, session_grant) {
            if balance.available() < amount {
                return Err(Shortfall {
                    account: account.to_string(),
                    granted: balance.granted.unwrap_or(Nanodollars::MAX),
                    spent: balance.spent,
                    held: balance.held,
                    needed: amount,
                });
            }
        }
        Ok(())
    }

    /// Whether an account on the session's path has a limit, so that a call of unknown cost must not be made.
    #[must_use]
    pub fn is_limited(&self, session: &SessionId, session_grant: Option<Nanodollars>) -> bool {
        self.path(session, session_grant).iter().any(|(_, balance)| balance.granted.is_some())
    }

    /// The accounts of a session's path as they are, or as the session's would be once it is open.
    fn path(&self, session: &SessionId, session_grant: Option<Nanodollars>) -> [(Account, Balance); 2] {
        Account::path(session).map(|account| {
            let balance = match (&account, self.accounts.get(&account)) {
                (_, Some(balance)) => *balance,
                (Account::Session(_), None) => Balance { granted: session_grant, ..Balance::default() },
                (Account::Principal(_), None) => Balance::default(),
            };
            (account, balance)
        })
    }

    /// What settling the call at `cost` would charge; without a cost, the whole hold. Unknown calls are charged nothing.
    #[must_use]
    pub fn charge(&self, call: CallId, cost: Option<Nanodollars>) -> Charge {
        let Some(hold) = self.holds.get(&call) else { return Charge::default() };
        let cost = cost.unwrap_or(hold.amount);
        let available = |account| self.balance(&account).available();
        let spare = Account::path(&hold.session).map(available).into_iter().min().unwrap_or_default();
        let charged = cost.min(hold.amount.plus(spare));
        Charge { charged, overrun: cost.minus(charged), released: hold.amount }
    }

    /// Takes in a grant.
    pub fn granted(&mut self, event: &Granted) {
        self.accounts.entry(event.account.clone()).or_default().granted = event.amount;
    }

    /// Takes in that a session was opened with this grant.
    pub fn session_opened(&mut self, session: &SessionId, grant: Option<Nanodollars>) {
        let balance = Balance { granted: grant, ..Balance::default() };
        self.accounts.insert(Account::Session(session.clone()), balance);
    }

    /// Takes in that a call holds `amount` on the accounts of its session.
    pub fn held(&mut self, call: CallId, session: &SessionId, amount: Nanodollars) {
        for account in Account::path(session) {
            let balance = self.accounts.entry(account).or_default();
            balance.held = balance.held.plus(amount);
        }
        self.holds.insert(call, Hold { session: session.clone(), amount });
    }

    /// Takes in that a call was settled: its hold is gone and the charge is spent.
    pub fn settled(&mut self, call: CallId, charged: Nanodollars) {
        let Some(hold) = self.holds.remove(&call) else { return };
        for account in Account::path(&hold.session) {
            let balance = self.accounts.entry(account).or_default();
            balance.held = balance.held.minus(hold.amount);
            balance.spent = balance.spent.plus(charged);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: CallId = CallId([1; 16]);

    fn book(granted: u64) -> (Book, SessionId) {
        let session: SessionId = "ann:claim-99".parse().unwrap();
        let mut book = Book::default();
        let account = Account::Principal(session.owner.clone());
        book.granted(&Granted { account, amount: Some(Nanodollars::new(granted)) });
        book.session_opened(&session, None);
        (book, session)
    }

    #[test]
    fn a_hold_becomes_the_cost_on_every_account_of_the_path() {
        let (mut book, session) = book(100);
        assert_eq!(book.check(&session, None, Nanodollars::new(101)).unwrap_err().account, "principal/ann");
        book.held(CALL, &session, Nanodollars::new(60));
        let charge = book.charge(CALL, Some(Nanodollars::new(25)));
        book.settled(CALL, charge.charged);
        for account in Account::path(&session) {
            let balance = book.balance(&account);
            assert_eq!((balance.held.nanos(), balance.spent.nanos()), (0, 25));
        }
    }

    #[test]
    fn what_costs_more_than_there_is_left_is_an_overrun() {
        let (mut book, session) = book(100);
        book.held(CALL, &session, Nanodollars::new(60));
        let charge = book.charge(CALL, Some(Nanodollars::new(150)));
        assert_eq!((charge.charged.nanos(), charge.overrun.nanos()), (100, 50));
        assert_eq!(book.charge(CALL, None).charged.nanos(), 60);
        assert_eq!(book.charge(CallId([2; 16]), None), Charge::default());
    }

    #[test]
    fn the_grant_of_a_session_is_that_which_it_was_opened_with() {
        let session: SessionId = "ann:claim-99".parse().unwrap();
        let mut book = Book::default();
        let grant = Some(Nanodollars::new(10));
        assert!(book.is_limited(&session, grant));
        assert!(book.check(&session, grant, Nanodollars::new(11)).is_err());
        book.session_opened(&session, None);
        assert!(!book.is_limited(&session, grant));
        assert!(book.check(&session, grant, Nanodollars::new(11)).is_ok());
    }

    #[test]
    fn a_grant_that_is_lowered_takes_nothing_back_and_lets_nothing_more_pass() {
        let (mut book, session) = book(100);
        book.held(CALL, &session, Nanodollars::new(60));
        let account = Account::Principal(session.owner.clone());
        book.granted(&Granted { account, amount: Some(Nanodollars::new(50)) });
        assert!(book.check(&session, None, Nanodollars::new(1)).is_err());
        let charge = book.charge(CALL, Some(Nanodollars::new(70)));
        assert_eq!((charge.charged.nanos(), charge.overrun.nanos()), (60, 10));
    }
}
