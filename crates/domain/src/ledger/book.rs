//! The balances, as the journal has made them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{CallId, SessionId, TaskId};
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

/// How many tasks with a budget a session may have.
pub const TASKS_LIMIT: usize = 1_024;
/// How often a budget may be carved out of one that was carved out itself.
pub const CARVINGS_LIMIT: usize = 16;

/// Whose accounts bear a call: the session, and the task within it that was given a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payer<'a> {
    /// The session.
    pub session: &'a SessionId,
    /// The task, where there is one.
    pub task: Option<&'a TaskId>,
}

impl<'a> Payer<'a> {
    /// The session itself.
    #[must_use]
    pub fn of(session: &'a SessionId) -> Self {
        Self { session, task: None }
    }
}

/// A hold of a call in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hold {
    session: SessionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<TaskId>,
    amount: Nanodollars,
}

/// All accounts and all holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    accounts: BTreeMap<Account, Balance>,
    holds: BTreeMap<CallId, Hold>,
    /// The tasks of each session, with the task that each was carved out of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tasks: BTreeMap<SessionId, BTreeMap<TaskId, Option<TaskId>>>,
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

    /// The accounts that a call is held on, from the top down.
    #[must_use]
    pub fn path(&self, payer: Payer<'_>) -> Vec<Account> {
        let mut tasks: Vec<&TaskId> = self.carvings(payer).collect();
        tasks.reverse();
        let tasks = tasks.into_iter().cloned().map(Account::Task);
        Account::path(payer.session).into_iter().chain(tasks).collect()
    }

    /// The task, what it was carved out of, and so on. A task that is unknown stands for itself, with nothing to spend.
    fn carvings<'a>(&'a self, payer: Payer<'a>) -> impl Iterator<Item = &'a TaskId> {
        let of_session = self.tasks.get(payer.session);
        let parent = move |task: &&'a TaskId| of_session?.get(*task)?.as_ref();
        std::iter::successors(payer.task, parent).take(CARVINGS_LIMIT + 1)
    }

    /// Whether a budget can be carved out of what bears the payer's calls.
    ///
    /// # Errors
    ///
    /// A sentence when there are too many already, one beside or below the other.
    pub fn can_carve(&self, payer: Payer<'_>) -> Result<(), String> {
        if self.tasks.get(payer.session).is_some_and(|tasks| tasks.len() >= TASKS_LIMIT) {
            return Err(format!("a session may have {TASKS_LIMIT} tasks with a budget"));
        }
        if self.carvings(payer).count() >= CARVINGS_LIMIT {
            return Err(format!("a budget may be carved out of another one {CARVINGS_LIMIT} times"));
        }
        Ok(())
    }

    fn has_task(&self, session: &SessionId, task: &TaskId) -> bool {
        self.tasks.get(session).is_some_and(|tasks| tasks.contains_key(task))
    }

    /// The session of a task with a budget.
    #[must_use]
    pub fn session_of(&self, task: &TaskId) -> Option<&SessionId> {
        self.tasks.iter().find(|(_, tasks)| tasks.contains_key(task)).map(|(session, _)| session)
    }

    /// What a call could hold at most.
    #[must_use]
    pub fn available(&self, payer: Payer<'_>) -> Nanodollars {
        self.balances_of(payer, None).iter().map(|(_, balance)| balance.available()).min().unwrap_or_default()
    }

    /// Whether a call can be held for `amount`. `session_grant` stands in for the session's grant while it is not yet open.
    ///
    /// # Errors
    ///
    /// The first account of the path, from the top down, that can't bear it.
    pub fn check(
        &self,
        payer: Payer<'_>,
        session_grant: Option<Nanodollars>,
        amount: Nanodollars,
    ) -> Result<(), Shortfall> {
        for (account, balance) in self.balances_of(payer, session_grant) {
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

    /// Whether an account on the path has a limit, so that a call of unknown cost must not be made.
    #[must_use]
    pub fn is_limited(&self, payer: Payer<'_>, session_grant: Option<Nanodollars>) -> bool {
        self.balances_of(payer, session_grant).iter().any(|(_, balance)| balance.granted.is_some())
    }

    /// The accounts of a path as they are, or as the session's would be once it is open.
    fn balances_of(&self, payer: Payer<'_>, session_grant: Option<Nanodollars>) -> Vec<(Account, Balance)> {
        let with_balance = |account: Account| {
            let known = self.accounts.get(&account);
            let balance = match (&account, known) {
                (Account::Task(task), _) if !self.has_task(payer.session, task) => {
                    Balance { granted: Some(Nanodollars::ZERO), ..Balance::default() }
                }
                (_, Some(balance)) => *balance,
                (Account::Session(_), None) => Balance { granted: session_grant, ..Balance::default() },
                (Account::Task(_), None) => Balance { granted: Some(Nanodollars::ZERO), ..Balance::default() },
                (Account::Principal(_), None) => Balance::default(),
            };
            (account, balance)
        };
        self.path(payer).into_iter().map(with_balance).collect()
    }

    /// What settling the call at `cost` would charge; without a cost, the whole hold. Unknown calls are charged nothing.
    #[must_use]
    pub fn charge(&self, call: CallId, cost: Option<Nanodollars>) -> Charge {
        let Some(hold) = self.holds.get(&call) else { return Charge::default() };
        let cost = cost.unwrap_or(hold.amount);
        let spare = self.available(Payer { session: &hold.session, task: hold.task.as_ref() });
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

    /// Takes in that a task of a session was given this budget, carved out of another one's or the session's.
    pub fn carved(&mut self, session: &SessionId, task: &TaskId, parent: Option<&TaskId>, grant: Nanodollars) {
        self.tasks.entry(session.clone()).or_default().insert(task.clone(), parent.cloned());
        let balance = Balance { granted: Some(grant), ..Balance::default() };
        self.accounts.insert(Account::Task(task.clone()), balance);
    }

    /// Takes in that a call holds `amount` on the accounts that bear it.
    pub fn held(&mut self, call: CallId, payer: Payer<'_>, amount: Nanodollars) {
        for account in self.path(payer) {
            let balance = self.accounts.entry(account).or_default();
            balance.held = balance.held.plus(amount);
        }
        let hold = Hold { session: payer.session.clone(), task: payer.task.cloned(), amount };
        self.holds.insert(call, hold);
    }

    /// Takes in that a call was settled: its hold is gone and the charge is spent.
    pub fn settled(&mut self, call: CallId, charged: Nanodollars) {
        let Some(hold) = self.holds.remove(&call) else { return };
        for account in self.path(Payer { session: &hold.session, task: hold.task.as_ref() }) {
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
        assert_eq!(book.check(Payer::of(&session), None, Nanodollars::new(101)).unwrap_err().account, "principal/ann");
        book.held(CALL, Payer::of(&session), Nanodollars::new(60));
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
        book.held(CALL, Payer::of(&session), Nanodollars::new(60));
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
        assert!(book.is_limited(Payer::of(&session), grant));
        assert!(book.check(Payer::of(&session), grant, Nanodollars::new(11)).is_err());
        book.session_opened(&session, None);
        assert!(!book.is_limited(Payer::of(&session), grant));
        assert!(book.check(Payer::of(&session), grant, Nanodollars::new(11)).is_ok());
    }

    #[test]
    fn a_grant_that_is_lowered_takes_nothing_back_and_lets_nothing_more_pass() {
        let (mut book, session) = book(100);
        book.held(CALL, Payer::of(&session), Nanodollars::new(60));
        let account = Account::Principal(session.owner.clone());
        book.granted(&Granted { account, amount: Some(Nanodollars::new(50)) });
        assert!(book.check(Payer::of(&session), None, Nanodollars::new(1)).is_err());
        let charge = book.charge(CALL, Some(Nanodollars::new(70)));
        assert_eq!((charge.charged.nanos(), charge.overrun.nanos()), (60, 10));
    }

    #[test]
    fn what_was_carved_out_bears_calls_beside_all_that_it_was_carved_out_of() {
        let (mut book, session) = book(100);
        let [first, second]: [TaskId; 2] = ["t1", "t2"].map(|name| name.parse().unwrap());
        book.carved(&session, &first, None, Nanodollars::new(50));
        book.carved(&session, &second, Some(&first), Nanodollars::new(40));
        let payer = Payer { session: &session, task: Some(&second) };
        let path: Vec<String> = book.path(payer).iter().map(ToString::to_string).collect();
        assert_eq!(path, ["principal/ann", "session/ann:claim-99", "task/t1", "task/t2"]);
        book.held(CALL, Payer { task: Some(&first), ..payer }, Nanodollars::new(30));
        assert_eq!((book.available(payer).nanos(), book.available(Payer::of(&session)).nanos()), (20, 70));
        assert_eq!(book.check(payer, None, Nanodollars::new(21)).unwrap_err().account, "task/t1");
        // What costs more than it holds is charged to the task's end, and no further.
        let charge = book.charge(CALL, Some(Nanodollars::new(60)));
        assert_eq!((charge.charged.nanos(), charge.overrun.nanos()), (50, 10));
        book.settled(CALL, charge.charged);
        let spent = |account: &str| book.balance(&account.parse().unwrap()).spent.nanos();
        assert_eq!(["principal/ann", "task/t1", "task/t2"].map(spent), [50, 50, 0]);
        assert!(book.is_limited(payer, None));
    }

    #[test]
    fn a_task_that_is_unknown_or_of_another_session_has_nothing_to_spend() {
        let (mut book, session) = book(100);
        let (other, task): (SessionId, TaskId) = ("ann:other".parse().unwrap(), "t1".parse().unwrap());
        for known in [false, true] {
            let payer = Payer { session: &session, task: Some(&task) };
            assert!(book.check(payer, None, Nanodollars::new(1)).is_err(), "{known}");
            book.carved(&other, &task, None, Nanodollars::new(50));
        }
        assert_eq!(book.session_of(&task), Some(&other));
    }
}
