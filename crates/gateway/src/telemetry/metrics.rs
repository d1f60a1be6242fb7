//! Counters for Prometheus (OpenMetrics text at `/metrics`). Labels have few values, never names that callers choose.

use std::sync::atomic::AtomicU64;

use portcullis_domain::call::{Door, Kind};
use portcullis_domain::event::Outcome;
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::{Deed, Point};
use portcullis_domain::refusal::Code;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type Labels = Vec<(&'static str, &'static str)>;

/// All counters.
pub struct Metrics {
    registry: Registry,
    admitted: Family<Labels, Counter>,
    repeated: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
    settled: Family<Labels, Counter>,
    judged: Family<Labels, Counter>,
    audited: Counter,
    guarded: Family<Vec<(&'static str, String)>, Counter>,
    charged: Counter<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let (admitted, repeated, refused, settled, judged) =
            (Family::default(), Family::default(), Family::default(), Family::default(), Family::default());
        let (audited, charged, guarded) = (Counter::default(), Counter::default(), Family::default());
        registry.register("calls_admitted", "Calls that were admitted", admitted.clone());
        registry.register("calls_repeated", "Calls that were an earlier one once more", repeated.clone());
        registry.register("calls_refused", "Calls that were refused", refused.clone());
        registry.register("calls_settled", "Calls that were settled", settled.clone());
        registry.register("policy_judged", "Tool calls inside model answers that were judged", judged.clone());
        registry.register("policy_audited", "What rules on trial would have decided otherwise", audited.clone());
        registry.register("guardrails_acted", "What guardrails did", guarded.clone());
        registry.register("ledger_charged_nanodollars", "What calls have cost", charged.clone());
        Self { registry, admitted, repeated, refused, settled, judged, audited, guarded, charged }
    }

    /// A call was admitted.
    pub fn admitted(&self, door: Door, kind: Kind) {
        self.admitted.get_or_create(&vec![("door", door.as_str()), ("kind", kind.as_str())]).inc();
    }

    /// A call was an earlier one once more, and got that one's answer.
    pub fn repeated(&self, door: Door) {
        self.repeated.get_or_create(&vec![("door", door.as_str())]).inc();
    }

    /// A call was refused.
    pub fn refused(&self, door: Door, code: Code) {
        self.refused.get_or_create(&vec![("door", door.as_str()), ("code", code.as_str())]).inc();
    }

    /// A call was settled.
    pub fn settled(&self, outcome: Outcome, charged: Nanodollars) {
        let outcome = match outcome {
            Outcome::Completed => "completed",
            Outcome::Failed => "failed",
            Outcome::Aborted => "aborted",
            Outcome::Unknown => "unknown",
        };
        self.settled.get_or_create(&vec![("outcome", outcome)]).inc();
        self.charged.inc_by(charged.nanos());
    }

    /// A tool call inside a model's answer was judged.
    pub fn judged(&self, is_allowed: bool) {
        self.judged.get_or_create(&vec![("effect", if is_allowed { "allow" } else { "deny" })]).inc();
    }

    /// Rules on trial would have decided otherwise, so many times.
    pub fn audited(&self, times: usize) {
        self.audited.inc_by(u64::try_from(times).unwrap_or(u64::MAX));
    }

    /// A guardrail did something. Its name is the operator's own word.
    pub fn guarded(&self, rule: &str, at: Point, deed: Deed) {
        let (rule, at, deed) = (rule.to_owned(), at.as_str().to_owned(), deed.as_str().to_owned());
        self.guarded.get_or_create(&vec![("rule", rule), ("at", at), ("deed", deed)]).inc();
    }

    /// All counters as OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
