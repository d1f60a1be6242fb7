//! Windows in this process's memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use portcullis_domain::time::Timestamp;

use super::window::{Full, Window};

/// Windows that are over are looked for each time there are twice as many as were left, and not below so many.
const SWEEP_MIN: usize = 1_024;

/// When the next call of each window is due.
#[derive(Default)]
pub(super) struct Here {
    windows: Mutex<Dues>,
}

#[derive(Default)]
struct Dues {
    dues: HashMap<String, Timestamp>,
    sweep_at: usize,
}

impl Here {
    /// Counts a call in all of them, or in none.
    pub(super) fn take(&self, windows: &[Window<'_>], now: Timestamp) -> Result<(), Full> {
        let mut held = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Vec::with_capacity(windows.len());
        for (index, window) in windows.iter().enumerate() {
            let due = held.dues.get(&window.key).copied().unwrap_or_default();
            next.push(window.limit.rate.take(due, now).map_err(|wait_us| Full { index, wait_us })?);
        }
        held.dues.extend(windows.iter().map(|window| window.key.clone()).zip(next));
        if held.dues.len() >= held.sweep_at.max(SWEEP_MIN) {
            held.dues.retain(|_, due| *due > now);
            held.sweep_at = held.dues.len() * 2;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::ledger::Rate;

    use super::super::table::Each;
    use super::super::window::Limit;
    use super::*;

    fn limit(calls: u64, burst: u64) -> Limit {
        let rate = Rate::new(calls, 1_000_000, burst).unwrap();
        Limit { name: "l".to_owned(), rate, each: Each::Everybody, to: None }
    }

    fn window<'a>(limit: &'a Limit, key: &str) -> Window<'a> {
        Window { limit, key: key.to_owned() }
    }

    #[test]
    fn a_call_counts_in_all_windows_or_in_none() {
        let (here, now) = (Here::default(), Timestamp(5_000_000));
        let (wide, narrow) = (limit(1, 2), limit(1, 1));
        let both = || [window(&wide, "wide"), window(&narrow, "narrow")];
        assert_eq!(here.take(&both(), now), Ok(()));
        assert_eq!(here.take(&both(), now), Err(Full { index: 1, wait_us: 1_000_000 }));
        assert_eq!(here.take(&[window(&wide, "wide")], now), Ok(()), "the refused one was not counted");
        assert_eq!(here.take(&both(), now), Err(Full { index: 0, wait_us: 1_000_000 }));
    }

    #[test]
    fn windows_that_are_over_are_forgotten() {
        let (here, each) = (Here::default(), limit(1, 1));
        for second in 0..10_000 {
            let key = second.to_string();
            here.take(&[window(&each, &key)], Timestamp(second * 1_000_000)).unwrap();
        }
        assert!(here.windows.lock().unwrap().dues.len() <= SWEEP_MIN);
    }
}
