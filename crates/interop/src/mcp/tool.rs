//! An entry of a tool list, on its way from an upstream server to an agent.

use portcullis_domain::json;

use crate::frame::object::{Object, quoted};
use crate::mcp::mirror;
use crate::mcp::version::Era;

/// A tool as its server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name on that server.
    pub name: String,
    /// What it does, in words for a model.
    pub description: Option<String>,
    /// The raw JSON Schema of its arguments.
    pub input_schema: String,
    /// The raw hints on its effects, such as `readOnlyHint`.
    pub annotations: Option<String>,
    /// The whole entry as the server wrote it.
    pub raw: String,
}

impl Tool {
    /// Reads an entry of a list.
    ///
    /// # Errors
    ///
    /// A sentence on what is wrong: no object, a member twice, no name, or a schema that is no object.
    pub fn read(raw: &str) -> Result<Self, String> {
        let entry = Object::read(raw)?;
        let text = |name: &str| entry.raw(name).and_then(|raw| serde_json::from_str::<String>(raw).ok());
        let name = text("name").filter(|name| !name.is_empty()).ok_or("a tool has no name")?;
        let input_schema = entry.raw("inputSchema").unwrap_or(r#"{"type":"object"}"#);
        json::members(input_schema)
            .map_err(|problem| format!("the input schema of `{name}` can't be read: {problem}"))?;
        Ok(Self {
            description: text("description"),
            input_schema: input_schema.to_owned(),
            annotations: entry.raw("annotations").map(str::to_owned),
            raw: raw.to_owned(),
            name,
        })
    }

    /// The raw entry as agents of an era see it, under another name. It is worth keeping: lists are asked for far more often
    /// than they change.
    ///
    /// What one entry lacks would make clients throw away the whole list, so a schema without `"type":"object"` gets it, and legacy
    /// clients don't see an output schema that is not of an object.
    ///
    /// # Errors
    ///
    /// A sentence on what is wrong with the entry.
    pub fn entry(&self, name: &str, era: Era) -> Result<String, String> {
        let mut entry = Object::read(&self.raw)?;
        entry.set("name", quoted(name));
        let mut schema = mirror::stripped(&self.input_schema);
        let text = schema.as_deref().unwrap_or(&self.input_schema);
        let mut read = Object::read(text)?;
        if read.raw("type") != Some(r#""object""#) {
            read.set("type", r#""object""#);
            schema = Some(read.to_string());
        }
        if schema.is_some() || entry.raw("inputSchema").is_none() {
            entry.set("inputSchema", schema.unwrap_or_else(|| self.input_schema.clone()));
        }
        if era == Era::Legacy && entry.raw("outputSchema").is_some_and(|schema| !is_of_object(schema)) {
            entry.remove("outputSchema");
        }
        Ok(entry.to_string())
    }
}

fn is_of_object(schema: &str) -> bool {
    Object::read(schema).is_ok_and(|schema| schema.raw("type") == Some(r#""object""#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_passes_with_another_name() {
        let raw = r#"{ "name":"get-sum", "description":"s\u00fcm", "inputSchema":{ "type":"object", "x":1.0 }, "execution":{"taskSupport":"forbidden"} }"#;
        let tool = Tool::read(raw).unwrap();
        assert_eq!((tool.name.as_str(), tool.description.as_deref()), ("get-sum", Some("süm")));
        for era in [Era::Legacy, Era::Modern] {
            let expected = r#"{"name":"every__get-sum","description":"s\u00fcm","inputSchema":{ "type":"object", "x":1.0 },"execution":{"taskSupport":"forbidden"}}"#;
            assert_eq!(tool.entry("every__get-sum", era).unwrap(), expected);
        }
    }

    #[test]
    fn what_would_spoil_the_whole_list_is_mended() {
        for (raw, era, expected) in [
            (r#"{"name":"f"}"#, Era::Modern, r#"{"name":"g","inputSchema":{"type":"object"}}"#),
            (
                r#"{"name":"f","inputSchema":{"x":1}}"#,
                Era::Modern,
                r#"{"name":"g","inputSchema":{"x":1,"type":"object"}}"#,
            ),
            (
                r#"{"name":"f","inputSchema":{"type":"object"},"outputSchema":{"type":"array"}}"#,
                Era::Legacy,
                r#"{"name":"g","inputSchema":{"type":"object"}}"#,
            ),
            (
                r#"{"name":"f","inputSchema":{"type":"object"},"outputSchema":{"type":"array"}}"#,
                Era::Modern,
                r#"{"name":"g","inputSchema":{"type":"object"},"outputSchema":{"type":"array"}}"#,
            ),
            (
                r#"{"name":"f","inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}}}}"#,
                Era::Modern,
                r#"{"name":"g","inputSchema":{"type":"object","properties":{"a":{"type":"string"}}}}"#,
            ),
        ] {
            assert_eq!(Tool::read(raw).unwrap().entry("g", era).unwrap(), expected);
        }
        for raw in ["[]", "{}", r#"{"name":""}"#, r#"{"name":"f","name":"g"}"#, r#"{"name":"f","inputSchema":true}"#] {
            assert!(Tool::read(raw).is_err(), "{raw}");
        }
    }
}
