//! Tasks that were handed on, and what they may spend.

use portcullis_domain::authority::DEPTH_LIMIT;
use portcullis_domain::event::{Delegated, Event};
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::{Entry, StreamId};
use portcullis_domain::ledger::Account;
use portcullis_domain::session::Status;

use super::{Fate, Laws, room, shown};

impl Laws {
    /// A task is handed on within what it was: no further, for no longer, and for no more money.
    pub(super) fn delegated(&mut self, session: &SessionId, event: &Delegated, entry: &Entry<Event>) {
        let Delegated { token, authority, to, scope, expires_at, until, grant, within } = event;
        self.is_now(session, Status::Active);
        self.must(entry.actor == authority.actor(&session.owner), || format!("token {token} is blamed on another one"));
        self.must(self.world.disabled.check(authority.chain(&session.owner)).is_ok(), || {
            format!("token {token} is for a chain with somebody on it who is disabled")
        });
        let depth = authority.through.len() + to.iter().len();
        self.must(depth <= DEPTH_LIMIT, || format!("token {token} is for a chain of {depth}"));
        let is_in_time = authority.expires_at.is_none_or(|expiry| *expires_at <= expiry && entry.at < expiry);
        self.must(is_in_time, || format!("token {token} outlives the one that it comes from"));
        let is_meant = authority.until.is_none_or(|end| until.is_some_and(|until| until <= end));
        self.must(is_meant, || format!("token {token} has lost the end that was meant"));
        let is_narrower = match (&authority.scope, scope) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(present), Some(scope)) => present.within(scope).as_ref() == Some(scope),
        };
        self.must(is_narrower, || format!("token {token} is for more than the one that it comes from"));
        if let Some(within) = within {
            self.grants.handed_on(session, *token, authority.under, within);
        }
        let Some(grant) = grant else { return };
        self.must(grant.parent == authority.task, || format!("`{}` is carved out of another budget", grant.task));
        for account in self.tasks.path(session, grant.parent.as_ref()) {
            let left = room(&self.world.ledger.balance(&account));
            self.must(grant.amount.nanos() <= left, || {
                format!("`{}` gets {}, and `{account}` has {} left", grant.task, grant.amount, shown(left))
            });
        }
        let is_here = grant.parent.as_ref().is_none_or(|parent| self.tasks.is_of(parent, session));
        self.must(is_here, || format!("`{}` is carved out of what is not of this session", grant.task));
        let is_new = self.tasks.carved(session, &grant.task, grant.parent.as_ref());
        self.must(is_new, || format!("there was a task `{}` before", grant.task));
    }

    /// The accounts whose balances the entry changes.
    pub(super) fn accounts(&self, entry: &Entry<Event>) -> Vec<Account> {
        let StreamId::Session(session) = &entry.stream else {
            return if let Event::Granted(event) = &entry.event { vec![event.account.clone()] } else { Vec::new() };
        };
        if let Event::Granted(event) = &entry.event {
            vec![event.account.clone()]
        } else if let Event::CallAdmitted(event) = &entry.event {
            self.tasks.path(session, event.authority.task.as_ref())
        } else if let Event::CallSettled(event) = &entry.event {
            let open = self.calls.get(&event.call);
            let task = open.and_then(|fate| if let Fate::Open { task, .. } = fate { task.as_ref() } else { None });
            self.tasks.path(session, task)
        } else {
            Vec::new()
        }
    }
}
