//! What of a call is looked at, and how it is written anew. Of JSON only the strings, numbers and names change in which something was found: everything else stays as it was written.

use std::collections::BTreeMap;

use portcullis_domain::json;
use portcullis_domain::policy::Point;
use portcullis_guard::{Finding, mask};
use serde_json::Value;
use serde_json::value::RawValue;

/// How deep JSON may be.
const DEPTH_LIMIT: usize = 100;
/// Members that say what something is, or have bytes that are no text.
const NO_TEXT: [&str; 11] = [
    "role",
    "type",
    "id",
    "tool_call_id",
    "image_url",
    "input_audio",
    "audio",
    "file",
    "blob",
    "mimeType",
    "cache_control",
];

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Raw JSON.
    Json(String),
    /// A text.
    Text(String),
    /// Raw JSON that somebody says as a whole: nothing in it is left out.
    Data(String),
}

impl Content {
    /// What a model wants to call something with: JSON, in which characters may be written as escapes, or else the text that it is.
    #[must_use]
    pub fn of_arguments(raw: &str) -> Self {
        let is_json = serde_json::from_str::<&RawValue>(raw).is_ok();
        if is_json { Self::Json(raw.to_owned()) } else { Self::Text(raw.to_owned()) }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Json(text) | Self::Text(text) | Self::Data(text) => text,
        }
    }

    /// As it is written.
    #[must_use]
    pub fn into_string(self) -> String {
        match self {
            Self::Json(text) | Self::Text(text) | Self::Data(text) => text,
        }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Json(raw) | Self::Data(raw) => raw.clone(),
            Self::Text(text) => Value::from(text.as_str()).to_string(),
        }
    }

    /// With every finding replaced.
    ///
    /// # Errors
    ///
    /// A sentence when it can't be.
    pub fn masked(&self, findings: &[Finding]) -> Result<Self, String> {
        match self {
            Self::Text(text) => Ok(Self::Text(mask(text, findings))),
            Self::Json(raw) => masked(raw, findings).map(Self::Json),
            Self::Data(raw) => masked(raw, findings).map(Self::Data),
        }
    }
}

/// The JSON as it is looked at for what is in its texts: without what is no text.
///
/// # Errors
///
/// A sentence when it is no JSON.
pub fn texts(point: Point, raw: &str) -> Result<Value, String> {
    let mut value = whole(raw)?;
    match point {
        Point::ModelIn => prune(&mut value, &NO_TEXT),
        // `data` is bytes only where a result says so; an argument or a field may be called anything.
        Point::ToolOut => {
            let parts = value.get_mut("content").and_then(Value::as_array_mut);
            parts.into_iter().flatten().for_each(prune_part);
        }
        // Only the arguments of calls are JSON here, and nobody has read them yet: of two members of one name, whoever runs the call may take the other one.
        Point::ModelOut => drop(json::canonical(raw)?),
        Point::ToolIn | Point::ToolList => {}
    }
    Ok(value)
}

/// The JSON as it is.
///
/// # Errors
///
/// A sentence when it is none.
pub fn whole(raw: &str) -> Result<Value, String> {
    serde_json::from_str(raw).map_err(|error| error.to_string())
}

fn prune_part(part: &mut Value) {
    prune(part, &["type", "data", "mimeType", "blob"]);
}

fn prune(value: &mut Value, names: &[&str]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, names)),
        Value::Object(members) => {
            members.retain(|name, _| !names.contains(&name.as_str()));
            members.values_mut().for_each(|member| prune(member, names));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn masked(raw: &str, findings: &[Finding]) -> Result<String, String> {
    let mut by_place: BTreeMap<(&str, bool), Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        by_place.entry((&finding.place, finding.in_name)).or_default().push(finding.clone());
    }
    let value = |place: &str, value: &RawValue| {
        let found = by_place.get(&(place, false))?;
        let text = json::text(value).map_or_else(|| value.get().to_owned(), std::borrow::Cow::into_owned);
        Some(Value::from(mask(&text, found)).to_string())
    };
    let name = |place: &str, name: &str| by_place.get(&(place, true)).map(|found| mask(name, found));
    rewritten(raw, &value, &name)
}

