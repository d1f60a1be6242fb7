//! The report, for people as tables and for programs as JSON.

use std::fmt;

use serde::Serialize;

use crate::{
    calls::Scenario,
    figures::{Figures, Table},
    goals::{self, Goal},
    machine::{Durability, Machine},
    options::Options,
    peers::Peer,
    rounds::{DISTURBED, Series},
};

/// Below this share of its core a proxy was not what limited the peak.
const SATURATED: f64 = 0.9;

#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    durability: Durability,
    load: Options,
    tables: Vec<Table>,
    goals: Vec<Goal>,
}

impl Report {
    pub(crate) fn new(
        machine: Machine,
        durability: Durability,
        load: Options,
        results: &[(Scenario, Vec<Series>)],
    ) -> Self {
        let tables: Vec<Table> = results.iter().map(|(scenario, all)| Table::new(*scenario, all)).collect();
        let goals = goals::judge(&tables, &durability);
        Self { machine, durability, load, tables, goals }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(out)?;
        for table in &self.tables {
            let rate = self.load.rate_of(table.scenario);
            writeln!(out, "\n{}", table.scenario.name())?;
            head_line(out, rate)?;
            for figures in &table.peers {
                line(out, figures)?;
            }
        }
        self.notes(out)?;
        self.goals(out)
    }
}

impl Report {
    fn head(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, durability, load, .. } = self;
        writeln!(out, "machine     {}, {} cores, Linux {}", machine.processor, machine.cores, machine.kernel)?;
        writeln!(
            out,
            "placement   proxies on core {}, load and upstream on {}",
            machine.proxy_cores, machine.load_cores
        )?;
        writeln!(
            out,
            "load        {} rounds of {} s fixed rate and {} s peak, {} connections, {} sessions, bodies of 1 KiB",
            load.rounds,
            load.seconds,
            load.seconds as f64 / 2.0,
            load.connections,
            load.sessions
        )?;
        writeln!(out, "streams     {} chunks, {} ms apart", load.chunks, load.chunk_gap_ms)?;
        let Durability { file_system, fdatasync_p50_us, fdatasync_p99_us } = durability;
        writeln!(
            out,
            "durability  fdatasync p50 {fdatasync_p50_us:.0} µs, p99 {fdatasync_p99_us:.0} µs on {file_system}"
        )?;
        if !durability.is_real() {
            writeln!(out, "            THIS IS MEMORY: nothing is durable here; choose a disk with --data-dir")?;
        }
        Ok(())
    }

    fn notes(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || self.tables.iter().flat_map(|table| &table.peers);
        writeln!(out)?;
        if all().any(unsaturated) {
            writeln!(
                out,
                "≥ not the proxy was the limit, whose core had room, but load, upstream, disk or the streams' pauses"
            )?;
        }
        let foreign = all().flat_map(|figures| [figures.fixed.foreign, figures.peak.foreign]).fold(0.0, f64::max);
        let doubt = if foreign > DISTURBED { ": THE MACHINE WAS NOT QUIET, measure again" } else { "" };
        writeln!(out, "other processes and the hypervisor took up to {:.0} % of a core{doubt}", foreign * 100.0)?;
        for figures in all() {
            if let Some(error) = &figures.first_error {
                writeln!(out, "{}: {} errors, the first: {error}", figures.peer.name(), figures.errors)?;
            }
        }
        Ok(())
    }

    fn goals(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.goals.is_empty() {
            writeln!(out, "\ngoals")?;
        }
        for goal in &self.goals {
            let Goal { what, unit, measured, goal: limit, .. } = goal;
            writeln!(out, "  {what:<55} {measured:>8.2} {unit:<8} goal {limit:>7.2}  {}", goal.verdict())?;
        }
        Ok(())
    }
}

fn unsaturated(figures: &Figures) -> bool {
    figures.peak.core_busy.is_some_and(|busy| busy < SATURATED)
}

fn head_line(out: &mut fmt::Formatter<'_>, rate: u32) -> fmt::Result {
    writeln!(out, "  {:<11}{:^36}{:^54}", "", "| at peak", format!("| at {rate}/s"))?;
    write!(out, "  {:<11}{:>9}{:>9}{:>10}{:>8}", "", "cpu µs", "x nginx", "calls/s", "core")?;
    write!(out, "{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}", "cpu µs", "x nginx", "p50 µs", "p99 µs", "+p50", "+p99")?;
    writeln!(out, "{:>7}{:>8}", "MiB", "errors")
}

fn line(out: &mut fmt::Formatter<'_>, figures: &Figures) -> fmt::Result {
    let Figures { fixed, peak, .. } = figures;
    let bound = if unsaturated(figures) || figures.peer == Peer::Direct { "≥" } else { "" };
    let calls = format!("{bound}{:.0}", peak.per_second);
    let core = peak.core_busy.map_or_else(|| "-".to_owned(), |busy| format!("{:.0} %", busy * 100.0));
    let (p50, p99) = (optional(Some(figures.p50_us), 0), optional(Some(figures.p99_us), 0));
    let (added_p50, added_p99) = (optional(figures.added_p50_us, 0), optional(figures.added_p99_us, 0));
    write!(out, "  {:<11}{:>9}{:>9}", figures.peer.name(), optional(peak.cpu_us, 1), optional(peak.cpu_ratio, 2))?;
    write!(out, "{calls:>10}{core:>8}{:>9}{:>9}", optional(fixed.cpu_us, 1), optional(fixed.cpu_ratio, 2))?;
    write!(out, "{p50:>9}{p99:>9}{added_p50:>9}{added_p99:>9}")?;
    writeln!(out, "{:>7}{:>8}", optional(figures.resident_mib, 0), figures.errors)
}

fn optional(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}
