//! Walks along the places where ids and other objects stand (`shape.rs`) and changes what stands there, and nothing else: not one byte in between.

use std::borrow::Cow;
use std::ops::Range;

use portcullis_domain::json;
use serde_json::value::RawValue;

use crate::a2a::shape::{Place, Shape};
use crate::frame::object::{quoted, span, spliced};

/// How deep JSON may be nested. Readers of Protocol Buffers stop at a hundred, so nothing deeper can mean anything to an agent.
pub const DEPTH_LIMIT: usize = 100;

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Named {
    /// A task.
    Task,
    /// A context.
    Context,
}

/// What becomes of an id: another one, or none if it is to stay.
pub type Renaming<'f> = &'f mut dyn FnMut(Named, &str) -> Option<String>;

/// Whether `text` is nested deeper than [`DEPTH_LIMIT`].
pub(super) fn is_too_deep(text: &[u8]) -> bool {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => depth += 1,
            b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_LIMIT {
            return true;
        }
    }
    false
}

/// `raw` with all names as we write them.
///
/// Readers of Protocol Buffers take `context_id` for `contextId`, and others do not mind capitals. An id that hides so would pass
/// the gateway unseen, so the former are rewritten and the latter are errors.
pub(super) fn normal<'a>(raw: &'a str, shape: &Shape) -> Result<Cow<'a, str>, String> {
    edited(raw, shape, &mut Names)
}

/// `raw` with its ids renamed. Strings that are empty name nothing.
pub(super) fn renamed<'a>(raw: &'a str, shape: &Shape, rename: Renaming<'_>) -> Result<Cow<'a, str>, String> {
    edited(raw, shape, &mut Ids(rename))
}

/// The same for each item of an array.
pub(super) fn renamed_items<'a>(raw: &'a str, shape: &Shape, rename: Renaming<'_>) -> Result<Cow<'a, str>, String> {
    let mut edits = Vec::new();
    for item in json::items(raw)? {
        walk(raw, item.get(), shape, &mut Ids(rename), &mut edits)?;
    }
    Ok(applied(raw, &edits))
}

type Edits = Vec<(Range<usize>, String)>;

trait Visit {
    /// What to do with a member's name, whose text without quotation marks stands at `place` if it has no escapes.
    fn name(&mut self, shape: &Shape, name: &str, place: Option<Range<usize>>, edits: &mut Edits)
    -> Result<(), String>;
    fn id(&mut self, named: Named, id: &str) -> Option<String>;
}

fn edited<'a>(raw: &'a str, shape: &Shape, visit: &mut dyn Visit) -> Result<Cow<'a, str>, String> {
    let mut edits = Edits::new();
    walk(raw, raw, shape, visit, &mut edits)?;
    Ok(applied(raw, &edits))
}

fn applied<'a>(raw: &'a str, edits: &Edits) -> Cow<'a, str> {
    if edits.is_empty() {
        return Cow::Borrowed(raw);
    }
    // Whole strings are replaced by whole strings, so that the text stays UTF-8.
    String::from_utf8(spliced(raw.as_bytes(), edits)).map_or(Cow::Borrowed(raw), Cow::Owned)
}

fn walk(whole: &str, raw: &str, shape: &Shape, visit: &mut dyn Visit, edits: &mut Edits) -> Result<(), String> {
    let members = json::members(raw)?;
    for (name, value) in &members {
        let place = match name {
            Cow::Borrowed(name) => span(whole.as_bytes(), name.as_bytes()),
            Cow::Owned(_) => None,
        };
        visit.name(shape, name, place, edits)?;
        let Some((canonical, place)) = shape.find(name) else { continue };
        if canonical != name && json::member(&members, canonical).is_some() {
            return Err(format!("`{canonical}` stands twice"));
        }
        let items = |raw| json::items(raw).unwrap_or_default();
        match place {
            Place::Plain => {}
            Place::Task => rename(whole, value, Named::Task, visit, edits),
            Place::Context => rename(whole, value, Named::Context, visit, edits),
            Place::Tasks => items(value.get()).into_iter().for_each(|id| rename(whole, id, Named::Task, visit, edits)),
            Place::One(inner) if value.get().starts_with('{') => walk(whole, value.get(), inner, visit, edits)?,
            Place::Many(inner) => {
                for item in items(value.get()).into_iter().filter(|item| item.get().starts_with('{')) {
                    walk(whole, item.get(), inner, visit, edits)?;
                }
            }
            Place::One(_) => {}
        }
    }
    Ok(())
}

fn rename(whole: &str, value: &RawValue, named: Named, visit: &mut dyn Visit, edits: &mut Edits) {
    let Some(id) = json::text(value).filter(|id| !id.is_empty()) else { return };
    let new = visit.id(named, &id);
    if let (Some(new), Some(place)) = (new, span(whole.as_bytes(), value.get().as_bytes())) {
        edits.push((place, quoted(&new)));
    }
}

impl Shape {
    /// The place of that name, and the name as we write it.
    fn find(&self, name: &str) -> Option<(&'static str, Place)> {
        self.0.iter().find(|(known, _)| is_same_name(name, known)).copied()
    }
}

struct Names;

impl Visit for Names {
    fn name(
        &mut self,
        shape: &Shape,
        name: &str,
        place: Option<Range<usize>>,
        edits: &mut Edits,
    ) -> Result<(), String> {
        let similar = shape.0.iter().find(|(known, _)| is_folded_equal(name, known));
        let Some((known, _)) = similar.filter(|(known, _)| *known != name) else { return Ok(()) };
        match place.filter(|_| is_snake_of(name, known)) {
            Some(place) => edits.push((place, (*known).to_owned())),
            None => return Err(format!("`{name}` is written `{known}`")),
        }
        Ok(())
    }

