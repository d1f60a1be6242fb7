//! Lists of items, a page at a time.

use portcullis_domain::refusal::{Code, Refusal};
use serde_json::{Value, json};

use crate::doors::arrived::Arrived;
use crate::doors::path::decoded;

/// How many items a page has at most.
const PAGE_LIMIT: usize = 100;
/// How many it has if nothing is said.
const PAGE: usize = 20;

/// Which page of a list is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    after: Option<String>,
    limit: usize,
    is_ascending: bool,
}

impl Wanted {
    /// Reads `after`, `limit` and `order` of the query. What is included beside items there is none of, so that `include` changes nothing.
    pub(super) fn of(arrived: &Arrived) -> Result<Self, Refusal> {
        let mut wanted = Self { after: None, limit: PAGE, is_ascending: false };
        let invalid =
            |name: &str, what: &str| Refusal::new(Code::InvalidRequest, format!("`{name}` is {what}")).about(name);
        let query = arrived.query.as_deref().unwrap_or_default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = decoded(value)?;
            match name {
                "after" => wanted.after = Some(value.into_owned()),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=PAGE_LIMIT).contains(limit));
                    wanted.limit = limit.ok_or_else(|| invalid("limit", "a number from 1 to 100"))?;
                }
                "order" if value == "asc" || value == "desc" => wanted.is_ascending = value == "asc",
                "order" => return Err(invalid("order", "`asc` or `desc`")),
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// That page of the items of these ids, which are in the order in which they came.
    pub(super) fn choose(&self, mut ids: Vec<String>) -> Result<Chosen, Refusal> {
        if !self.is_ascending {
            ids.reverse();
        }
        let start = match &self.after {
            None => 0,
            Some(after) => {
                let missing =
                    || Refusal::new(Code::InvalidRequest, format!("there is no item `{after}`")).about("after");
                ids.iter().position(|id| id == after).ok_or_else(missing)? + 1
            }
        };
        let has_more = ids.len() > start + self.limit;
        Ok(Chosen { ids: ids.into_iter().skip(start).take(self.limit).collect(), has_more })
    }

    /// That page of these items, which are in the order in which they came.
    pub(super) fn page(&self, items: &[Value]) -> Result<Value, Refusal> {
        let chosen = self.choose(items.iter().filter_map(id).collect())?;
        let find = |wanted: &String| items.iter().find(|item| id(item).as_ref() == Some(wanted)).cloned();
        Ok(listed(&chosen.ids.iter().filter_map(find).collect::<Vec<_>>(), chosen.has_more))
    }
}

/// The items of a page.
#[derive(Debug, PartialEq)]
pub(super) struct Chosen {
    /// Their ids, as they are listed.
    pub(super) ids: Vec<String>,
    /// Whether others follow.
    pub(super) has_more: bool,
}

/// A page of these items.
pub(super) fn listed(data: &[Value], has_more: bool) -> Value {
    let (first, last) = (data.first().and_then(id), data.last().and_then(id));
    json!({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more})
}

fn id(item: &Value) -> Option<String> {
    item.get("id").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(after: Option<&str>, limit: usize, is_ascending: bool, expected: &[&str], has_more: bool) {
        let items = ["a", "b", "c"].map(|id| json!({"id": id})).to_vec();
        let wanted = Wanted { after: after.map(str::to_owned), limit, is_ascending };
        let page = wanted.page(&items).unwrap();
        let ids: Vec<_> = page["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert_eq!((ids.as_slice(), &page["has_more"]), (expected, &json!(has_more)));
        assert_eq!((&page["first_id"], &page["last_id"]), (&json!(expected.first()), &json!(expected.last())));
    }

    #[test]
    fn a_list_comes_a_page_at_a_time() {
        check(None, 20, false, &["c", "b", "a"], false);
        check(None, 2, true, &["a", "b"], true);
        check(Some("b"), 2, true, &["c"], false);
        check(Some("c"), 2, true, &[], false);
        let unknown = Wanted { after: Some("x".to_owned()), limit: 1, is_ascending: true };
        assert_eq!(unknown.page(&[]).unwrap_err().code, Code::InvalidRequest);
    }
}
