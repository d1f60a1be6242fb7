//! JSON that does not fit a JSON Schema. References lead nowhere but into the schema itself: nothing is ever fetched.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::Finding;
use crate::spec::Schema;

/// How many faults of one value are told.
const FAULTS_LIMIT: usize = 32;
/// What an expression in a schema may take, in bytes.
const SIZE_LIMIT: usize = 1 << 20;
/// How deep JSON may be to be looked at; the validator goes down as deep as the schema tells it to.
const DEPTH_LIMIT: usize = 256;

#[derive(Debug)]
pub(crate) struct Shape(Validator);

impl Shape {
    pub(crate) fn new(rule: &Schema) -> Result<Self, String> {
        // The engine that knows no backtracking, so that no value makes it slow.
        let expressions = PatternOptions::regex().size_limit(SIZE_LIMIT).dfa_size_limit(SIZE_LIMIT);
        let validator = jsonschema::options().with_pattern_options(expressions).build(&rule.schema);
        // The schema is the operator's own: what is wrong with it may be shown.
        validator.map(Self).map_err(|error| format!("the schema, at `{}`: {error}", error.instance_path()))
    }

    pub(crate) fn find(&self, text: &str) -> Vec<Finding> {
        let Ok(value) = serde_json::from_str(text) else {
            let finding = Finding::new("not_json", 0..text.len(), "[INVALID]");
            return vec![finding.because("it is no JSON")];
        };
        let mut found = self.find_json(&value);
        for finding in &mut found {
            finding.range = 0..text.len();
            finding.place = String::new();
        }
        found
    }

    pub(crate) fn find_json(&self, value: &Value) -> Vec<Finding> {
        if is_deeper(value, DEPTH_LIMIT) {
            let finding = Finding::new("schema", 0..0, "[INVALID]");
            return vec![finding.because(format!("it is deeper than {DEPTH_LIMIT} levels"))];
        }
        self.0.iter_errors(value).take(FAULTS_LIMIT).map(|error| fault(value, &error)).collect()
    }
}

/// What does not fit, by the place in the schema: the validator's own words would repeat the value.
fn fault(value: &Value, error: &ValidationError<'_>) -> Finding {
    let place = error.instance_path().to_string();
    let end = value.pointer(&place).and_then(Value::as_str).map_or(0, str::len);
    let finding = Finding::new("schema", 0..end, "[INVALID]").at(&place, false);
    finding.because(format!("it does not fit `{}` of the schema", error.schema_path()))
}

fn is_deeper(value: &Value, limit: usize) -> bool {
    let mut open = vec![(0, value)];
    while let Some((depth, value)) = open.pop() {
        if depth > limit {
            return true;
        }
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (depth + 1, item))),
            Value::Object(members) => open.extend(members.values().map(|item| (depth + 1, item))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shape(schema: Value) -> Result<Shape, String> {
        Shape::new(&Schema { schema })
    }

    fn check(schema: Value, value: Value, expected: &[(&str, &str)]) {
        let found = shape(schema).unwrap().find_json(&value);
        let found: Vec<_> = found.iter().map(|it| (it.place.as_str(), it.reason.as_deref().unwrap())).collect();
        assert_eq!(found, expected, "{value}");
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_place_and_that_of_the_rule() {
        let schema = json!({
            "type": "object", "required": ["to"], "additionalProperties": false,
            "properties": {"to": {"type": "string", "pattern": "^[a-z]+$"}, "n": {"$ref": "#/$defs/n"}},
            "$defs": {"n": {"maximum": 5}}
        });
        check(schema.clone(), json!({"to": "abc", "n": 5}), &[]);
        check(schema.clone(), json!({"n": 5}), &[("", "it does not fit `/required` of the schema")]);
        check(
            schema.clone(),
            json!({"to": "s3cret"}),
            &[("/to", "it does not fit `/properties/to/pattern` of the schema")],
        );
        check(
            schema.clone(),
            json!({"to": "a", "n": 6}),
            &[("/n", "it does not fit `/$defs/n/maximum` of the schema")],
        );
        check(
            schema,
            json!({"to": "a", "s3cret": 6}),
            &[("", "it does not fit `/additionalProperties` of the schema")],
        );
    }

    #[test]
    fn texts_are_read_as_json() {
        let shape = shape(json!({"type": "array"})).unwrap();
        let kinds = |text| shape.find(text).into_iter().map(|it| (it.kind, it.range)).collect::<Vec<_>>();
        assert_eq!(kinds("[1]"), []);
        assert_eq!(kinds("{}"), [("schema".to_owned(), 0..2)]);
        assert_eq!(kinds("[1"), [("not_json".to_owned(), 0..2)]);
    }

    #[test]
    fn nothing_is_fetched_and_nothing_backtracks() {
        shape(json!({"$ref": "http://127.0.0.1:9/schema.json"})).unwrap_err();
        shape(json!({"$ref": "file:///etc/passwd"})).unwrap_err();
        shape(json!({"pattern": "(a)\\1"})).unwrap_err();
        shape(json!({"type": "nonsense"})).unwrap_err();
    }

    #[test]
    fn deep_values_are_refused_before_they_are_validated() {
        let deep = (0..400).fold(json!(1), |value, _| json!([value]));
        let shape = shape(json!({"items": {"$ref": "#"}})).unwrap();
        assert_eq!(shape.find_json(&deep).len(), 1);
    }
}
