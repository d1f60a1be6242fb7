//! Arguments that a tool's schema wants repeated in headers: `"x-mcp-header": "Region"` on a property (2026-07-28).
//!
//! Portcullis takes the annotation away on the way down, so that agents need not know of it, and makes the headers anew on the
//! way up, from the schema as the upstream wrote it and from the arguments that were admitted.

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_domain::json;

use crate::frame::object::Object;
use crate::mcp::header;

const ANNOTATION: &str = "x-mcp-header";

/// How deep a schema may nest before what is below is left alone.
const DEPTH_LIMIT: usize = 16;

/// The raw schema without the annotation; none when it has none and can stay as it is.
pub(super) fn stripped(schema: &str) -> Option<String> {
    if !schema.contains(ANNOTATION) {
        return None;
    }
    without_annotation(schema, DEPTH_LIMIT).ok()
}

/// The headers that repeat `arguments`, both raw JSON objects. An annotation that is not valid is passed over: the upstream
/// will say so.
pub(super) fn mirror(schema: &str, arguments: &str, headers: &mut HeaderMap) {
    if schema.contains(ANNOTATION) {
        mirror_level(schema, arguments, DEPTH_LIMIT, headers).unwrap_or_default();
    }
}

fn without_annotation(schema: &str, depth: usize) -> Result<String, String> {
    let mut schema = Object::read(schema)?;
    schema.remove(ANNOTATION);
    if let Some(raw) = schema.raw("properties").filter(|_| depth > 0) {
        let mut properties = Object::default();
        for (name, property) in Object::read(raw)?.iter() {
            let stripped =
                if property.starts_with('{') { without_annotation(property, depth - 1)? } else { property.to_owned() };
            properties.extend([(name, stripped.as_str())]);
        }
        let properties = properties.to_string();
        schema.set("properties", properties);
    }
    Ok(schema.to_string())
}

fn mirror_level(schema: &str, arguments: &str, depth: usize, headers: &mut HeaderMap) -> Result<(), String> {
    let schema = Object::read(schema)?;
    let (properties, arguments) = (Object::read(schema.raw("properties").unwrap_or("{}"))?, json::members(arguments)?);
    for (name, property) in properties.iter() {
        let Some(value) = json::member(&arguments, name) else { continue };
        let Ok(property_schema) = Object::read(property) else { continue };
        if let Some((header, value)) = mirrored(&property_schema, value.get()) {
            headers.insert(header, value);
        } else if depth > 0 && value.get().starts_with('{') {
            mirror_level(property, value.get(), depth - 1, headers)?;
        }
    }
    Ok(())
}

fn mirrored(property: &Object<'_>, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name: String = serde_json::from_str(property.raw(ANNOTATION)?).ok()?;
    let text = match (property.raw("type")?, value) {
        (r#""string""#, value) => serde_json::from_str(value).ok()?,
        (r#""boolean""#, "true" | "false") => value.to_owned(),
        (r#""integer""#, value) if value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => value.to_owned(),
        _ => return None,
    };
    let name = HeaderName::from_bytes([header::PARAM_PREFIX, &name].concat().as_bytes()).ok()?;
    Some((name, HeaderValue::from_str(&header::encoded(&text)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"at":{"type":"object","properties":{"n":{"x-mcp-header":"N","type":"integer","x":1.0}}},"x":{"type":"number","x-mcp-header":"X"},"y":true}}"#;

    #[test]
    fn the_annotation_is_taken_away_and_nothing_else() {
        let expected = SCHEMA
            .replace(r#","x-mcp-header":"Region""#, "")
            .replace(r#""x-mcp-header":"N","#, "")
            .replace(r#","x-mcp-header":"X""#, "");
        assert_eq!(stripped(SCHEMA), Some(expected));
        assert_eq!(stripped(r#"{ "type":"object" }"#), None);
    }

    #[test]
    fn annotated_arguments_become_headers() {
        for (arguments, expected) in [
            (r#"{"region":"eu","at":{"n":-5},"x":1}"#, &[("mcp-param-n", "-5"), ("mcp-param-region", "eu")][..]),
            (r#"{"region":"ö"}"#, &[("mcp-param-region", "=?base64?w7Y=?=")]),
            (r#"{"region":null,"at":null}"#, &[]),
            ("{}", &[]),
        ] {
            let mut headers = HeaderMap::new();
            mirror(SCHEMA, arguments, &mut headers);
            let mut shown: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            shown.sort_unstable();
            assert_eq!(shown, expected, "{arguments}");
        }
    }
}