/// The JSON with other texts at these pointers.
///
/// # Errors
///
/// A sentence when it can't be read.
pub fn with_texts(raw: &str, texts: &BTreeMap<String, String>) -> Result<String, String> {
    let value = |place: &str, _: &RawValue| texts.get(place).map(|text| Value::from(text.as_str()).to_string());
    rewritten(raw, &value, &|_, _| None)
}

/// The JSON with other values, as raw JSON, at these pointers.
///
/// # Errors
///
/// A sentence when it can't be read.
pub fn with_values(raw: &str, values: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::with_capacity(raw.len());
    put(raw, &mut String::new(), 0, values, &mut out)?;
    Ok(out)
}

fn put(
    raw: &str,
    place: &mut String,
    depth: usize,
    values: &BTreeMap<String, String>,
    out: &mut String,
) -> Result<(), String> {
    if depth > DEPTH_LIMIT {
        return Err(format!("it is deeper than {DEPTH_LIMIT} levels"));
    }
    if let Some(value) = values.get(place.as_str()) {
        out.push_str(value);
        return Ok(());
    }
    let is_array = raw.starts_with('[');
    if !is_array && !raw.starts_with('{') {
        out.push_str(raw);
        return Ok(());
    }
    out.push(if is_array { '[' } else { '{' });
    let length = place.len();
    if is_array {
        for (index, item) in json::items(raw)?.into_iter().enumerate() {
            out.push_str(if index == 0 { "" } else { "," });
            place.push_str(&format!("/{index}"));
            put(item.get(), place, depth + 1, values, out)?;
            place.truncate(length);
        }
    } else {
        for (index, (name, item)) in json::members(raw)?.into_iter().enumerate() {
            out.push_str(if index == 0 { "" } else { "," });
            out.push_str(&Value::from(name.as_ref()).to_string());
            out.push(':');
            *place = below(place, &name);
            put(item.get(), place, depth + 1, values, out)?;
            place.truncate(length);
        }
    }
    out.push(if is_array { ']' } else { '}' });
    Ok(())
}

/// The pointer of a member (RFC 6901).
#[must_use]
pub fn below(place: &str, name: &str) -> String {
    format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"))
}

type OfValue<'a> = dyn Fn(&str, &RawValue) -> Option<String> + 'a;
type OfName<'a> = dyn Fn(&str, &str) -> Option<String> + 'a;

fn rewritten(raw: &str, value: &OfValue<'_>, name: &OfName<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(raw.len());
    let raw: &RawValue = serde_json::from_str(raw).map_err(|error| error.to_string())?;
    write(raw, &mut String::new(), 0, (value, name), &mut out)?;
    Ok(out)
}

fn write(
    raw: &RawValue,
    place: &mut String,
    depth: usize,
    (value, name): (&OfValue<'_>, &OfName<'_>),
    out: &mut String,
) -> Result<(), String> {
    if depth > DEPTH_LIMIT {
        return Err(format!("it is deeper than {DEPTH_LIMIT} levels"));
    }
    let length = place.len();
    match raw.get().as_bytes().first() {
        Some(b'[') => {
            out.push('[');
            for (index, item) in json::items(raw.get())?.into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                place.push_str(&format!("/{index}"));
                write(item, place, depth + 1, (value, name), out)?;
                place.truncate(length);
            }
            out.push(']');
        }
        Some(b'{') => {
            out.push('{');
            let members = json::members(raw.get())?;
            let mut names: Vec<String> = members.iter().map(|(member, _)| member.to_string()).collect();
            for (index, (member, item)) in members.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                place.push('/');
                place.push_str(&member.replace('~', "~0").replace('/', "~1"));
                if let Some(renamed) = name(place, member) {
                    let fresh = unlike(&renamed, &names);
                    names.get_mut(index).into_iter().for_each(|known| known.clone_from(&fresh));
                }
                let written = names.get(index).map_or("", String::as_str);
                out.push_str(&Value::from(written).to_string());
                out.push(':');
                write(item, place, depth + 1, (value, name), out)?;
                place.truncate(length);
            }
            out.push('}');
        }
        Some(_) | None => out.push_str(&value(place, raw).unwrap_or_else(|| raw.get().to_owned())),
    }
    Ok(())
}

