//! What rules read as `context`: the question, the chain and the moment, in Cedar's words.

use std::collections::BTreeMap;

use cedar_policy::{Context, EntityUid, RestrictedExpression};
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::{Moment, Question, Stated, Value};
use portcullis_domain::time::Timestamp;

use crate::lower;
use crate::reads::Reads;

/// How many nano-dollars a ten-thousandth of a dollar is.
const NANOS_OF_TEN_THOUSANDTH: u64 = 100_000;

/// The context of a question, with no more in it than `reads` says. `subject` is who asked first, where that is read.
///
/// # Errors
///
/// Cedar's sentence; none in practice.
pub(crate) fn of(
    question: &Question<'_>,
    moment: &Moment,
    subject: Option<&EntityUid>,
    reads: &Reads,
    statements: &BTreeMap<String, Vec<String>>,
) -> Result<Context, String> {
    let mut members = Vec::with_capacity(4);
    let mut add = |name: &str, value: RestrictedExpression| members.push((name.to_owned(), value));
    for (name, value) in [("door", question.door), ("protocol", question.door)] {
        if reads.context.has(name) {
            add(name, text(value.as_str()));
        }
    }
    if reads.context.has("place") {
        add("place", text(question.place.as_str()));
    }
    if let Some(subject) = subject {
        add("subject", RestrictedExpression::new_entity_uid(subject.clone()));
    }
    if reads.context.has("depth") {
        add("depth", RestrictedExpression::new_long(long(question.chain.depth() as u64)));
    }
    if reads.context.has("through") {
        add("through", RestrictedExpression::new_set(question.chain.through.iter().map(|name| text(name.as_str()))));
    }
    if reads.context.has("session") {
        add("session", session(question, moment, reads)?);
    }
    if reads.context.has("time") {
        add("time", time(moment.at.unwrap_or_default(), reads)?);
    }
    if let (Some(arguments), Some(said)) = (question.arguments.filter(|_| reads.has_origins()), question.said) {
        let read = arguments.iter().filter(|(name, _)| reads.origins.has(name));
        let origins = read.map(|(name, value)| (name.clone(), text(said.origin(value).as_str())));
        add("origins", RestrictedExpression::new_record(origins).map_err(|error| error.to_string())?);
    }
    if let (Some(_), Some(said)) = (question.arguments.filter(|_| reads.context.has("stated")), question.said) {
        add("stated", stated(&said.stated, statements, reads)?);
    }
    if let Some(arguments) = question.arguments.filter(|_| reads.context.has("arguments")) {
        add("arguments", lower::record(arguments.iter().filter(|(name, _)| reads.arguments.has(name)))?);
    }
    Context::from_pairs(members).map_err(|error| error.to_string())
}

fn session(question: &Question<'_>, moment: &Moment, reads: &Reads) -> Result<RestrictedExpression, String> {
    let mut members = Vec::with_capacity(6);
    let mut add = |name: &str, value: RestrictedExpression| {
        if reads.session.has(name) {
            members.push((name.to_owned(), value));
        }
    };
    add("owner", text(question.session.owner.as_str()));
    add("name", text(question.session.name.as_str()));
    let counts = [("calls", moment.calls), ("refused", moment.refused), ("age_s", moment.age_s)];
    for (name, count) in counts {
        if let Some(count) = count {
            add(name, RestrictedExpression::new_long(long(count)));
        }
    }
    if let Some(labels) = &moment.labels {
        add("labels", RestrictedExpression::new_set(labels.iter().map(|label| text(label.as_str()))));
    }
    if let Some(spent) = moment.spent {
        add("spent", lower::value(&dollars(spent))?);
    }
    RestrictedExpression::new_record(members).map_err(|error| error.to_string())
}

/// The records of all statements that are read, as sets.
fn stated(
    stated: &Stated,
    statements: &BTreeMap<String, Vec<String>>,
    reads: &Reads,
) -> Result<RestrictedExpression, String> {
    let mut members = Vec::new();
    for (name, fields) in statements.iter().filter(|(name, _)| reads.stated.has(name)) {
        let record = |values: &Vec<String>| {
            if let ([_], [value]) = (fields.as_slice(), values.as_slice()) {
                return Ok(text(value));
            }
            let members = fields.iter().zip(values).map(|(field, value)| (field.clone(), text(value)));
            RestrictedExpression::new_record(members).map_err(|error| error.to_string())
        };
        let records = stated.records(name).map(record).collect::<Result<Vec<_>, _>>()?;
        members.push((name.clone(), RestrictedExpression::new_set(records)));
    }
    RestrictedExpression::new_record(members).map_err(|error| error.to_string())
}

