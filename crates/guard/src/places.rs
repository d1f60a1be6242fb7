//! The texts in JSON and where they are.

use serde_json::{Number, Value};

/// One text in JSON.
#[derive(Debug)]
pub(crate) enum Text<'v> {
    /// The name of the member at that place.
    Name(&'v str),
    /// A string, and the name of the member that it is.
    String(&'v str, Option<&'v str>),
    /// A number.
    Number(&'v Number),
}

/// Visits all names, strings and numbers in order, each with its JSON pointer (RFC 6901). Does not recurse: however deep JSON is, there is room.
pub(crate) fn each<'v>(value: &'v Value, mut visit: impl FnMut(&str, Text<'v>)) {
    let mut open: Vec<(String, Option<&'v str>, &'v Value)> = vec![(String::new(), None, value)];
    while let Some((place, name, value)) = open.pop() {
        if let Some(name) = name {
            visit(&place, Text::Name(name));
        }
        match value {
            Value::String(text) => visit(&place, Text::String(text, name)),
            Value::Number(number) => visit(&place, Text::Number(number)),
            Value::Array(items) => {
                open.extend(
                    items.iter().enumerate().rev().map(|(index, item)| (format!("{place}/{index}"), None, item)),
                );
            }
            Value::Object(members) => {
                open.extend(
                    members.iter().rev().map(|(name, value)| (below(&place, name), Some(name.as_str()), value)),
                );
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

/// The pointer to a member.
fn below(place: &str, name: &str) -> String {
    format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"))
}
