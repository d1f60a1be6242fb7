//! How often calls may be made: the generic cell rate algorithm (ITU-T I.371), which needs one number for each window and forgets by itself.
//!
//! A window knows only when the next call would be due if calls came evenly. A call may come early by as much as the burst allows; one that is earlier is refused with the time that it has to wait.

use crate::time::Timestamp;

/// So many calls in so much time, of which some may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    interval_us: u64,
    early_us: u64,
}

impl Rate {
    /// `calls` in each `per_us` microseconds, of which `burst` may come at once. Never more than that: what does not come out even is rounded against the caller.
    ///
    /// # Errors
    ///
    /// A sentence, when one of them is nothing, or a burst takes longer than can be counted.
    pub fn new(calls: u64, per_us: u64, burst: u64) -> Result<Self, String> {
        if calls == 0 || per_us == 0 || burst == 0 {
            return Err("a rate is of at least one call at once and in some time".to_owned());
        }
        let interval_us = per_us.div_ceil(calls);
        let early_us = interval_us.checked_mul(burst - 1).filter(|early| *early <= LONGEST_US);
        early_us
            .map(|early_us| Self { interval_us, early_us })
            .ok_or_else(|| format!("a burst of {burst} takes longer than {} days to come by", LONGEST_US / DAY_US))
    }

    /// Between two calls that come evenly, in microseconds.
    #[must_use]
    pub fn interval_us(self) -> u64 {
        self.interval_us
    }

    /// How early a call may come, in microseconds.
    #[must_use]
    pub fn early_us(self) -> u64 {
        self.early_us
    }

    /// When the call after one made now is due; or how long has to be waited, in microseconds.
    ///
    /// # Errors
    ///
    /// The microseconds to wait.
    pub fn take(self, due: Timestamp, now: Timestamp) -> Result<Timestamp, u64> {
        // None is due later than that, unless a clock has gone back.
        let latest = now.0.saturating_add(self.early_us).saturating_add(self.interval_us);
        let begin = due.0.clamp(now.0, latest);
        let early = begin - now.0;
        match early.checked_sub(self.early_us) {
            Some(wait) if wait > 0 => Err(wait),
            Some(_) | None => Ok(Timestamp(begin.saturating_add(self.interval_us))),
        }
    }
}

const DAY_US: u64 = 86_400_000_000;
/// The longest time that a burst may take to come by again.
const LONGEST_US: u64 = 400 * DAY_US;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_calls_come_evenly() {
        let rate = Rate::new(60, 60_000_000, 3).unwrap();
        let mut due = Timestamp::default();
        let mut ask = |second: u64| match rate.take(due, Timestamp(second * 1_000_000)) {
            Ok(next) => {
                due = next;
                0
            }
            Err(wait) => wait,
        };
        assert_eq!([ask(100), ask(100), ask(100), ask(100)], [0, 0, 0, 1_000_000]);
        assert_eq!([ask(101), ask(101), ask(103), ask(103)], [0, 1_000_000, 0, 0]);
    }

    #[test]
    fn a_clock_that_goes_back_costs_one_interval_at_most() {
        let rate = Rate::new(1, 1_000, 2).unwrap();
        assert_eq!(rate.take(Timestamp(u64::MAX), Timestamp(0)), Err(1_000));
        assert_eq!(rate.take(Timestamp(9_000), Timestamp(7_500)), Err(500));
    }

    #[test]
    fn no_rate_is_of_nothing() {
        let check = |calls, per_us, burst, is_rate: bool| {
            assert_eq!(Rate::new(calls, per_us, burst).is_ok(), is_rate, "{calls} {per_us} {burst}");
        };
        check(1, 1, 1, true);
        check(0, 1, 1, false);
        check(1, 0, 1, false);
        check(1, 1, 0, false);
        check(1, DAY_US, 401, true);
        check(1, DAY_US, 402, false);
        check(1, u64::MAX, u64::MAX, false);
    }

    proptest! {
        /// Whatever the times of the calls: in no stretch of time pass more than the burst and what has come by since.
        #[test]
        fn no_stretch_of_time_sees_more_than_its_share(
            calls in 1_u64..100,
            per_us in 1_u64..10_000_000,
            burst in 1_u64..20,
            pauses in prop::collection::vec(0_u64..2_000_000, 1..200),
        ) {
            let rate = Rate::new(calls, per_us, burst).unwrap();
            let (mut due, mut now, mut passed) = (Timestamp::default(), 1_000_000_000_u64, Vec::new());
            for pause in pauses {
                now += pause;
                match rate.take(due, Timestamp(now)) {
                    Ok(next) => { due = next; passed.push(now); }
                    Err(wait) => prop_assert!(rate.take(due, Timestamp(now + wait)).is_ok() && wait > 0),
                }
            }
            for (index, first) in passed.iter().enumerate() {
                for (count, last) in passed.iter().skip(index).enumerate() {
                    let share = u128::from(burst) + u128::from(last - first) * u128::from(calls) / u128::from(per_us);
                    prop_assert!(u128::try_from(count).unwrap() < share + 1);
                }
            }
        }
    }
}
