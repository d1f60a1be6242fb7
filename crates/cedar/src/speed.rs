//! How long decisions take, in a process that does nothing else. It prints and asserts nothing, so it is run by hand:
//!
//! ```text
//! cargo test --release -p portcullis-cedar speed -- --ignored --nocapture
//! ```

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use portcullis_domain::call::Kind;
use portcullis_domain::policy::{Moment, Value};
use portcullis_domain::time::Timestamp;

use crate::fixture::{self, Asked, payment};
use crate::{Engine, Facts, compile};

/// The fastest of many short rounds: what the code costs, without what else the machine does.
const ROUNDS: usize = 500;

#[expect(clippy::disallowed_methods, reason = "measuring is about the clock")]
fn time(once: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    once();
    start.elapsed()
}

fn microseconds(calls: u32, mut call: impl FnMut()) -> f64 {
    let mut round = || (0..calls).for_each(|_| call());
    let fastest = (0..ROUNDS).map(|_| time(&mut round)).min().unwrap_or_default();
    fastest.as_secs_f64() * 1e6 / f64::from(calls)
}

/// `applicable` rules on the arguments of `approve_payment` by a junior adjuster, one permit, and `others` about other things.
fn rules(applicable: usize, others: usize) -> String {
    let mut text =
        "permit(principal in Role::\"adjuster\", action in Action::\"call_tool\", resource in Server::\"claims\");\n"
            .to_owned();
    text.push_str("permit(principal, action == Action::\"call_model\", resource);\n");
    for number in 0..applicable {
        let condition = match number % 4 {
            0 => "when { context.arguments.amount.greaterThan(decimal(\"10000.0\")) }",
            1 => "unless { context.arguments.amount.lessThanOrEqual(principal.approval_limit) }",
            2 => "when { context.arguments.claim like \"secret-*\" }",
            _ => "when { context.session.owner != \"ann\" && context.door == \"openai\" }",
        };
        writeln!(text, "@message(\"no\") forbid(principal in Role::\"junior\", action == Action::\"claims__approve_payment\", resource) {condition};").unwrap();
    }
    for number in 0..others {
        let (role, tool) = [("manager", "claims__approve_payment"), ("junior", "claims__list")][number % 2];
        writeln!(text, "forbid(principal in Role::\"{role}\", action == Action::\"{tool}\", resource) when {{ context.place == \"{number}\" }};").unwrap();
    }
    text
}

fn report(what: &str, engine: &Engine, asked: &Asked) {
    let calls = if engine.policies() > 50 && matches!(asked.capability.kind, Kind::Tool) { 5 } else { 100 };
    let decision = microseconds(calls, || drop(black_box(asked.decide(engine))));
    println!("{what:<58} {decision:>8.2} µs");
}

#[test]
#[ignore = "it measures"]
fn speed_of_decisions() {
    let facts = fixture::claims();
    for applicable in [0, 1, 3, 5, 10, 100, 1000] {
        let engine = fixture::engine(&rules(applicable, 0), &facts);
        report(&format!("tool call, {applicable} applicable rules on arguments"), &engine, &payment("ann", 5_000_000));
    }
    for others in [0, 10, 100, 1000] {
        let engine = fixture::engine(&rules(3, others), &facts);
        report(&format!("tool call, 3 applicable of {} rules", others + 5), &engine, &payment("ann", 5_000_000));
        report(
            &format!("model call, kept, of {} rules", others + 5),
            &engine,
            &Asked::new("ann", Kind::Model, "small"),
        );
    }
    let engine = fixture::engine(&rules(3, 100), &facts);
    report("tool call, denied with a message", &engine, &payment("ann", 500_000_000));
    report("function that no rule names, kept", &engine, &Asked::new("ann", Kind::Function, "get_weather"));
    let slices = microseconds(1, || drop(black_box(fixture::engine(&rules(3, 0), &facts))));
    println!("{:<58} {slices:>8.2} µs", "compiling 5 rules and 3 tools");
}

