//! What is counted of whom.

use portcullis_domain::ledger::Rate;
use portcullis_domain::scope::Scope;

use super::table::{Each, LimitTable};
use crate::asking::Asking;

/// One limit.
pub(super) struct Limit {
    pub(super) name: String,
    pub(super) rate: Rate,
    pub(super) each: Each,
    pub(super) to: Option<Scope>,
}

/// One count: of whom, by which rate.
pub(super) struct Window<'a> {
    pub(super) limit: &'a Limit,
    pub(super) key: String,
}

/// Of several windows the first that has no room, and how long it has none, in microseconds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) index: usize,
    pub(super) wait_us: u64,
}

impl Limit {
    /// None where a check of the table would have found it wrong.
    pub(super) fn of(table: &LimitTable) -> Option<Self> {
        let (rate, to) = (table.rate().ok()?, table.scope());
        Some(Self { name: table.name.clone(), rate, each: table.each, to })
    }

    pub(super) fn window(&self, asking: &Asking) -> Window<'_> {
        let who = match self.each {
            Each::Principal => asking.session.owner.to_string(),
            Each::Actor => asking.chain().actor().to_string(),
            Each::Session => asking.session.to_string(),
            Each::Everybody => String::new(),
        };
        // Another rate is another window, so that nobody waits for what is not asked any more.
        let (interval, early) = (self.rate.interval_us(), self.rate.early_us());
        let each = match self.each {
            Each::Principal => 'p',
            Each::Actor => 'a',
            Each::Session => 's',
            Each::Everybody => 'e',
        };
        Window { limit: self, key: format!("portcullis:rate:{}:{interval}:{early}:{each}:{who}", self.name) }
    }
}
