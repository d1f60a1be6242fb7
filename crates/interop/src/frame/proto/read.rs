//! From a message to its JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::schema::{DEPTH_LIMIT, Field, JSON_LIMIT_BYTES, Kind, Message, Rule};
use super::time;
use super::wire::{Field as Wire, fields};

/// Largest whole number up to which every whole number is a double of its own.
const WHOLE_LIMIT: f64 = 9_007_199_254_740_992.0;

/// The JSON of the message in these bytes.
///
/// # Errors
///
/// A sentence on what is wrong.
pub(crate) fn to_json(message: &Message, bytes: &[u8]) -> Result<String, String> {
    let mut out = String::new();
    object(message, bytes, 0, &mut out)?;
    Ok(out)
}

fn object(message: &Message, bytes: &[u8], depth: usize, out: &mut String) -> Result<(), String> {
    check(depth, out)?;
    // Bytes that are no message are so as a whole, before anything is made of them; and of a set of fields that exclude one another the last counts.
    let mut chosen = None;
    for field in fields(bytes) {
        let (number, wire) = field?;
        let is_one_of = |field: &&Field| field.number == number && field.rule == Rule::OneOf && fits(field.kind, wire);
        chosen = message.fields.iter().find(is_one_of).map_or(chosen, |field| Some(field.number));
    }
    out.push('{');
    for field in message.fields.iter().filter(|field| field.rule != Rule::OneOf || chosen == Some(field.number)) {
        let found = fields(bytes).filter_map(Result::ok);
        let found = found.filter(|(number, wire)| *number == field.number && fits(field.kind_on_wire(), *wire));
        member(field, found.map(|(_, wire)| wire), depth, out)?;
    }
    out.push('}');
    Ok(())
}

impl Field {
    /// What a map's entries are on the wire is a message.
    fn kind_on_wire(&self) -> Kind {
        if self.rule == Rule::Map { Kind::Struct } else { self.kind }
    }
}

/// A field of another wire type than its own is one that is not known.
fn fits(kind: Kind, wire: Wire<'_>) -> bool {
    match kind {
        Kind::Bool | Kind::Int32 | Kind::Enum(_) => matches!(wire, Wire::Varint(_)),
        Kind::Text | Kind::Bytes | Kind::One(_) | Kind::Struct | Kind::Value | Kind::Timestamp => {
            matches!(wire, Wire::Bytes(_))
        }
    }
}

fn member<'a>(
    field: &Field,
    found: impl Iterator<Item = Wire<'a>> + Clone,
    depth: usize,
    out: &mut String,
) -> Result<(), String> {
    match field.rule {
        Rule::Many | Rule::ManyAlways => {
            let mut found = found.peekable();
            if found.peek().is_none() && field.rule == Rule::Many {
                return Ok(());
            }
            name(field.name, out);
            out.push('[');
            for (place, wire) in found.enumerate() {
                comma(place, out);
                value(field, wire, depth, out)?;
            }
            out.push(']');
        }
        Rule::Map => {
            let entries: Vec<&[u8]> = found.filter_map(bytes_of).collect();
            if entries.is_empty() {
                return Ok(());
            }
            name(field.name, out);
            map(field, &entries, depth, out)?;
        }
        Rule::Plain | Rule::Always | Rule::Optional | Rule::OneOf => {
            let is_message = matches!(field.kind, Kind::One(_) | Kind::Struct);
            let Some(last) = found.clone().last() else {
                if field.rule == Rule::Always && !is_message {
                    name(field.name, out);
                    absent(field, out);
                }
                return Ok(());
            };
            // Parts of one message that stand apart are one: to put them together is to put their bytes together.
            let parts = found.clone().count();
            let joined = match is_message && parts > 1 {
                true => Cow::Owned(found.filter_map(bytes_of).flatten().copied().collect()),
                false => Cow::Borrowed(bytes_of(last).unwrap_or_default()),
            };
            let wire = if is_message { Wire::Bytes(&joined) } else { last };
            if field.rule == Rule::Plain && is_default(field.kind, wire) {
                return Ok(());
            }
            name(field.name, out);
            value(field, wire, depth, out)?;
        }
    }
    Ok(())
}

fn is_default(kind: Kind, wire: Wire<'_>) -> bool {
    match kind {
        Kind::Text | Kind::Bytes => wire == Wire::Bytes(&[]),
        Kind::Bool | Kind::Int32 | Kind::Enum(_) => wire == Wire::Varint(0),
        Kind::One(_) | Kind::Struct | Kind::Value | Kind::Timestamp => false,
    }
}

/// What stands for a field that must be there and is not.
fn absent(field: &Field, out: &mut String) {
    let names = if let Kind::Enum(names) = field.kind { names } else { &[] };
    match field.kind {
        Kind::Bool => out.push_str("false"),
        Kind::Int32 => out.push('0'),
        Kind::Enum(_) => text(names.first().copied().unwrap_or_default(), out),
        Kind::Text | Kind::Bytes | Kind::One(_) | Kind::Struct | Kind::Value | Kind::Timestamp => out.push_str("\"\""),
    }
}