/// The median and the 99th of a hundred of many single times; and the fastest of many rounds, which is the processor time of each, since a decision waits for nothing.
fn distribution(calls: u32, mut call: impl FnMut()) -> (f64, f64, f64) {
    let fastest = microseconds(20, &mut call);
    let mut times: Vec<Duration> = (0..calls).map(|_| time(&mut call)).collect();
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e6;
    (at(50), at(99), fastest)
}

#[test]
#[ignore = "it measures"]
fn speed_of_chains() {
    let mut facts = fixture::claims();
    for number in 0..8 {
        let mut agent = fixture::principal(&format!("agent{number}"), &["adjuster", "junior"]);
        agent.attributes.insert("approval_limit".to_owned(), Value::Decimal(100_000_000 + number));
        facts.principals.push(agent);
    }
    println!("{:<44} {:>9} {:>9} {:>9}", "tool call on arguments, µs", "p50", "p99", "processor");
    for (policies, applicable) in [(10, 3), (100, 3), (100, 20), (1000, 3), (1000, 20), (1000, 100)] {
        let engine = fixture::engine(&rules(applicable, policies - applicable - 2), &facts);
        for depth in [1, 3, 8] {
            let names: Vec<String> = (1..depth).map(|number| format!("agent{number}")).collect();
            let through: Vec<&str> = names.iter().map(String::as_str).collect();
            let whole: Vec<Asked> = ["ann"]
                .iter()
                .chain(&through)
                .map(|name| payment(name, 5_000_000).on_behalf_of("ann", &through))
                .collect();
            let (p50, p99, each) =
                distribution(5_000, || whole.iter().for_each(|asked| drop(black_box(asked.decide(&engine)))));
            let what = format!("{policies} rules, {applicable} applicable, chain of {depth}");
            println!("{what:<44} {p50:>9.2} {p99:>9.2} {each:>9.2}");
        }
    }
    let moment = Moment { calls: Some(1), at: Some(Timestamp(1)), ..Moment::default() };
    for (what, condition) in [
        ("what the session has done", "context.session.calls > 100"),
        ("the time", "context.time.hour > 25"),
        ("who asked first", "context.subject in Role::\"manager\""),
        ("the chain", "context.depth > 5 || context.through.contains(\"eve\")"),
    ] {
        let rules = format!(
            "permit(principal, action, resource);\nforbid(principal, action, resource) when {{ {condition} }};"
        );
        let engine = fixture::engine(&rules, &facts);
        let asked = Asked { moment: moment.clone(), ..payment("agent1", 1) }.on_behalf_of("ann", &["agent1"]);
        let (p50, p99, each) = distribution(5_000, || drop(black_box(asked.decide(&engine))));
        println!("{:<44} {p50:>9.2} {p99:>9.2} {each:>9.2}", format!("one rule that reads {what}"));
    }
}

#[test]
#[ignore = "it measures"]
fn speed_of_compiling() {
    let payment = fixture::claims().tools[0].clone();
    for (tools, policies) in [(10, 100), (100, 100), (1000, 100), (100, 1000)] {
        let tool = |number: usize| crate::Tool { name: format!("tool{number}"), ..payment.clone() };
        let mut facts: Facts = fixture::claims();
        facts.tools.extend((0..tools).map(tool));
        let source = fixture::source(&rules(policies / 2, policies / 2));
        let once = time(&mut || {
            drop(black_box(compile(std::slice::from_ref(&source), &facts).map_err(|problems| problems.len())))
        });
        println!("compiling {policies} rules and {tools} tools: {once:?}");
        let wide = "permit(principal in Role::\"adjuster\", action, resource) when { principal has approval_limit };\n"
            .repeat(policies);
        let source = fixture::source(&wide);
        let once = time(&mut || {
            drop(black_box(compile(std::slice::from_ref(&source), &facts).map_err(|problems| problems.len())))
        });
        println!("compiling {policies} rules on any action and {tools} tools: {once:?}");
    }
}