/// The name, or where there is one like it already, the name with a number.
fn unlike(name: &str, names: &[String]) -> String {
    let numbered = (2_usize..).map(|number| format!("{name} {number}"));
    let mut all = std::iter::once(name.to_owned()).chain(numbered);
    all.find(|fresh| !names.contains(fresh)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(place: &str, in_name: bool, range: std::ops::Range<usize>) -> Finding {
        Finding { kind: "x".into(), place: place.into(), in_name, range, replacement: "[X]".into(), reason: None }
    }

    #[test]
    fn only_what_was_found_is_written_anew() {
        let check = |raw: &str, findings: &[Finding], expected: &str| {
            let masked = Content::Json(raw.to_owned()).masked(findings).unwrap();
            assert_eq!(masked.as_str(), expected);
        };
        let raw = r#"{"a":1.50e0,"b~/":["x\u0041y",4111],"c":{"k":null}}"#;
        check(raw, &[], raw);
        check(raw, &[found("/b~0~1/0", false, 1..2)], &raw.replace(r"x\u0041y", "x[X]y"));
        check(raw, &[found("/b~0~1/1", false, 0..4)], &raw.replace("4111", "\"[X]\""));
        check(raw, &[found("/c/k", true, 0..1)], &raw.replace("\"k\"", "\"[X]\""));
        check(
            r#"{"aa":1,"ab":2,"[X]":3}"#,
            &[found("/aa", true, 0..2), found("/ab", true, 0..2)],
            r#"{"[X] 2":1,"[X] 3":2,"[X]":3}"#,
        );
        check("\"abc\"", &[found("", false, 0..3)], "\"[X]\"");
        assert_eq!(Content::Text("abc".into()).masked(&[found("", false, 1..2)]).unwrap().as_str(), "a[X]c");
    }

    #[test]
    fn texts_are_put_where_they_were() {
        let raw = r#"{"choices":[{"message":{"content":"a","n":1.0}}]}"#;
        let texts = [("/choices/0/message/content".to_owned(), "b\"".to_owned())].into();
        assert_eq!(with_texts(raw, &texts).unwrap(), raw.replace("\"a\"", "\"b\\\"\""));
    }

    #[test]
    fn values_are_put_where_they_were() {
        let raw = r#"{"a/b":[{"data":{"x":1.0}},2.50],"c":null}"#;
        let values = [("/a~1b/0/data".to_owned(), r#"{"y":[]}"#.to_owned())].into();
        assert_eq!(with_values(raw, &values).unwrap(), r#"{"a/b":[{"data":{"y":[]}},2.50],"c":null}"#);
        assert_eq!(with_values(raw, &BTreeMap::new()).unwrap(), raw);
    }

    #[test]
    fn arguments_that_can_be_read_in_two_ways_can_not_be_looked_at() {
        let check = |raw: &str, is_readable: bool| {
            assert_eq!(Content::of_arguments(raw), Content::Json(raw.to_owned()));
            assert_eq!(texts(Point::ModelOut, raw).is_ok(), is_readable, "{raw}");
        };
        check(r#"{"a":"x","b":[{"a":"y"}]}"#, true);
        check(r#"{"a":"x","\u0061":"y"}"#, false);
        assert_eq!(Content::of_arguments("{a}"), Content::Text("{a}".to_owned()));
    }

    #[test]
    fn what_is_no_text_is_not_looked_at() {
        let check = |point, raw: &str, expected: &str| {
            assert_eq!(texts(point, raw).unwrap().to_string(), expected);
        };
        let message = r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:"}}]}]"#;
        check(Point::ModelIn, message, r#"[{"content":[{"text":"a"},{}]}]"#);
        let result = r#"{"content":[{"type":"image","data":"AA"}],"structuredContent":{"data":"a","type":"b"}}"#;
        check(Point::ToolOut, result, r#"{"content":[{}],"structuredContent":{"data":"a","type":"b"}}"#);
        check(Point::ToolIn, r#"{"type":"x","id":1}"#, r#"{"type":"x","id":1}"#);
    }
}
