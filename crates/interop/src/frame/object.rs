//! A JSON object whose members can be replaced, removed and added while all other values stay as they were written.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::Range;

use portcullis_domain::json;
use serde_json::Value;

/// The members of an object, in their order; the values are raw JSON.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object<'a> {
    members: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Object<'a> {
    /// Reads the JSON object `raw`; a member that stands twice is an error.
    pub(crate) fn read(raw: &'a str) -> Result<Self, String> {
        let members = json::members(raw)?;
        Ok(Self { members: members.into_iter().map(|(name, value)| (name, Cow::Borrowed(value.get()))).collect() })
    }

    /// The raw value of a member; `null` counts as a value.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| value.as_ref())
    }

    /// Puts raw JSON in the place of a member's value, or behind the last member.
    pub(crate) fn set(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        match self.members.iter_mut().find(|(member, _)| member == name) {
            Some((_, old)) => *old = value.into(),
            None => self.members.push((name.into(), value.into())),
        }
    }

    /// Takes a member out; true if there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|(member, _)| member != name);
        self.members.len() < before
    }

    /// Takes a member out and gives its value; a `null` is taken out too, but is none.
    pub(crate) fn take(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let place = self.members.iter().position(|(member, _)| member == name)?;
        let (_, value) = self.members.remove(place);
        (value != "null").then_some(value)
    }

    /// Takes out the members whose names are not to be kept.
    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(&str) -> bool) {
        self.members.retain(|(name, _)| is_kept(name));
    }

    /// Puts members behind the last one; where there is one of that name, its value is replaced.
    pub(crate) fn extend<'b>(&mut self, members: impl IntoIterator<Item = (&'b str, &'b str)>) {
        for (name, value) in members {
            match self.members.iter_mut().find(|(member, _)| member == name) {
                Some((_, old)) => *old = Cow::Owned(value.to_owned()),
                None => self.members.push((Cow::Owned(name.to_owned()), Cow::Owned(value.to_owned()))),
            }
        }
    }

    /// The members in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The same, free of the text that it was read from.
    pub(crate) fn into_owned(self) -> Object<'static> {
        let owned = |(name, value): (Cow<'_, str>, Cow<'_, str>)| {
            (Cow::Owned(name.into_owned()), Cow::Owned(value.into_owned()))
        };
        Object { members: self.members.into_iter().map(owned).collect() }
    }
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_char('{')?;
        for (place, (name, value)) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(out, "{comma}{}:{value}", quoted(name))?;
        }
        out.write_char('}')
    }
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Where `part`, a slice of `whole`, stands in it; none when it is no slice of it.
pub(crate) fn span(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

/// `whole` with each of the ranges replaced; the ranges must be sorted and must not overlap.
pub(crate) fn spliced(whole: &[u8], edits: &[(Range<usize>, String)]) -> Vec<u8> {
    let added: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut out = Vec::with_capacity(whole.len() + added);
    let mut from = 0;
    for (range, text) in edits {
        out.extend_from_slice(whole.get(from..range.start).unwrap_or_default());
        out.extend_from_slice(text.as_bytes());
        from = range.end;
    }
    out.extend_from_slice(whole.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_edited_stays_as_it_was_written() {
        let mut object = Object::read(r#"{ "a": 1.50e0, "b":[ 1 ], "c":"\u0041", "d\n":null }"#).unwrap();
        object.set("b", "true");
        object.set("e", quoted("\"x\""));
        assert!(object.remove("c"));
        assert!(!object.remove("z"));
        let mut other = object.clone();
        assert_eq!((other.take("a").as_deref(), other.take("d\n"), other.take("a")), (Some("1.50e0"), None, None));
        assert_eq!(other.to_string(), r#"{"b":true,"e":"\"x\""}"#);
        assert_eq!(object.to_string(), r#"{"a":1.50e0,"b":true,"d\n":null,"e":"\"x\""}"#);
        assert_eq!((object.raw("a"), object.raw("c")), (Some("1.50e0"), None));
    }

    #[test]
    fn a_splice_touches_only_its_ranges() {
        let whole = b"0123456789";
        let edits = [(2..4, "ab".to_owned()), (5..5, "-".to_owned()), (9..10, String::new())];
        assert_eq!(spliced(whole, &edits), b"01ab4-5678");
        assert_eq!(span(whole, &whole[3..5]), Some(3..5));
        assert_eq!(span(&whole[3..5], whole), None);
    }
}
