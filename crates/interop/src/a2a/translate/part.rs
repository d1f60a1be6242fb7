//! Parts: 0.3 says by `kind` what they are, 1.0 by which member is there.

use portcullis_domain::json;

use super::edit::within;
use crate::frame::object::{Object, quoted};

/// The members that are content in 1.0.
const CONTENT: [&str; 4] = ["text", "raw", "url", "data"];
/// Metadata by which the official libraries mark data that is no object: 0.3 knows no other data, so it is wrapped.
const WRAPPED: &str = "data_part_compat";

pub(super) fn to_new(raw: &str) -> Result<String, String> {
    let mut part = Object::read(raw)?;
    let kind = part.take("kind").and_then(|kind| serde_json::from_str::<String>(&kind).ok());
    match kind.as_deref() {
        Some("text") => keep_only(&mut part, "text"),
        Some("data") => {
            keep_only(&mut part, "data")?;
            unwrap(&mut part)
        }
        Some("file") => {
            part.retain(|name| !CONTENT.contains(&name));
            let file = part.take("file").ok_or("a part of kind `file` has no `file`")?.into_owned();
            spread(&mut part, &file).map_err(|problem| within("file", &problem))
        }
        _ => Err("the `kind` of a part is not `text`, `file` or `data`".to_owned()),
    }?;
    Ok(part.to_string())
}

pub(super) fn to_old(raw: &str) -> Result<String, String> {
    let mut part = Object::read(raw)?;
    part.remove("kind");
    let has = |part: &Object<'_>, name: &str| match part.raw(name) {
        // The only content that may be null is data.
        Some(value) => name == "data" || value != "null",
        None => false,
    };
    let content: Vec<&str> = CONTENT.into_iter().filter(|name| has(&part, name)).collect();
    let [content] = content.as_slice() else {
        return Err("a part has not one of `text`, `raw`, `url` and `data`".to_owned());
    };
    part.retain(|name| name == *content || (!CONTENT.contains(&name) && name != "file"));
    match *content {
        "raw" => gather(&mut part, "raw", "bytes"),
        "url" => gather(&mut part, "url", "uri"),
        "data" => {
            wrap(&mut part)?;
            part.set("kind", quoted("data"));
        }
        _ => part.set("kind", quoted("text")),
    }
    Ok(part.to_string())
}

fn keep_only(part: &mut Object<'_>, content: &str) -> Result<(), String> {
    if part.raw(content).is_none_or(|raw| raw == "null") {
        return Err(format!("a part of kind `{content}` has no `{content}`"));
    }
    part.retain(|name| name == content || (!CONTENT.contains(&name) && name != "file"));
    Ok(())
}

/// The members of a file become members of the part.
fn spread(part: &mut Object<'_>, raw: &str) -> Result<(), String> {
    let mut file = Object::read(raw)?;
    let (bytes, uri) = (file.take("bytes"), file.take("uri"));
    match (bytes, uri) {
        (Some(bytes), _) => part.set("raw", bytes.into_owned()),
        (None, Some(uri)) => part.set("url", uri.into_owned()),
        (None, None) => return Err("there is neither `bytes` nor `uri`".to_owned()),
    }
    for (old, new) in [("mimeType", "mediaType"), ("name", "filename")] {
        if let Some(raw) = file.take(old) {
            part.set(new, raw.into_owned());
        }
    }
    // What else there is finds a place beside, unless it would be taken for something else there.
    let known = ["text", "raw", "url", "data", "metadata", "filename", "mediaType", "kind", "file"];
    file.retain(|name| !known.contains(&name));
    let file = file.to_string();
    for (name, value) in json::members(&file)? {
        if part.raw(&name).is_none() {
            part.extend([(name.as_ref(), value.get())]);
        }
    }
    Ok(())
}

/// The members of a part that is a file become those of the file.
fn gather(part: &mut Object<'_>, content: &str, name: &'static str) {
    let mut file = Object::default();
    for (old, new) in [(content, name), ("mediaType", "mimeType"), ("filename", "name")] {
        if let Some(raw) = part.take(old).filter(|raw| new == name || raw != "\"\"") {
            file.set(new, raw.into_owned());
        }
    }
    part.set("file", file.to_string());
    part.set("kind", quoted("file"));
}