fn time(at: Timestamp, reads: &Reads) -> Result<RestrictedExpression, String> {
    let calendar = at.calendar();
    let members = [
        ("date", calendar.year * 10_000 + calendar.month * 100 + calendar.day),
        ("weekday", calendar.weekday),
        ("hour", calendar.hour),
        ("minute", calendar.minute),
        ("unix_s", at.0 / 1_000_000),
    ];
    let read = members.into_iter().filter(|(name, _)| reads.time.has(name));
    let members = read.map(|(name, number)| (name.to_owned(), RestrictedExpression::new_long(long(number))));
    RestrictedExpression::new_record(members).map_err(|error| error.to_string())
}

/// An amount as a decimal of dollars. What is less than a ten-thousandth counts as one, so that no limit is passed unseen.
fn dollars(amount: Nanodollars) -> Value {
    Value::Decimal(long(amount.nanos().div_ceil(NANOS_OF_TEN_THOUSANDTH)))
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use portcullis_domain::call::Kind;
    use portcullis_domain::policy::Effect;

    use super::*;
    use crate::fixture::{self, Asked};

    fn asked() -> Asked {
        let moment = Moment {
            // A Saturday.
            at: Some(Timestamp(1_795_305_599_000_000)),
            age_s: Some(59),
            spent: Some(Nanodollars::new(1_500_000_001)),
            calls: Some(3),
            refused: Some(1),
            labels: Some(BTreeSet::from(["untrusted".parse().unwrap()])),
        };
        Asked { moment, ..Asked::new("mia", Kind::Model, "small") }.on_behalf_of("ann", &["mia"])
    }

    fn check(condition: &str, asked: &Asked, expected: bool) {
        let rule = format!("permit(principal, action, resource) when {{ {condition} }};");
        let engine = fixture::engine(&rule, &fixture::claims());
        assert_eq!(asked.decide(&engine).effect == Effect::Allow, expected, "{condition}");
    }

    #[test]
    fn rules_read_who_asked_first_and_through_whom() {
        let asked = asked();
        check("context.subject == Principal::\"ann\" && principal == Principal::\"mia\"", &asked, true);
        check("context.subject == principal", &asked, false);
        check("context.subject == principal", &Asked::new("ann", Kind::Model, "small"), true);
        check(
            "context.subject in Role::\"junior\" && context.subject.approval_limit == decimal(\"10000.0\")",
            &asked,
            true,
        );
        check("context.subject has region", &asked, false);
        check("context.depth == 1 && context.through == [\"mia\"]", &asked, true);
        check("context.through.contains(\"ann\")", &asked, false);
        let of_nobody = asked.on_behalf_of("eve", &["mia"]);
        check("context.subject != Principal::\"ann\"", &of_nobody, false);
    }

    #[test]
    fn rules_read_the_time_and_what_the_session_has_done() {
        let asked = asked();
        check("context.time.date == 20261121 && context.time.weekday == 6", &asked, true);
        check(
            "context.time.hour == 23 && context.time.minute == 59 && context.time.unix_s == 1795305599",
            &asked,
            true,
        );
        check("context.session.spent.greaterThan(decimal(\"1.5\"))", &asked, true);
        check("context.session.spent.greaterThan(decimal(\"1.5001\"))", &asked, false);
        check("context.session.calls == 3 && context.session.refused == 1 && context.session.age_s < 60", &asked, true);
    }

    #[test]
    fn what_is_read_and_not_told_denies_and_what_is_not_read_is_not_asked_for() {
        let untold = Asked { moment: Moment::default(), ..asked() };
        for condition in ["context.session.calls < 5", "context.time.hour < 5", "context.session.age_s < 5 || true"] {
            let rule = format!("permit(principal, action, resource) when {{ {condition} }};");
            let decision = untold.decide(&fixture::engine(&rule, &fixture::claims()));
            assert_eq!((decision.effect, decision.lacks_moment), (Effect::Deny, true), "{condition}");
        }
        check("context.session.owner == \"ann\" && context.depth == 1", &untold, true);
    }

    #[test]
    fn a_decision_says_what_it_rests_on() {
        let rests_on = |condition: &str| {
            let rule = format!("permit(principal, action, resource) when {{ {condition} }};");
            asked().decide(&fixture::engine(&rule, &fixture::claims())).moment
        };
        let all = asked().moment;
        assert_eq!(rests_on("context.session.owner == \"ann\""), Moment::default());
        assert_eq!(rests_on("context.session.calls < 5"), Moment { calls: all.calls, ..Moment::default() });
        assert_eq!(rests_on("context.time.hour < 5"), Moment { at: all.at, ..Moment::default() });
    }

    #[test]
    fn money_is_rounded_up_to_what_can_be_compared() {
        for (nanos, expected) in [(0, 0), (1, 1), (100_000, 1), (100_001, 2), (1_000_000_000, 10_000)] {
            assert_eq!(dollars(Nanodollars::new(nanos)), Value::Decimal(expected), "{nanos}");
        }
    }
}
