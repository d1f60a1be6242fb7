//! What an agent gets when it asks for resources, in the words of its era.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::frame::jsonrpc::{self, ErrorObject, Id};
use crate::frame::object::{Object, quoted};
use crate::mcp::answer::{Server, of_era};
use crate::mcp::version::Era;

/// The number of the error that there is no such resource (MCP 2025-11-25, "Resources", error handling). The modern era has none of its own for that.
const NOT_FOUND: i64 = -32002;

/// A resource, as it stands in a list; with a template in place of the URI, an entry of the list of templates.
#[derive(Debug, Clone, Default)]
pub struct Resource<'a> {
    /// Its URI, or the template of it (RFC 6570).
    pub uri: &'a str,
    /// Its name for programs and people.
    pub name: &'a str,
    /// What is in it, in words for a model.
    pub description: Option<&'a str>,
    /// How long it is, in bytes.
    pub size: Option<u64>,
    /// More about it: names and raw JSON.
    pub meta: Vec<(&'a str, String)>,
}

/// What is in a resource. All of ours are JSON.
#[derive(Debug, Clone)]
pub struct Contents<'a> {
    /// Its URI, as it was asked for.
    pub uri: &'a str,
    /// The bytes.
    pub bytes: &'a [u8],
    /// More about it: names and raw JSON.
    pub meta: Vec<(&'a str, String)>,
}

/// The answer to `resources/list`.
#[must_use]
pub fn listed(
    id: &Id<'_>,
    era: Era,
    resources: &[Resource<'_>],
    next_cursor: Option<&str>,
    server: &Server<'_>,
) -> String {
    let mut result = Object::default();
    result.set("resources", array(resources.iter().map(|resource| entry("uri", resource))));
    if let Some(cursor) = next_cursor {
        result.set("nextCursor", quoted(cursor));
    }
    jsonrpc::result(id, &of_era(era, result, server))
}

/// The answer to `resources/templates/list`.
#[must_use]
pub fn templates(id: &Id<'_>, era: Era, templates: &[Resource<'_>], server: &Server<'_>) -> String {
    let mut result = Object::default();
    result.set("resourceTemplates", array(templates.iter().map(|template| entry("uriTemplate", template))));
    jsonrpc::result(id, &of_era(era, result, server))
}

/// The answer to `resources/read`. What is no text comes as Base64.
#[must_use]
pub fn read(id: &Id<'_>, era: Era, contents: &Contents<'_>, server: &Server<'_>) -> String {
    let mut entry = Object::default();
    entry.set("uri", quoted(contents.uri));
    entry.set("mimeType", MIME_TYPE);
    match std::str::from_utf8(contents.bytes) {
        Ok(text) => entry.set("text", quoted(text)),
        Err(_) => entry.set("blob", quoted(&STANDARD.encode(contents.bytes))),
    }
    add_meta(&mut entry, &contents.meta);
    let mut result = Object::default();
    result.set("contents", format!("[{entry}]"));
    jsonrpc::result(id, &of_era(era, result, server))
}

/// The error that there is no such resource: a number of its own in the legacy era, a wrong parameter in the modern one (MCP 2026-07-28, SEP-2164).
#[must_use]
pub fn not_found(id: &Id<'_>, era: Era, uri: &str) -> String {
    let code = match era {
        Era::Legacy => NOT_FOUND,
        Era::Modern => jsonrpc::INVALID_PARAMS,
    };
    let error = ErrorObject::new(code, format!("Resource not found: {uri}"));
    jsonrpc::error(Some(id), &error.with_data(format!("{{\"uri\":{}}}", quoted(uri))))
}

/// The error that a cursor is none of ours (MCP, "Pagination", error handling).
#[must_use]
pub fn invalid_cursor(id: &Id<'_>) -> String {
    jsonrpc::error(Some(id), &ErrorObject::new(jsonrpc::INVALID_PARAMS, "Invalid cursor"))
}

const MIME_TYPE: &str = r#""application/json""#;

fn entry(address: &'static str, resource: &Resource<'_>) -> String {
    let mut entry = Object::default();
    entry.set(address, quoted(resource.uri));
    entry.set("name", quoted(resource.name));
    if let Some(description) = resource.description {
        entry.set("description", quoted(description));
    }
    entry.set("mimeType", MIME_TYPE);
    if let Some(size) = resource.size {
        entry.set("size", size.to_string());
    }
    add_meta(&mut entry, &resource.meta);
    entry.to_string()
}

fn add_meta(entry: &mut Object<'_>, meta: &[(&str, String)]) {
    if !meta.is_empty() {
        let members: Vec<String> = meta.iter().map(|(name, raw)| format!("{}:{raw}", quoted(name))).collect();
        entry.set("_meta", format!("{{{}}}", members.join(",")));
    }
}

fn array(entries: impl Iterator<Item = String>) -> String {
    format!("[{}]", entries.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Server<'_> = Server { name: "portcullis", version: "0.1.0", instructions: None };
    const MODERN: &str = r#","resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"portcullis","version":"0.1.0"}}}"#;

    fn check(write: impl Fn(Era) -> String, expected: &str) {
        let expected = expected.strip_suffix('}').unwrap();
        assert_eq!(write(Era::Legacy), format!(r#"{{"jsonrpc":"2.0","id":1,"result":{expected}}}}}"#));
        assert_eq!(write(Era::Modern), format!(r#"{{"jsonrpc":"2.0","id":1,"result":{expected}{MODERN}}}"#));
    }

    #[test]
    fn resources_are_listed_with_what_their_era_demands() {
        let id = Id::number(1);
        let resource = Resource {
            uri: "x://a",
            name: "a",
            size: Some(3),
            meta: vec![("p/version", "7".to_owned())],
            ..Resource::default()
        };
        check(
            |era| listed(&id, era, std::slice::from_ref(&resource), Some("a"), &SERVER),
            r#"{"resources":[{"uri":"x://a","name":"a","mimeType":"application/json","size":3,"_meta":{"p/version":7}}],"nextCursor":"a"}"#,
        );
        let template = Resource { uri: "x://{a}", name: "a", description: Some("An \"a\""), ..Resource::default() };
        check(
            |era| templates(&id, era, std::slice::from_ref(&template), &SERVER),
            r#"{"resourceTemplates":[{"uriTemplate":"x://{a}","name":"a","description":"An \"a\"","mimeType":"application/json"}]}"#,
        );
    }

    #[test]
    fn what_is_in_a_resource_comes_as_text_where_it_is_text() {
        let id = Id::number(1);
        for (bytes, member) in
            [(&br#"{"a":1.0}"#[..], r#""text":"{\"a\":1.0}""#), (&b"\"\xff\""[..], r#""blob":"Iv8i""#)]
        {
            let contents = Contents { uri: "x://a", bytes, meta: Vec::new() };
            check(
                |era| read(&id, era, &contents, &SERVER),
                &format!(r#"{{"contents":[{{"uri":"x://a","mimeType":"application/json",{member}}}]}}"#),
            );
        }
    }

    #[test]
    fn each_era_has_its_own_number_for_what_there_is_not() {
        for (era, code) in [(Era::Legacy, -32002), (Era::Modern, -32602)] {
            assert_eq!(
                not_found(&Id::number(1), era, "x://b"),
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"Resource not found: x://b","data":{{"uri":"x://b"}}}}}}"#
                )
            );
        }
    }
}
