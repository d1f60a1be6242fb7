//! From JSON to a message.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use portcullis_domain::json;
use serde_json::value::RawValue;

use super::schema::{DEPTH_LIMIT, Field, Kind, Message, Rule};
use super::time;
use super::wire::{put_bytes, put_fixed64, put_varint};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The message that this JSON is. Members that the message does not have are left out.
///
/// # Errors
///
/// A sentence on what the message has no place for.
pub(crate) fn from_json(message: &Message, raw: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    object(message, raw, 0, &mut out)?;
    Ok(out)
}

fn object(message: &Message, raw: &str, depth: usize, out: &mut Vec<u8>) -> Result<(), String> {
    check(depth)?;
    let mut chosen: Option<&Field> = None;
    for (name, value) in json::members(raw)? {
        let Some(field) = message.fields.iter().find(|field| is_name(&name, field.name)) else { continue };
        if value.get() == "null" && !matches!(field.kind, Kind::Value) {
            continue;
        }
        if field.rule == Rule::OneOf
            && let Some(other) = chosen.replace(field)
        {
            return Err(format!("`{}` and `{}` exclude one another", other.name, field.name));
        }
        member(field, value, depth, out)?;
    }
    Ok(())
}

fn member(field: &Field, value: &RawValue, depth: usize, out: &mut Vec<u8>) -> Result<(), String> {
    match field.rule {
        Rule::Many | Rule::ManyAlways => {
            for item in json::items(value.get()).map_err(|_| format!("`{}` is not an array", field.name))? {
                one(field, field.number, item, depth, true, out)?;
            }
            Ok(())
        }
        Rule::Map => {
            for (key, inner) in members(field, value)? {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                one(field, 2, inner, depth, true, &mut entry)?;
                put_bytes(out, field.number, &entry);
            }
            Ok(())
        }
        Rule::Plain | Rule::Always => one(field, field.number, value, depth, false, out),
        Rule::Optional | Rule::OneOf => one(field, field.number, value, depth, true, out),
    }
}

/// Writes one value. Where `is_explicit`, it is written even if it is the default.
fn one(
    field: &Field,
    number: u32,
    value: &RawValue,
    depth: usize,
    is_explicit: bool,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let is_message = matches!(field.kind, Kind::One(_) | Kind::Struct | Kind::Value | Kind::Timestamp);
    match field.kind {
        Kind::Bool | Kind::Int32 | Kind::Enum(_) => {
            let value = varint(field, value)?;
            if value != 0 || is_explicit {
                put_varint(out, number, value);
            }
        }
        Kind::Text | Kind::Bytes | Kind::One(_) | Kind::Struct | Kind::Value | Kind::Timestamp => {
            let inner = bytes(field, value, depth)?;
            if !inner.is_empty() || is_explicit || is_message {
                put_bytes(out, number, &inner);
            }
        }
    }
    Ok(())
}

fn varint(field: &Field, value: &RawValue) -> Result<u64, String> {
    let raw = value.get();
    match (field.kind, raw) {
        (Kind::Bool, "true") => Ok(1),
        (Kind::Bool, "false") => Ok(0),
        (Kind::Bool, _) => Err(format!("`{}` is neither true nor false", field.name)),
        (Kind::Enum(names), _) => int32(raw).map_or_else(|| known(field, names, &text(field, value)?), Ok),
        _ => int32(raw).ok_or_else(|| not(field, "a whole number of 32 bits")),
    }
}

fn bytes(field: &Field, value: &RawValue, depth: usize) -> Result<Vec<u8>, String> {
    let mut inner = Vec::new();
    match field.kind {
        Kind::One(message) if value.get().starts_with('{') => object(message, value.get(), depth + 1, &mut inner)?,
        Kind::One(_) => return Err(not(field, "an object")),
        Kind::Struct => structure(field, value, depth + 1, &mut inner)?,
        Kind::Value => any(field, value, depth + 1, &mut inner)?,
        Kind::Timestamp => {
            let (seconds, nanos) = time::read(&text(field, value)?).ok_or_else(|| not(field, "a time of RFC 3339"))?;
            put_varint(&mut inner, 1, seconds.cast_unsigned());
            put_varint(&mut inner, 2, u64::from(nanos));
        }
        Kind::Bytes => return base64(&text(field, value)?).ok_or_else(|| not(field, "Base64")),
        Kind::Text | Kind::Bool | Kind::Int32 | Kind::Enum(_) => return Ok(text(field, value)?.into_owned().into()),
    }
    Ok(inner)
}

