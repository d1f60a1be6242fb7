//! How often calls may be made: windows of limits, counted in a Redis that several gateways share, or here.
//!
//! Nothing of it is in the record, and all of it may be lost at any time: a lost window is an empty one. The rule for one window is
//! [`portcullis_domain::ledger::Rate`].

mod here;
mod shared;
pub mod table;

use std::sync::Arc;

use arc_swap::ArcSwap;
use portcullis_domain::call::Capability;
use portcullis_domain::ledger::Rate;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::scope::Scope;

use crate::asking::Asking;
use crate::clock::Clock;
use here::Here;
use shared::Shared;
use table::{Each, LimitTable, RatesTable, StoreUrl};

/// How often calls are made.
pub struct Rates {
    limits: ArcSwap<Vec<Limit>>,
    shared: ArcSwap<Option<(StoreUrl, Shared)>>,
    here: Here,
    clock: Arc<dyn Clock>,
}

struct Limit {
    name: String,
    rate: Rate,
    each: Each,
    to: Option<Scope>,
}

/// One count: of whom, by which rate.
struct Window<'a> {
    limit: &'a Limit,
    key: String,
}

/// Of several windows the first that has no room, and how long it has none, in microseconds.
#[derive(Debug, PartialEq, Eq)]
struct Full {
    index: usize,
    wait_us: u64,
}

impl Rates {
    /// No limits.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { limits: ArcSwap::default(), shared: ArcSwap::default(), here: Here::default(), clock }
    }

    /// Takes these limits from now on. Those that stay as they were keep their windows.
    pub fn configure(&self, table: &RatesTable) {
        self.limits.store(Arc::new(table.limits.iter().filter_map(Limit::of).collect()));
        let shared = self.shared.load();
        if shared.as_ref().as_ref().map(|(url, _)| url) != table.store.as_ref() {
            let opened = table.store.as_ref().and_then(|url| Some((url.clone(), Shared::open(url)?)));
            self.shared.store(Arc::new(opened));
        }
    }

    /// Counts a call, if it comes no sooner than it may.
    ///
    /// # Errors
    ///
    /// [`Code::TooMany`], with the time to wait.
    pub async fn take(&self, asking: &Asking, capability: &Capability) -> Result<(), Refusal> {
        let limits = self.limits.load();
        let met = limits.iter().filter(|limit| limit.to.as_ref().is_none_or(|scope| scope.covers(capability)));
        let windows: Vec<Window<'_>> = met.map(|limit| limit.window(asking)).collect();
        if windows.is_empty() {
            return Ok(());
        }
        let full = match self.shared.load().as_ref() {
            Some((_, shared)) => shared.take(&windows).await,
            None => None,
        };
        let full = full.unwrap_or_else(|| self.here.take(&windows, self.clock.now()));
        full.map_err(|full| too_soon(&windows, &full))
    }
}

impl Limit {
    /// None where a check of the table would have found it wrong.
    fn of(table: &LimitTable) -> Option<Self> {
        let (rate, to) = (table.rate().ok()?, table.scope());
        Some(Self { name: table.name.clone(), rate, each: table.each, to })
    }

    fn window(&self, asking: &Asking) -> Window<'_> {
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

fn too_soon(windows: &[Window<'_>], full: &Full) -> Refusal {
    let wait_s = full.wait_us.div_ceil(1_000_000).max(1);
    let name = windows.get(full.index).map_or("", |window| window.limit.name.as_str());
    let message = format!("calls come too fast for the limit `{name}`: try again in {wait_s} s");
    Refusal { retry_after_s: Some(wait_s), ..Refusal::new(Code::TooMany, message) }
}