fn value(field: &Field, wire: Wire<'_>, depth: usize, out: &mut String) -> Result<(), String> {
    let bytes = bytes_of(wire).unwrap_or_default();
    let number = if let Wire::Varint(number) = wire { number } else { 0 };
    match field.kind {
        Kind::Text => text(utf8(field, bytes)?, out),
        Kind::Bytes => text(&STANDARD.encode(bytes), out),
        Kind::Bool => out.push_str(if number == 0 { "false" } else { "true" }),
        Kind::Int32 => out.push_str(&int32(number).to_string()),
        Kind::Enum(names) => match usize::try_from(number).ok().and_then(|number| names.get(number)) {
            Some(name) => text(name, out),
            None => out.push_str(&int32(number).to_string()),
        },
        Kind::One(message) => return object(message, bytes, depth + 1, out),
        Kind::Struct => return structure(field, bytes, depth + 1, out),
        Kind::Value => return any(field, bytes, depth + 1, out),
        Kind::Timestamp => text(&timestamp(field, bytes)?, out),
    }
    check(depth, out)
}

fn map(field: &Field, entries: &[&[u8]], depth: usize, out: &mut String) -> Result<(), String> {
    let mut last = BTreeMap::new();
    for entry in entries {
        let (mut key, mut inner) = ("", &b""[..]);
        for found in fields(entry) {
            match found? {
                (1, Wire::Bytes(bytes)) => key = utf8(field, bytes)?,
                (2, Wire::Bytes(bytes)) => inner = bytes,
                _ => {}
            }
        }
        last.insert(key, inner);
    }
    out.push('{');
    for (place, (key, inner)) in last.into_iter().enumerate() {
        comma(place, out);
        text(key, out);
        out.push(':');
        value(field, Wire::Bytes(inner), depth, out)?;
    }
    out.push('}');
    Ok(())
}

/// `google.protobuf.Struct`
fn structure(field: &Field, bytes: &[u8], depth: usize, out: &mut String) -> Result<(), String> {
    check(depth, out)?;
    let mut entries = Vec::new();
    for found in fields(bytes) {
        if let (1, Wire::Bytes(entry)) = found? {
            entries.push(entry);
        }
    }
    let values = Field { kind: Kind::Value, ..*field };
    map(&values, &entries, depth, out)
}

/// `google.protobuf.Value`
fn any(field: &Field, bytes: &[u8], depth: usize, out: &mut String) -> Result<(), String> {
    check(depth, out)?;
    let mut last = None;
    for found in fields(bytes) {
        let found = found?;
        let is_known = matches!(found, (1 | 4, Wire::Varint(_)) | (2, Wire::Fixed64(_)) | (3 | 5 | 6, Wire::Bytes(_)));
        last = if is_known { Some(found) } else { last };
    }
    match last {
        Some((2, Wire::Fixed64(bytes))) => number(field, f64::from_le_bytes(bytes), out)?,
        Some((3, Wire::Bytes(bytes))) => text(utf8(field, bytes)?, out),
        Some((4, Wire::Varint(value))) => out.push_str(if value == 0 { "false" } else { "true" }),
        Some((5, Wire::Bytes(bytes))) => structure(field, bytes, depth + 1, out)?,
        Some((6, Wire::Bytes(bytes))) => {
            out.push('[');
            let items = fields(bytes).map(|found| found.map(|(number, wire)| (number == 1).then_some(wire)));
            let mut place = 0;
            for item in items {
                let Some(Wire::Bytes(item)) = item? else { continue };
                comma(place, out);
                any(field, item, depth + 1, out)?;
                place += 1;
            }
            out.push(']');
        }
        Some(_) | None => out.push_str("null"),
    }
    Ok(())
}

/// Whole numbers are written without a point, as the official libraries do: many a reader wants them so.
fn number(field: &Field, value: f64, out: &mut String) -> Result<(), String> {
    if !value.is_finite() {
        return Err(format!("`{}` is a number that JSON does not have", field.name));
    }
    let is_whole = value.fract() == 0.0 && value.abs() < WHOLE_LIMIT;
    let written = if is_whole { format!("{value:.0}") } else { serde_json::Value::from(value).to_string() };
    out.push_str(&written.replace("e+", "e"));
    Ok(())
}

fn timestamp(field: &Field, bytes: &[u8]) -> Result<String, String> {
    let (mut seconds, mut nanos) = (0, 0);
    for found in fields(bytes) {
        match found? {
            (1, Wire::Varint(value)) => seconds = value.cast_signed(),
            (2, Wire::Varint(value)) => nanos = int32(value),
            _ => {}
        }
    }
    let written = u32::try_from(nanos).ok().and_then(|nanos| time::written(seconds, nanos));
    written.ok_or_else(|| format!("`{}` is no time that can be written", field.name))
}

/// The lower half counts.
fn int32(value: u64) -> i32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default().cast_signed()
}

fn bytes_of(wire: Wire<'_>) -> Option<&[u8]> {
    if let Wire::Bytes(bytes) = wire { Some(bytes) } else { None }
}

fn utf8<'a>(field: &Field, bytes: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("`{}` is not UTF-8", field.name))
}

fn check(depth: usize, out: &str) -> Result<(), String> {
    if depth > DEPTH_LIMIT {
        return Err(format!("it is nested deeper than {DEPTH_LIMIT} levels"));
    }
    if out.len() > JSON_LIMIT_BYTES {
        return Err(format!("its JSON would be larger than {JSON_LIMIT_BYTES} bytes"));
    }
    Ok(())
}

fn name(name: &str, out: &mut String) {
    comma(usize::from(!out.ends_with('{')), out);
    text(name, out);
    out.push(':');
}

fn comma(place: usize, out: &mut String) {
    if place > 0 {
        out.push(',');
    }
}

fn text(text: &str, out: &mut String) {
    out.push_str(&crate::frame::object::quoted(text));
}