fn wrap(part: &mut Object<'_>) -> Result<(), String> {
    let data = part.raw("data").unwrap_or("null");
    if data.starts_with('{') {
        return Ok(());
    }
    let data = format!("{{\"value\":{data}}}");
    part.set("data", data);
    let metadata = part.take("metadata").map_or_else(|| "{}".to_owned(), std::borrow::Cow::into_owned);
    let mut metadata = Object::read(&metadata)?;
    metadata.set(WRAPPED, "true");
    let metadata = metadata.to_string();
    part.set("metadata", metadata);
    Ok(())
}

fn unwrap(part: &mut Object<'_>) -> Result<(), String> {
    let metadata = part.raw("metadata").filter(|raw| raw.starts_with('{')).unwrap_or("{}").to_owned();
    let mut metadata = Object::read(&metadata)?;
    let data = part.raw("data").unwrap_or_default().to_owned();
    if metadata.take(WRAPPED).as_deref() != Some("true") {
        return Ok(());
    }
    let value = Object::read(&data)?.raw("value").ok_or("the data has no `value`")?.to_owned();
    part.set("data", value);
    let metadata = metadata.to_string();
    if metadata == "{}" {
        part.remove("metadata");
    } else {
        part.set("metadata", metadata);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_the_same_in_both_versions() {
        for (old, new) in [
            (r#"{"text":"a","x":1.0,"kind":"text"}"#, r#"{"text":"a","x":1.0}"#),
            (r#"{"text":"","metadata":{},"kind":"text"}"#, r#"{"text":"","metadata":{}}"#),
            (r#"{"data":{"a":1e2},"kind":"data"}"#, r#"{"data":{"a":1e2}}"#),
            (r#"{"data":{"value":[1]},"metadata":{"data_part_compat":true},"kind":"data"}"#, r#"{"data":[1]}"#),
            (
                r#"{"data":{"value":null},"metadata":{"a":1,"data_part_compat":true},"kind":"data"}"#,
                r#"{"data":null,"metadata":{"a":1}}"#,
            ),
            (
                r#"{"metadata":{"k":1},"file":{"bytes":"aGk=","mimeType":"text/plain","name":"a.txt"},"kind":"file"}"#,
                r#"{"metadata":{"k":1},"raw":"aGk=","mediaType":"text/plain","filename":"a.txt"}"#,
            ),
            (r#"{"file":{"uri":"https://x"},"kind":"file"}"#, r#"{"url":"https://x"}"#),
        ] {
            assert_eq!(to_new(old).as_deref(), Ok(new));
            assert_eq!(to_old(new).as_deref(), Ok(old));
        }
    }

    #[test]
    fn what_meant_nothing_gets_no_meaning_by_the_translation() {
        for (old, new) in [
            (r#"{"kind":"text","text":"a","url":"https://x","file":{}}"#, r#"{"text":"a"}"#),
            (r#"{"kind":"file","file":{"uri":"u","text":"b","x":1},"raw":"c"}"#, r#"{"url":"u","x":1}"#),
        ] {
            assert_eq!(to_new(old).as_deref(), Ok(new));
        }
        assert_eq!(
            to_old(r#"{"text":"a","kind":"file","file":{"uri":"x"}}"#).as_deref(),
            Ok(r#"{"text":"a","kind":"text"}"#)
        );
    }

    #[test]
    fn a_part_without_content_is_an_error() {
        for old in
            [r#"{"kind":"text"}"#, r#"{"kind":"video"}"#, r#"{"text":"a"}"#, r#"{"kind":"file","file":{}}"#, "[]"]
        {
            assert!(to_new(old).is_err(), "{old}");
        }
        for new in ["{}", r#"{"text":"a","url":"b"}"#, r#"{"text":null}"#, "1"] {
            assert!(to_old(new).is_err(), "{new}");
        }
    }
}
