//! The goals Portcullis has set itself for speed, and whether a run met them.

use serde::Serialize;

use crate::{
    calls::Scenario,
    figures::{Figures, Table},
    machine::Durability,
    peers::Peer,
};

/// On top of the durable write that an MCP call has to wait for.
const MCP_ADDED_US: f64 = 300.0;
const ADDED_P99_US: f64 = 1_000.0;

#[derive(Serialize)]
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) measured: f64,
    pub(crate) goal: f64,
    /// A nearer goal on the way.
    pub(crate) step_one: Option<f64>,
    /// Never with errors: refusals are cheap.
    pub(crate) met: bool,
    #[serde(skip)]
    errors: u64,
}

/// Only what was measured in this run is judged.
pub(crate) fn judge(tables: &[Table], durability: &Durability) -> Vec<Goal> {
    let judged = tables.iter().filter_map(|table| Some((table.scenario, table.of(Peer::Portcullis)?)));
    judged.flat_map(|(scenario, figures)| of_scenario(scenario, figures, durability)).collect()
}

fn of_scenario(scenario: Scenario, figures: &Figures, durability: &Durability) -> Vec<Goal> {
    // Judged at peak: at a low rate a call's processor time is mostly the machine's price of waking up, which all pay alike.
    let ratio = |goal, step_one| {
        let what = format!("{}: processor time at peak", scenario.name());
        Goal::new(what, "x nginx", figures.peak.cpu_ratio, goal, step_one, figures.errors)
    };
    let added = |percentile: &str, measured, goal| {
        let what = format!("{}: added {percentile}", scenario.name());
        Goal::new(what, "µs", measured, goal, None, figures.errors)
    };
    let goals = match scenario {
        Scenario::Chat => vec![ratio(2.5, Some(4.0)), added("p99", figures.added_p99_us, ADDED_P99_US)],
        Scenario::Stream => vec![ratio(1.6, None)],
        Scenario::McpSession | Scenario::McpStateless => {
            let added = added("p50", figures.added_p50_us, durability.fdatasync_p50_us + MCP_ADDED_US);
            vec![ratio(3.0, Some(5.0)), added]
        }
    };
    goals.into_iter().flatten().collect()
}

impl Goal {
    fn new(
        what: String,
        unit: &'static str,
        measured: Option<f64>,
        goal: f64,
        step_one: Option<f64>,
        errors: u64,
    ) -> Option<Self> {
        let measured = measured?;
        Some(Self { what, unit, measured, goal, step_one, met: measured <= goal && errors == 0, errors })
    }

    pub(crate) fn verdict(&self) -> &'static str {
        match self.step_one {
            _ if self.met => "met",
            _ if self.errors > 0 => "not met: there were errors",
            Some(step_one) if self.measured <= step_one => "not met, step one met",
            _ => "not met",
        }
    }
}
