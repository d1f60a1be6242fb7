//! Decimals as ten-thousandths.
//!
//! Cedar makes a decimal by parsing text: about five microseconds for one argument, and again one for every `decimal("…")` at
//! every evaluation. [`Value::Decimal`](portcullis_domain::policy::Value::Decimal) already is what Cedar's decimal is inside, a
//! 64-bit number of ten-thousandths. So rules are validated as they were written, and *after* that decimals are replaced by these
//! numbers, in rules and values alike: literals by numbers, `lessThan` and its three siblings by `<` and its siblings.
//!
//! It is sound because validation is strict: a decimal is never compared with anything but a decimal, and the only functions on
//! decimals are these four, which order them as their ten-thousandths are ordered. A function that is not known here would
//! find a number where it expects a decimal, fail, and so deny. The module `oracle` compares with Cedar's own decimals.

use cedar_policy::RestrictedExpression;
use portcullis_domain::policy::Value;
use serde_json::{Map, Value as Json, json};

/// The methods of decimals and the operators that do the same for numbers.
const OPERATORS: [(&str, &str); 4] =
    [("lessThan", "<"), ("lessThanOrEqual", "<="), ("greaterThan", ">"), ("greaterThanOrEqual", ">=")];

/// Replaces decimals in Cedar's JSON form of an expression, in place.
///
/// # Errors
///
/// The text of a literal that is no decimal.
pub(crate) fn expression(json: &mut Json) -> Result<(), String> {
    match json {
        Json::Array(items) => items.iter_mut().try_for_each(expression),
        Json::Object(members) => {
            members.values_mut().try_for_each(expression)?;
            if let Some(replacement) = replacement(members)? {
                *members = replacement;
            }
            Ok(())
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Ok(()),
    }
}

/// What stands for a call of a function on decimals.
///
/// A call is an object whose one member is the function's name with an *array* of arguments; the members of a record literal
/// are objects, so that the two can't be confused.
fn replacement(members: &mut Map<String, Json>) -> Result<Option<Map<String, Json>>, String> {
    if let Some([text]) = arguments(members, "decimal") {
        let text = text.get("Value").and_then(Json::as_str).unwrap_or_default();
        let number = ten_thousandths(text).ok_or_else(|| text.to_owned())?;
        return Ok(Some(Map::from_iter([("Value".to_owned(), number.into())])));
    }
    for (method, operator) in OPERATORS {
        if let Some([left, right]) = arguments(members, method) {
            let operands = json!({"left": left.take(), "right": right.take()});
            return Ok(Some(Map::from_iter([(operator.to_owned(), operands)])));
        }
    }
    Ok(None)
}

fn arguments<'a>(members: &'a mut Map<String, Json>, function: &str) -> Option<&'a mut [Json]> {
    let is_only = members.len() == 1;
    members.get_mut(function).filter(|_| is_only)?.as_array_mut().map(Vec::as_mut_slice)
}

/// The number of ten-thousandths in Cedar's decimal text: a point with one to four digits after it.
fn ten_thousandths(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.')?;
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(digits) || !are_digits(fraction) || fraction.len() > 4 {
        return None;
    }
    format!("{whole}{fraction:0<4}").parse().ok()
}

/// A value as rules read it after lowering.
///
/// # Errors
///
/// Cedar's sentence; a record that has a member twice is the only case, and it can't be made of a map.
pub(crate) fn value(value: &Value) -> Result<RestrictedExpression, String> {
    Ok(match value {
        Value::Text(text) => RestrictedExpression::new_string(text.clone()),
        Value::Bool(yes) => RestrictedExpression::new_bool(*yes),
        Value::Long(number) | Value::Decimal(number) => RestrictedExpression::new_long(*number),
        Value::Set(values) => {
            RestrictedExpression::new_set(values.iter().map(self::value).collect::<Result<Vec<_>, _>>()?)
        }
        Value::Record(members) => record(members.iter())?,
    })
}

/// A record of these members.
pub(crate) fn record<'a>(
    members: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Result<RestrictedExpression, String> {
    let members =
        members.map(|(name, member)| Ok((name.clone(), value(member)?))).collect::<Result<Vec<_>, String>>()?;
    RestrictedExpression::new_record(members).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedar_policy::{Context, Entities, EvalResult, Policy, Request, eval_expression};

    fn check(condition: &str, expected: &str) {
        let read = |condition: &str| {
            let policy = Policy::parse(None, format!("permit(principal, action, resource) when {{ {condition} }};"));
            policy.unwrap().to_json().unwrap()["conditions"].clone()
        };
        let mut lowered = read(condition);
        expression(&mut lowered).unwrap();
        assert_eq!(lowered, read(expected), "{condition}");
    }

    #[test]
    fn decimals_become_ten_thousandths() {
        check("principal.a.lessThan(decimal(\"10000.01\"))", "principal.a < 100000100");
        check("!decimal(\"-0.5\").greaterThanOrEqual(context.arguments.b)", "!(-5000 >= context.arguments.b)");
        check(
            "[decimal(\"1.0\")].contains(principal.a) || decimal(\"1.0\") == principal.a",
            "[10000].contains(principal.a) || 10000 == principal.a",
        );
        check(
            "principal.a.greaterThan(if principal.b.lessThanOrEqual(decimal(\"1.0\")) then principal.b else principal.c)",
            "principal.a > (if principal.b <= 10000 then principal.b else principal.c)",
        );
    }

    #[test]
    fn what_only_looks_like_a_decimal_stays() {
        for condition in [
            "principal has decimal",
            "{decimal: 1} == {lessThan: \"decimal\"}",
            "principal.a like \"decimal*\"",
            "principal.decimal < 1",
        ] {
            check(condition, condition);
        }
    }

    /// Whether Cedar takes both for decimals, and for the same.
    fn are_equal(one: &str, other: &str) -> bool {
        let uid: cedar_policy::EntityUid = "A::\"a\"".parse().unwrap();
        let request = Request::new(uid.clone(), uid.clone(), uid, Context::empty(), None).unwrap();
        let expression = format!("decimal(\"{one}\") == decimal(\"{other}\")").parse().unwrap();
        eval_expression(&request, &Entities::empty(), &expression).is_ok_and(|result| result == EvalResult::Bool(true))
    }

    #[test]
    fn texts_are_read_as_cedar_reads_them() {
        let texts = [
            "0.0",
            "-0.0001",
            "12.34",
            "1.00000",
            "1.",
            ".1",
            "1",
            "+1.0",
            "1.-1",
            "",
            "a.b",
            "1e5.0",
            " 1.0",
            "01.10",
            "922337203685477.5807",
            "922337203685477.5808",
            "-922337203685477.5808",
            "-922337203685477.5809",
            "--1.0",
            "٣.٣",
        ];
        for text in texts {
            let ours = ten_thousandths(text).map(|number| {
                let sign = if number < 0 { "-" } else { "" };
                format!("{sign}{}.{:04}", number.unsigned_abs() / 10_000, number.unsigned_abs() % 10_000)
            });
            assert_eq!(ours.is_some(), are_equal(text, text), "{text}");
            assert!(ours.is_none_or(|ours| are_equal(text, &ours)), "{text}");
        }
    }
}
