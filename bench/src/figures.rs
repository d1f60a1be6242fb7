//! From runs to figures: each is the median over the rounds, and comparisons are made within a round.

use serde::Serialize;

use crate::{
    calls::Scenario,
    peers::Peer,
    rounds::{Sample, Series},
};

/// What one peer did in one scenario. Times in microseconds; None where there is nothing to measure or to compare with.
#[derive(Serialize)]
pub(crate) struct Figures {
    pub(crate) peer: Peer,
    pub(crate) fixed: Pace,
    pub(crate) peak: Pace,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) first_byte_p50_us: f64,
    pub(crate) added_p50_us: Option<f64>,
    pub(crate) added_p99_us: Option<f64>,
    /// How late the generator itself was; much of it says that the machine was not quiet.
    pub(crate) sent_late_p99_us: f64,
    pub(crate) resident_mib: Option<f64>,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

/// Figures of the fixed-rate or of the peak runs.
#[derive(Serialize)]
pub(crate) struct Pace {
    pub(crate) calls: u64,
    pub(crate) per_second: f64,
    /// Processor time of the proxy per call.
    pub(crate) cpu_us: Option<f64>,
    pub(crate) cpu_us_lowest: Option<f64>,
    pub(crate) cpu_us_highest: Option<f64>,
    /// The same as a multiple of nginx's in the same round.
    pub(crate) cpu_ratio: Option<f64>,
    /// Share of one core the proxy used.
    pub(crate) core_busy: Option<f64>,
    /// The largest share of one core that went elsewhere in any round.
    pub(crate) foreign: f64,
}

#[derive(Serialize)]
pub(crate) struct Table {
    #[serde(rename = "scenario", serialize_with = "name")]
    pub(crate) scenario: Scenario,
    pub(crate) peers: Vec<Figures>,
}

impl Table {
    pub(crate) fn new(scenario: Scenario, all: &[Series]) -> Self {
        let of = |peer: Peer| all.iter().find(|series| series.peer == peer);
        let peers = all.iter().map(|series| figures(series, of(Peer::Direct), of(Peer::Nginx))).collect();
        Self { scenario, peers }
    }

    pub(crate) fn of(&self, peer: Peer) -> Option<&Figures> {
        self.peers.iter().find(|figures| figures.peer == peer)
    }
}

fn figures(series: &Series, direct: Option<&Series>, nginx: Option<&Series>) -> Figures {
    let latency = |percent| move |sample: &Sample| Some(sample.outcome.latency.percentile_us(percent));
    let added = |percent| {
        let direct = direct.filter(|_| series.peer != Peer::Direct)?;
        let pairs = series.fixed.iter().zip(&direct.fixed);
        median(pairs.filter_map(|(mine, theirs)| Some(latency(percent)(mine)? - latency(percent)(theirs)?)))
    };
    let over = |of: &dyn Fn(&Sample) -> Option<f64>| median(series.fixed.iter().filter_map(of)).unwrap_or(0.0);
    let samples = || series.fixed.iter().chain(&series.peak);
    let resident_kib = samples().map(|sample| sample.resident_kib).max().filter(|kib| *kib > 0);
    Figures {
        peer: series.peer,
        fixed: pace(&series.fixed, nginx.map(|nginx| nginx.fixed.as_slice())),
        peak: pace(&series.peak, nginx.map(|nginx| nginx.peak.as_slice())),
        p50_us: over(&latency(50)),
        p99_us: over(&latency(99)),
        first_byte_p50_us: over(&|sample| Some(sample.outcome.first_byte.percentile_us(50))),
        added_p50_us: added(50),
        added_p99_us: added(99),
        sent_late_p99_us: over(&|sample| Some(sample.outcome.lateness.percentile_us(99))),
        resident_mib: resident_kib.map(|kib| kib as f64 / 1024.0),
        errors: samples().map(|sample| sample.outcome.errors).sum(),
        first_error: samples().find_map(|sample| sample.outcome.first_error.clone()),
    }
}

fn pace(samples: &[Sample], nginx: Option<&[Sample]>) -> Pace {
    let cpu: Vec<f64> = samples.iter().filter_map(cpu_us).collect();
    let pairs = samples.iter().zip(nginx.unwrap_or_default());
    Pace {
        calls: samples.iter().map(|sample| sample.outcome.calls).sum(),
        per_second: median(
            samples.iter().map(|sample| sample.outcome.calls as f64 / sample.outcome.elapsed.as_secs_f64()),
        )
        .unwrap_or(0.0),
        cpu_us: median(cpu.iter().copied()),
        cpu_us_lowest: cpu.iter().copied().reduce(f64::min),
        cpu_us_highest: cpu.iter().copied().reduce(f64::max),
        cpu_ratio: median(pairs.filter_map(|(mine, theirs)| Some(cpu_us(mine)? / cpu_us(theirs)?))),
        core_busy: median(samples.iter().filter(|sample| !sample.spent.is_zero()).map(|sample| sample.busy)),
        foreign: samples.iter().map(|sample| sample.foreign).fold(0.0, f64::max),
    }
}

fn cpu_us(sample: &Sample) -> Option<f64> {
    let measured = sample.outcome.calls > 0 && !sample.spent.is_zero();
    measured.then(|| sample.spent.as_secs_f64() * 1e6 / sample.outcome.calls as f64)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get(values.len().saturating_sub(1) / 2)?;
    Some((upper + lower) / 2.0)
}

fn name<S: serde::Serializer>(scenario: &Scenario, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(scenario.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_two_in_the_middle() {
        assert_eq!(median([4.0, 1.0, 3.0].into_iter()), Some(3.0));
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), Some(2.5));
        assert_eq!(median([].into_iter()), None);
    }
}
