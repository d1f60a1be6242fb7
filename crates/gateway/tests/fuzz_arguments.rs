//! Arguments that are broken at random: none ends the process, and whatever is taken says what another reader of JSON says, member by member, with none of them twice.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says how much it has tried"
)]

use std::collections::BTreeSet;
use std::fmt;

use portcullis_domain::policy::{RecordType, Type, Value, arguments};
use portcullis_testkit::fuzz::Fuzz;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::json;

/// What is put into JSON.
const WORDS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\u0061",
    "\\ud800",
    "null",
    "true",
    "false",
    "-0",
    "1e400",
    "1E-4",
    "0.00001",
    "9223372036854775808",
    "\"text\"",
    "\"number\":1",
    "\"more\":{}",
    "\u{feff}",
    "\u{0}",
    " ",
];

/// Another reader: serde's own, which sees every member, also those that stand twice.
#[derive(Debug)]
enum Seen {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Seen>),
    Object(Vec<(String, Seen)>),
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Seen;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Seen, E> {
                Ok(Seen::Null)
            }
            fn visit_bool<E>(self, is: bool) -> Result<Seen, E> {
                Ok(Seen::Bool(is))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Seen, E> {
                Ok(Seen::Number(number.to_string()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Seen, E> {
                Ok(Seen::Number(number.to_string()))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Seen, E> {
                Ok(Seen::Number(number.to_string()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Seen, E> {
                Ok(Seen::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Seen, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                Ok(Seen::List(all))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Seen, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = members.next_entry()? {
                    all.push(member);
                }
                Ok(Seen::Object(all))
            }
        }
        from.deserialize_any(Look)
    }
}

fn schema() -> RecordType {
    RecordType::of_schema(&json!({"type": "object", "required": ["text", "number"], "properties": {
        "text": {"type": "string"}, "number": {"type": "number"}, "whole": {"type": "integer"}, "is": {"type": "boolean"},
        "perhaps": {"type": ["string", "null"]}, "list": {"type": "array", "items": {"type": "number"}},
        "texts": {"type": "array", "items": {"type": "string"}}, "more": {"type": "object"},
        "inner": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}, "deep": {"type": "object",
            "additionalProperties": true, "properties": {"whole": {"type": "integer"}}}}},
    }}))
}

/// Arguments that fit, in any order and with any values.
fn fitting(fuzz: &mut Fuzz) -> String {
    let text = |fuzz: &mut Fuzz| {
        (*fuzz.pick(&["\"\"", "\"x\"", "\"\\u00e4\\n\"", "\"GB29\"", "\"{\\\"a\\\":1}\""])).to_owned()
    };
    let number = |fuzz: &mut Fuzz| {
        (*fuzz.pick(&["0", "-1.5", "1e3", "0.0001", "12345678901234.5", "1.50", "922337203685477.5807"])).to_owned()
    };
    let whole = |fuzz: &mut Fuzz| (*fuzz.pick(&["0", "7", "-9223372036854775808", "1e2", "10.0"])).to_owned();
    let mut members = vec![format!("\"text\":{}", text(fuzz)), format!("\"number\":{}", number(fuzz))];
    let mut perhaps = |fuzz: &mut Fuzz, name: &str, value: String| {
        if fuzz.once_in(2) {
            members.push(format!("\"{name}\":{value}"));
        }
    };
    let (one, two) = (number(fuzz), number(fuzz));
    perhaps(fuzz, "list", format!("[{one},{two}]"));
    let texts = text(fuzz);
    perhaps(fuzz, "texts", format!("[{texts}]"));
    let value = whole(fuzz);
    perhaps(fuzz, "whole", value.clone());
    perhaps(fuzz, "is", "true".to_owned());
    perhaps(fuzz, "perhaps", "null".to_owned());
    perhaps(fuzz, "more", "{\"a\":[{\"b\":1},2]}".to_owned());
    perhaps(fuzz, "inner", format!("{{\"text\":{texts},\"deep\":{{\"whole\":{value},\"other\":[]}}}}"));
    for place in 0..members.len() {
        let other = fuzz.below(members.len());
        members.swap(place, other);
    }
    format!("{{{}}}", members.join(","))
}

/// What was taken is exactly what the other reader sees: no member more, none less, none twice.
fn hold_record(read: &arguments::Arguments, seen: &[(String, Seen)], ty: &RecordType, raw: &str) {
    let names: BTreeSet<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), seen.len(), "a member stands twice: {raw}");
    for (name, field) in &ty.fields {
        assert!(!field.required || names.contains(name.as_str()), "`{name}` is missing: {raw}");
    }
    for (name, value) in seen {
        let Some(field) = ty.fields.get(name) else {
            assert!(ty.open, "`{name}` is not declared: {raw}");
            continue;
        };
        match (read.get(name), value) {
            (None, Seen::Null) => assert!(field.nullable, "`{name}` is null: {raw}"),
            (None, _) => assert_eq!(field.ty, Type::Opaque, "`{name}` was not seen: {raw}"),
            (Some(read), value) => hold(read, value, &field.ty, raw),
        }
    }
    assert!(read.keys().all(|name| names.contains(name.as_str())), "something was made up: {raw}");
}

fn hold(read: &Value, seen: &Seen, ty: &Type, raw: &str) {
    match (read, seen, ty) {
        (Value::Text(read), Seen::Text(seen), Type::Text) => assert_eq!(read, seen, "{raw}"),
        (Value::Bool(read), Seen::Bool(seen), Type::Bool) => assert_eq!(read, seen, "{raw}"),
        (Value::Long(read), Seen::Number(seen), Type::Long) => hold_number(*read as f64, seen, raw),
        (Value::Decimal(read), Seen::Number(seen), Type::Decimal) => hold_number(*read as f64 / 10_000.0, seen, raw),
        (Value::Set(read), Seen::List(seen), Type::Set(ty)) => {
            assert_eq!(read.len(), seen.len(), "{raw}");
            read.iter().zip(seen).for_each(|(read, seen)| hold(read, seen, ty, raw));
        }
        (Value::Record(read), Seen::Object(seen), Type::Record(ty)) => hold_record(read, seen, ty, raw),
        _ => panic!("{read:?} was read for {seen:?} by {ty:?}: {raw}"),
    }
}

/// The other reader has a float, so that it is compared as exactly as one can be.
fn hold_number(read: f64, seen: &str, raw: &str) {
    let seen: f64 = seen.parse().unwrap();
    assert!((read - seen).abs() <= seen.abs() * 1e-14, "{read} was read for {seen}: {raw}");
}

fn is_beyond(error: &str) -> bool {
    ["number out of range", "surrogate", "hex escape"].iter().any(|part| error.contains(part))
}

#[test]
fn broken_arguments_end_nothing_and_those_that_are_taken_say_what_another_reader_says() {
    let schema = schema();
    let mut fuzz = Fuzz::start("arguments", 20_000);
    while fuzz.goes_on() {
        let mut raw = fitting(&mut fuzz);
        if !fuzz.once_in(8) {
            raw = fuzz.broken(&raw, &WORDS);
        }
        let Ok(read) = arguments::read(&raw, &schema) else { continue };
        let seen = match serde_json::from_str::<Seen>(&raw) {
            Ok(Seen::Object(seen)) => seen,
            Ok(_) => panic!("the other reader takes it for no object: {raw}"),
            // What no float holds and no text can be may stand where nothing is judged, and is passed on as it is; where something is judged, it is never taken.
            Err(error) if is_beyond(&error.to_string()) => continue,
            Err(error) => panic!("the other reader does not take it: {error}: {raw}"),
        };
        fuzz.accepted += 1;
        hold_record(&read, &seen, &schema, &raw);
    }
    assert!(fuzz.accepted > 0);
    println!("{}", fuzz.summary());
}