fn text<'a>(field: &Field, value: &'a RawValue) -> Result<Cow<'a, str>, String> {
    json::text(value).ok_or_else(|| not(field, "a text"))
}

fn not(field: &Field, what: &str) -> String {
    format!("`{}` is not {what}", field.name)
}

fn known(field: &Field, names: &[&str], name: &str) -> Result<u64, String> {
    let place = names.iter().position(|known| *known == name);
    let place = place.ok_or_else(|| format!("`{}` can't be `{name}`", field.name))?;
    Ok(u64::try_from(place).unwrap_or_default())
}

/// `google.protobuf.Struct`
fn structure(field: &Field, value: &RawValue, depth: usize, out: &mut Vec<u8>) -> Result<(), String> {
    check(depth)?;
    for (key, value) in members(field, value)? {
        let (mut entry, mut inner) = (Vec::new(), Vec::new());
        put_bytes(&mut entry, 1, key.as_bytes());
        any(field, value, depth + 1, &mut inner)?;
        put_bytes(&mut entry, 2, &inner);
        put_bytes(out, 1, &entry);
    }
    Ok(())
}

/// `google.protobuf.Value`
fn any(field: &Field, value: &RawValue, depth: usize, out: &mut Vec<u8>) -> Result<(), String> {
    check(depth)?;
    let raw = value.get();
    let mut inner = Vec::new();
    match raw.bytes().next() {
        Some(b'n') => put_varint(out, 1, 0),
        Some(b't') => put_varint(out, 4, 1),
        Some(b'f') => put_varint(out, 4, 0),
        Some(b'"') => put_bytes(out, 3, json::text(value).unwrap_or_default().as_bytes()),
        Some(b'{') => {
            structure(field, value, depth + 1, &mut inner)?;
            put_bytes(out, 5, &inner);
        }
        Some(b'[') => {
            for item in json::items(raw)? {
                let mut one = Vec::new();
                any(field, item, depth + 1, &mut one)?;
                put_bytes(&mut inner, 1, &one);
            }
            put_bytes(out, 6, &inner);
        }
        Some(_) | None => {
            let number = raw.parse::<f64>().ok().filter(|number| number.is_finite());
            let number = number.ok_or_else(|| format!("`{}` is a number that can't be kept", field.name))?;
            put_fixed64(out, 2, number.to_le_bytes());
        }
    }
    Ok(())
}

fn members<'a>(field: &Field, value: &'a RawValue) -> Result<json::Members<'a>, String> {
    if !value.get().starts_with('{') {
        return Err(format!("`{}` is not an object", field.name));
    }
    json::members(value.get())
}

/// A number may stand in quotes, and have a point if nothing is behind it. Negative ones are written with all their bits.
fn int32(raw: &str) -> Option<u64> {
    let plain = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw);
    let whole = plain.split_once('.').filter(|(_, rest)| rest.bytes().all(|byte| byte == b'0'));
    let value = whole.map_or(plain, |(whole, _)| whole).parse::<i32>().ok()?;
    Some(i64::from(value).cast_unsigned())
}

fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

fn check(depth: usize) -> Result<(), String> {
    if depth > DEPTH_LIMIT { Err(format!("it is nested deeper than {DEPTH_LIMIT} levels")) } else { Ok(()) }
}

/// Whether `name` is `known`, or the same as it is written in the definition: `page_size` for `pageSize`.
fn is_name(name: &str, known: &str) -> bool {
    let mut rest = name.chars();
    name == known
        || known.chars().all(|sign| {
            let is_new_word = sign.is_ascii_uppercase();
            (!is_new_word || rest.next() == Some('_')) && rest.next() == Some(sign.to_ascii_lowercase())
        }) && rest.next().is_none()
}
