//! How large text and JSON are.

use serde_json::Value;

use crate::Finding;
use crate::places::{self, Text};
use crate::spec::Size;

/// What stands in place of a text that is too large.
const REPLACEMENT: &str = "[TOO LARGE]";

#[derive(Debug)]
pub(crate) struct Limits(Size);

/// How large something is.
#[derive(Debug, Default)]
struct Measure {
    bytes: u64,
    characters: u64,
    tokens: u64,
    depth: u64,
    items: u64,
}

impl Limits {
    pub(crate) fn new(rule: &Size) -> Result<Self, String> {
        if *rule == Size::default() { Err("no limit is named".to_owned()) } else { Ok(Self(*rule)) }
    }

    pub(crate) fn find(&self, text: &str) -> Vec<Finding> {
        self.exceeded(&Measure { bytes: length(text.len()), ..Measure::of(text) }, text.len())
    }

    pub(crate) fn find_json(&self, value: &Value) -> Vec<Finding> {
        let mut measure = Measure::default();
        places::each(value, |_, text| match text {
            Text::Name(text) | Text::String(text, _) => measure.add(&Measure::of(text)),
            Text::Number(number) => measure.add(&Measure::of(&number.to_string())),
        });
        measure.bytes = length(value.to_string().len());
        (measure.depth, measure.items) = shape(value);
        self.exceeded(&measure, value.as_str().map_or(0, str::len))
    }

    fn exceeded(&self, measure: &Measure, end: usize) -> Vec<Finding> {
        let limits = [
            ("too_many_bytes", "bytes", measure.bytes, self.0.bytes),
            ("too_many_characters", "characters", measure.characters, self.0.characters),
            ("too_many_tokens", "tokens", measure.tokens, self.0.tokens),
            ("too_deep", "levels", measure.depth, self.0.depth),
            ("too_many_items", "items", measure.items, self.0.items),
        ];
        limits
            .into_iter()
            .filter_map(|(kind, unit, is, limit)| Some((kind, unit, is, limit.filter(|limit| is > *limit)?)))
            .map(|(kind, unit, is, limit)| {
                Finding::new(kind, 0..end, REPLACEMENT)
                    .because(format!("there are {is} {unit}, and at most {limit} may be"))
            })
            .collect()
    }
}

impl Measure {
    /// Of a text, without its bytes. Tokens are an estimate that needs no model's vocabulary.
    fn of(text: &str) -> Self {
        let characters = length(text.chars().count());
        let ascii = length(text.bytes().filter(u8::is_ascii).count());
        Self { characters, tokens: ascii.div_ceil(4) + (characters - ascii), ..Self::default() }
    }

    fn add(&mut self, other: &Self) {
        self.characters += other.characters;
        self.tokens += other.tokens;
    }
}

/// How deep JSON is and how many items and members it has in all.
fn shape(value: &Value) -> (u64, u64) {
    let (mut deepest, mut items) = (0, 0);
    let mut open = vec![(0_u64, value)];
    while let Some((depth, value)) = open.pop() {
        let before = open.len();
        match value {
            Value::Array(inner) => open.extend(inner.iter().map(|item| (depth + 1, item))),
            Value::Object(inner) => open.extend(inner.values().map(|item| (depth + 1, item))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => continue,
        }
        deepest = deepest.max(depth + 1);
        items += length(open.len() - before);
    }
    (deepest, items)
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kinds(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.kind.as_str()).collect()
    }

    fn check(rule: Size, value: &Value, expected: &[&str]) {
        let limits = Limits::new(&rule).unwrap();
        assert_eq!(kinds(&limits.find_json(value)), expected, "{rule:?} {value}");
    }

    #[test]
    fn every_limit_holds_from_its_first_step_beyond() {
        let of = Size::default();
        let value = json!({"a": [1, 2, "äö"], "b": {}});
        check(Size { bytes: Some(25), ..of }, &value, &[]);
        check(Size { bytes: Some(24), ..of }, &value, &["too_many_bytes"]);
        check(Size { characters: Some(6), ..of }, &value, &[]);
        check(Size { characters: Some(5), ..of }, &value, &["too_many_characters"]);
        check(Size { tokens: Some(6), ..of }, &value, &[]);
        check(Size { tokens: Some(5), ..of }, &value, &["too_many_tokens"]);
        check(Size { depth: Some(2), ..of }, &value, &[]);
        check(Size { depth: Some(1), ..of }, &value, &["too_deep"]);
        check(Size { items: Some(5), ..of }, &value, &[]);
        check(Size { items: Some(4), ..of }, &value, &["too_many_items"]);
        check(Size { depth: Some(0), ..of }, &json!("a"), &[]);
    }

    #[test]
    fn a_text_has_no_depth_and_a_limit_must_be_named() {
        let limits = Limits::new(&Size { bytes: Some(3), depth: Some(0), ..Size::default() }).unwrap();
        assert_eq!(kinds(&limits.find("ää")), ["too_many_bytes"]);
        assert_eq!(kinds(&limits.find("[1]")), [""; 0]);
        Limits::new(&Size::default()).unwrap_err();
    }
}
