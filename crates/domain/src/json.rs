//! Strict reading of JSON (RFC 8259) without losing a byte of it: members and items stay raw, and no member stands twice.
//!
//! A member that stands twice is refused because readers differ in which one they take: what was judged would not be what is run.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::de::StrRead;
use serde_json::value::RawValue;

/// The members of an object in their order.
pub type Members<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// How deep objects and arrays may lie within one another.
pub const DEPTH_LIMIT: usize = 64;
/// How many members of an object are compared one by one before a set of their names is kept.
const FEW_MEMBERS: usize = 32;

/// The members of the JSON object `raw`, in their order.
///
/// # Errors
///
/// A sentence on what is wrong: no JSON, no object, or a member that stands twice.
pub fn members(raw: &str) -> Result<Members<'_>, String> {
    struct Object;
    impl<'de> Visitor<'de> for Object {
        type Value = Members<'de>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Members::new();
            let mut names = std::collections::HashSet::new();
            while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                let is_twice = if members.len() < FEW_MEMBERS {
                    members.iter().any(|(member, _)| *member == name)
                } else {
                    if names.is_empty() {
                        names.extend(members.iter().map(|(member, _)| member.clone()));
                    }
                    !names.insert(name.clone())
                };
                if is_twice {
                    return Err(A::Error::custom(format!("`{name}` stands twice")));
                }
                members.push((name, value));
            }
            Ok(members)
        }
    }
    whole(raw, |input| input.deserialize_map(Object))
}

/// `raw` without the white space around it, so that its first byte tells what it is.
#[must_use]
pub fn trimmed(raw: &str) -> &str {
    raw.trim_matches([' ', '\t', '\n', '\r'])
}

/// The items of the JSON array `raw`.
///
/// # Errors
///
/// A sentence on what is wrong: no JSON, or no array.
pub fn items(raw: &str) -> Result<Vec<&RawValue>, String> {
    struct Array;
    impl<'de> Visitor<'de> for Array {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element()? {
                items.push(item);
            }
            Ok(items)
        }
    }
    whole(raw, |input| input.deserialize_seq(Array))
}

/// The member of that name.
#[must_use]
pub fn member<'a>(members: &Members<'a>, name: &str) -> Option<&'a RawValue> {
    members.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
}

/// The text that a raw JSON string stands for; none when it is something else.
#[must_use]
pub fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Name<'_>>(raw.get()).ok().map(|name| name.0)
}

/// The same JSON with the members of every object in the order of their names, and without spaces between. Numbers and texts stay as they were written.
///
/// # Errors
///
/// A sentence on what is wrong: no JSON, a member that stands twice, or deeper than [`DEPTH_LIMIT`].
pub fn canonical(raw: &str) -> Result<String, String> {
    canonical_at(raw, 0)
}

fn canonical_at(raw: &str, depth: usize) -> Result<String, String> {
    if depth > DEPTH_LIMIT {
        return Err(format!("it is deeper than {DEPTH_LIMIT} levels"));
    }
    let raw = raw.trim_matches([' ', '\n', '\r', '\t']);
    match raw.as_bytes().first() {
        Some(b'{') => {
            let mut members = members(raw)?;
            members.sort_by(|(name, _), (other, _)| name.cmp(other));
            let members = members.iter().map(|(name, value)| {
                let name = serde_json::to_string(name).map_err(|error| error.to_string())?;
                Ok::<_, String>(format!("{name}:{}", canonical_at(value.get(), depth + 1)?))
            });
            Ok(format!("{{{}}}", members.collect::<Result<Vec<_>, _>>()?.join(",")))
        }
        Some(b'[') => {
            let items = items(raw)?.into_iter().map(|item| canonical_at(item.get(), depth + 1));
            Ok(format!("[{}]", items.collect::<Result<Vec<_>, _>>()?.join(",")))
        }
        _ => serde_json::from_str::<&RawValue>(raw)
            .map(|value| value.get().to_owned())
            .map_err(|error| error.to_string()),
    }
}

/// Text that is borrowed where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn whole<'a, T>(
    raw: &'a str,
    read: impl FnOnce(&mut Deserializer<StrRead<'a>>) -> serde_json::Result<T>,
) -> Result<T, String> {
    let mut input = Deserializer::from_str(raw);
    read(&mut input).and_then(|value| input.end().map(|()| value)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stay_as_they_were_written() {
        let read = members(r#" { "a" : 1.50e0, "\u0062": [ 1 ] } "#).unwrap();
        let shown: Vec<_> = read.iter().map(|(name, value)| (name.as_ref(), value.get())).collect();
        assert_eq!(shown, [("a", "1.50e0"), ("b", "[ 1 ]")]);
        assert_eq!(member(&read, "b").map(RawValue::get), Some("[ 1 ]"));
    }

    #[test]
    fn the_canonical_form_has_an_order_and_no_spaces() {
        let raw = " { \"b\" : [ 1.0 , { \"d\":null,\"c\":\" x\" } ],\n\"\\u0061\":-0 }";
        assert_eq!(canonical(raw).unwrap(), r#"{"a":-0,"b":[1.0,{"c":" x","d":null}]}"#);
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(canonical(&nested(DEPTH_LIMIT)), Ok(nested(DEPTH_LIMIT)));
        for wrong in ["", "{", r#"{"a":1,"a":1}"#, "[1,]", "nul", &nested(100_000)] {
            assert!(canonical(wrong).is_err(), "{}", &wrong[..wrong.len().min(20)]);
        }
    }

    #[test]
    fn a_member_that_stands_twice_is_refused_in_small_and_large_objects() {
        assert!(members(r#"{"a":1,"b":2,"\u0061":3}"#).unwrap_err().contains("`a` stands twice"));
        let many: Vec<_> = (0..200).map(|number| format!("\"{number}\":0")).collect();
        assert_eq!(members(&format!("{{{}}}", many.join(","))).unwrap().len(), 200);
        assert!(members(&format!("{{{},\"150\":1}}", many.join(","))).is_err());
    }

    #[test]
    fn what_follows_or_is_cut_off_is_refused() {
        for raw in ["", "{", "{}x", "[]", "{\"a\":}", "{'a':1}", "{\"a\":1,}"] {
            assert!(members(raw).is_err(), "{raw}");
        }
        assert!(items("[1,]").is_err());
        assert_eq!(items("[1, {}]").unwrap().len(), 2);
    }
}
