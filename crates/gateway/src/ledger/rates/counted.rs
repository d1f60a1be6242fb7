//! A call is counted in every window that it comes under.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_domain::call::Capability;
use portcullis_domain::refusal::{Code, Refusal};

use super::here::Here;
use super::shared::Shared;
use super::table::{RatesTable, StoreUrl};
use super::window::{Full, Limit, Window};
use crate::asking::Asking;
use crate::clock::Clock;

/// A Redis, and how long it is waited for, in milliseconds.
type Store = (StoreUrl, u64);

/// How often calls are made.
pub struct Rates {
    limits: ArcSwap<Vec<Limit>>,
    shared: ArcSwap<Option<(Store, Shared)>>,
    here: Here,
    clock: Arc<dyn Clock>,
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
        let wanted = table.store.clone().map(|url| (url, table.patience_ms));
        let shared = self.shared.load();
        if shared.as_ref().as_ref().map(|(store, _)| store) != wanted.as_ref() {
            let opened = wanted.and_then(|store| {
                let shared = Shared::open(&store.0, Duration::from_millis(store.1))?;
                Some((store, shared))
            });
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
            Some((_, shared)) => shared.take(&windows, &*self.clock).await,
            None => None,
        };
        let full = full.unwrap_or_else(|| self.here.take(&windows, self.clock.now()));
        full.map_err(|full| too_soon(&windows, &full))
    }
}

fn too_soon(windows: &[Window<'_>], full: &Full) -> Refusal {
    let wait_s = full.wait_us.div_ceil(1_000_000).max(1);
    let name = windows.get(full.index).map_or("", |window| window.limit.name.as_str());
    let message = format!("calls come too fast for the limit `{name}`: try again in {wait_s} s");
    Refusal { retry_after_s: Some(wait_s), ..Refusal::new(Code::TooMany, message) }
}
