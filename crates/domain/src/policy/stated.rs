//! What sources have stated in a session: records such as the status of an order, for rules that judge a call by what was looked up before it.
//!
//! A record belongs to a *statement* with a name, and to a key. What is stated of a key anew takes the place of all that was stated of it before,
//! so that an order that was cancelled is not pending any more.

use std::collections::{BTreeMap, BTreeSet};

/// How many records are kept of a session. What is stated beyond is not known, and of its keys nothing is.
pub const RECORDS_LIMIT: usize = 16_384;
/// The longest value that is kept. A record with a longer one is not known.
pub const VALUE_LIMIT_BYTES: usize = 256;

/// A record: the values of its fields, in the order in which they were declared.
pub type Record = Vec<String>;

/// What was stated, by the names of the statements and then by keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    records: BTreeMap<String, BTreeMap<String, BTreeSet<Record>>>,
    count: usize,
}

impl Stated {
    /// One answer of a source states this of these keys: records, or only that whatever was stated of a key before is not so any more.
    pub fn take(&mut self, name: &str, stated: impl IntoIterator<Item = (String, Option<Record>)>) {
        let mut anew: BTreeMap<String, BTreeSet<Record>> = BTreeMap::new();
        for (key, record) in stated {
            anew.entry(key).or_default().extend(record);
        }
        let known = self.records.entry(name.to_owned()).or_default();
        for (key, mut records) in anew {
            self.count = self.count.saturating_sub(known.remove(&key).map_or(0, |before| before.len()));
            records.retain(|record| record.iter().all(|value| value.len() <= VALUE_LIMIT_BYTES));
            if !records.is_empty() && self.count + records.len() <= RECORDS_LIMIT {
                self.count += records.len();
                known.insert(key, records);
            }
        }
    }

    /// All records of a statement.
    pub fn records(&self, name: &str) -> impl Iterator<Item = &Record> {
        self.records.get(name).into_iter().flat_map(BTreeMap::values).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(values: &[&str]) -> Record {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn keyed(values: &[&str]) -> (String, Option<Record>) {
        (values[0].to_owned(), (values.len() > 1).then(|| record(values)))
    }

    fn check(answers: &[&[&[&str]]], expected: &[&[&str]]) {
        let mut stated = Stated::default();
        for answer in answers {
            stated.take("order", answer.iter().map(|values| keyed(values)));
        }
        let found: Vec<&Record> = stated.records("order").collect();
        assert_eq!(found, expected.iter().map(|values| record(values)).collect::<Vec<_>>().iter().collect::<Vec<_>>());
        assert_eq!((stated.count, stated.records("user").count()), (expected.len(), 0));
    }

    #[test]
    fn what_is_stated_of_a_key_anew_takes_the_place_of_what_was() {
        check(&[&[&["W1", "pending"]], &[&["W2", "pending"]]], &[&["W1", "pending"], &["W2", "pending"]]);
        check(
            &[&[&["W1", "pending"], &["W2", "pending"]], &[&["W1", "cancelled"]]],
            &[&["W1", "cancelled"], &["W2", "pending"]],
        );
        check(&[&[&["W1", "a"], &["W1", "b"]], &[&["W1", "c"], &["W1", "c"]]], &[&["W1", "c"]]);
        check(&[&[&["W1", "pending"]], &[&["W1"]]], &[]);
    }

    #[test]
    fn what_does_not_fit_is_not_known_and_what_it_would_have_replaced_is_not_either() {
        let long = "x".repeat(VALUE_LIMIT_BYTES + 1);
        check(&[&[&["W1", "pending"]], &[&["W1", &long]]], &[]);
        let mut stated = Stated::default();
        stated.take("order", [keyed(&["W1", "pending"])]);
        stated.take("item", (0..RECORDS_LIMIT - 1).map(|number| keyed(&["W1", &number.to_string()])));
        stated.take("order", [keyed(&["W2", "pending"]), keyed(&["W1", "cancelled"]), keyed(&["W1", "gone"])]);
        let left: Vec<&Record> = stated.records("order").collect();
        assert_eq!(left, [&record(&["W2", "pending"])], "there is no room any more for both of W1");
    }
}
