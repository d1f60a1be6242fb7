//! A log-linear histogram of durations: constant memory, constant time per record, never more than 0.2 % off.

use std::time::Duration;

/// Every power of two is cut into this many equal buckets (2 to the ninth), which bounds the relative error.
const SUB_BUCKETS: u64 = 512;
const SUB_BITS: u32 = 9;
/// Enough for 18 minutes in nanoseconds, longer than any run; what lasts longer falls into the last bucket.
const BUCKETS: usize = 32 * 512;

/// Counts of durations, in nanoseconds.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }

    pub(crate) fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket_of(nanos)) {
            *count += 1;
            self.total += 1;
        }
    }

    pub(crate) fn absorb(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// The duration in microseconds that `percent` of the records do not exceed; 0 without records.
    pub(crate) fn percentile_us(&self, percent: u64) -> f64 {
        let rank = (self.total * percent).div_ceil(100);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return upper_edge(index) as f64 / 1_000.0;
            }
        }
        0.0
    }
}

fn bucket_of(nanos: u64) -> usize {
    if nanos < SUB_BUCKETS {
        return usize::try_from(nanos).unwrap_or(0);
    }
    let shift = 63 - nanos.leading_zeros() - SUB_BITS;
    let index = (u64::from(shift) + 1) * SUB_BUCKETS + (nanos >> shift) - SUB_BUCKETS;
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The largest value that falls into the bucket, so that a percentile is never flattered.
fn upper_edge(index: usize) -> u64 {
    let index = index as u64;
    if index < SUB_BUCKETS {
        return index;
    }
    let shift = index / SUB_BUCKETS - 1;
    let lower = (index % SUB_BUCKETS + SUB_BUCKETS) << shift;
    lower + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_within_the_promised_error() {
        for nanos in [0, 1, 511, 512, 513, 1023, 1024, 123_456, 9_999_999_999, 1_000_000_000_000] {
            let edge = upper_edge(bucket_of(nanos));
            assert!(edge >= nanos, "{nanos} above its edge {edge}");
            assert!((edge - nanos) as f64 <= nanos as f64 / 512.0, "{nanos} too far from {edge}");
        }
    }

    #[test]
    fn percentiles_count_every_record() {
        let mut histogram = Histogram::new();
        for micros in 1..=100 {
            histogram.record(Duration::from_micros(micros));
        }
        for (percent, micros) in [(50, 50.0), (99, 99.0), (100, 100.0)] {
            let found = histogram.percentile_us(percent);
            assert!((micros..micros * 1.002).contains(&found), "p{percent} was {found}");
        }
    }
}
