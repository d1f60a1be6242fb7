//! The records that stand in what a source says: the fields of a statement, from one object and those around it.

use portcullis_domain::policy::stated::{RECORDS_LIMIT, Record};
use serde_json::{Map, Value};

use crate::registry::statement::Part;

/// The field under which an answer is known that is one text or number, and no object.
const RESULT: &str = "result";

/// What an answer states of the keys in it: a record, or none where a field has another value than the one that counts.
///
/// An object makes a record when it has at least one of the fields itself and the others stand in it or in the objects around it; the innermost counts. A field that is a list of texts
/// or numbers makes one record for each. Where something is missing, or is neither text, number, true nor false, there is no record.
pub(super) fn stated(answer: &Value, parts: &[Part]) -> Vec<(String, Option<Record>)> {
    let fields: Vec<String> = parts.iter().map(|part| part.field.clone()).collect();
    let of = |record: Record| {
        let key = record.first().cloned().unwrap_or_default();
        let counts = parts.iter().zip(&record).all(|(part, value)| part.only.as_ref().is_none_or(|only| only == value));
        let kept = parts.iter().zip(record).filter(|(part, _)| part.only.is_none()).map(|(_, value)| value);
        (key, counts.then(|| kept.collect()))
    };
    records(answer, &fields).into_iter().map(of).collect()
}

/// All records of these fields.
fn records(answer: &Value, fields: &[String]) -> Vec<Record> {
    let mut found = Found { fields, records: Vec::new() };
    match scalar(answer) {
        Some(value) => found.visit_object(&Map::from_iter([(RESULT.to_owned(), Value::String(value))]), &[]),
        None => found.visit(answer, &[]),
    }
    found.records
}

/// The values of the fields by then, in their order; none where a field is not known.
type Around = [Vec<String>];

struct Found<'a> {
    fields: &'a [String],
    records: Vec<Record>,
}

impl Found<'_> {
    fn visit(&mut self, value: &Value, around: &Around) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.visit(item, around)),
            Value::Object(members) => self.visit_object(members, around),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn visit_object(&mut self, members: &Map<String, Value>, around: &Around) {
        let mut known = around.to_vec();
        known.resize(self.fields.len(), Vec::new());
        let mut has_own = false;
        for (field, values) in self.fields.iter().zip(&mut known) {
            if let Some(member) = members.get(field) {
                *values = scalars(member);
                has_own = true;
            }
        }
        if has_own {
            self.add(&known);
        }
        members.values().for_each(|member| self.visit(member, &known));
    }

    /// Every choice of one value for each field.
    fn add(&mut self, known: &Around) {
        let mut chosen: Vec<Record> = vec![Vec::new()];
        for values in known {
            let with = |record: &Record, value: &String| record.iter().chain([value]).cloned().collect();
            chosen = chosen
                .iter()
                .flat_map(|record| values.iter().map(move |value| with(record, value)))
                .take(RECORDS_LIMIT)
                .collect();
        }
        let left = RECORDS_LIMIT.saturating_sub(self.records.len());
        self.records.extend(chosen.into_iter().take(left));
    }
}

fn scalars(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(scalar).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            scalar(value).into_iter().collect()
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is_so) => Some(is_so.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(answer: &Value, fields: &[&str], expected: &[&[&str]]) {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        assert_eq!(records(answer, &fields), expected, "{fields:?}");
    }

    #[test]
    fn an_object_makes_a_record_with_what_stands_around_it() {
        let order = json!({"order_id": "W1", "status": "pending", "user_id": "ann", "total": 12.5, "paid": true, "note": null,
            "items": [{"item_id": "1", "product_id": "7"}, {"item_id": 2, "product_id": "8"}],
            "history": {"last": {"status": "open"}}});
        check(&order, &["order_id", "status"], &[&["W1", "pending"], &["W1", "open"]]);
        check(&order, &["order_id", "user_id", "total", "paid"], &[&["W1", "ann", "12.5", "true"]]);
        check(&order, &["order_id", "item_id"], &[&["W1", "1"], &["W1", "2"]]);
        check(&order, &["item_id", "product_id"], &[&["1", "7"], &["2", "8"]]);
        check(&json!([order, order])[1], &["item_id"], &[&["1"], &["2"]]);
        for nothing in ["note", "items", "history", "absent"] {
            check(&order, &["order_id", nothing], &[]);
        }
    }

    #[test]
    fn of_what_has_another_value_it_is_only_known_that_it_has() {
        let items = json!([{"id": "1", "stock": true}, {"id": "2", "stock": false}, {"id": "3"}]);
        let found = stated(&items, &crate::registry::statement::parts(&["id".to_owned(), "stock=true".to_owned()]));
        assert_eq!(found, [("1".to_owned(), Some(vec!["1".to_owned()])), ("2".to_owned(), None)]);
    }

    #[test]
    fn a_list_makes_a_record_for_each_and_a_bare_answer_is_its_result() {
        let user = json!({"user_id": "ann", "orders": ["W1", "W2", {"order": "W3"}]});
        check(&user, &["user_id", "orders"], &[&["ann", "W1"], &["ann", "W2"]]);
        check(&json!("ann"), &["result"], &[&["ann"]]);
        check(&json!({"result": "ann"}), &["result"], &[&["ann"]]);
        check(&json!("ann"), &["user_id"], &[]);
    }
}