    fn id(&mut self, _: Named, _: &str) -> Option<String> {
        None
    }
}

struct Ids<'f>(Renaming<'f>);

impl Visit for Ids<'_> {
    fn name(&mut self, _: &Shape, _: &str, _: Option<Range<usize>>, _: &mut Edits) -> Result<(), String> {
        Ok(())
    }

    fn id(&mut self, named: Named, id: &str) -> Option<String> {
        (self.0)(named, id)
    }
}

/// Whether `name` is `camel` as it is written in Protocol Buffers, and differs from it.
fn is_snake_of(name: &str, camel: &str) -> bool {
    let mut rest = name.bytes();
    for byte in camel.bytes() {
        if byte.is_ascii_uppercase() && rest.next() != Some(b'_') {
            return false;
        }
        if rest.next() != Some(byte.to_ascii_lowercase()) {
            return false;
        }
    }
    rest.next().is_none() && name != camel
}

/// Whether `name` is `known`, as we write it or as Protocol Buffers do.
pub(super) fn is_same_name(name: &str, known: &str) -> bool {
    name == known || is_snake_of(name, known)
}

/// Whether two names are the same to a reader that minds neither capitals nor underscores.
fn is_folded_equal(name: &str, known: &str) -> bool {
    // Reader libraries that mind no capitals fold by Unicode, where some signs beyond ASCII are as good as a letter.
    let folded = name.chars().filter(|sign| !matches!(sign, '_' | '-')).flat_map(fold);
    folded.eq(known.chars().flat_map(fold))
}

fn fold(sign: char) -> impl Iterator<Item = char> {
    let plain = match sign {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        other => other,
    };
    plain.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::a2a::shape::{SEND, WRAPPED};

    #[test]
    fn names_that_an_agent_would_read_otherwise_are_made_ours_or_refused() {
        for (raw, expected) in [
            (r#"{ "message": {"contextId":"c" } }"#, Ok(r#"{ "message": {"contextId":"c" } }"#)),
            (r#"{"message":{ "context_id" :"c","x_y":1}}"#, Ok(r#"{"message":{ "contextId" :"c","x_y":1}}"#)),
            (r#"{"message":{"metadata":{"context_id":1}}}"#, Ok(r#"{"message":{"metadata":{"context_id":1}}}"#)),
            (r#"{"message":{"parts":[{"media_type":"a"}]}}"#, Ok(r#"{"message":{"parts":[{"mediaType":"a"}]}}"#)),
            (r#"{"message":{"context_id":"c","contextId":"d"}}"#, Err("`contextId` stands twice")),
            (r#"{"message":{"ContextID":"c"}}"#, Err("`ContextID` is written `contextId`")),
            (r#"{"message":{"tasKId":"c"}}"#, Err("`tasKId` is written `taskId`")),
            ("{\"message\":{\"task\u{17F}Id\":\"c\"}}", Ok("{\"message\":{\"task\u{17F}Id\":\"c\"}}")),
            ("{\"message\":{\"ta\u{17F}kId\":\"c\"}}", Err("`ta\u{17F}kId` is written `taskId`")),
            (r#"{"message":{"context\u005fid":"c"}}"#, Err("`context_id` is written `contextId`")),
            (r#"{"message":{"context\u0049d":"c"}}"#, Ok(r#"{"message":{"context\u0049d":"c"}}"#)),
            (r#"{"message":{"a":1,"a":2}}"#, Err("`a` stands twice at line 1 column 13")),
        ] {
            assert_eq!(normal(raw, &SEND).as_deref(), expected.map_err(str::to_owned).as_deref(), "{raw}");
        }
    }

    #[test]
    fn ids_are_renamed_wherever_they_stand_and_nothing_else_changes() {
        let raw = r#"{ "task":{"id":"t1","contextId":"c1","x":1.50, "status":{"state":"TASK_STATE_WORKING","message":{"taskId":"t1","contextId":"c1","referenceTaskIds":[ "t2" ,"t3"]}},"history":[{"taskId":""},{"taskId":null},{"task\u0049d":"t1"}],"metadata":{"taskId":"t1"}}}"#;
        let mut rename = |named: Named, id: &str| match named {
            Named::Task => (id != "t3").then(|| format!("n\"{id}")),
            Named::Context => Some("k".to_owned()),
        };
        let expected = raw
            .replace(r#""id":"t1","contextId":"c1""#, r#""id":"n\"t1","contextId":"k""#)
            .replace(r#"{"taskId":"t1","contextId":"c1""#, r#"{"taskId":"n\"t1","contextId":"k""#)
            .replace(r#"[ "t2" "#, r#"[ "n\"t2" "#)
            .replace(r#"{"task\u0049d":"t1"}"#, r#"{"task\u0049d":"n\"t1"}"#);
        assert_eq!(renamed(raw, &WRAPPED, &mut rename).unwrap(), expected);
    }

    #[test]
    fn json_is_deep_by_its_brackets_and_not_by_its_texts() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!is_too_deep(nested(DEPTH_LIMIT).as_bytes()));
        assert!(is_too_deep(nested(DEPTH_LIMIT + 1).as_bytes()));
        assert!(!is_too_deep(format!("\"{}\\\"{}\"", "[".repeat(200), "{".repeat(200)).as_bytes()));
    }
}
