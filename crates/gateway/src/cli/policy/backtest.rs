//! `portcullis policy backtest`: all recorded calls, judged by other policies.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use portcullis_domain::policy::Effect;
use serde_json::{Value, json};

use crate::assemble::of_rule;
use crate::cli::arguments::{Backtest, Common};
use crate::cli::exit::Exit;
use crate::cli::policy::ask::{self, Judge};
use crate::cli::policy::record::{Recorded, Walk};
use crate::cli::policy::{ground, history};
use crate::cli::{journal, print};

/// How many calls are named of each change.
const EXAMPLES: usize = 5;

/// What changes, for whom and what, and by which rules.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    from: &'static str,
    to: &'static str,
    who: String,
    what: String,
    why: String,
}

/// What came of it.
#[derive(Default)]
struct Found {
    judged: u64,
    /// Calls that can't be judged, by the reason.
    left_out: BTreeMap<String, u64>,
    /// How many of each change, and the first of them.
    changes: BTreeMap<Change, (u64, Vec<String>)>,
    /// How long the rules took.
    deciding: Duration,
}

pub(super) fn run(common: &Common, flags: &Backtest) -> Result<(), Exit> {
    let stream = flags.stream.as_deref().map(str::parse).transpose().map_err(Exit::negative)?;
    let source = journal::open(common)?;
    let ground = ground::with_files(history::newest_made_of(source.as_ref())?, &flags.policies)?;
    for warning in ground.engine.warnings() {
        print::error_line(&of_rule(warning).to_string());
    }
    let judge = Judge::new(&ground.engine, &ground.made_of.facts);
    let mut found = Found::default();
    let start = now();
    Walk::new(source.as_ref(), None)?.run(stream, |recorded| {
        found.take(&judge, &recorded);
        Ok(())
    })?;
    let took = now().saturating_duration_since(start);
    report(common, &found, took);
    let changed = found.changes.values().map(|(count, _)| count).sum::<u64>();
    if flags.strict && changed > 0 {
        Err(Exit::negative(format!("{changed} call(s) would be judged otherwise")))
    } else {
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "how long it took is said to people, and decides nothing")]
fn now() -> Instant {
    Instant::now()
}

impl Found {
    fn take(&mut self, judge: &Judge<'_>, recorded: &Recorded) {
        let left_out = match (&recorded.lacks, recorded.effect, recorded.code) {
            (Some(lacks), _, _) => Some(lacks.clone()),
            (None, None, code) => {
                let code = code.map_or("unknown", portcullis_domain::refusal::Code::as_str);
                Some(format!("it was refused before policy was asked ({code})"))
            }
            (None, Some(_), _) => None,
        };
        let Some(effect) = recorded.effect.filter(|_| left_out.is_none()) else {
            *self.left_out.entry(left_out.unwrap_or_default()).or_default() += 1;
            return;
        };
        let start = now();
        let decision = judge.decide(&recorded.case);
        self.deciding += now().saturating_duration_since(start);
        if decision.lacks_said {
            let reason = "a rule reads where arguments come from, which is not reckoned anew".to_owned();
            *self.left_out.entry(reason).or_default() += 1;
            return;
        }
        self.judged += 1;
        if decision.effect == effect {
            return;
        }
        let case = &recorded.case;
        let rules = if decision.effect == Effect::Deny || !decision.policies.is_empty() {
            ask::line(&decision)
        } else {
            String::new()
        };
        let change = Change {
            from: ask::word(effect),
            to: ask::word(decision.effect),
            who: ask::chain(&case.subject, &case.through),
            what: case.capability.to_string(),
            why: rules,
        };
        let (count, examples) = self.changes.entry(change).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(recorded.call.to_string());
        }
    }

    fn per_second(&self) -> u64 {
        let seconds = self.deciding.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
        if seconds > 0.0 { (self.judged as f64 / seconds) as u64 } else { 0 }
    }
}

/// What the record can't give.
const ASSUMED: &str = "principals with their roles and attributes, tools and models are those of the newest version in the journal, and not those of the time of each call";

fn report(common: &Common, found: &Found, took: Duration) {
    if common.json {
        let change = |(change, (count, calls)): (&Change, &(u64, Vec<String>))| {
            json!({"from": change.from, "to": change.to, "who": change.who, "what": change.what,
                "why": change.why, "count": count, "calls": calls})
        };
        let changes: Vec<Value> = found.changes.iter().map(change).collect();
        print::json(&json!({
            "judged": found.judged, "left_out": found.left_out, "changes": changes, "assumed": [ASSUMED],
            "seconds": took.as_secs_f64(), "decisions_per_second": found.per_second(),
        }));
        return;
    }
    if found.changes.is_empty() {
        print::line("nothing would change");
    } else {
        let row = |(change, (count, calls)): (&Change, &(u64, Vec<String>))| {
            let example = calls.first().cloned().unwrap_or_default();
            vec![
                count.to_string(),
                format!("{} → {}", change.from, change.to),
                change.who.clone(),
                change.what.clone(),
                change.why.clone(),
                example,
            ]
        };
        print::table(&["CALLS", "CHANGE", "WHO", "WHAT", "NOW", "AS IN"], found.changes.iter().map(row));
    }
    print::line(&format!(
        "{} calls judged in {:.2} s ({} decisions/s without reading the journal)",
        found.judged,
        took.as_secs_f64(),
        found.per_second()
    ));
    for (why, count) in &found.left_out {
        print::line(&format!("{count} left out: {why}"));
    }
    print::line(&format!("assumed: {ASSUMED}"));
}
